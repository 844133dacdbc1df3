"""Decoding what this very process has encoded: the fields were validated when the message was made.

`decode()` validates, since bytes may come from anywhere. In the mailboxes of one process they come from `encode()`, and
validating them again was a quarter of the time of a durable execution (docs/performance.md). Here a message is put
together from its fields as they are; only what the wire spells otherwise (nested messages, payloads, pairs) is turned
back.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Final, TypeAlias, get_args, get_origin

from .base import Message, Pairs, registered
from .payload import Payload
from .wire import unpack_fields

__all__ = ["rebuild"]

Turn: TypeAlias = Callable[[Any], Any]

_builders: dict[str, Turn] = {}
_set: Final = object.__setattr__


def rebuild(data: bytes) -> Message:
    """The message in bytes that `encode()` made in this process: the reader's own copy, as `decode()` gives it.

    For other bytes use `decode()`: what they hold is not checked here.
    """
    tag, values = unpack_fields(data)
    builder = _builders.get(tag)
    if builder is None:
        builder = _builders[tag] = _make_builder(registered()[tag])
    message: Message = builder(values)
    return message


def _make_builder(cls: type[Message]) -> Turn:
    template = {name: None if field.is_required() else field.default for name, field in cls.model_fields.items()}
    turns = [(name, turn) for name, field in cls.model_fields.items() if (turn := _turn(field.annotation)) is not None]

    def build(values: dict[str, Any]) -> Message:
        for name, turn in turns:
            value = values.get(name)
            if value is not None:
                values[name] = turn(value)
        message = cls.__new__(cls)
        _set(message, "__dict__", template | values)  # the template keeps the order of the fields
        _set(message, "__pydantic_fields_set__", set(values))
        _set(message, "__pydantic_extra__", None)
        _set(message, "__pydantic_private__", None)
        return message

    return build


def _turn(annotation: Any) -> Turn | None:
    """How a value of this type comes back from the wire; None for one that is there as it was."""
    if annotation is Payload:
        return Payload
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Pairs or origin is Pairs:
        return Pairs
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return _make_builder(annotation)
    if origin is tuple:
        return _turn_tuple(arguments)
    if origin in (typing.Union, types.UnionType):
        return _turn_union([argument for argument in arguments if argument is not types.NoneType])
    return None


def _turn_tuple(arguments: tuple[Any, ...]) -> Turn | None:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each = _turn(arguments[0])
        return None if each is None else lambda values: tuple(map(each, values))
    turns = [_turn(argument) for argument in arguments]
    if not any(turns):
        return None
    return lambda values: tuple(
        value if turn is None else turn(value) for turn, value in zip(turns, values, strict=True)
    )


def _turn_union(arguments: list[Any]) -> Turn | None:
    turns = [_turn(argument) for argument in arguments]
    if len(turns) == 1:
        return turns[0]
    if any(turns):
        raise TypeError(f"the wire cannot tell the members of {arguments} apart; give them fields of their own")
    return None
