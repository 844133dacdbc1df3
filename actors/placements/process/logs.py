"""What user code logs in a worker goes to its runtime."""

from __future__ import annotations

import logging
import threading

from propolis.messages import ReportOutput

from ...executors import Attempt
from .line import Line

__all__ = ["LineHandler"]

_LONGEST = 8_000
"""Characters of one record that travel."""


class LineHandler(logging.Handler):
    """Sends records down the line, under the attempt at hand. What is logged between attempts is dropped."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self._here = threading.local()
        self.attempt: Attempt | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Any thread of the worker."""
        attempt = self.attempt
        if attempt is None or getattr(self._here, "busy", False):
            return
        self._here.busy = True
        try:
            text = self.format(record).encode(errors="backslashreplace").decode()
            report = ReportOutput(
                epoch=attempt.begin.epoch,
                stream="log",
                lines=(text[:_LONGEST],),
                level=record.levelname,
                logger=record.name,
            )
            self._line.send(report)
        except Exception:  # noqa: BLE001 - arguments that do not fit their format, say; logging's own way to tell
            self.handleError(record)
        finally:
            self._here.busy = False
