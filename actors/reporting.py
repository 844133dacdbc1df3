"""The part of the root that lets other processes see the workers of this one."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from propolis.messages import WorkerInfo, WorkersReport

__all__ = ["WorkerNews"]

EVERY_SECONDS: Final = 1.0
"""Reports are at least so far apart: each one is a commit."""


class WorkerNews:
    """Decides when there is something to report. Pure but for what it remembers; without workers it costs nothing."""

    def __init__(self) -> None:
        self._told: tuple[WorkerInfo, ...] | None = ()
        self._under = ""
        self._at = float("-inf")

    def report(
        self, runtime_id: str, workers: tuple[WorkerInfo, ...], at: datetime, monotonic: float
    ) -> WorkersReport | None:
        """What to write now, if anything: what they do has changed, and the last report is old enough."""
        if runtime_id != self._under:  # a new name, under which nothing has been reported yet
            self._told, self._under = (), runtime_id
        if workers == self._told or monotonic - self._at < EVERY_SECONDS:
            return None
        self._told, self._at = workers, monotonic
        return WorkersReport(runtime_id=runtime_id, at=at, workers=workers)

    def was_not_written(self) -> None:
        """The store was away: tell it again."""
        self._told = None
