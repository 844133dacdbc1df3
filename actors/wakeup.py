"""The WakeupActor: everything that waits for a time, in one heap and one timer of the event loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from propolis.messages import WakeAt, WakeMe, Woken

from .core import LATER, AsyncioActor, Handlers, Reply

if TYPE_CHECKING:
    from .host import Timer

__all__ = ["WakeupActor"]

LOOK_SECONDS: Final = 10.0
"""How often an alarm for a time of day looks at the wall clock: it may be set anew, and while a machine sleeps the
monotonic clock stands still."""


class WakeupActor(AsyncioActor):
    """Replies to `WakeMe(after=seconds)` when the time has come, on the Host's monotonic clock; to `WakeAt(at=time)`
    when the wall clock says so, at most `LOOK_SECONDS` late after it was set forward, and never early.

    An alarm is a reply that comes late: who no longer wants it abandons the reply. Abandoned alarms are swept out
    when they are half of the heap. Alarms outlive a crash of this actor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[float, int, Reply[Any], datetime | None]] = self.kept("heap", list)
        self._order = itertools.count(len(self._heap))
        self._sweep_at = 1_024
        self._timer: Timer | None = None

    def on_start(self) -> None:
        """Set the timer for what an earlier instance was asked."""
        self._set_timer()

    def on_end(self) -> None:
        """Stop the timer; who waits is told that this actor is gone."""
        if self._timer is not None:
            self._timer.cancel()
        for _, _, reply, _ in self._heap:
            if not reply.abandoned:
                reply.offer_error(asyncio.CancelledError("the WakeupActor has stopped"))
        self._heap.clear()

    def wake_me(self, message: WakeMe) -> object:
        """Remember who wants to be woken, and when."""
        return self._remember(self.host.monotonic() + message.after, None)

    def wake_at(self, message: WakeAt) -> object:
        """The same, by the wall clock."""
        return self._remember(self._next_look(message.at), message.at)

    def _next_look(self, at: datetime) -> float:
        return self.host.monotonic() + min(LOOK_SECONDS, (at - self.host.now()).total_seconds())

    def _remember(self, due: float, at: datetime | None) -> object:
        reply = self.keep_reply()
        if reply is None:
            return None
        first = self._heap[0][0] if self._heap else None
        heapq.heappush(self._heap, (due, next(self._order), reply, at))
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        if first is None or due < first:
            self._set_timer()
        return LATER

    def _sweep(self) -> None:
        self._heap[:] = [alarm for alarm in self._heap if not alarm[2].abandoned]
        heapq.heapify(self._heap)
        self._sweep_at = max(1_024, 2 * len(self._heap))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._heap[0][2].abandoned:
            heapq.heappop(self._heap)
        if self._heap:
            wait = max(0.0, self._heap[0][0] - self.host.monotonic())
            self._timer = self.actor_inbox.loop.call_later(wait, lambda: self.later(self._ring))

    def _ring(self) -> None:
        now = self.host.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _, order, reply, at = heapq.heappop(self._heap)
            if reply.abandoned:
                continue
            if at is not None and self.host.now() < at:
                heapq.heappush(self._heap, (self._next_look(at), order, reply, at))
            else:
                reply.set(Woken())
        self._set_timer()

    handlers: ClassVar[Handlers] = {WakeAt: wake_at, WakeMe: wake_me}
