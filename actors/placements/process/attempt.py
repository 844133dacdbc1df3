"""One attempt in a process placement: what its ExecutionActor holds of it."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Any, Literal

from propolis.messages import AttemptEnded, InterruptAttempt, LearnExecutor, ReportOutput

from ...executors import Beginning
from .output import Budget

if TYPE_CHECKING:
    from ...core import Ref
    from ...host import Timer
    from .pool import Pool
    from .worker import Worker

__all__ = ["ProcessAttempt"]

TERM_PART = 0.5
"""The part of the grace after which a cancel sends SIGTERM."""
KILL_PART = 0.9
"""And SIGKILL: so that the end is known when the grace is over."""


class ProcessAttempt:
    """Queued for a worker, on a worker, or ended. Its methods may be called from any thread."""

    __slots__ = (
        "_budget",
        "_timers",
        "begin",
        "cancelled",
        "ended",
        "executor",
        "pausing",
        "pool",
        "ref",
        "told",
        "unread",
        "waits_for_room",
        "worker",
    )

    can_be_stopped = True
    ends_by_force = True

    def __init__(self, pool: Pool, executor: LearnExecutor, begin: Beginning, ref: Ref[Any]) -> None:
        self.pool = pool
        self.executor = executor
        self.begin = begin
        self.ref = ref
        self.worker: Worker | None = None
        self.waits_for_room = False
        self.cancelled = False
        self.pausing = False
        self.ended = False
        self.told = False
        """Whether something was sent to its worker after its beginning."""
        self.unread = 0
        """Workers that have died before they read of it."""
        self._budget = Budget()
        self._timers: list[Timer] = []

    def cancel(self, grace: float) -> None:
        """Ask it to end; then SIGTERM; then SIGKILL, before the grace is over."""
        self.cancelled = True
        if self.pool.withdraw(self):
            self.ref.deliver(AttemptEnded(epoch=self.begin.epoch, how="cancelled"))
            return
        if grace <= 0.0:
            self._kill(signal.SIGKILL)
            return
        self.interrupt("cancel")
        self.pool.io.post(self._climb, grace)

    def pause(self) -> None:
        self.pausing = True
        self.interrupt("pause")

    def fence(self) -> None:
        self.interrupt("fence")
        self.pool.io.post(self._climb, self.pool.fenced_seconds)

    def supersede(self) -> None:
        self.cancelled = True
        if not self.pool.withdraw(self):
            self._kill(signal.SIGKILL)

    def interrupt(self, how: Literal["cancel", "pause", "fence"]) -> None:
        """Have the worker tell the attempt, if one runs it."""
        worker = self.worker
        if worker is not None and not self.ended:
            self.told = True
            worker.tell(InterruptAttempt(execution_id=self.begin.spec.execution_id, epoch=self.begin.epoch, how=how))

    def _climb(self, grace: float) -> None:
        """On the workers' thread."""
        if self.ended:
            return
        later = self.pool.io.later
        self._timers.append(later(grace * TERM_PART, lambda: self._kill(signal.SIGTERM)))
        self._timers.append(later(grace * KILL_PART, lambda: self._kill(signal.SIGKILL)))

    def _kill(self, number: signal.Signals) -> None:
        self.pool.kill_attempt(self, number)

    def forget_timers(self) -> None:
        """It has ended. On the workers' thread."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def show(self, output: ReportOutput) -> None:
        """Publish what it printed or logged, as far as there is room for it. On the workers' thread."""
        lines = self._budget.take(output.lines)
        if not lines:
            return
        self.ref.deliver(output if lines == output.lines else output.model_copy(update={"lines": lines}))
        if output.logger is not None:
            self._log(output.logger, output.level or "INFO", "\n".join(lines))

    def _log(self, name: str, level: str, text: str) -> None:
        """Into this process's logging, as it would come from a thread."""
        logger, number = logging.getLogger(name), logging.getLevelNamesMapping().get(level, logging.INFO)
        spec = self.begin.spec
        extra = {
            "stream_id": spec.stream_id,
            "execution_id": spec.execution_id,
            "session_id": spec.session_id,
            "correlation_id": spec.correlation_id,
        }
        logger.log(number, "%s", text, extra=extra)
