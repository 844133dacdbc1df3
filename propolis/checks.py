"""What is wrong with an argument is said in the caller's thread, by its name; no actor ever sees it."""

from __future__ import annotations

import _thread
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from propolis.messages import InvalidInput, is_unicode

__all__ = ["flag", "moment", "one_of", "real_threads", "seconds", "text", "whole"]

GREATEST = 2**63 - 1
"""What a column of the store holds."""


def text(what: str, value: Any) -> str:
    """A str that can be written down. Raises InvalidInput."""
    if not isinstance(value, str):
        raise _refused(what, value, "str")
    if not is_unicode(value):
        raise InvalidInput(what=what, reason=f"{value!r:.200} is not valid Unicode", remedy="Pass text.")
    return value


def flag(what: str, value: Any) -> bool:
    """True or False, and nothing that is like them. Raises InvalidInput."""
    if not isinstance(value, bool):
        raise _refused(what, value, "bool")
    return value


def whole(what: str, value: Any, least: int = -GREATEST) -> int:
    """A whole number of 64 bits. Raises InvalidInput."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refused(what, value, "int")
    if not least <= value <= GREATEST:
        raise InvalidInput(what=what, reason=f"it is not from {least} to {GREATEST}", remedy="Pass one that is.")
    return value


def seconds(what: str, value: Any) -> float | None:
    """Seconds, 0 or more; None for no limit. Raises InvalidInput."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < float("inf"):
        raise InvalidInput(
            what=what, reason=f"{value!r:.200} is no number of seconds", remedy="Pass seconds, 0 or more."
        )
    try:
        return float(value)
    except OverflowError:
        raise InvalidInput(what=what, reason="it is more than a float holds", remedy="Pass None for ever.") from None


def moment(what: str, value: Any) -> datetime:
    """An aware datetime. Raises InvalidInput."""
    if not isinstance(value, datetime):
        raise _refused(what, value, "datetime")
    if value.utcoffset() is None:
        raise InvalidInput(what=what, reason="it has no time zone", remedy="Pass an aware datetime.")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(
            what=what, reason=f"{value} is out of range in UTC", remedy="Pass one that is not."
        ) from None
    return value


def one_of(what: str, value: Any, words: Iterable[str]) -> Any:
    """One of these words, or None. Raises InvalidInput."""
    known = tuple(words)
    if value is not None and value not in known:
        raise InvalidInput(what=what, reason=f"{value!r:.200} is none", remedy=f"Pass one of {', '.join(known)}.")
    return value


def real_threads() -> None:
    """Threads are the system's. With green ones, all on one thread, a runtime would wait for itself for ever, without a
    word. (Debuggers replace the function too, and start threads.) Raises InvalidInput.
    """
    library = str(getattr(_thread.start_new_thread, "__module__", None)).partition(".")[0]
    if library in ("gevent", "eventlet"):
        raise InvalidInput(
            what="Runtime",
            reason=f"{library} has replaced the threads of this process by its own, which share one",
            remedy=f"Start it in a process that {library} has not patched, such as one of gunicorn's gthread workers.",
        )


def _refused(what: str, value: Any, wanted: str) -> InvalidInput:
    return InvalidInput(what=what, reason=f"{value!r:.200} is no {wanted}", remedy="Pass one.")
