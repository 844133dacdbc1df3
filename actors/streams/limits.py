"""Which time limit of an execution comes next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from propolis.messages import ExecutionSpec

from ..specs import EntryPoint

__all__ = ["Limit", "LimitName", "next_limit"]

LimitName: TypeAlias = Literal["deadline", "total_timeout", "timeout", "idle_timeout"]


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that comes first, and in how many seconds (0.0: it has passed)."""

    name: LimitName
    after: float

    @property
    def retryable(self) -> bool:
        """A limit of one attempt may be met by the next; one of the whole execution will not."""
        return self.name in ("timeout", "idle_timeout")


def next_limit(
    entry_point: EntryPoint,
    spec: ExecutionSpec,
    *,
    now: datetime,
    monotonic: float,
    attempt_began: float | None,
    last_sign: float | None,
) -> Limit | None:
    """The limit that comes first.

    `attempt_began` and `last_sign` (of life) are monotonic seconds, None while no attempt runs: then only the limits of
    the whole execution count. Deadline and total_timeout are on the wall clock, since they outlive the process.
    """
    limits: list[Limit] = []
    if spec.deadline is not None:
        limits.append(Limit("deadline", (spec.deadline - now).total_seconds()))
    if entry_point.total_timeout is not None:
        age = (now - spec.accepted_at).total_seconds()
        limits.append(Limit("total_timeout", entry_point.total_timeout - age))
    if attempt_began is not None and entry_point.timeout is not None:
        limits.append(Limit("timeout", attempt_began + entry_point.timeout - monotonic))
    if last_sign is not None and entry_point.idle_timeout is not None:
        limits.append(Limit("idle_timeout", last_sign + entry_point.idle_timeout - monotonic))
    if not limits:
        return None
    first = min(limits, key=lambda limit: limit.after)
    return Limit(first.name, max(0.0, first.after))
