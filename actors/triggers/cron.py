"""Cron expressions, in a time zone. What they mean is cronsim's affair, which does as Debian's cron does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

__all__ = ["Cron"]

_WINDOWS: Final = tuple(timedelta(seconds=s) for s in (120, 3 * 3_600, 3 * 86_400, 70 * 86_400, 5 * 366 * 86_400))


class Cron:
    """An expression of five fields (or six, the first being seconds) in a time zone. Pure.

    When the clocks go forward, what has a fixed hour that does not exist fires at the end of the gap, once. When they
    go back, it fires in the first of the two hours only. Expressions whose minute or hour begins with `*` follow the
    clock's real time: they lose nothing in the gap and fire in both hours.

    Source: Debian's cron(8), "daylight saving", as cronsim implements it.

    Raises:
        ValueError: it is no expression, or one that never fires; or there is no such time zone.
    """

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.expression = " ".join(expression.split())
        self.zone = zone
        try:
            self._zone = ZoneInfo(zone)
        except (ValueError, OSError, LookupError):  # what it raises depends on what is wrong with the name
            raise ValueError(f"there is no time zone {zone!r}") from None
        try:
            CronSim(self.expression, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{error} in {expression!r}") from None
        if self.after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise ValueError(f"{expression!r} never fires")

    def after(self, moment: datetime) -> datetime | None:
        """The first time after this one (aware); None when there is none within 50 years. In UTC."""
        try:
            for due in CronSim(self.expression, moment.astimezone(self._zone)):
                found = due.astimezone(UTC)
                if found > moment:  # asked within the second of two equal hours, it begins in the first
                    return found
        except OverflowError:
            return None  # the end of the calendar
        return None

    def latest(self, moment: datetime) -> datetime | None:
        """The last time that is not after this one; None when there was none within five years. In UTC.

        Found by going forward, so that it is always one of those that `after` gives.
        """
        for window in _WINDOWS:
            last, due = None, self.after(moment - window)
            while due is not None and due <= moment:
                last, due = due, self.after(due)
            if last is not None:
                return last
        return None
