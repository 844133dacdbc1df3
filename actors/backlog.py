"""What waits for a store that takes no commits, and how much of it may (D7)."""

from __future__ import annotations

from typing import NamedTuple

from propolis.messages import StoreUnavailable

__all__ = ["Backlog", "Outage"]


class Outage(NamedTuple):
    """Why nothing is committed at present."""

    reason: str
    slow: bool
    """It is not refused, it does not come back."""


class Backlog:
    """Shared by the actors of a runtime, on the actor loop: the SessionActor keeps it, a stream looks before it admits.

    New executions are what could pile up without a bound while nothing is committed. The bound is a soft one: what was
    handed in within the same moment is not counted yet.
    """

    def __init__(self, store: str, most: int) -> None:
        self._store = store
        self._most = most
        self.outage: Outage | None = None
        self.waiting = 0

    def check(self) -> None:
        """Raise StoreUnavailable when nothing more may wait."""
        if self.outage is not None and self.waiting >= self._most:
            held = f"{self.waiting} writes wait for it; RuntimeConfig.max_waiting_for_store is {self._most}"
            raise StoreUnavailable(store=self._store, reason=f"{self.outage.reason} ({held})")
