"""Whose code runs here: a context variable, set where an attempt begins, which its tasks and threads inherit."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Final

from .spans import leave_span, run_below_execution

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["attempt_here", "belongs_to", "ids_here", "ids_of"]

_here: Final[contextvars.ContextVar[Attempt | None]] = contextvars.ContextVar("propolis_attempt", default=None)


def attempt_here() -> Attempt | None:
    """The attempt whose code calls this; None outside of one, and on a thread that was started without its context."""
    return _here.get()


def ids_here() -> dict[str, str] | None:
    """The ids of the execution whose code calls this."""
    attempt = _here.get()
    return None if attempt is None else ids_of(attempt)


def ids_of(attempt: Attempt) -> dict[str, str]:
    """What a logging record says of the execution that it comes from."""
    spec = attempt.begin.spec
    return {
        "stream_id": spec.stream_id,
        "execution_id": spec.execution_id,
        "session_id": spec.session_id,
        "correlation_id": spec.correlation_id,
    }


class belongs_to:  # noqa: N801 - it reads as a function, and as a generator it takes five times as long
    """What runs in here is code of this attempt."""

    __slots__ = ("_attempt", "_before", "_span")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __enter__(self) -> None:
        self._before = _here.get()
        _here.set(self._attempt)
        self._span = run_below_execution(self._attempt)

    def __exit__(self, *_: object) -> None:
        leave_span(self._span)
        _here.set(self._before)  # no reset(): a coroutine that is thrown away may end in another context
