"""When a timer fires: pure functions of the schedule and the moment at which it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

from .cron import Cron

__all__ = ["Misfire", "Schedule"]

Misfire: TypeAlias = Literal["once", "all", "skip"]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of the four kinds. Times are aware, and in UTC on the way out."""

    kind: Literal["interval_seconds", "cron", "run_at", "delay"]
    every: timedelta | None = None
    """interval_seconds: from one firing to the next. delay: from the beginning to the only one."""
    at: datetime | None = None
    cron: Cron | None = None
    run_immediately: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Schedule:
        """From a `trigger_config` that was checked."""
        now = bool(config.get("run_immediately", False))
        if config.get("cron") is not None:
            return cls("cron", cron=Cron(config["cron"], config.get("timezone") or "UTC"), run_immediately=now)
        if config.get("run_at") is not None:
            at = config["run_at"]
            moment = datetime.fromisoformat(at) if isinstance(at, str) else at
            return cls("run_at", at=moment.astimezone(UTC), run_immediately=now)
        if config.get("delay") is not None:
            return cls("delay", every=timedelta(seconds=config["delay"]), run_immediately=now)
        return cls("interval_seconds", every=timedelta(seconds=config["interval_seconds"]), run_immediately=now)

    @property
    def shape(self) -> str:
        """The schedule as text: when this is another one, the timer begins anew."""
        match self.kind:
            case "cron":
                assert self.cron is not None
                what = f"cron {self.cron.expression} {self.cron.zone}"
            case "run_at":
                assert self.at is not None
                what = f"run_at {self.at.isoformat()}"
            case kind:
                assert self.every is not None
                what = f"{kind} {self.every / _MICROSECOND:.0f} us"
        return f"{what}, at once" if self.run_immediately else what

    def first(self, began: datetime) -> datetime | None:
        """The first firing of a timer that begins at this moment."""
        return began if self.run_immediately else self._regular(began)

    def _regular(self, began: datetime) -> datetime | None:
        match self.kind:
            case "cron":
                assert self.cron is not None
                return self.cron.after(began)
            case "run_at":
                return self.at
            case _:
                assert self.every is not None
                return began + self.every

    def after(self, due: datetime, began: datetime) -> datetime | None:
        """The firing that follows the one at `due`; None when that was the last."""
        match self.kind:
            case "cron":
                assert self.cron is not None
                return self.cron.after(due)
            case "interval_seconds":
                assert self.every is not None
                return began + ((due - began) // self.every + 1) * self.every
            case _:
                only = self._regular(began)
                return only if only is not None and due < only else None

    def latest(self, moment: datetime, due: datetime, began: datetime) -> datetime:
        """Of the firings from the one at `due` on, the last that is not after this moment (nor before `due`)."""
        match self.kind:
            case "cron":
                assert self.cron is not None
                found = self.cron.latest(moment)
            case "interval_seconds":
                assert self.every is not None
                found = began + ((moment - began) // self.every) * self.every
            case _:
                only = self._regular(began)
                found = only if only is not None and only <= moment else None
        return due if found is None else max(due, found)
