"""What user code logs in a worker goes to its runtime."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading

from propolis.messages import ReportOutput

from ...executors import Attempt
from .line import Line
from .output import MAX_LINES

__all__ = ["LineHandler"]

_LONGEST = 8_000
"""Characters of one record that travel."""


class LineHandler(logging.Handler):
    """Sends records down the line, under the attempt at hand. What is logged between attempts is dropped."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self._here = threading.local()
        self._attempt: Attempt | None = None
        self._left = 0

    def belong_to(self, attempt: Attempt | None) -> None:
        """Whose the records are from here on. An earlier execution that has set up logging anew has taken this away."""
        logging.getLogger().addHandler(self)
        self._attempt, self._left = attempt, MAX_LINES + 1  # with one more the runtime says that there are more

    def emit(self, record: logging.LogRecord) -> None:
        """Any thread of the worker."""
        attempt = self._attempt
        if not self._line.is_ours:
            with contextlib.suppress(Exception):  # forked by the executor, whose standard error it has
                sys.stderr.write(self.format(record) + "\n")
            return
        if attempt is None or self._left <= 0 or getattr(self._here, "busy", False):
            return
        self._left -= 1
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
