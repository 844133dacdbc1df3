"""`ctx.log`: a logger whose records carry the ids of the execution, and are kept with its session."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from propolis.messages import EmitEvents, Payload, line_of

from ..core import ask
from .figures import NODE
from .whose import ids_of

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["ExecutionLog"]

_log: Final = logging.getLogger("propolis.execution")

MOST_RECORDS: Final = 1_000
"""Of one attempt that are kept; of the rest only that there is more."""

LONGEST: Final = 8_000
"""Characters of one of them."""


class ExecutionLog(logging.LoggerAdapter[logging.Logger]):
    """Logs as any adapter does; what is of `EntryPoint.log_level` or above goes into the session's log besides.

    Nobody waits for that, and it does not fail: a record of an attempt that has been superseded is dropped.
    """

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(_log, ids_of(attempt))
        self._attempt = attempt

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Any thread that the executor runs on."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # it is the caller's line that counts
        super().log(level, msg, *args, **kwargs)
        attempt = self._attempt
        least = attempt.entry_point.log_level
        if least is None or level < logging.getLevelNamesMapping()[least] or attempt.superseded or attempt.finished:
            return
        attempt.logged += 1
        if attempt.logged <= MOST_RECORDS + 1:
            more = attempt.logged > MOST_RECORDS
            text = "... and more, which is not kept" if more else _text(msg, args)
            self._keep(logging.getLevelName(level), text, _error(kwargs.get("exc_info")))

    def _keep(self, level: str, text: str, error: str | None) -> None:
        attempt, node = self._attempt, NODE.get()
        data = {"level": level, "text": text} | ({} if error is None else {"error": error})
        event = attempt.event("log_record", Payload.of(data), None if node is None else node[0])
        ask(attempt.ref, EmitEvents(epoch=attempt.begin.epoch, events=(event,)), timeout=None)


def _text(msg: object, args: tuple[object, ...]) -> str:
    try:
        text = logging.LogRecord("", 0, "", 0, msg, args, None).getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit; logging itself has said so on stderr
        text = repr(msg)
    return text[:LONGEST].encode(errors="backslashreplace").decode()


def _error(exc_info: Any) -> str | None:
    if not exc_info:
        return None
    error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        error = exc_info[1]
    if error is None:
        return None
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - its str() is a user's
        said = line_of(error, LONGEST)
    return _text(said, ())
