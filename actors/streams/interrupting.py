"""The part of an ExecutionActor that others reach into it with: cancel, pause, give up, and the clock."""

from __future__ import annotations

from typing import Any

from propolis.messages import (
    CancelExecution,
    CancelOutcome,
    ExecutionContext,
    ExecutionDetached,
    Failure,
    GetContext,
    GiveUp,
    PauseExecution,
)

from ..core import LATER, Reply
from .finishing import Finishing
from .life import WAITING
from .limits import Limit, attempt_limit, next_limit, whole_limit

__all__ = ["Interrupting"]

FORCE_SECONDS = 1.0
"""How much longer than the grace a cancel waits for the word that what was killed is gone."""


class Interrupting(Finishing):
    """Interrupts what runs. An interrupted attempt reports how it ended, and only then is the execution's end written:
    `cancelled` is never said of what still runs.
    """

    attempt_began: float | None = None
    last_sign: float | None = None
    passed: Limit | None = None
    """The time limit that the running attempt was interrupted for."""
    _whole_alarm: Reply[Any] | None = None
    _attempt_alarm: Reply[Any] | None = None

    # -- cancel ------------------------------------------------------------------------------------------------------

    def cancel(self, message: CancelExecution) -> object:
        """End it; the reply comes when it is gone, or after the grace with the truth about what is not."""
        life = self._life
        reply = self.keep_reply()
        if life.phase == "ended":
            return CancelOutcome(execution_id=self._spec.execution_id, outcome="ended")
        if reply is not None:
            life.cancel_waiters = [*(life.cancel_waiters or ()), reply]
        self.begin_cancel(message.reason, message.grace)
        return LATER

    def begin_cancel(self, reason: str, grace: float) -> None:
        """Interrupt it; after the grace see what became of that."""
        life = self._life
        if life.cancel is None:
            life.cancel = reason
        self.host.reach("cancel.begun")
        self.interrupt(grace)
        if life.executing or life.phase in ("writing", "claiming"):
            self.alarm(grace, self._still_there)

    def interrupt(self, grace: float | None = None) -> None:
        """Have what runs end; end at once what waits; leave to its continuation what is being written."""
        life = self._life
        if life.executing and life.launched is not None:
            life.launched.cancel(self._plan.config.grace_seconds if grace is None else grace)
        elif life.phase in WAITING:
            self.settle_early()

    def _still_there(self, *, patient: bool = True) -> None:
        life = self._life
        if not life.executing or life.launched is None:
            return
        if patient and life.launched.ends_by_force:  # it has been killed; what is missing is the word of it
            self.alarm(FORCE_SECONDS, lambda: self._still_there(patient=False))
            return
        if life.launched.can_be_stopped:
            self.answer_cancels("cancelling")
        else:
            self.detach()

    def detach(self) -> None:
        """It is to be cancelled, and cannot be stopped: refuse what it still says, keep its session until it ends."""
        life = self._life
        life.detached = True
        if life.launched is not None:
            life.launched.supersede()
        self.tell_stream(ExecutionDetached(execution_id=self._spec.execution_id))
        self.answer_cancels("detached")

    # -- pause and leave ---------------------------------------------------------------------------------------------

    def hears(self, epoch: int) -> bool:
        """Whether what an attempt of this epoch says counts; what does not is counted as late."""
        heard = epoch == self._life.state.epoch and self._life.executing and not self._life.detached
        if not heard:
            self._plan.late.one()
        return heard

    def pause(self, message: PauseExecution) -> bool:
        """Pause: at once what has not begun or waits for a restart, at its next checkpoint or look what runs."""
        life = self._life
        if life.phase == "ended":
            return False
        life.pausing = True
        if life.phase in WAITING:
            if life.launched is not None:  # parked, with its stack kept: that goes
                life.launched.supersede()
                life.launched = None
            self.settle_early()
        elif life.launched is not None:
            life.launched.pause()
        return True

    def give_up(self, message: GiveUp) -> None:
        """Interrupt what runs and leave; the store keeps the execution as it is, for whoever opens it next."""
        life = self._life
        life.leaving = True
        if message.now and life.cancel is not None and life.executing and life.launched is not None:
            life.launched.supersede()  # it was to end as cancelled, and does; whatever still runs is fenced off
            life.launched = None
            self.finish("cancelled")
        elif message.now or life.phase in WAITING:
            self.leave()
        else:
            self.interrupt()

    def settle_early(self) -> bool:
        """Whether there is nothing more to begin: it is to leave, cancelled, to be paused, or its time is over."""
        life = self._life
        if life.leaving:
            self.leave()
        elif life.cancel is not None:
            self.finish("cancelled")
        elif self.passed is not None:
            self.finish("failed", failure=limit_failure(self.passed))
        elif life.pausing and life.phase != "claiming":
            self.finish("paused", node=life.node)
        else:
            return False
        return True

    # -- time limits -------------------------------------------------------------------------------------------------

    def watch_limits(self) -> None:
        """Have the WakeupActor call when the next limit is due: that of the attempt by the monotonic clock, that of the
        whole execution by the wall clock. One that has moved since is looked at again then.
        """
        point = self._plan.entry_point
        whole = whole_limit(point, self._spec, self.host.now())
        if whole is not None and whole.at is not None and (self._whole_alarm is None or self._whole_alarm.done()):
            self._whole_alarm = self.alarm_at(whole.at, self._look_at_limits)
        limit = attempt_limit(point, self.host.monotonic(), self.attempt_began, self.last_sign)
        if self._attempt_alarm is not None:
            self._attempt_alarm.abandoned = True
            self._attempt_alarm = None
        if limit is not None:
            self._attempt_alarm = self.alarm(limit.after, self._look_at_limits)

    def _next_limit(self) -> Limit | None:
        return next_limit(
            self._plan.entry_point,
            self._spec,
            now=self.host.now(),
            monotonic=self.host.monotonic(),
            attempt_began=self.attempt_began,
            last_sign=self.last_sign,
        )

    def _look_at_limits(self) -> None:
        life = self._life
        limit = self._next_limit()
        if life.phase == "ended" or limit is None or self.passed is not None:
            return
        if limit.after > 0.0:
            self.watch_limits()
            return
        self.passed = limit
        if life.executing:
            epoch = life.state.epoch
            self.alarm(self._plan.config.grace_seconds, lambda: self._overdue(epoch))
        self.interrupt()

    def _overdue(self, epoch: int) -> None:
        """It was interrupted for its time and did not come back: fence it off, and go on without it."""
        life = self._life
        if not life.executing or life.state.epoch != epoch or life.launched is None or self.passed is None:
            return
        if life.cancel is not None:
            self.detach()  # whatever else is over, what still runs is not said to be cancelled
            return
        life.launched.supersede()
        life.launched = None
        self.attempt_began = self.last_sign = None
        self.has_failed(limit_failure(self.passed))

    def has_failed(self, failure: Failure) -> None:
        """An attempt has failed."""
        raise AssertionError("the ExecutionActor decides")

    def get_context(self, message: GetContext) -> ExecutionContext:
        """How the execution stands."""
        return ExecutionContext.of(self._spec, self._life.state)


def limit_failure(limit: Limit) -> Failure:
    """What is said of an execution whose time was over."""
    text = {
        "deadline": "its deadline has passed",
        "total_timeout": "it took longer than the total_timeout of its entry point",
        "timeout": "this attempt took longer than the timeout of its entry point",
        "idle_timeout": "it gave no sign of life for the idle_timeout of its entry point",
    }
    return Failure(kind="TimeoutError", message=text[limit.name], code=limit.name, retryable=limit.retryable)
