"""The TimerActor: starts the executions of one entry point when they are due."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from propolis.messages import (
    Event,
    IdempotencyConflict,
    OpenTrigger,
    Payload,
    StartExecution,
    TriggerRow,
    WakeAt,
)

from ..alarms import wake
from ..core import Ref, Reply
from ..stores import from_micros, to_micros
from .config import thawed
from .misfire import Fire, Over, Skip, Wait, look
from .schedule import Schedule
from .triggering import ENDS, Triggering, retry_after

if TYPE_CHECKING:
    from ..records import StoreThreads
    from ..streams.plan import StreamPlan

__all__ = ["TimerActor", "timer_input"]

STANDBY_SECONDS: Final = 10.0
"""How often it looks whether its schedule is the valid one again, after another runtime has opened another."""


def timer_input(config: Any, due: datetime) -> Payload:
    """The input of the execution of one firing: `input_data` of the trigger_config, and when it was due."""
    return Payload.of({**thawed(config.get("input_data") or {}), "due_at": due}, "trigger_config.input_data")


class TimerActor(Triggering):
    """Waits for the next time in its row, starts an execution, moves the row on.

    The execution's idempotency key is made of its time, so whatever dies between the two, and however many runtimes
    have the entry point open, each firing is accepted once. The row is read again before each, so that a runtime that
    was asleep does not fire what others have done.
    """

    def __init__(self, plan: StreamPlan, stream: Ref[Any], threads: StoreThreads, ready: Reply[None]) -> None:
        super().__init__(plan, stream, threads, ready)
        self._config = plan.entry_point.trigger_config
        self._schedule = Schedule.of(self._config)
        self._opened_at: datetime = self.kept("opened_at", self.host.now)
        self._tries = 0

    def on_start(self) -> None:
        """Begin the schedule, or go on with it."""
        now = self._opened_at
        first = self._schedule.first(now)
        self.open_row(
            OpenTrigger(
                entry_point=self.entry_point,
                kind="timer",
                shape=self._schedule.shape,
                at=now,
                position=to_micros(first),
            ),
            self._look,
        )

    def _look_again(self) -> None:
        self.read_row(self._look)

    def _look(self, row: TriggerRow | None) -> None:
        if row is None:
            self.on_start()  # somebody has deleted it
            return
        if row.shape != self._schedule.shape:
            self.wait(STANDBY_SECONDS, self._look_again)
            return
        misfire, due = self._config.get("misfire", "once"), from_micros(row.position)
        match look(self._schedule, misfire, due, row.began_at, self._opened_at, self.host.now()):
            case Wait(until):
                wake(self, self.plan.wakeups, WakeAt(at=until), self._look_again)
            case Fire(due):
                self._fire(row, due)
            case Skip(first, last, next):
                self._move(row, next, (self._misfired(first, last),))
            case Over():
                return

    def _fire(self, row: TriggerRow, due: datetime) -> None:
        request = StartExecution(input_data=timer_input(self._config, due), idempotency_key=f"timer:{to_micros(due)}")

        self.host.reach("trigger.before")

        def started(_: object) -> None:
            self.host.reach("trigger.started")
            self._tries = 0
            self._move(row, self._schedule.after(due, row.began_at), ())

        def refused(error: BaseException) -> None:
            if isinstance(error, IdempotencyConflict):
                started(None)  # it has fired, and the code has another input_data by now
            elif not isinstance(error, ENDS):
                self._try_again(row, due, error)

        self.request(self.stream, request, started, refused)

    def _try_again(self, row: TriggerRow, due: datetime, error: BaseException) -> None:
        """Later, by when it may be late enough to have been missed; or never."""
        wait = retry_after(error, self._tries)
        if wait is None:
            event = self.make_event("trigger_refused", {"due_at": due, "error": str(error)})
            self._move(row, self._schedule.after(due, row.began_at), (event,))
        else:
            self._tries += 1
            self.wait(wait, self._look_again)

    def _move(self, row: TriggerRow, due: datetime | None, events: tuple[Event, ...]) -> None:
        self.move(row, to_micros(due), events, self._look, self._look_again)

    def _misfired(self, first: datetime, last: datetime) -> Event:
        data = {"first": first, "last": last, "misfire": self._config.get("misfire", "once")}
        return self.make_event("timer_misfired", data)
