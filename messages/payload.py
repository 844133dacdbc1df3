"""User data on the wire: encoded once at the edge, opaque on the way, decoded to a fresh copy by whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from pydantic import GetCoreSchemaHandler, SerializationInfo, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .errors import InvalidInput, PayloadTooLarge
from .plain import plain
from .wire import describe_refusal, join_map, pack_value, split_map, unpack_value

__all__ = ["FROM_WIRE", "Payload"]

FROM_WIRE: Final = {"from": "wire"}
"""The validation context of a message that is being decoded."""


@final
class Payload:
    """Immutable msgpack bytes that hold a value of the user's.

    Carries None, bool, int (64 bits), float, str, bytes, list, dict, tuple, set, frozenset, aware datetimes, UUID and
    Decimal through a round trip. Enums travel as their values; pydantic models and dataclasses as dicts.
    """

    __slots__ = ("data",)
    data: bytes

    def __init__(self, data: bytes) -> None:
        _set_data(self, data)

    @classmethod
    def of(cls, value: Any, what: str = "value", limit: int | None = None) -> Payload:
        """Encode `value`; `what` names it in errors.

        Raises:
            InvalidInput: something in it cannot be carried; the message has its path, `what.ticket.files[3]`.
            PayloadTooLarge: more than `limit` bytes.
        """
        try:
            data = pack_value(value)
        except Exception as error:  # noqa: BLE001 - a value's own methods take part, and may raise anything
            path, reason = describe_refusal(value, what, error)
            raise InvalidInput(what=path, reason=reason, remedy="Pass plain data instead.") from None
        if limit is not None and len(data) > limit:
            raise PayloadTooLarge(what=what, size=len(data), limit=limit)
        return cls(data)

    def value(self) -> Any:
        """A fresh copy of the value, the reader's own.

        Raises:
            MessageError: the bytes are damaged.
        """
        return unpack_value(self.data)

    @classmethod
    def join(cls, items: Mapping[str, Payload]) -> Payload:
        """The payload of a dict, made of the payloads of its values without decoding one."""
        return cls(join_map({key: item.data for key, item in items.items()}))

    def split(self) -> dict[str, Payload]:
        """The values of a dict, each still encoded. Raises MessageError when it is no dict with str keys."""
        return {key: Payload(data) for key, data in split_map(self.data).items()}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Payload is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Payload is immutable")

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, Payload) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        return Payload, (self.data,)

    def __repr__(self) -> str:
        return f"Payload({len(self.data)} bytes)"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def from_wire(value: Any, info: ValidationInfo) -> Payload:
            if info.context is FROM_WIRE and type(value) is bytes:  # there it is plain bytes; the field says of what
                return cls(value)
            raise PydanticCustomError("payload", "Input should be a Payload")

        read = core_schema.with_info_plain_validator_function(from_wire)

        def dumped(payload: Payload, info: SerializationInfo) -> Any:
            value = payload.value()
            return plain(value) if info.mode == "json" else value

        written = core_schema.plain_serializer_function_ser_schema(dumped, info_arg=True)
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), read], mode="left_to_right", serialization=written
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {}  # anything


_set_data: Final = Payload.__dict__["data"].__set__
"""The slot itself, which nobody else may set."""
