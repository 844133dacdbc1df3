"""Which time limit of an execution comes next. Pure."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from propolis.messages import ExecutionSpec

from ..specs import EntryPoint

__all__ = ["Limit", "LimitName", "attempt_limit", "next_limit", "whole_limit"]

LimitName: TypeAlias = Literal["deadline", "total_timeout", "timeout", "idle_timeout"]


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that comes first, and in how many seconds (0.0: it has passed)."""

    name: LimitName
    after: float
    at: datetime | None = None
    """When, of a limit of the whole execution: by the wall clock, since it outlives the process."""

    @property
    def retryable(self) -> bool:
        """A limit of one attempt may be met by the next; one of the whole execution will not."""
        return self.name in ("timeout", "idle_timeout")


def whole_limit(entry_point: EntryPoint, spec: ExecutionSpec, now: datetime) -> Limit | None:
    """The first of those that count from acceptance to the end."""
    limits: list[Limit] = []
    if spec.deadline is not None:
        limits.append(_limit_at("deadline", spec.deadline, now))
    if entry_point.total_timeout is not None:
        with contextlib.suppress(OverflowError):  # there is no date for it, so it never comes
            until = spec.accepted_at + timedelta(seconds=entry_point.total_timeout)
            limits.append(_limit_at("total_timeout", until, now))
    return _first(*limits)


def attempt_limit(
    entry_point: EntryPoint, monotonic: float, attempt_began: float | None, last_sign: float | None
) -> Limit | None:
    """The first of those of an attempt that runs. `attempt_began` and `last_sign` (of life) are monotonic seconds, None
    while none does.
    """
    limits: list[Limit] = []
    if attempt_began is not None and entry_point.timeout is not None:
        limits.append(Limit("timeout", attempt_began + entry_point.timeout - monotonic))
    if last_sign is not None and entry_point.idle_timeout is not None:
        limits.append(Limit("idle_timeout", last_sign + entry_point.idle_timeout - monotonic))
    return _first(*limits)


def next_limit(
    entry_point: EntryPoint,
    spec: ExecutionSpec,
    *,
    now: datetime,
    monotonic: float,
    attempt_began: float | None,
    last_sign: float | None,
) -> Limit | None:
    """The one that comes first of all."""
    whole = whole_limit(entry_point, spec, now)
    return _first(whole, attempt_limit(entry_point, monotonic, attempt_began, last_sign))


def _limit_at(name: LimitName, at: datetime, now: datetime) -> Limit:
    return Limit(name, (at - now).total_seconds(), at)


def _first(*limits: Limit | None) -> Limit | None:
    first = min((limit for limit in limits if limit is not None), key=lambda limit: limit.after, default=None)
    return replace(first, after=0.0) if first is not None and first.after < 0.0 else first
