"""Where executions, sessions and events are kept. What needs SQLAlchemy is imported when a store is opened."""

from .findings import Finding
from .moments import from_micros, to_micros
from .opener import open_store
from .protocol import VERSION_OWNER, Bounds, Committed, Expired, Outcome, SessionEvidence, Store, StoreHost

__all__ = [
    "Bounds",
    "Committed",
    "Expired",
    "Finding",
    "Outcome",
    "SessionEvidence",
    "Store",
    "StoreHost",
    "VERSION_OWNER",
    "from_micros",
    "open_store",
    "to_micros",
]
