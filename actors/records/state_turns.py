"""Whose turn it is to change a key of shared memory, and what it is then. Pure bookkeeping, in order of asking.

Turns follow each other without waiting for a commit: the next one begins with the value that the last one has sent to
be committed. If that is refused, so is all that was built on it, by its version, and is made anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from propolis.messages import SharedScope, StateEntry

__all__ = ["Line", "Lines", "Place", "Ticket"]


class Place(NamedTuple):
    """A key of a shared scope."""

    scope: SharedScope
    stream_id: str
    key: str


class Ticket(NamedTuple):
    """Who asks for a turn: a call of an attempt."""

    execution_id: str
    epoch: int
    turn: int


class Line:
    """Those who want to change one key."""

    __slots__ = ("flying", "generation", "holder", "reading", "since", "tip", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Ticket] = deque()
        self.holder: Ticket | None = None
        self.since = 0.0
        """When its turn began, on the monotonic clock."""
        self.tip: StateEntry | None = None
        """What the next turn begins with; None: it is to be read."""
        self.generation = 0
        """Of tips: one that turns out to be wrong takes all with it that were built on it."""
        self.flying = 0
        """Changes on their way into the store."""
        self.reading = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything to do with it."""
        return not (self.waiting or self.holder or self.flying or self.reading)

    def leave(self, ticket: Ticket) -> None:
        """Leave it, from whatever place."""
        if self.holder == ticket:
            self.holder = None
        elif ticket in self.waiting:
            self.waiting.remove(ticket)

    def sent(self, ticket: Ticket | None, change: StateEntry | None) -> int:
        """A change of the key is on its way, which makes it this (None: that is not known); the generation of that."""
        if ticket is not None:
            self.leave(ticket)
        self.flying += 1
        self.tip = change
        return self.generation

    def landed(self, generation: int, *, written: bool, now: StateEntry | None) -> None:
        """What became of it. `now`: what the key is, where that is known."""
        self.flying -= 1
        if not written and generation == self.generation:
            self.generation += 1
            self.tip = now

    def forget(self) -> None:
        """Whatever was known of the key may be wrong."""
        self.generation += 1
        self.tip = None
        self.reading = False


class Lines:
    """A line for each key that somebody wants to change or is changing; another key takes no room."""

    def __init__(self) -> None:
        self._lines: dict[Place, Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, place: Place) -> Line | None:
        """The line of a key, if there is one."""
        return self._lines.get(place)

    def at(self, place: Place) -> Line:
        """The line of a key."""
        return self._lines.setdefault(place, Line())

    def clear(self, place: Place) -> None:
        """Forget a line that is idle."""
        line = self._lines.get(place)
        if line is not None and line.is_idle:
            del self._lines[place]

    def all(self) -> list[tuple[Place, Line]]:
        """Every one of them."""
        return list(self._lines.items())

    def of(self, execution_id: str) -> Iterator[tuple[Place, Line, Ticket]]:
        """The turns that an execution has or waits for."""
        for place, line in self.all():
            for ticket in (*line.waiting, *([line.holder] if line.holder is not None else [])):
                if ticket.execution_id == execution_id:
                    yield place, line, ticket
