"""`log_context()`: every logging record that code of an execution writes says which execution that is."""

from __future__ import annotations

import logging
from typing import Final

from propolis.actors import ids_here
from propolis.messages import InvalidInput

__all__ = ["LogContext", "log_context"]

_FIELDS: Final = ("stream_id", "execution_id", "session_id", "correlation_id")


class LogContext(logging.Filter):
    """Lets every record pass, and gives it `stream_id`, `execution_id`, `session_id` and `correlation_id`: of the
    execution whose code has logged it, else None. What a record has already stays.

    A filter, and no record factory: with that, a library that passes an `extra` of one of those names would fail.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """On the thread that logs."""
        ids = ids_here() or {}
        for name in _FIELDS:
            if name not in record.__dict__:
                setattr(record, name, ids.get(name))
        return True


def log_context(*handlers: logging.Handler) -> LogContext:
    """Add a `LogContext` to these handlers; without any, to those that the root logger has now.

    Then `%(execution_id)s` may stand in their formats, whichever library writes the record: in an `async` executor, its
    tasks and `asyncio.to_thread`, on the thread of a blocking one, and in a worker process (called there, by the module
    of the executor as it is imported). Not on threads that are started bare: those have no context. Nothing calls this
    by itself. `handler.removeFilter()` takes it off; a handler that has one keeps that.

    Raises:
        InvalidInput: there is no handler.
    """
    chosen = handlers or tuple(logging.getLogger().handlers)
    if not chosen:
        reason, remedy = (
            "the root logger has no handler yet",
            "Call logging.basicConfig() first, or pass your handlers.",
        )
        raise InvalidInput(what="log_context", reason=reason, remedy=remedy)
    for handler in chosen:
        if not isinstance(handler, logging.Handler):
            raise InvalidInput(what="log_context", reason=f"{handler!r:.200} is no logging.Handler", remedy="Pass one.")
    context = LogContext()
    for handler in chosen:
        if not any(isinstance(known, LogContext) for known in handler.filters):
            handler.addFilter(context)
    return context
