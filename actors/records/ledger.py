"""The writes that are not acknowledged yet, outside of the SessionActor's instance: they outlive a crash of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from propolis.messages import Write

__all__ = ["Ledger", "Pending"]


class Pending(NamedTuple):
    """A write and where its outcome goes (None: nowhere)."""

    write: Write
    reply: Any


class Ledger:
    """Two places: what waits, and the one batch that is being committed.

    A batch keeps its number until its outcome is known, so that a commit whose result is in doubt is tried again
    under the same number and takes effect once.
    """

    def __init__(self) -> None:
        self.waiting: deque[Pending] = deque()
        self.flying: tuple[Pending, ...] = ()
        self.in_flight = False
        self.batch = 0
        self.attempts = 0
        self.commits = 0
        self.rows = 0

    def add(self, write: Write, reply: Any) -> None:
        """Queue a write."""
        self.waiting.append(Pending(write, reply))

    def take(self, most: int) -> Sequence[Write]:
        """Move up to `most` waiting writes into the next batch. With none waiting it is a beat."""
        count = min(most, len(self.waiting))
        self.flying = tuple(self.waiting.popleft() for _ in range(count))
        self.in_flight = True
        self.batch += 1
        self.attempts = 0
        return [pending.write for pending in self.flying]

    def landed(self) -> tuple[Pending, ...]:
        """The batch is committed: give back what was in it."""
        batch, self.flying, self.in_flight = self.flying, (), False
        self.commits += 1
        self.rows += len(batch)
        return batch

    def put_back(self) -> tuple[Pending, ...]:
        """The batch was refused as a whole: its writes wait again. Give back those of one that was in doubt before."""
        doubtful = self.flying if self.attempts else ()
        if not self.attempts:
            self.waiting.extendleft(reversed(self.flying))
        self.flying, self.in_flight = (), False
        return doubtful

    def abandon(self) -> tuple[Pending, ...]:
        """Give back everything, committed or not: it never will be under this name."""
        lost = (*self.flying, *self.waiting)
        self.flying, self.in_flight = (), False
        self.waiting.clear()
        return lost
