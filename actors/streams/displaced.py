"""The part of an ExecutionActor that hears of attempts which ended with what they ran on, and not by themselves."""

from __future__ import annotations

from propolis.messages import AttemptGivenUp, Failure

from .endings import draft
from .interrupting import limit_failure
from .life import WAITING
from .obeying import Obeying

__all__ = ["Displaced"]

MAX_LOST_ATTEMPTS = 10
"""Attempts in a row that may be lost with what ran them before nobody tries again (section 5)."""


class Displaced(Obeying):
    """Charges whoever blocked an event loop, and runs again, at no charge, whoever was on it too."""

    def attempt_given_up(self, message: AttemptGivenUp) -> None:
        """The loop under the running attempt was blocked and has been given up; the attempt is fenced off."""
        life = self._life
        if message.epoch != life.state.epoch or not life.executing or life.detached:
            return
        if message.failure is not None and life.cancel is not None:
            self.detach()  # it still runs, and nobody can stop it
            return
        life.launched = None
        self.attempt_began = self.last_sign = None
        if life.phase in WAITING:  # it waits on, without its stack
            return
        passed = self.passed
        if passed is not None and (message.failure is not None or not passed.retryable):
            self.has_failed(limit_failure(passed))
        elif message.failure is not None:
            self.has_failed(message.failure)
        else:
            self._run_again(counted=message.counted)

    def _run_again(self, *, counted: bool) -> None:
        """Uncharged. Counted as lost when no execution is charged in its place: somebody has to run out of tries."""
        life = self._life
        self.passed = None  # an attempt's own limit: the time went by while it could not run
        if self.settle_early():
            return
        before = life.state
        if counted:
            life.state = before.model_copy(update={"lost_attempts": before.lost_attempts + 1})
        if self.too_often_lost():
            self.end_as_lost()
            return
        life.phase = "writing"
        life.state = self.running_state(restarts=before.restarts, counted=True)
        data = {"attempt": life.state.attempt, "charged": False, "error": "another blocked its event loop"}
        self.advance(before.epoch, self.host.now(), (draft("execution_restarted", data),), lambda _: self.launch())

    def launch(self) -> None:
        """Begin the attempt that has been counted."""
        raise AssertionError("the ExecutionActor launches")

    def too_often_lost(self) -> bool:
        """Whether nobody is to try again."""
        return self._life.state.lost_attempts >= MAX_LOST_ATTEMPTS

    def end_as_lost(self) -> None:
        """Quarantine it."""
        message = f"{self._life.state.lost_attempts} attempts in a row were lost with the process or loop that ran them"
        failure = Failure(kind="AttemptsLost", message=message, code="attempts_lost", retryable=False)
        self.finish("failed", failure=failure, quarantined=True)
