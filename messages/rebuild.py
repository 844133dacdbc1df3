"""Putting messages together without validating them: what this very process has encoded, and what it makes of values
that are validated already.

`decode()` validates, since bytes may come from anywhere. In the mailboxes of one process they come from `encode()`, and
validating them again was a quarter of the time of a durable execution (docs/performance.md). Here a message is put
together from its fields as they are; only what the wire spells otherwise (nested messages, payloads, pairs) is turned
back.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel

from .base import Message, Pairs, registered
from .codec import Encoded, encode_fields
from .payload import Payload
from .wire import unpack_own

__all__ = ["encoder", "rebuild", "unchecked"]

P = ParamSpec("P")
M = TypeVar("M", bound=Message)

Turn: TypeAlias = Callable[[Any], Any]

_builders: dict[str, Turn] = {}
_REQUIRED: Final = object()

# A frozen model lets nobody set its slots but through their descriptors.
_set_values, _set_given, _set_extra, _set_private = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def rebuild(data: bytes) -> Message:
    """The message in bytes that `encode()` made in this process: the reader's own copy, as `decode()` gives it.

    For other bytes use `decode()`: what they hold is not checked here.
    """
    tag, values = unpack_own(data)
    builder = _builders.get(tag)
    if builder is None:
        builder = _builders[tag] = _make_builder(registered()[tag])
    message: Message = builder(values)
    return message


def unchecked(cls: Callable[P, M]) -> Callable[P, M]:
    """A constructor of this class that validates nothing: it takes half of the time.

    For the machinery's own messages, where every value is of its own making or comes out of a message that was
    validated; what looks at the call is the type checker. Whatever comes from a user is validated. A value that is its
    field's default counts as not given, and does not travel.
    """
    defaults, put_together = _defaults(cast("type[Message]", cls)), _make_assembler(cast("type[Message]", cls))

    def make(**values: Any) -> Message:
        return put_together(values, tuple([name for name, value in values.items() if value is not defaults[name]]))

    return cast("Callable[P, M]", make)


def encoder(cls: Callable[P, Message]) -> Callable[P, Encoded]:
    """As `unchecked`, for a message that is made only to be sent: its bytes, and no object at all."""
    message = cast("type[Message]", cls)
    tag, defaults, required = message.tag, _defaults(message), _required(message)

    def make(**values: Any) -> Encoded:
        if not required <= values.keys():
            raise _incomplete(message, values)
        fields = {name: value for name, value in values.items() if value is not defaults[name]}
        return Encoded(encode_fields(tag, fields), True)

    return cast("Callable[P, Encoded]", make)


def _defaults(cls: type[Message]) -> dict[str, Any]:
    return {name: _REQUIRED if field.is_required() else field.default for name, field in cls.model_fields.items()}


def _required(cls: type[Message]) -> frozenset[str]:
    return frozenset(name for name, field in cls.model_fields.items() if field.is_required())


def _incomplete(cls: type[Message], given: Iterable[str]) -> TypeError:
    return TypeError(f"{cls.__qualname__} needs {', '.join(sorted(_required(cls).difference(given)))}")


def _make_builder(cls: type[Message]) -> Turn:
    turns = [(name, turn) for name, field in cls.model_fields.items() if (turn := _turn(field.annotation)) is not None]
    put_together = _make_assembler(cls)

    def build(values: dict[str, Any]) -> Message:
        for name, turn in turns:
            if name in values and (value := values[name]) is not None:
                values[name] = turn(value)
        return put_together(values, tuple(values))

    return build


def _make_assembler(cls: type[Message]) -> Callable[[dict[str, Any], tuple[str, ...]], Message]:
    """A function that makes a message of values as they are, of which these fields count as given."""
    template = {name: None if field.is_required() else field.default for name, field in cls.model_fields.items()}
    new, required = cls.__new__, _required(cls)
    # Which fields were given: one set for all messages that were given the same, as nobody changes it.
    known: dict[tuple[str, ...], set[str]] = {}

    def put_together(values: dict[str, Any], names: tuple[str, ...]) -> Message:
        given = known.get(names)
        if given is None:
            if not required.issubset(names):
                raise _incomplete(cls, names)
            given = known.setdefault(names, set(names))
        message = new(cls)
        _set_values(message, template | values)  # the template keeps the order of the fields
        _set_given(message, given)
        _set_extra(message, None)
        _set_private(message, None)
        return message

    return put_together


def _turn(annotation: Any) -> Turn | None:
    """How a value of this type comes back from the wire; None for one that is there as it was."""
    if annotation is Payload:
        return Payload
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Pairs or origin is Pairs:
        return _turn_pairs(arguments)
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return _make_builder(annotation)
    if origin is tuple:
        return _turn_tuple(arguments)
    if origin in (typing.Union, types.UnionType):
        return _turn_union([argument for argument in arguments if argument is not types.NoneType])
    return None


def _turn_pairs(arguments: tuple[Any, ...]) -> Turn:
    each = _turn(arguments[0]) if arguments else None
    return Pairs if each is None else lambda pairs: Pairs(tuple((key, each(value)) for key, value in pairs))


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
