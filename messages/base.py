"""The base classes of everything that is sent: `Message`, the typed `Request`, and `Pairs`, a frozen mapping."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .payload import Payload

__all__ = ["Message", "Pairs", "Request", "registered"]

R = TypeVar("R")
V = TypeVar("V")

_TAG: Final = re.compile(r"([a-z][a-z0-9_.]*)\.v([1-9][0-9]*)")
_LEAVES: Final = (bool, int, float, str, bytes, type(None), datetime, Payload)
_registry: dict[str, type[Message]] = {}


class Pairs(Mapping[str, V]):
    """An immutable, hashable mapping: a tuple of pairs with a dict's reading face. Travels as the tuple."""

    __slots__ = ("_index", "items_")
    items_: tuple[tuple[str, V], ...]
    _index: dict[str, V]

    def __init__(self, source: Mapping[str, V] | tuple[tuple[str, V], ...] = ()) -> None:
        given = source if type(source) is tuple or not isinstance(source, Mapping) else source.items()
        pairs: tuple[Any, ...] = tuple(map(tuple, given))
        index = dict(pairs)
        if len(index) < len(pairs):
            raise ValueError("the same key twice")
        object.__setattr__(self, "items_", pairs)
        object.__setattr__(self, "_index", index)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Pairs are immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Pairs are immutable")

    def __getitem__(self, key: str) -> V:
        return self._index[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __hash__(self) -> int:
        return hash(frozenset(self.items_))

    def __eq__(self, other: object) -> bool:
        return self._index == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return f"Pairs({self._index!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Pairs, (self.items_,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (value_type,) = get_args(source) or (str,)
        pairs = handler.generate_schema(tuple[tuple[str, value_type], ...])  # type: ignore[valid-type]

        def to_pairs(value: Any) -> Any:
            if isinstance(value, Pairs):
                return value.items_
            return tuple(value.items()) if isinstance(value, Mapping) else value

        return core_schema.chain_schema(
            [
                core_schema.no_info_before_validator_function(to_pairs, pairs),
                core_schema.no_info_plain_validator_function(cls),
            ],
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"type": "object"}


class Message(BaseModel):
    """An immutable message with a stable, versioned tag: `class Ping(Message, tag="ping.v1"): …`.

    Frozen, strict, keyword-only; unknown fields are refused. Fields hold scalars, tuples, other messages, `Pairs` or
    `Payload`, so a message is immutable to its leaves and hashable; a class with any other field is refused (TypeError)
    when it is defined. New fields of a released message need a default; a tag is never reused, a field never renamed or
    retyped (make a new version and an upcaster, see `codec.upcaster`).

    A class without a tag is abstract: it cannot be sent.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,
        serialize_by_alias=True,
        ser_json_bytes="base64",
    )

    tag: ClassVar[str] = ""
    control: ClassVar[bool] = False
    """Whether it travels in the mailbox's control lane, ahead of other messages."""

    def __init_subclass__(cls, *, tag: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, *, tag: str = "", **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.tag = tag
        for name, field in cls.model_fields.items():
            if not _is_immutable(field.annotation):
                raise TypeError(
                    f"{cls.__qualname__}.{name}: a message cannot hold {field.annotation}; "
                    "use a scalar, a tuple, Pairs, a Payload, or a Message with a tag"
                )
        if tag:
            _register(cls, tag)


class Request(Message, Generic[R]):
    """A message that wants a reply of type `R`: `class GetStats(Request[StreamStats], tag="stats.get.v1"): …`."""

    if not TYPE_CHECKING:  # the type of the reply is for type checkers; pydantic would make a class for each

        def __class_getitem__(cls, _: Any) -> type[Message]:
            return cls


def _register(cls: type[Message], tag: str) -> None:
    if not _TAG.fullmatch(tag):
        raise TypeError(f"{cls.__qualname__}: tag {tag!r} has no version; write it as 'area.what.v1'")
    known = _registry.get(tag)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(f"{cls.__qualname__}: tag {tag!r} belongs to {known.__qualname__}; a tag is never reused")
    _registry[tag] = cls


def registered() -> Mapping[str, type[Message]]:
    """Every message class by its tag."""
    return types.MappingProxyType(_registry)


def _is_immutable(annotation: Any) -> bool:
    """Whether what is annotated so is immutable to its leaves, and something the wire carries."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_immutable(arguments[0])
    if origin in (tuple, Pairs, Union, types.UnionType):
        return all(argument is ... or _is_immutable(argument) for argument in arguments)
    if origin is Literal or annotation in _LEAVES or annotation is Pairs:
        return True
    return isinstance(annotation, type) and issubclass(annotation, Message) and bool(annotation.tag)
