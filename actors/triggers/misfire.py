"""What a timer does at a moment: fire, wait, or leave out what it has missed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from .schedule import Misfire, Schedule

__all__ = ["LATE", "SETTLE", "Fire", "Over", "Skip", "Wait", "look"]

LATE: Final = timedelta(seconds=60)
"""A firing that is later than this was missed, though the stream was open: the machine slept, or the clock jumped."""

SETTLE: Final = timedelta(seconds=0.5)
"""How old a missed firing must be before it is left out: another runtime may be at it just now."""


@dataclass(frozen=True, slots=True)
class Fire:
    """Start the execution of this time."""

    due: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do before this time."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave out the firings from `first` to `last`; go on with `next`."""

    first: datetime
    last: datetime
    next: datetime | None


@dataclass(frozen=True, slots=True)
class Over:
    """It never fires again."""


Decision: TypeAlias = Fire | Wait | Skip | Over


def look(
    schedule: Schedule, misfire: Misfire, due: datetime | None, began: datetime, opened: datetime, now: datetime
) -> Decision:
    """What to do about the firing that is next.

    It was missed when its time came before the stream was `opened`, or when it is later than `LATE`. Then `misfire`
    decides: `all` fires each, the oldest first; `once` the last of them; `skip` none.
    """
    if due is None:
        return Over()
    if now < due:
        return Wait(due)
    missed_until = max(opened - timedelta(microseconds=1), now - LATE)
    if misfire == "all" or due > missed_until:
        return Fire(due)
    last = schedule.latest(missed_until, due, began)
    if misfire == "once":
        if last == due:
            return Fire(due)
        return Skip(due, _before(schedule, last, due, began), last)
    if now - last < SETTLE:
        return Wait(last + SETTLE)
    return Skip(due, last, schedule.after(last, began))


def _before(schedule: Schedule, last: datetime, due: datetime, began: datetime) -> datetime:
    return schedule.latest(last - timedelta(microseconds=1), due, began)
