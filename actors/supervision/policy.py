"""What to do after an execution's attempt failed: a pure decision over frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from propolis.messages import Failure

from ..specs import RestartPolicy

__all__ = ["Decision", "Escalate", "History", "Restart", "Stop", "StopReason", "decide"]

StopReason: TypeAlias = Literal["temporary", "not_retryable", "exhausted", "deadline"]

# Codes of failures that are the runtime's: no restart here helps, and none should be charged for it.
_NOT_ITS_OWN = frozenset({"lease_lost", "store_corrupt", "store_too_new"})


@dataclass(frozen=True, slots=True)
class Restart:
    """Run it again in `after` seconds; 0.0 is at once."""

    after: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Let it end as failed. After `exhausted` the caller quarantines it.

    `temporary`: the policy has no restarts. `not_retryable`: this failure would come back. `exhausted`: no restart is
    left. `deadline`: a restart would come after it.
    """

    reason: StopReason


@dataclass(frozen=True, slots=True)
class Escalate:
    """Not to be decided here: hand `reason` to the supervisor above, which knows what is true of its own state."""

    reason: str


Decision: TypeAlias = Restart | Stop | Escalate


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What there is to know of an execution beside its failure.

    `restarts` so far, from the store (attempts lost with their runtime are not among them). `draw` is a random number
    from 0 to 1 for the jitter. `deadline` is on the same clock as `now`: whichever of the execution's own deadline
    and its total_timeout comes first.
    """

    restarts: int = 0
    draw: float = 0.5
    deadline: float | None = None


def decide(policy: RestartPolicy, history: History, failure: Failure, now: float) -> Decision:
    """Restart, stop or escalate. Pure; `failure.retryable` was judged beside the live exception.

    `Escalate` is for a failure that says that the lease or the store is gone. All that is known of it here is what an
    executor raised, so whoever hears it looks for itself before it believes it, and otherwise lets the execution end
    as failed.
    """
    if failure.code in _NOT_ITS_OWN:
        return Escalate(failure.code)
    if policy.strategy == "temporary":
        return Stop("temporary")
    if not failure.retryable:
        return Stop("not_retryable")
    if history.restarts >= policy.max_restarts:
        return Stop("exhausted")
    after = policy.backoff.delay(history.restarts + 1, history.draw)
    if history.deadline is not None and now + after >= history.deadline:
        return Stop("deadline")
    return Restart(after)
