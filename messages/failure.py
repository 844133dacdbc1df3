"""How a failure travels and is kept: what an exception says, without the exception."""

from __future__ import annotations

import traceback
from typing import Any

from .base import Message
from .errors import InvalidInput, PropolisError, RemoteError
from .payload import Payload

__all__ = ["Failure"]

_TRACE_CHARS = 4_000


class Failure(Message, tag="failure.v1"):
    """What went wrong, wherever it did.

    `kind` is the exception's class name, `code` a stable word for programs, `retryable` was judged beside the live
    exception, `trace` is its formatted traceback (the end of it, 4,000 characters at most).
    """

    kind: str
    message: str
    code: str = "crashed"
    retryable: bool = True
    details: Payload | None = None
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException, *, code: str | None = None, retryable: bool | None = None) -> Failure:
        """Describe a live exception. Never raises, whatever the exception's own methods do."""
        details = None
        ours = isinstance(error, PropolisError)
        if ours:
            try:
                details = Payload.of(error.details(), "details")
            except InvalidInput:
                details = None
        return cls(
            kind=type(error).__name__,
            message=_clean(_text_of(error)),
            code=code or (error.code if isinstance(error, PropolisError) else "crashed"),
            retryable=(error.retryable if isinstance(error, PropolisError) else True)
            if retryable is None
            else retryable,
            details=details,
            trace=_clean(_trace_of(error))[-_TRACE_CHARS:],
        )

    def to_error(self) -> PropolisError:
        """An exception to raise: the leaf of the family that this was made from, else a `RemoteError`."""
        leaf = PropolisError.by_code.get(self.code)
        if leaf is not None and self.details is not None:
            try:
                values: dict[str, Any] = self.details.value()
                return leaf(**values)
            except (TypeError, PropolisError):
                pass  # written by another version of that class: the words are kept below
        return RemoteError(kind=self.kind, message=self.message, remote_code=self.code)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as inner:  # noqa: BLE001 - a user's __str__ may do anything
        return f"<{type(error).__name__} whose str() raised {type(inner).__name__}>"


def _trace_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001 - formatting calls user code (str, repr) as well
        return ""


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
