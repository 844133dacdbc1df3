"""Who of a stream's executions runs, who waits, and who is refused: a data structure without effects.

An execution is in one of these places, by its id:

    running   holds one of `max_concurrent` slots
    queued    waits for a slot: higher priority first; of one priority those that return first, then first come
    blocked   its caller waits for room in the queue (`on_full="block"`); first come, first served
    aside     waits for something else (its session, a person, a backoff): holds neither slot nor room

While a slot is free nothing is queued, and while there is room in the queue nothing is blocked. With
`on_full="drop_oldest"` the queue is longer than its bound while a newcomer is yet to be accepted. Every call takes
O(log n) of what is queued, on average over many calls.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from ..specs import EntryPoint, OnFull
from .lazy_heap import LazyHeap

__all__ = ["Admission", "Admit", "Block", "Drop", "Freed", "Offered", "Place", "Reject"]

Place: TypeAlias = Literal["running", "queued", "blocked", "aside"]


@dataclass(frozen=True, slots=True)
class Admit:
    """It is in: with a slot (`start_now`), or queued."""

    start_now: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """The queue is full, with `max_pending` in it or, after a recovery, more."""

    max_pending: int


@dataclass(frozen=True, slots=True)
class Block:
    """Its caller waits for room: a later `Freed.admitted` has its id, unless it is withdrawn before."""


@dataclass(frozen=True, slots=True)
class Drop:
    """It is queued past the bound. Once it is accepted, `settle()` says who is out for it."""


Offered: TypeAlias = Admit | Reject | Block | Drop


@dataclass(frozen=True, slots=True)
class Freed:
    """What became possible: start these now, each has a slot; and these, which were blocked, are admitted.

    An id in both was blocked and starts at once.
    """

    start: tuple[str, ...] = ()
    admitted: tuple[str, ...] = ()


STARTS: Final = Admit(start_now=True)
QUEUES: Final = Admit(start_now=False)
NOTHING: Final = Freed()


class _Ticket(NamedTuple):
    priority: int
    returning: bool
    number: int


class Admission:
    """The slots and the queue of one stream. Not thread-safe: its StreamActor has it to itself.

    A new id is any string that is in no place yet; to offer one that is raises ValueError.
    """

    def __init__(self, *, max_concurrent: int, max_pending: int | None = None, on_full: OnFull = "reject") -> None:
        self._max_concurrent = max_concurrent
        self._max_pending = max_pending
        self._on_full = on_full
        self._numbers = 0
        self._running: dict[str, int] = {}
        self._queued: dict[str, _Ticket] = {}
        self._blocked: OrderedDict[str, int] = OrderedDict()
        self._aside: dict[str, int] = {}
        self._dropping: set[str] = set()
        """Newcomers for each of which somebody is to be dropped, when they are accepted."""
        self._next_to_start = LazyHeap()
        self._next_to_drop = LazyHeap()

    @classmethod
    def of(cls, entry_point: EntryPoint) -> Admission:
        """As an entry point has it."""
        return cls(
            max_concurrent=entry_point.max_concurrent,
            max_pending=entry_point.max_pending,
            on_full=entry_point.on_full,
        )

    def offer(self, id: str, priority: int = 0) -> Offered:
        """A new execution asks to come in.

        With `drop_oldest` the victim will be the oldest of the lowest priority in the queue. Whoever has run already is
        never dropped, nor is one of a higher priority than the newcomer: without a victim the newcomer is rejected.
        """
        self._must_be_new(id)
        if self.available_slots:
            self._running[id] = priority
            return STARTS
        if self._has_room():
            self._enqueue(id, priority, returning=False)
            return QUEUES
        if self._on_full == "block":
            self._blocked[id] = priority
            return Block()
        if self._on_full == "drop_oldest" and self._has_victim(priority):
            self._enqueue(id, priority, returning=False)
            self._dropping.add(id)
            return Drop()
        return Reject(self._max_pending or 0)

    def settle(self, id: str) -> tuple[str, ...]:
        """A newcomer is accepted. Who is out for it: cancel those. Nobody when it had room, or has some by now.

        Who is yet to be accepted takes no room: nobody is out for it before, and when it is out itself, so is another.
        """
        if id not in self._dropping:
            return ()
        self._dropping.discard(id)
        out: list[str] = []
        makes_room = self._has_room(besides=len(self._dropping) + 1)
        while not makes_room and (victim := self._next_to_drop.first(self._is_current)) is not None:
            makes_room = victim not in self._dropping
            self._take(victim)
            out.append(victim)
        return tuple(out)

    def recover(self, id: str, priority: int = 0) -> Admit:
        """An execution that was accepted before this runtime, or this actor, and has not run: in, whatever the bound.

        One that has run comes in by `set_aside` and `readmit`, one that is running by `adopt`.
        """
        self._must_be_new(id)
        return self._enter(id, priority, returning=False)

    def adopt(self, id: str, priority: int = 0) -> None:
        """An execution that is running already has a slot, even if there are then more than `max_concurrent`."""
        self._must_be_new(id)
        self._running[id] = priority

    def set_aside(self, id: str, priority: int = 0) -> Freed:
        """It cannot go on now (its session is in use, it is parked or backing off): its slot or its room is free.

        `priority` is only used for an id that is in no place yet.
        """
        known = self._take(id)
        self._aside[id] = priority if known is None else known
        return self._fill()

    def readmit(self, id: str) -> Admit:
        """It can go on: ahead of new ones of its priority, whatever the bound.

        Raises:
            ValueError: it is not aside.
        """
        if id not in self._aside:
            raise ValueError(f"{id!r} is not aside, it is {self.where(id) or 'unknown'}")
        return self._enter(id, self._aside.pop(id), returning=True)

    def release(self, id: str) -> Freed:
        """It has ended and gives its slot back. Without a slot nothing changes, so twice is as good as once."""
        return self.withdraw(id) if id in self._running else NOTHING

    def withdraw(self, id: str) -> Freed:
        """Forget it, wherever it is: cancelled while queued, its caller gone while blocked, its start failed."""
        return NOTHING if self._take(id) is None else self._fill()

    def where(self, id: str) -> Place | None:
        """The place it is in; None for an unknown one."""
        if id in self._running:
            return "running"
        if id in self._queued:
            return "queued"
        if id in self._blocked:
            return "blocked"
        return "aside" if id in self._aside else None

    def ahead_of(self, id: str) -> int:
        """How many are queued before it; 0 when it is not queued. Looks at all of the queue: for people."""
        own = self._queued.get(id)
        if own is None:
            return 0

        def rank(ticket: _Ticket) -> tuple[int, bool, int]:
            return -ticket.priority, not ticket.returning, ticket.number

        return sum(rank(ticket) < rank(own) for ticket in self._queued.values())

    @property
    def running(self) -> int:
        """How many hold a slot."""
        return len(self._running)

    @property
    def queue_depth(self) -> int:
        """How many wait for a slot."""
        return len(self._queued)

    @property
    def blocked(self) -> int:
        """How many callers wait for room."""
        return len(self._blocked)

    @property
    def aside(self) -> int:
        """How many wait for something else."""
        return len(self._aside)

    @property
    def available_slots(self) -> int:
        """How many could start now; never negative."""
        return max(0, self._max_concurrent - len(self._running))

    def _must_be_new(self, id: str) -> None:
        if (place := self.where(id)) is not None:
            raise ValueError(f"{id!r} is {place} already")

    def _has_room(self, *, besides: int = 0) -> bool:
        return self._max_pending is None or len(self._queued) - besides < self._max_pending

    def _enter(self, id: str, priority: int, *, returning: bool) -> Admit:
        if self.available_slots:
            self._running[id] = priority
            return STARTS
        self._enqueue(id, priority, returning=returning)
        return QUEUES

    def _enqueue(self, id: str, priority: int, *, returning: bool) -> None:
        self._numbers += 1
        self._queued[id] = _Ticket(priority, returning, self._numbers)
        rank = 0 if returning else 1
        self._next_to_start.push((-priority, rank, self._numbers), id, self._is_current)
        if self._on_full == "drop_oldest" and not returning:
            self._next_to_drop.push((priority, rank, self._numbers), id, self._is_current)

    def _is_current(self, id: str, number: int) -> bool:
        ticket = self._queued.get(id)
        return ticket is not None and ticket.number == number

    def _has_victim(self, priority: int) -> bool:
        victim = self._next_to_drop.first(self._is_current)
        return victim is not None and self._queued[victim].priority <= priority

    def _take(self, id: str) -> int | None:
        """Remove it from its place; its priority, or None for an unknown one."""
        self._dropping.discard(id)
        if (ticket := self._queued.pop(id, None)) is not None:
            return ticket.priority
        for place in (self._running, self._blocked, self._aside):
            if id in place:
                return place.pop(id)
        return None

    def _fill(self) -> Freed:
        """Give free slots to the queue, and free room to the blocked."""
        if not self._queued and not self._blocked:
            return NOTHING
        start: list[str] = []
        admitted: list[str] = []
        while self.available_slots and (first := self._next_to_start.first(self._is_current)) is not None:
            self._running[first] = self._queued.pop(first).priority
            self._dropping.discard(first)
            start.append(first)
        while self._blocked and (self.available_slots or self._has_room()):
            first, priority = self._blocked.popitem(last=False)
            if self._enter(first, priority, returning=False).start_now:
                start.append(first)
            admitted.append(first)
        return Freed(tuple(start), tuple(admitted))
