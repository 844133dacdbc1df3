"""A runtime's lease: under which name it owns what it owns, and until when it may trust that it still does."""

from __future__ import annotations

from .host import Host

__all__ = ["Lease"]


class Lease:
    """Shared by the actors of one runtime, on the actor loop; the name may be read anywhere.

    A peer declares this runtime lost when its beat stands still for `seconds` (D5). So when its last commit was begun
    longer ago than that, on its own clock, nobody here knows: this process may have been stopped, its machine asleep,
    its store away. Then a commit has to land before another call is honoured that would not commit by itself.
    """

    def __init__(self, runtime_id: str, seconds: float, host: Host) -> None:
        self.runtime_id = runtime_id
        self._seconds = seconds
        self._host = host
        self._since = host.uptime()

    def now(self) -> float:
        """Seconds on the clock that the lease is measured with."""
        return self._host.uptime()

    def renew(self, since: float) -> None:
        """A commit has landed that was begun at that moment."""
        self._since = since

    def is_trusted(self) -> bool:
        """Whether no peer can have declared this runtime lost."""
        return self._host.uptime() - self._since < self._seconds
