"""The WakeupActor: everything that waits for a time, in a heap for each clock and one timer of the event loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from propolis.messages import WakeAt, WakeMe, Woken

from .core import LATER, AsyncioActor, Handlers, Reply

if TYPE_CHECKING:
    from .host import Timer

__all__ = ["WakeupActor"]

Due = TypeVar("Due", float, datetime)

LOOK_SECONDS: Final = 10.0
"""How often an alarm for a time of day looks at the wall clock: it may be set anew, and while a machine sleeps the
monotonic clock stands still."""


class Alarms(Generic[Due]):
    """Replies that are due, by one clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[Due, int, Reply[Any]]] = []
        self._order = itertools.count()
        self._sweep_at = 1_024

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: Due, reply: Reply[Any]) -> bool:
        """Keep one. True if that makes it the first."""
        first = self._heap[0][0] if self._heap else None
        heapq.heappush(self._heap, (due, next(self._order), reply))
        if len(self._heap) >= self._sweep_at:
            self._heap = [alarm for alarm in self._heap if not alarm[2].abandoned]
            heapq.heapify(self._heap)
            self._sweep_at = max(1_024, 2 * len(self._heap))
        return first is None or due < first

    def first(self) -> Due | None:
        """When the next one is due that somebody waits for."""
        while self._heap and self._heap[0][2].abandoned:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def ring(self, now: Due) -> None:
        """Answer those that are due."""
        while self._heap and self._heap[0][0] <= now:
            _, _, reply = heapq.heappop(self._heap)
            if not reply.abandoned:
                reply.set(Woken())

    def tell_all(self, error: BaseException) -> None:
        """Nothing is due any more."""
        for _, _, reply in self._heap:
            if not reply.abandoned:
                reply.offer_error(error)
        self._heap.clear()


class WakeupActor(AsyncioActor):
    """Replies to `WakeMe(after=seconds)` when the time has come, on the Host's monotonic clock; to `WakeAt(at=time)`
    when the wall clock says so, at most `LOOK_SECONDS` late after it was set forward, and never early.

    An alarm is a reply that comes late: who no longer wants it abandons the reply. Abandoned alarms are swept out
    when they are half of their heap. Alarms outlive a crash of this actor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._by_seconds: Alarms[float] = self.kept("by_seconds", Alarms[float])
        self._by_day: Alarms[datetime] = self.kept("by_day", Alarms[datetime])
        self._timer: Timer | None = None

    def on_start(self) -> None:
        """Set the timer for what an earlier instance was asked."""
        self._set_timer()

    def on_end(self) -> None:
        """Stop the timer; who waits is told that this actor is gone."""
        if self._timer is not None:
            self._timer.cancel()
        for alarms in (self._by_seconds, self._by_day):
            alarms.tell_all(asyncio.CancelledError("the WakeupActor has stopped"))

    def wake_me(self, message: WakeMe) -> object:
        """Remember who wants to be woken, and when."""
        return self._remember(self._by_seconds, self.host.monotonic() + message.after)

    def wake_at(self, message: WakeAt) -> object:
        """The same, by the wall clock."""
        return self._remember(self._by_day, message.at)

    def _remember(self, alarms: Alarms[Due], due: Due) -> object:
        reply = self.keep_reply()
        if reply is None:
            return None
        if alarms.add(due, reply):
            self._set_timer()
        return LATER

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits: list[float] = []
        if (due := self._by_seconds.first()) is not None:
            waits.append(due - self.host.monotonic())
        if (at := self._by_day.first()) is not None:
            waits.append(min(LOOK_SECONDS, (at - self.host.now()).total_seconds()))
        if waits:
            wait = max(0.0, min(waits))
            self._timer = self.actor_inbox.loop.call_later(wait, lambda: self.later(self._ring))

    def _ring(self) -> None:
        self._by_seconds.ring(self.host.monotonic())
        self._by_day.ring(self.host.now())
        self._set_timer()

    handlers: ClassVar[Handlers] = {WakeAt: wake_at, WakeMe: wake_me}
