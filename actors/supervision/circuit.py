"""A stream's circuit: refuses new work while executions fail faster than the stream's policy bears. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ..specs import StreamPolicy

__all__ = ["Admit", "Circuit", "Position"]

Position: TypeAlias = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Admit:
    """Whether a new execution may come in, and the circuit from here on.

    `trial`: it is the one that a half-open circuit lets through; its end, whichever it is, has to be told to the
    circuit. `retry_after`: seconds until it is worth asking again; 0.0 when allowed.
    """

    circuit: Circuit
    allowed: bool
    retry_after: float = 0.0
    trial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Where a circuit stands. Every method gives a new one; `now` is monotonic seconds.

        closed ──more than max_failures within the window──► open ──after the wait──► half_open (one trial)
          ▲                                                   ▲                          │   │
          └───────────────────────── success ─────────────────┼──────────────────────────┘   │
                                                              └── failure: a longer wait ────┘

    Executions that were admitted before it opened still end while it is open: that changes nothing. While it is half
    open their end counts as the trial's, since it says as much about what they all call.
    """

    state: Position = "closed"
    failures: tuple[float, ...] = ()
    """When executions failed, oldest first; those in the window at the last failure."""
    opened_at: float | None = None
    opened: int = 0
    """How often it has opened since it was last closed."""
    wait: float = 0.0
    """Seconds from opened_at to the trial."""
    trial: bool = False
    """Half open, and the trial is under way."""

    def on_failure(self, policy: StreamPolicy, now: float) -> Circuit:
        """An execution has failed for good."""
        if self.state == "open":
            return self
        if self.state == "half_open":
            return self._open(policy, now, self.failures)
        failures = (*(then for then in self.failures if now - then <= policy.within), now)
        if len(failures) > policy.max_failures:
            return self._open(policy, now, failures)
        return replace(self, failures=failures)

    def on_success(self, now: float) -> Circuit:
        """An execution has completed. Closes a half-open circuit and forgets what it held; else changes nothing."""
        return Circuit() if self.state == "half_open" else self

    def on_abandoned(self) -> Circuit:
        """The trial ended without telling anything (cancelled, paused, parked, not accepted): the next is the trial."""
        return replace(self, trial=False) if self.trial else self

    def admit(self, now: float) -> Admit:
        """May a new execution come in? A half-open circuit lets exactly one in until that one has ended."""
        if self.state == "closed":
            return Admit(self, allowed=True)
        if self.state == "half_open" and self.trial:
            return Admit(self, allowed=False, retry_after=self.wait)  # no telling how long the trial takes
        if (remaining := self.retry_after(now)) > 0.0:
            return Admit(self, allowed=False, retry_after=remaining)
        return Admit(replace(self, state="half_open", trial=True), allowed=True, trial=True)

    def retry_after(self, now: float) -> float:
        """Seconds until an open circuit lets a trial through; 0.0 when it is not open, or would now."""
        if self.state != "open" or self.opened_at is None:
            return 0.0
        return max(0.0, self.opened_at + self.wait - now)

    def _open(self, policy: StreamPolicy, now: float, failures: tuple[float, ...]) -> Circuit:
        try:
            wait = min(policy.open_seconds_max, policy.open_seconds * policy.factor**self.opened)
        except OverflowError:
            wait = policy.open_seconds_max
        return Circuit(state="open", failures=failures, opened_at=now, opened=self.opened + 1, wait=wait)
