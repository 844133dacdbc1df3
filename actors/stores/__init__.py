"""Where executions, sessions and events are kept."""

from .dialect import check_structure
from .evidence import SessionEvidence
from .examining import examine
from .findings import Finding
from .opener import open_store
from .protocol import Committed, Outcome, Store, StoreHost
from .pruning import Bounds, Expired
from .repairing import repair
from .schema import to_micros
from .sql import SqlStore

__all__ = [
    "Bounds",
    "Committed",
    "Expired",
    "Finding",
    "Outcome",
    "SessionEvidence",
    "SqlStore",
    "Store",
    "StoreHost",
    "check_structure",
    "examine",
    "open_store",
    "repair",
    "to_micros",
]
