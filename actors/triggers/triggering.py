"""What timers and event triggers have in common: a row in the store, and a stream that takes what they start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pykka

from propolis.messages import (
    Event,
    LeaseLost,
    MoveTrigger,
    OpenTrigger,
    Payload,
    PropolisError,
    RuntimeStopped,
    SessionBusy,
    StreamTripped,
    TriggerRow,
    WakeMe,
)

from ..alarms import wake
from ..core import AsyncioActor, Ref, Reply

if TYPE_CHECKING:
    from ..records import StoreThreads
    from ..streams.plan import StreamPlan

__all__ = ["ENDS", "Triggering", "retry_after"]

_FIRST, _LONGEST = 0.1, 5.0
"""Seconds between attempts to start what the stream does not take now."""

REJOIN_SECONDS: Final = 1.0
"""After which it is tried again where the runtime was declared lost, and may have joined again under another name."""

ENDS: Final = (RuntimeStopped, pykka.ActorDeadError)
"""What is heard in a runtime, or of a stream, that ends: there is nothing more to do."""


def retry_after(error: BaseException, tries: int) -> float | None:
    """Seconds to wait before what was refused is tried again; None when it would be refused for ever. Pure.

    Raises the error when it is none that a stream replies with: it is a bug.
    """
    if not isinstance(error, PropolisError):
        raise error
    if isinstance(error, LeaseLost):
        return REJOIN_SECONDS
    if isinstance(error, SessionBusy) or not error.retryable:
        return None
    wait = min(_LONGEST, _FIRST * 2.0 ** min(tries, 10))
    return max(wait, error.retry_after) if isinstance(error, StreamTripped) else wait


class Triggering(AsyncioActor):
    """Supervised by the root, beside the stream that it starts executions on. Ends with it.

    A crash loses nothing: how far it is stands in the store, and everything that it starts has an idempotency key.
    """

    def __init__(self, plan: StreamPlan, stream: Ref[Any], threads: StoreThreads, ready: Reply[None]) -> None:
        super().__init__()
        self.plan = plan
        self.entry_point = plan.entry_point.id
        self.stream = stream
        self._threads = threads
        self._ready = ready

    def on_stop(self) -> None:
        """Whoever still waits for it to begin is told that it does not."""
        self._ready.offer_error(RuntimeStopped(what=f"Stream {self.entry_point!r}"))

    def open_row(self, request: OpenTrigger, then: Callable[[TriggerRow], object]) -> None:
        """Begin, or go on with what is there. From then on nothing is missed: the opening of the stream is answered."""

        def opened(row: TriggerRow) -> None:
            if not self._ready.done():
                self._ready.set(None)
            then(row)

        self.request(self.plan.sessions, request, opened, self._again_or_leave(lambda: self.open_row(request, then)))

    def read_row(self, then: Callable[[TriggerRow | None], object]) -> None:
        """The row as it is now: another runtime may have moved it."""
        self.read(lambda store: store.get_trigger(self.entry_point), then)

    def read(self, job: Callable[[Any], Any], then: Callable[[Any], object]) -> None:
        """Read the store, on its thread; a store that cannot be read now is read again."""

        def failed(error: BaseException) -> None:
            if not isinstance(error, ENDS):
                wait = retry_after(error, 10)
                if wait is None:
                    raise error
                self.wait(wait, lambda: self.read(job, then))

        self.follow(self._threads.read(job), then, failed)

    def move(
        self,
        row: TriggerRow,
        position: int | None,
        events: tuple[Event, ...],
        then: Callable[[TriggerRow], object],
        lost: Callable[[], object],
    ) -> None:
        """Bring the row to a new position; or somebody else was first."""
        assert row.position is not None
        now = self.host.now()
        request = MoveTrigger(
            entry_point=row.entry_point,
            shape=row.shape,
            expected=row.position,
            position=position,
            at=now,
            events=events,
        )
        moved = row.model_copy(update={"position": position, "updated_at": now})

        def answered(landed: object) -> None:
            self.host.reach("trigger.moved")
            if landed is None:
                lost()
            else:
                then(moved)

        self.request(self.plan.sessions, request, answered, self._again_or_leave(lost))

    def wait(self, seconds: float, then: Callable[[], object]) -> Reply[Any]:
        """Go on after a time."""
        return wake(self, self.plan.wakeups, WakeMe(after=seconds), then)

    def make_event(self, type: str, data: dict[str, Any], **ids: Any) -> Event:
        """An event of the entry point's own."""
        payload = Payload.of({"entry_point": self.entry_point, **data})
        return Event(
            type=type,
            stream_id=self.entry_point,
            graph_id=self.plan.entry_point.graph_id,
            timestamp=self.host.now(),
            data_payload=payload,
            **ids,
        )

    def _again_or_leave(self, again: Callable[[], object]) -> Callable[[BaseException], None]:
        """What becomes of a write that was refused: again, when the runtime has joined again; or nothing more."""

        def refused(error: BaseException) -> None:
            if isinstance(error, LeaseLost):
                self.wait(REJOIN_SECONDS, again)
            else:
                self.leave_or_crash(error)

        return refused

    @staticmethod
    def leave_or_crash(error: BaseException) -> None:
        """Nothing more to do in a runtime that ends; everything else is a bug."""
        if not isinstance(error, ENDS):
            raise error
