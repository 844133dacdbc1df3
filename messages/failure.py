"""How a failure travels and is kept: what an exception says, without the exception."""

from __future__ import annotations

import traceback
from typing import Any, cast

from .base import Message
from .errors import NonRetryable, PropolisError, RemoteError
from .payload import Payload
from .text import clean, name_of, text_of

__all__ = ["Failure"]

_TRACE_CHARS = 4_000
_DETAILS_BYTES = 64 * 1024


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
        try:
            return cls._of(error, code, retryable)
        except BaseException:  # noqa: BLE001 - a subclass of our errors may have a `code` that is no str, say
            return cls(kind=name_of(type(error)), message=text_of(error), retryable=bool(retryable))

    @classmethod
    def _of(cls, error: BaseException, code: str | None, retryable: bool | None) -> Failure:
        # by its type: isinstance() would ask the exception itself, whose __class__ may be anything
        ours = cast(PropolisError, error) if issubclass(type(error), PropolisError) else None
        if retryable is None:
            retryable = ours.retryable if ours else not _is_final(error)
        return cls(
            kind=name_of(type(error)),
            message=text_of(error),
            code=code or (ours.code if ours else "crashed"),
            retryable=retryable,
            details=_details_of(ours) if ours else None,
            trace=_trace_of(error),
        )

    def to_error(self) -> PropolisError:
        """An exception to raise: the leaf of the family that this was made from, else a `RemoteError`."""
        leaf = PropolisError.by_code.get(self.code)
        if leaf is not None and self.details is not None:
            try:
                error = leaf(**self.details.value())
                str(error)
            except Exception:  # noqa: BLE001, S110 - of another version of that class: the words are kept below
                pass
            else:
                return error
        return RemoteError(kind=self.kind, message=self.message, remote_code=self.code)


def _is_final(error: BaseException) -> bool:
    """Whether it is, or is a group with, what a user raises to be not retried."""
    if issubclass(type(error), BaseExceptionGroup):
        return cast("BaseExceptionGroup[Any]", error).subgroup(NonRetryable) is not None
    return issubclass(type(error), NonRetryable)


def _details_of(error: PropolisError) -> Payload | None:
    try:
        return Payload.of(error.details(), "details", _DETAILS_BYTES)
    except Exception:  # noqa: BLE001 - a leaf may be a user's, with any field
        return None


def _trace_of(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:  # noqa: BLE001 - formatting calls user code (str, repr) as well
        return ""
    return clean(text[-_TRACE_CHARS:])
