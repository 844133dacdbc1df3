"""How many workers a pool wants. Pure."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Count", "retry_seconds", "to_start"]

_FIRST_RETRY_SECONDS = 5.0
_LAST_RETRY_SECONDS = 300.0


class Count(NamedTuple):
    """A pool at one moment."""

    busy: int
    idle: int
    starting: int
    queued: int


def to_start(count: Count, *, workers: int, warm: int, at_once: int, shy: bool) -> int:
    """How many workers to start now.

    Wanted are as many as can run at the same time, and `warm` more that are ready when one of them dies. At most
    `at_once` start at the same time: each takes a processor for a while. `shy`: the last one died before it was
    ready; then only as many as there is work for, one at a time.
    """
    needed = min(workers, count.busy + count.queued)
    if shy:
        missing = needed - count.busy - count.idle - count.starting
        return max(0, min(missing, 1 - count.starting))
    missing = needed + warm - count.busy - count.idle - count.starting
    return max(0, min(missing, at_once - count.starting))


def retry_seconds(stillborn: int) -> float:
    """When a pool that is shy starts spares again: so many have died, one after another, before they were ready.

    What killed one may have been for a moment; without spares a restart would take as long as a start for ever.
    """
    return min(_LAST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(stillborn - 1, 10))
