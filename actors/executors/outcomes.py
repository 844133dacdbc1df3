"""How the outcome of a step is written down, and what it is when it is read back. Pure."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from propolis.messages import (
    Failure,
    InvalidInput,
    MessageError,
    Payload,
    PropolisError,
    RecordedStep,
    StepFailed,
    name_of,
)

__all__ = ["Done", "causes", "digest_of", "failure_of", "outcome_of"]

R = TypeVar("R")

_DIGEST_BYTES: Final = 16
_ARGS_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """What a reconcile function returns for a step in doubt that did take effect: what the step would have given."""

    value: R


def digest_of(args: tuple[Any, ...]) -> bytes:
    """A digest of a step's arguments. What cannot be encoded (a client, a lock) counts by its type."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for arg in args:
        try:
            data = _in_order(Payload.of(arg))
        except InvalidInput:
            kind = type(arg)
            data = f"{kind.__module__}.{kind.__qualname__}".encode("utf-8", "replace")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


def _in_order(payload: Payload) -> bytes:
    """Bytes that are the same for equal values: a dict counts without its order, and a set, whose strings another
    process has in another one.
    """
    try:
        return _bytes_of(payload.value())
    except (MessageError, RecursionError):  # it nests as deep as it may
        return payload.data


def _bytes_of(value: Any) -> bytes:
    parts: list[bytes]
    match value:
        case dict():
            parts = sorted(_bytes_of(key) + _bytes_of(inner) for key, inner in value.items())
        case set() | frozenset():
            parts = sorted(map(_bytes_of, value))
        case list() | tuple():
            parts = [_bytes_of(inner) for inner in value]
        case _:
            return Payload.of(value).data
    return Payload.of([type(value).__name__, parts]).data


def outcome_of(execution_id: str, step: RecordedStep) -> Any:
    """What a recorded step gave: its value, or the exception that it raised."""
    if step.status == "failed":
        assert step.failure is not None
        raise _error_of(execution_id, step.name, step.failure)
    return None if step.value is None else step.value.value()


def failure_of(error: Exception) -> Failure:
    """An exception of a step, with its arguments where they can be carried."""
    failure = Failure.of(error)
    if failure.details is not None:
        return failure
    try:
        return failure.model_copy(update={"details": Payload.of(list(error.args), "args", _ARGS_BYTES)})
    except Exception:  # noqa: BLE001 - whatever it was raised with
        return failure


def _error_of(execution_id: str, name: str, failure: Failure) -> BaseException:
    """An exception as the one that was recorded: of the same class, where that is loaded; else a StepFailed.

    No class is imported for it, and its own `__init__` is not called: it has the words of the first one.
    """
    reason = f"{failure.kind}: {failure.message}"
    unknown = StepFailed(execution_id=execution_id, step=name, reason=reason)
    if failure.code in PropolisError.by_code:
        return failure.to_error()
    kind = _loaded(failure.kind)
    if kind is None:
        return unknown
    try:
        args = (failure.message,) if failure.details is None else tuple(failure.details.value())
        error = kind.__new__(kind, *args)
        error.args = args
        str(error)
    except Exception:  # noqa: BLE001 - a class of the user's, with any __new__ and __str__
        return unknown
    error.__cause__ = unknown
    return error


def _loaded(kind: str) -> type[Exception] | None:
    """The one class of exceptions of that name; None when there is none, or several to choose from."""
    builtin = getattr(builtins, kind, None)
    if isinstance(builtin, type) and issubclass(builtin, Exception):
        return builtin
    found = {each for each in _subclasses(Exception) if name_of(each) == kind}  # a metaclass has no say in it
    return found.pop() if len(found) == 1 else None


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in type.__subclasses__(kind):
        yield each
        yield from _subclasses(each)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from or while handling, and what is in it when it is a group."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        within: Iterable[BaseException] = each.exceptions if issubclass(type(each), BaseExceptionGroup) else ()  # type: ignore[attr-defined]
        waiting += [*filter(None, (each.__cause__, each.__context__)), *within]
