"""The one module that names msgpack: how values become bytes and come back.

There are two alphabets. *Values* (what users pass) carry tuple, set, frozenset, datetime, UUID and Decimal as
extensions. *Fields* (what messages are made of) are typed, so a tuple is a plain array there, a `Payload` is plain
bytes, and the one extension is msgpack's own timestamp.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import struct
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NoReturn
from uuid import UUID

import msgpack
from pydantic import BaseModel

from .errors import MessageError
from .text import line_of, text_of

__all__ = [
    "describe_refusal",
    "join_map",
    "make_field_packer",
    "pack_value",
    "split_map",
    "unpack_fields",
    "unpack_own",
    "unpack_value",
]

MAX_MESSAGE_BYTES: Final = 1 << 30
MAX_COLLECTIONS: Final = 16
"""How many tuples and sets may stand inside one another (lists and dicts apart, which msgpack bounds itself).

Each is an extension with bytes of its own, and msgpack takes 40 KiB of C stack to read one: 200 of them, from a user
or in forged bytes, end the process with a segmentation fault on the usual 8 MiB (tried).
"""
KEPT_BYTES: Final = 1 << 20
"""A packer that has made more at once is not used again."""
MAX_DEPTH: Final = 1024
"""How far a refusal is traced down to name the culprit: as far as msgpack itself goes (511 before its 1.2)."""

_TUPLE, _SET, _FROZENSET, _DATETIME, _UUID, _DECIMAL = 1, 2, 3, 4, 5, 6

_COLLECTIONS: Final[dict[int, Callable[[Any], Any]]] = {_TUPLE: tuple, _SET: set, _FROZENSET: frozenset}
_NATIVE: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict})
# A subclass travels as what it extends. The base's own conversion, as str() of a subclass may show "***" instead.
_BASES: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, bytes),
)

_BROKEN = (ValueError, TypeError, KeyError, struct.error, RecursionError, ArithmeticError, MemoryError)


class TooDeep(ValueError):
    """More than MAX_COLLECTIONS tuples and sets inside one another."""

    def __init__(self) -> None:
        super().__init__(f"nests more than {MAX_COLLECTIONS} tuples and sets in one another; use lists")


def pack_value(value: Any) -> bytes:
    """Encode user data. Raises what the value's own code raises, and TypeError, ValueError, OverflowError."""
    try:
        return _pack_plain(value)
    except Exception:  # noqa: BLE001 - there is more in it than plain values, or it cannot be encoded: as is said below
        return _pack_special(value)


def _pack_special(value: Any) -> bytes:
    encoding = _Encoding()
    data = encoding.pack(value)
    if encoding.doubtful:
        unpack_value(data)
    return data


class _Encoding:
    """The encoding of one value: `depth` counts collections in collections.

    `doubtful`: an object that can be hashed became a dict or a list, which cannot be, and where it stood is not
    known here. As a dict's key or in a set it could not be read back.
    """

    __slots__ = ("depth", "doubtful")

    def __init__(self) -> None:
        self.depth = 0
        self.doubtful = False

    def pack(self, value: Any) -> bytes:
        data: bytes | None = msgpack.packb(value, default=self._special, strict_types=True)
        assert data is not None, "only a packer without autoreset gives None"
        return data

    def _special(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return self._native(value.value)
        if isinstance(value, (tuple, set, frozenset)):
            return self._collection(value)
        plain = _plain(value)
        if plain is None:
            return _encode_leaf(value)
        self.doubtful |= type(value).__hash__ is not None
        return self._native(plain)

    def _native(self, value: Any) -> Any:
        return value if type(value) in _NATIVE else self._special(value)  # msgpack asks once only

    def _collection(self, value: tuple[Any, ...] | set[Any] | frozenset[Any]) -> Any:
        if self.depth == MAX_COLLECTIONS:
            raise TooDeep
        self.depth += 1
        if isinstance(value, tuple):
            code, data = _TUPLE, self.pack(list(value))
        else:
            code = _SET if isinstance(value, set) else _FROZENSET
            data = msgpack.Packer().pack_array_header(len(value)) + b"".join(sorted(map(self.pack, value)))
        self.depth -= 1
        return msgpack.ExtType(code, data)


def _plain(value: Any) -> Any:
    """What an object with fields or items is dumped to; None for anything else."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list) else None


def _encode_leaf(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise TypeError("cannot carry a datetime without a time zone; use datetime.now(UTC)")
        return msgpack.ExtType(_DATETIME, value.isoformat().encode())
    if isinstance(value, UUID):
        return msgpack.ExtType(_UUID, value.bytes)
    if isinstance(value, Decimal):
        return msgpack.ExtType(_DECIMAL, str(value).encode())
    subclass: Any = value
    for base, convert in _BASES:
        if isinstance(value, base):
            return convert(subclass)
    raise TypeError(f"cannot carry a {type(value)}")


def unpack_value(data: bytes) -> Any:
    """Decode user data to objects of the reader's own. Raises MessageError."""
    return _unpack(data, _hooks[0], use_list=True)


def _value_hook(depth: int) -> Callable[[int, bytes], Any]:
    """How to read an extension that stands inside `depth` collections."""

    def decode(code: int, data: bytes) -> Any:
        collection = _COLLECTIONS.get(code)
        if collection is None:
            return _decode_leaf(code, data)
        if depth == MAX_COLLECTIONS:
            raise TooDeep
        items = _unpack(data, _hooks[depth + 1], use_list=True)
        if type(items) is not list:
            raise ValueError("a collection that holds no array")
        return collection(items)

    return decode


_hooks: Final = tuple(_value_hook(depth) for depth in range(MAX_COLLECTIONS + 1))


def _decode_leaf(code: int, data: bytes) -> Any:
    match code:
        case 4:
            moment = datetime.fromisoformat(data.decode())
            if moment.tzinfo is None:
                raise ValueError("a datetime without a time zone")
            return moment
        case 5:
            return UUID(bytes=data)
        case 6:
            return Decimal(data.decode())
        case _:
            raise ValueError(f"unknown extension type {code}")


def join_map(items: Mapping[str, bytes]) -> bytes:
    """A map of values that are encoded already."""
    size = len(items)
    if size < 1 << 4:
        parts = [bytes((0x80 | size,))]
    else:
        parts = [b"\xde" + size.to_bytes(2) if size < 1 << 16 else b"\xdf" + size.to_bytes(4)]
    for key, data in items.items():
        parts += (pack_value(key), data)
    return b"".join(parts)


def split_map(data: bytes) -> dict[str, bytes]:
    """The values of a map, each still encoded. Raises MessageError."""
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=len(data) or 1)
    unpacker.feed(data)
    items: dict[str, bytes] = {}
    try:
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if type(key) is not str:
                raise MessageError(reason="not_a_message", detail=f"a key of memory is a {type(key)}")
            start = unpacker.tell()
            unpacker.skip()
            items[key] = data[start : unpacker.tell()]
        if unpacker.tell() != len(data):
            raise MessageError(reason="trailing_bytes", detail=f"{len(data) - unpacker.tell()} bytes too many")
    except (msgpack.OutOfData, *_BROKEN) as error:
        raise MessageError(reason="not_a_message", detail=f"no map of values: {error!r}"[:200]) from None
    return items


def _kept_packer(**options: Any) -> Callable[[Any], bytes]:
    """An encoder that keeps its packer: to make one, with its 256 KB, costs more than most values. One a thread."""
    packers = threading.local()

    def pack(value: Any) -> bytes:
        packer = getattr(packers, "packer", None)
        if packer is None:
            packer = packers.packer = msgpack.Packer(**options)
        data: bytes = packer.pack(value)
        if len(data) > KEPT_BYTES:
            del packers.packer  # it would keep all the room that this one took
        return data

    return pack


_pack_plain: Final = _kept_packer(strict_types=True)
"""Encodes what msgpack has a type for, and refuses all else."""


def make_field_packer(default: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """The encoder of messages: tuples are arrays, aware datetimes are timestamps, `default` does the rest."""
    return _kept_packer(default=default, datetime=True)


def unpack_fields(data: bytes) -> Any:
    """Decode what a field packer made. Raises MessageError."""
    return _unpack(data, _refuse_extension, use_list=False)


unpack_own: Final[Callable[[bytes], Any]] = functools.partial(
    msgpack.unpackb, use_list=False, strict_map_key=False, timestamp=3
)
"""As `unpack_fields`, of bytes that a field packer of this very process has made: there is nothing to be refused."""


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    raise MessageError(reason="not_a_message", detail=f"unknown extension type {code}")


def _unpack(data: bytes, ext_hook: Callable[[int, bytes], Any], *, use_list: bool) -> Any:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(reason="too_large", detail=f"{len(data)} bytes")
    try:
        return msgpack.unpackb(data, ext_hook=ext_hook, use_list=use_list, strict_map_key=False, timestamp=3)
    except MessageError:
        raise
    except msgpack.ExtraData as error:
        raise MessageError(reason="trailing_bytes", detail=f"{len(error.extra)} bytes too many") from None
    except (msgpack.StackError, RecursionError, TooDeep):
        raise MessageError(reason="too_deep", detail="nested too deep to decode") from None
    except _BROKEN as error:
        reason = "truncated" if _is_truncated(data) else "not_a_message"
        raise MessageError(reason=reason, detail=f"{type(error).__name__}: {error}"[:200]) from None


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


def describe_refusal(value: Any, what: str, error: Exception) -> tuple[str, str]:
    """Where in `value` the thing is that `pack_value` refused with `error`, and why. Walks it once, leaf by leaf."""
    levels = [iter([(what, value)])]
    above: list[int] = []  # ids of what the current level stands in
    while levels:
        step = next(levels[-1], None)
        if step is None:
            levels.pop()
            del above[-1:]
            continue
        path, child = step
        if id(child) in above:
            return _short(path), "contains itself"
        if len(levels) > MAX_DEPTH:
            return _short(path), "nests too deep"
        try:
            parts = _parts(child, path)
        except Exception as inner:  # noqa: BLE001 - the value's own code may raise anything
            return _short(path), _why(inner)
        if parts:
            levels.append(iter(parts))
            above.append(id(child))
    return what, _why(error)


class _Key:
    """A key of a dict, or what is in a set: has to be carried in such a place."""

    def __init__(self, key: Any) -> None:
        self.as_key = {key: None}


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    """What is inside `value`, by path. Nothing in a leaf, which is encoded to see whether that raises."""
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [(path + "{item}", _Key(item)) for item in value]
    if isinstance(value, Mapping):
        keys: list[tuple[str, Any]] = [(f"{path}.<key {key!r}>", _Key(key)) for key in value]
        return keys + [(path + (f".{key}" if isinstance(key, str) else f"[{key!r}]"), value[key]) for key in value]
    plain = _plain(value)
    if isinstance(plain, Mapping):
        return [(f"{path}.{name}", child) for name, child in plain.items()]
    if isinstance(value, _Key):
        pack_value(value.as_key)
    elif plain is not None:  # a pydantic RootModel
        pack_value(plain)
    elif type(value) not in (type(None), bool, float, bytes):
        pack_value(value)
    return []


def _why(error: Exception) -> str:
    match error:
        case OverflowError():
            return "cannot carry an integer of more than 64 bits; pass it as a string"
        case UnicodeEncodeError():
            return "cannot carry a string that is not valid Unicode"
        case RecursionError():
            return "nests too deep"
        case MessageError():
            return "cannot be read back as a key of a dict or in a set; use a tuple there"
        case TypeError() | ValueError():
            return text_of(error)
        case _:
            return f"cannot be encoded: {line_of(error, 2_000)}"


def _short(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:120]}…{path[-60:]}"
