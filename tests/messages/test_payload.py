"""User data: what survives a round trip, and as what it comes back."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from propolis.messages import Pairs, Payload, PayloadTooLarge

from .samples import MOMENTS, user_data


class Colour(enum.Enum):
    RED = "red"
    MIX = ("red", 0.5)


class Level(enum.IntEnum):
    HIGH = 3


class Name(enum.StrEnum):
    ANN = "ann"


class Point(BaseModel):
    x: int
    tags: tuple[str, ...] = ()
    colour: Colour = Colour.RED


class Track(RootModel[tuple[int, ...]]):
    pass


@dataclasses.dataclass
class Box:
    content: Any
    points: list[Point]


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


class Masked(str):
    """A str that hides itself when it is shown."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"


Coordinates = collections.namedtuple("Coordinates", "x y")  # noqa: PYI024 - the kind without types
TEHRAN = timezone(timedelta(hours=3, minutes=30))


def types_of(value: Any) -> Any:
    """The types of a value and of all that is in it, where == does not look: 1 == True == 1.0, [] is no ()."""
    if isinstance(value, dict):
        return dict, {key: types_of(child) for key, child in value.items()}, set(map(type, value))
    if isinstance(value, (list, tuple)):
        return type(value), list(map(types_of, value))
    return type(value), len(value) if isinstance(value, (set, frozenset)) else None


@given(user_data())
def test_any_carried_value_comes_back_as_it_was(value: Any) -> None:
    """Equal, of the same types all the way down, and with the same bytes when it is encoded again."""
    payload = Payload.of(value)
    copied = payload.value()
    assert (value, types_of(value)) == (copied, types_of(copied))
    assert payload.data == Payload.of(copied).data


@given(MOMENTS)
def test_a_datetime_keeps_its_offset(moment: datetime) -> None:
    """To the second, as a fixed offset."""
    copied = Payload.of(moment).value()
    assert (moment, moment.utcoffset()) == (copied, copied.utcoffset())


@given(st.decimals())
def test_a_decimal_keeps_its_digits(number: Decimal) -> None:
    """Trailing zeros, signs, infinities, and both kinds of NaN."""
    assert number.as_tuple() == Payload.of(number).value().as_tuple()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, "red"),
        (Colour.MIX, ("red", 0.5)),
        ([Level.HIGH, Name.ANN], [3, "ann"]),
        ({Colour.RED: 1}, {"red": 1}),
        ({Level.HIGH, Name.ANN}, {3, "ann"}),
        (Point(x=1, tags=("a",)), {"x": 1, "tags": ("a",), "colour": "red"}),
        (Track((1, 2)), (1, 2)),
        (Box({Level.HIGH}, [Point(x=2)]), {"content": {3}, "points": [{"x": 2, "tags": (), "colour": "red"}]}),
        ([Frozen(1)], [{"x": 1}]),
        (Coordinates(1, 2), (1, 2)),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (Pairs({"a": 1}), {"a": 1}),
        (Masked("secret"), "secret"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (datetime(2024, 7, 1, tzinfo=ZoneInfo("UTC")), datetime(2024, 7, 1, tzinfo=UTC)),
    ],
    ids=lambda value: type(value).__name__,  # a repr has an address or a set's order in it: not the same twice
)
def test_what_is_dumped_at_the_edge(value: Any, expected: Any) -> None:
    """Enums come back as their values, models and dataclasses as dicts, subclasses as what they extend."""
    copied = Payload.of(value).value()
    assert (expected, types_of(expected)) == (copied, types_of(copied))


def test_order_of_a_dict_is_kept() -> None:
    """As JSON and everybody else does."""
    assert ["b", "a", "c"] == list(Payload.of({"b": 1, "a": 2, "c": 3}).value())


def test_every_read_is_a_fresh_copy() -> None:
    """Nothing that a reader does to it is seen by another."""
    payload = Payload.of({"list": []})
    payload.value()["list"].append(1)
    assert {"list": []} == payload.value()


def test_the_value_may_change_once_it_is_encoded() -> None:
    """What is carried is what it was then."""
    value = {"list": [1]}
    payload = Payload.of(value)
    value["list"].append(2)
    assert {"list": [1]} == payload.value()


def test_too_large_says_how_large_and_where_the_limit_is() -> None:
    """In bytes, encoded. The limit itself is allowed."""
    with pytest.raises(PayloadTooLarge) as caught:
        Payload.of("x" * 100, "input_data", limit=101)
    assert ("input_data", 102, 101) == (caught.value.what, caught.value.size, caught.value.limit)
    assert Payload.of("x" * 100, limit=102).value() == "x" * 100


def test_a_payload_is_a_value() -> None:
    """Compared and hashed by its bytes, immutable, and it pickles; its repr shows nobody's data."""
    payload = Payload.of({"secret": 1})
    assert {payload} == {Payload.of({"secret": 1}), copy.deepcopy(payload), pickle.loads(pickle.dumps(payload))}
    assert payload != payload.data
    assert f"Payload({len(payload.data)} bytes)" == repr(payload)
    with pytest.raises(AttributeError):
        payload.data = b""
    with pytest.raises(AttributeError):
        payload.more = 1


def test_sixteen_collections_in_one_another_are_carried() -> None:
    """Lists and dicts between them do not count."""
    value: Any = 1
    for _ in range(16):
        value = (["x", {"y": value}],)
    assert value == Payload.of(value).value()


def test_lists_may_nest_deep() -> None:
    """As deep as msgpack goes."""
    value: Any = 1
    for _ in range(500):
        value = [value]
    assert value == Payload.of(value).value()


@given(st.dictionaries(st.text(), user_data(max_leaves=5), max_size=4))
def test_a_dict_is_split_and_joined_without_decoding_its_values(value: dict[str, Any]) -> None:
    """The parts are what the values would be on their own, and joined again they are the same bytes."""
    payload = Payload.of(value)
    parts = payload.split()
    assert {key: Payload.of(child) for key, child in value.items()} == parts
    assert payload == Payload.join(parts)


def test_a_uuid_is_sixteen_bytes() -> None:
    """And not a string of 36."""
    assert 18 == len(Payload.of(UUID(int=7)).data)
