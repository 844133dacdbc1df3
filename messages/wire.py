"""The one module that names msgpack: how values become bytes and come back.

Two alphabets share one set of extension codes. *Values* (what users pass) carry tuple, set, frozenset, datetime, UUID
and Decimal as extensions. *Fields* (what messages are made of) are typed, so a tuple is a plain array there, and the
extensions are the timestamp and `Payload`.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgpack
from pydantic import BaseModel

from .errors import MessageError

__all__ = ["MAX_DEPTH", "describe_refusal", "make_field_packer", "pack_value", "unpack_fields", "unpack_value"]

MAX_DEPTH: Final = 200
"""How many levels a refusal is traced down to name the culprit. What nests beyond msgpack's own limit is refused."""

MAX_MESSAGE_BYTES: Final = 1 << 30

_TUPLE, _SET, _FROZENSET, _DATETIME, _UUID, _DECIMAL = 1, 2, 3, 4, 5, 6
PAYLOAD: Final = 7

_BROKEN = (ValueError, TypeError, KeyError, struct.error, RecursionError, ArithmeticError, MemoryError)


def pack_value(value: Any) -> bytes:
    """Encode user data. Raises TypeError, ValueError or OverflowError at what it cannot carry."""
    data: bytes = msgpack.packb(value, default=_encode_special, strict_types=True)
    return data


def _encode_special(value: Any) -> Any:
    if isinstance(value, tuple):
        return msgpack.ExtType(_TUPLE, pack_value(list(value)))
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return _encode_leaf(value)


def _encode_leaf(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        code = _SET if isinstance(value, set) else _FROZENSET
        return msgpack.ExtType(code, b"".join(sorted(map(pack_value, value))))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("cannot carry a datetime without a time zone; use datetime.now(UTC)")
        return msgpack.ExtType(_DATETIME, value.isoformat().encode())
    if isinstance(value, UUID):
        return msgpack.ExtType(_UUID, value.bytes)
    if isinstance(value, Decimal):
        return msgpack.ExtType(_DECIMAL, str(value).encode())
    for base in (bool, int, float, str, bytes, dict, list):  # a subclass travels as what it extends
        if isinstance(value, base):
            return base(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot carry a {type(value)}")


def unpack_value(data: bytes) -> Any:
    """Decode user data to objects of the reader's own. Raises MessageError."""
    return _unpack(data, _decode_value, use_list=True)


def _decode_value(code: int, data: bytes) -> Any:
    match code:
        case 1:
            return tuple(unpack_value(data))
        case 2 | 3:
            unpacker = msgpack.Unpacker(ext_hook=_decode_value, strict_map_key=False, max_buffer_size=len(data) or 1)
            unpacker.feed(data)
            items = set(unpacker)
            if unpacker.tell() != len(data):
                raise ValueError("a set is truncated")
            return items if code == _SET else frozenset(items)
        case 4:
            return datetime.fromisoformat(data.decode())
        case 5:
            return UUID(bytes=data)
        case 6:
            return Decimal(data.decode())
        case _:
            raise ValueError(f"unknown extension type {code}")


def make_field_packer(default: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """The encoder of messages: tuples are arrays, aware datetimes are timestamps, `default` does the rest."""

    def pack(value: Any) -> bytes:
        data: bytes = msgpack.packb(value, default=default, datetime=True)
        return data

    return pack


def ext(code: int, data: bytes) -> Any:
    """An extension value, for a packer's `default`."""
    return msgpack.ExtType(code, data)


def unpack_fields(data: bytes, ext_hook: Callable[[int, bytes], Any]) -> Any:
    """Decode what a field packer made. Raises MessageError."""
    return _unpack(data, ext_hook, use_list=False)


def _unpack(data: bytes, ext_hook: Callable[[int, bytes], Any], *, use_list: bool) -> Any:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(reason="too_large", detail=f"{len(data)} bytes")
    try:
        return msgpack.unpackb(data, ext_hook=ext_hook, use_list=use_list, strict_map_key=False, timestamp=3)
    except MessageError:
        raise
    except msgpack.ExtraData as error:
        raise MessageError(reason="trailing_bytes", detail=f"{len(error.extra)} bytes too many") from None
    except (msgpack.StackError, RecursionError):
        raise MessageError(reason="too_deep", detail="nested too deep to decode") from None
    except _BROKEN as error:
        reason = "truncated" if _is_truncated(data) else "not_a_message"
        raise MessageError(reason=reason, detail=f"{type(error).__name__}: {error}") from None


def _is_truncated(data: bytes) -> bool:
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=len(data) or 1)
    unpacker.feed(data)
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        return True
    except _BROKEN:
        return False
    return False


def describe_refusal(value: Any, path: str, error: BaseException) -> tuple[str, str]:
    """Where in `value` the thing is that `pack_value` refused, and why. Only runs after a refusal, so it may be slow."""
    depth = 0
    while depth < MAX_DEPTH:
        for step, child in _children(value):
            try:
                pack_value(child)
            except (TypeError, ValueError, OverflowError, RecursionError) as inner:
                value, path, error, depth = child, path + step, inner, depth + 1
                break
        else:
            break
    if isinstance(error, OverflowError):
        return path, "cannot carry an integer of more than 64 bits; pass it as a string"
    if isinstance(error, UnicodeEncodeError):
        return path, "cannot carry a string that is not valid Unicode"
    if depth >= MAX_DEPTH or isinstance(error, (RecursionError, ValueError)):
        return path[:200], "nests too deep, or contains itself"
    return path, str(error)


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        return [(f".{name}", child) for name, child in value.model_dump().items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        keys = [(f".<key {key!r}>", key) for key in value]
        return keys + [(f".{key}" if isinstance(key, str) else f"[{key!r}]", child) for key, child in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", child) for index, child in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [("{item}", child) for child in value]
    return []
