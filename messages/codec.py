"""Messages to bytes and back: a tag and the fields, `[tag, {field: value}]`.

A class is found by its tag in the registry that defining it filled, never imported by a name found in data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from pydantic import ValidationError

from .base import _TAG, Message, Pairs, registered
from .errors import MessageError
from .payload import FROM_WIRE, Payload
from .text import line_of
from .wire import make_field_packer, unpack_fields, unpack_own

__all__ = ["Encoded", "Upcaster", "decode", "decode_as", "encode", "encode_fields", "fields_of", "upcaster"]

M = TypeVar("M", bound=Message)
Upcaster: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

_SCALARS: Final = (bool, int, float, str, bytes, type(None))
_registry: Final = registered()
_upcasters: dict[str, tuple[str, Upcaster]] = {}


class Encoded(NamedTuple):
    """A message that is bytes already. Sent, replied and stored as it is, never encoded again."""

    data: bytes
    ours: bool = False
    """This process encoded it: the reader need not validate it."""


def _encode_special(value: Any) -> Any:
    if type(value) is Payload:
        return value.data
    if isinstance(value, Message):
        return _fields(value)
    if isinstance(value, Pairs):
        return value.items_
    raise TypeError(f"a message cannot carry a {type(value)}")


def _fields(message: Message) -> dict[str, Any]:
    # what was left at its default does not travel: half the bytes, a third of the time of encode + decode
    given = message.__pydantic_fields_set__
    return {name: value for name, value in message.__dict__.items() if name in given}


_pack: Final = make_field_packer(_encode_special)


def encode(message: Message | Encoded) -> bytes:
    """The bytes of a message; of one that is bytes already, those.

    Raises:
        MessageError: it is no message, has no tag, or holds what cannot travel (an integer of over 64 bits, say).
    """
    if type(message) is Encoded:
        return message.data
    if not isinstance(message, Message) or not message.tag:
        raise MessageError(reason="not_a_message", detail=f"{type(message)} is no Message with a tag")
    return encode_fields(message.tag, _fields(message))


def encode_fields(tag: str, fields: dict[str, Any]) -> bytes:
    """The bytes of the message with this tag and these fields, which need no check. Raises MessageError."""
    try:
        return _pack((tag, fields))
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(reason="not_encodable", tag=tag, detail=str(error)) from None


def fields_of(data: bytes) -> dict[str, Any]:
    """The fields of a message in bytes that `encode()` made in this process, as they travel: those that were given."""
    fields: dict[str, Any] = unpack_own(data)[1]
    return fields


def decode(data: bytes) -> Message:
    """The message in these bytes, validated, the reader's own copy.

    Raises:
        MessageError: and nothing else, whatever the bytes are.
    """
    envelope = unpack_fields(data)
    if not (type(envelope) is tuple and len(envelope) == 2 and type(envelope[0]) is str and type(envelope[1]) is dict):
        raise MessageError(reason="not_a_message", detail="the bytes hold no [tag, fields]")
    tag, values = envelope
    cls = _registry.get(tag)
    if cls is None:
        cls, values = _upcast(tag, values)
    try:
        # validate_python on the class's own validator: model_validate() costs another 0.4 us a message
        message: Message = cls.__pydantic_validator__.validate_python(values, context=FROM_WIRE)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise MessageError(reason="invalid_fields", tag=tag, detail=f"{where}: {first['msg']}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(reason="invalid_fields", tag=tag, detail=str(error)) from None
    return message


def decode_as(cls: type[M], data: bytes) -> M:
    """The message of this class in these bytes. Raises MessageError, also when it is another."""
    message = decode(data)
    if not isinstance(message, cls):
        raise MessageError(reason="not_a_message", tag=message.tag, detail=f"it should be a {cls.__name__}")
    return message


def upcaster(old: str, new: str) -> Callable[[Upcaster], Upcaster]:
    """Register how fields under the tag `old` become fields of the tag `new`. Chains: v1 to v2 to v3.

    Raises:
        TypeError: `new` is no later version of `old`, or what becomes of `old` is settled already.
    """
    before, after = _TAG.fullmatch(old), _TAG.fullmatch(new)
    if not (before and after and before[1] == after[1] and int(before[2]) < int(after[2])):
        raise TypeError(f"{new!r} is no later version of {old!r}")

    def register(function: Upcaster) -> Upcaster:
        if old in _registry:
            raise TypeError(f"{old!r} is the tag of a current message; give that a new version first")
        if old in _upcasters:
            raise TypeError(f"{old!r} has an upcaster already")
        _upcasters[old] = (new, function)
        return function

    return register


def _upcast(tag: str, values: dict[str, Any]) -> tuple[type[Message], dict[str, Any]]:
    original = tag
    while tag not in _registry:
        if tag not in _upcasters:
            raise MessageError(reason=_why_unknown(original), tag=original[:200])
        tag, function = _upcasters[tag]
        try:
            values = function(values)
        except Exception as error:  # noqa: BLE001 - fed with bytes from anywhere, it may stumble over anything
            detail = f"upcasting to {tag}: {line_of(error, 2_000)}"
            raise MessageError(reason="invalid_fields", tag=original, detail=detail) from None
    return _registry[tag], values


def _why_unknown(tag: str) -> str:
    match = _TAG.fullmatch(tag)
    if match and any(known.rpartition(".v")[0] == match[1] for known in _registry):
        return "unknown_version"
    return "unknown_tag"


def is_scalar(value: Any) -> bool:
    """Whether a reply may carry this bare, without being a message."""
    return type(value) in _SCALARS
