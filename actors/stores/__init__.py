"""Where executions, sessions and events are kept."""

from .opener import open_store
from .protocol import Outcome, Store, StoreHost
from .sql import SqlStore

__all__ = ["Outcome", "SqlStore", "Store", "StoreHost", "open_store"]
