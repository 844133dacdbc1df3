"""The ladder of a cancel, on a clock of the test: asked, SIGTERM, SIGKILL, each at its time."""

from __future__ import annotations

import signal
from typing import Any, cast

from propolis.actors.executors import Beginning
from propolis.actors.placements.process.attempt import ProcessAttempt
from propolis.actors.placements.process.pool import Pool
from propolis.actors.placements.process.worker import Worker

from propolis.actors import Ref
from propolis.messages import ExecutionSpec, InterruptAttempt, LearnExecutor, Message

from ..messages.samples import minimal


class _Timer:
    def __init__(self, after: float, call: Any) -> None:
        self.after, self.call, self.cancelled = after, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Rig:
    """A pool, its thread and a worker, all in one, which only note what they are told."""

    fenced_seconds = 5.0

    def __init__(self) -> None:
        self.io = self
        self.told: list[str] = []
        self.killed: list[signal.Signals] = []
        self.timers: list[_Timer] = []
        learn = LearnExecutor(key="k", executor="m:f", entry_point="e")
        begin = Beginning(minimal(ExecutionSpec), 1, 1, None, None)  # type: ignore[arg-type]
        self.attempt = ProcessAttempt(cast(Pool, self), learn, begin, cast("Ref[Any]", None))
        self.attempt.worker = cast(Worker, self)

    def withdraw(self, attempt: ProcessAttempt) -> bool:
        return False

    def post(self, call: Any, *args: Any) -> None:
        call(*args)

    def later(self, after: float, call: Any) -> _Timer:
        self.timers.append(_Timer(after, call))
        return self.timers[-1]

    def tell(self, message: Message) -> None:
        assert isinstance(message, InterruptAttempt)
        self.told.append(message.how)

    def kill_attempt(self, attempt: ProcessAttempt, number: signal.Signals) -> None:
        self.killed.append(number)

    def ring(self) -> list[float]:
        """Let all the time pass; when each timer was due."""
        due = sorted((timer for timer in self.timers if not timer.cancelled), key=lambda timer: timer.after)
        for timer in due:
            timer.call()
        return [timer.after for timer in due]


def test_a_cancel_climbs_within_its_grace() -> None:
    """SIGTERM at its half, SIGKILL before its end."""
    rig = Rig()
    rig.attempt.cancel(10.0)
    assert (["cancel"], []) == (rig.told, rig.killed)
    assert [5.0, 9.0] == rig.ring()
    assert [signal.SIGTERM, signal.SIGKILL] == rig.killed


def test_a_cancel_without_grace_and_a_superseded_attempt_are_killed_at_once() -> None:
    """Nobody is asked."""
    for end in (lambda rig: rig.attempt.cancel(0.0), lambda rig: rig.attempt.supersede()):
        rig = Rig()
        end(rig)
        assert ([], [signal.SIGKILL]) == (rig.told, rig.killed)


def test_a_fenced_attempt_is_told_and_has_its_time_to_end() -> None:
    """It has just been refused, and may say so; then it is ended all the same."""
    rig = Rig()
    rig.attempt.fence()
    assert (["fence"], []) == (rig.told, rig.killed)
    assert [2.5, 4.5] == rig.ring()


def test_an_attempt_that_has_ended_is_left_alone() -> None:
    """Its worker runs somebody else's by then."""
    rig = Rig()
    rig.attempt.cancel(10.0)
    rig.attempt.ended = True
    rig.attempt.forget_timers()
    assert [] == rig.ring()
    rig.attempt.cancel(10.0)
    assert ["cancel"] == rig.told
