"""What a Payload refuses, and how exactly it says where."""

from __future__ import annotations

import dataclasses
import enum
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from propolis.messages import InvalidInput, Payload

from .samples import MOMENT


class Thing:
    def __repr__(self) -> str:
        return "<thing>"


class Model(BaseModel):
    content: Any


@dataclasses.dataclass
class Box:
    content: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


class FrozenModel(BaseModel, frozen=True):
    x: int


class Odd(enum.Enum):
    THING = Thing()


class Nowhere(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, moment: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


class Hostile(Mapping[str, int]):
    """A mapping whose reading raises what nobody expects."""

    def __getitem__(self, key: str) -> int:
        raise ZeroDivisionError("no\ud800thing here")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


A_THING = f"cannot carry a {Thing}"
SIXTY_FOUR = "cannot carry an integer of more than 64 bits; pass it as a string"
UNICODE = "cannot carry a string that is not valid Unicode"
NAIVE = "cannot carry a datetime without a time zone; use datetime.now(UTC)"
AS_KEY = "cannot be read back as a key of a dict or in a set; use a tuple there"


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (Thing(), "input_data", A_THING),
        ({"a": [1, {"b": (Thing(),)}]}, "input_data.a[1].b[0]", A_THING),
        ({"a b": Thing()}, "input_data.a b", A_THING),
        ({7: Thing()}, "input_data[7]", A_THING),
        ({("x", 1): Thing()}, "input_data[('x', 1)]", A_THING),
        ({Thing(): 1}, "input_data.<key <thing>>", A_THING),
        ([{Thing()}], "input_data[0]{item}", A_THING),
        (Model(content=[Thing()]), "input_data.content[0]", A_THING),
        (Box([Box(Thing())]), "input_data.content[0].content", A_THING),
        ([Odd.THING], "input_data[0]", A_THING),
        ([Thing], "input_data[0]", f"cannot carry a {type}"),
        ({"f": len}, "input_data.f", f"cannot carry a {type(len)}"),
        ([lambda: 1], "input_data[0]", f"cannot carry a {type(lambda: 1)}"),
        ([iter([])], "input_data[0]", f"cannot carry a {type(iter([]))}"),
        ((x for x in ""), "input_data", "cannot carry a <class 'generator'>"),
        ({}.keys(), "input_data", "cannot carry a <class 'dict_keys'>"),
        (range(3), "input_data", "cannot carry a <class 'range'>"),
        (1j, "input_data", "cannot carry a <class 'complex'>"),
        (date(2024, 1, 1), "input_data", "cannot carry a <class 'datetime.date'>"),
        (timedelta(1), "input_data", "cannot carry a <class 'datetime.timedelta'>"),
        (ValueError("x"), "input_data", "cannot carry a <class 'ValueError'>"),
        (Model(content=SecretStr("x")), "input_data.content", f"cannot carry a {SecretStr}"),
        (Payload.of(1), "input_data", f"cannot carry a {Payload}"),
        ([0, 2**64], "input_data[1]", SIXTY_FOUR),
        ([-(2**63) - 1], "input_data[0]", SIXTY_FOUR),
        ({2**64: 1}, f"input_data.<key {2**64}>", SIXTY_FOUR),
        ({"a": "\ud800"}, "input_data.a", UNICODE),
        ({"\ud800": 1}, "input_data.<key '\\ud800'>", UNICODE),
        ([MOMENT.replace(tzinfo=None)], "input_data[0]", NAIVE),
        ([MOMENT.replace(tzinfo=Nowhere())], "input_data[0]", NAIVE),
        ({Frozen(1): 2}, "input_data.<key Frozen(x=1)>", AS_KEY),
        ([{Frozen(1)}], "input_data[0]{item}", AS_KEY),
        ({"a": {(1, FrozenModel(x=1))}}, "input_data.a{item}", AS_KEY),
        ({"a": Hostile()}, "input_data.a", "cannot be encoded: ZeroDivisionError: no?thing here"),
    ],
)
def test_a_refusal_says_where_and_why(value: Any, path: str, reason: str) -> None:
    """The path leads to the thing itself."""
    with pytest.raises(InvalidInput) as caught:
        Payload.of(value, "input_data")
    assert (path, reason) == (caught.value.what, caught.value.reason)


def test_the_sentence_of_the_contract() -> None:
    """A user reads where it is, what it is, and what to do."""
    with socket.socket() as connection:
        value = {"ticket": {"attachments": [b"", "x", None, connection]}}
        with pytest.raises(InvalidInput) as caught:
            Payload.of(value, "input_data")
    expected = "input_data.ticket.attachments[3]: cannot carry a <class 'socket.socket'>. Pass plain data instead."
    assert expected == str(caught.value)


def test_the_first_of_several_is_named() -> None:
    """In the order in which a reader of the value meets them."""
    with pytest.raises(InvalidInput) as caught:
        Payload.of({"a": [1, [Thing()]], "b": Thing()}, "x")
    assert "x.a[1][0]" == caught.value.what


def in_itself_as_list() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def in_itself_as_dict() -> Any:
    value: dict[str, Any] = {}
    value["a"] = {"b": value}
    return value


def in_itself_as_dataclass() -> Any:
    value = Box(None)
    value.content = value
    return value


def in_itself_through_a_tuple() -> Any:
    value: list[Any] = []
    value.append((value,))
    return value


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (in_itself_as_list, "x[0]"),
        (in_itself_as_dict, "x.a.b"),
        (in_itself_as_dataclass, "x.content"),
        (in_itself_through_a_tuple, "x[0][0]"),
    ],
)
def test_what_contains_itself_is_refused(make: Any, path: str) -> None:
    """At the place where it meets itself."""
    with pytest.raises(InvalidInput) as caught:
        Payload.of(make(), "x")
    assert (path, "contains itself") == (caught.value.what, caught.value.reason)


def test_a_model_that_contains_itself_is_refused() -> None:
    """Pydantic finds that out, inside or at the top."""
    model = Model(content=None)
    model.content = [model]
    with pytest.raises(InvalidInput) as caught:
        Payload.of(model, "x")
    assert caught.value.what.startswith("x")


def test_the_same_thing_twice_is_no_circle() -> None:
    """Only what stands in itself is."""
    shared = ["a"]
    assert [["a"], ["a"], (["a"],)] == Payload.of([shared, shared, (shared,)]).value()


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}, Box], ids=["list", "dict", "box"])
@pytest.mark.parametrize("depth", [1_100, 50_000])
def test_what_nests_too_deep_is_refused(wrap: Any, depth: int) -> None:
    """With a path that still fits on a screen."""
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    with pytest.raises(InvalidInput) as caught:
        Payload.of(value, "x")
    assert "nests too deep" == caught.value.reason
    assert len(caught.value.what) <= 200


@pytest.mark.parametrize("wrap", [lambda inner: (inner,), lambda inner: frozenset([inner])], ids=["tuple", "frozenset"])
@pytest.mark.parametrize("depth", [17, 200, 400])
def test_more_than_sixteen_collections_in_one_another_are_refused(wrap: Any, depth: int) -> None:
    """Two hundred took the process down when they were read."""
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    with pytest.raises(InvalidInput) as caught:
        Payload.of(value, "x")
    assert "nests more than 16 tuples and sets in one another; use lists" == caught.value.reason


def test_no_value_is_changed_by_a_refusal() -> None:
    """A generator, say, is not used up."""
    generator = (number for number in range(3))
    with pytest.raises(InvalidInput):
        Payload.of({"a": generator})
    assert [0, 1, 2] == list(generator)


def test_a_dict_that_changes_while_it_is_read_is_refused() -> None:
    """Another thread of the user's may have it too; here the value does it itself."""
    value: dict[str, Any] = {}

    class Meddler(Box):
        def __getattribute__(self, name: str) -> Any:
            value[f"{len(value)}"] = None
            return super().__getattribute__(name)

    value["meddler"] = Meddler(1)
    with pytest.raises(InvalidInput) as caught:
        Payload.of(value, "x")
    assert "changed size" in caught.value.reason


def test_a_moment_is_checked_for_its_offset_and_not_for_its_zone() -> None:
    """UTC is as good as any."""
    assert datetime(2024, 1, 1, tzinfo=UTC) == Payload.of(datetime(2024, 1, 1, tzinfo=UTC)).value()
