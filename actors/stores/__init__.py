"""Where executions, sessions and events are kept."""

from .opener import open_store
from .protocol import Committed, Outcome, Store, StoreHost
from .sql import SqlStore

__all__ = ["Committed", "Outcome", "SqlStore", "Store", "StoreHost", "open_store"]
