"""A message is immutable to its leaves, and a class that would not be cannot be defined."""

from __future__ import annotations

import copy
import pickle
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Literal, Optional, TypeVar, Union
from uuid import UUID

import pytest
from annotated_types import Gt
from pydantic import BaseModel, PydanticUserError, ValidationError

from propolis.messages import Event, EventFilter, Message, MessageError, Pairs, Payload, Request, decode, encode

from .samples import MOMENT, full, ours

T = TypeVar("T")


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Record:
    x: int


class Model(BaseModel):
    x: int


class Abstract(Message):
    """Has no tag."""

    x: int = 0


def define(name: str, annotation: Any) -> type[Message]:
    """A message class with one field."""

    def fill(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {"field": annotation}

    cls: type[Message] = types.new_class(name, (Message,), {"tag": f"test.{name.lower()}.v1"}, fill)
    return cls


def test_no_field_can_be_assigned_or_deleted_or_added() -> None:
    """Neither one that it has nor a new one."""
    for message in map(full, ours().values()):
        for name in [*type(message).model_fields, "anything"]:
            with pytest.raises(ValidationError):
                setattr(message, name, None)
            with pytest.raises((ValidationError, AttributeError)):
                delattr(message, name)
        assert full(type(message)) == message


def test_every_message_hashes() -> None:
    """Equal ones to the same number, so that they can be members of a set."""
    for cls in ours().values():
        assert {full(cls)} == {full(cls), copy.copy(full(cls))}


@pytest.mark.parametrize(
    "annotation",
    [
        list,
        list[int],
        dict,
        dict[str, int],
        set,
        set[int],
        frozenset[int],
        Any,
        object,
        deque[int],
        Iterable[int],
        Sequence[int],
        Mapping[str, int],
        MutableMapping[str, int],
        Callable[[], int],
        type,
        type[int],
        tuple,
        tuple[list[int], ...],
        tuple[int, dict[str, int]],
        int | list[int],
        Optional[list[int]],  # noqa: UP045
        Union[int, dict[str, int]],  # noqa: UP007
        Annotated[list[int], "note"],
        Pairs[list[int]],
        Pairs[Any],
        tuple[Pairs[list[int]], ...],
        Model,
        Record,
        Colour,
        Path,
        UUID,
        Decimal,
        date,
        timedelta,
        T,
        BaseModel,
        Message,
        Abstract,
        Abstract | None,
    ],
    ids=str,
)
def test_a_field_that_is_mutable_or_cannot_travel_is_refused(annotation: Any) -> None:
    """When its class is defined, by name; and the tag stays free."""
    with pytest.raises(TypeError, match=r"^Bad\.field: a message cannot hold "):
        define("Bad", annotation)
    with pytest.raises(MessageError, match="unknown_tag"):
        decode(b"\x92\xabtest.bad.v1\x80")


@pytest.mark.parametrize("annotation", [bytearray, memoryview, Pairs[bytearray], tuple[Thread, ...]], ids=str)
def test_a_field_that_pydantic_does_not_know_is_refused_by_it(annotation: Any) -> None:
    """Before we look; the tag stays free then too."""
    with pytest.raises(PydanticUserError):
        define("Bad", annotation)
    with pytest.raises(MessageError, match="unknown_tag"):
        decode(b"\x92\xabtest.bad.v1\x80")


@pytest.mark.parametrize(
    "annotation",
    [
        bool,
        int,
        float,
        str,
        bytes,
        None,
        datetime,
        Payload,
        Event,
        Pairs,
        Pairs[int],
        Pairs[tuple[int, ...]],
        tuple[()],
        tuple[int, str],
        tuple[tuple[Event, ...], ...],
        int | None,
        Optional[Event],  # noqa: UP045
        Literal["a", 1],
        Annotated[int, Gt(0)],
    ],
    ids=str,
)
def test_a_field_that_is_immutable_and_can_travel_is_accepted(annotation: Any) -> None:
    """Scalars, tuples, messages with a tag, Pairs, Payload, and choices of them."""
    assert ["field"] == list(define("Good", annotation).model_fields)


def test_a_message_may_hold_its_own_kind() -> None:
    """A tree of messages."""

    class Node(Message, tag="test.node.v1"):
        name: str
        children: tuple[Node, ...] = ()

    Node.model_rebuild(_types_namespace={"Node": Node})
    tree = Node(name="a", children=(Node(name="b"), Node(name="c", children=(Node(name="d"),))))
    assert tree == decode(encode(tree))


@pytest.mark.parametrize(
    "values",
    [
        {"type": 5, "timestamp": MOMENT},
        {"type": b"x", "timestamp": MOMENT},
        {"type": "x", "timestamp": "2024-01-01T00:00:00Z"},
        {"type": "x", "timestamp": 0},
        {"type": "x", "timestamp": MOMENT, "seq": "1"},
        {"type": "x", "timestamp": MOMENT, "seq": True},
        {"type": "x", "timestamp": MOMENT, "data_payload": b"\xc0"},
        {"type": "x", "timestamp": MOMENT, "data_payload": {}},
        {"type": "x", "timestamp": MOMENT, "unknown": 1},
        {"type": "x"},
    ],
    ids=str,
)
def test_nothing_is_converted_or_ignored(values: dict[str, Any]) -> None:
    """Strict: a string is no number, a True no 1; an unknown field is refused and a missing one too."""
    with pytest.raises(ValidationError) as caught:
        Event(**values)
    assert "input_value" not in str(caught.value), "an error shows nobody's data"


def test_a_message_takes_no_positional_arguments() -> None:
    """A new field would change what they mean."""
    with pytest.raises(TypeError):
        EventFilter(("a",))  # type: ignore[call-arg]


def test_a_list_is_not_accepted_for_a_tuple() -> None:
    """The sender might go on changing it."""
    with pytest.raises(ValidationError):
        EventFilter(types=["a"])  # type: ignore[arg-type]


def test_pairs_read_like_a_dict() -> None:
    """In the order that they were given in."""
    pairs = Pairs({"b": 1, "a": 2})
    assert ["b", "a"] == list(pairs)
    assert (1, 2, None, 2, True, False) == (
        pairs["b"],
        len(pairs),
        pairs.get("x"),
        dict(pairs)["a"],
        "a" in pairs,
        "x" in pairs,
    )
    assert "Pairs({'b': 1, 'a': 2})" == repr(pairs)
    with pytest.raises(KeyError):
        pairs["x"]


def test_pairs_are_frozen() -> None:
    """No item, no attribute, and nothing through what they were made of or are read into."""
    source = {"a": 1}
    pairs = Pairs(source)
    source["a"] = 2
    dict(pairs)["a"] = 3
    with pytest.raises(TypeError):
        pairs["a"] = 4  # type: ignore[index]
    with pytest.raises(TypeError):
        del pairs["a"]  # type: ignore[attr-defined]
    for name in ("items_", "_index", "more"):
        with pytest.raises(AttributeError):
            setattr(pairs, name, ())
        with pytest.raises(AttributeError):
            delattr(pairs, name)
    assert {"a": 1} == pairs


def test_pairs_are_values() -> None:
    """Equal and hashed by content, in whatever order; equal to a dict of the same; they pickle and copy."""
    one, other = Pairs({"a": 1, "b": 2}), Pairs((("b", 2), ("a", 1)))
    assert {one} == {one, other, copy.deepcopy(one), pickle.loads(pickle.dumps(other))}
    assert {"a": 1, "b": 2} == one
    assert one != Pairs({"a": 1})
    assert one != (("a", 1), ("b", 2))


def test_pairs_hold_a_key_once() -> None:
    """Of two, a dict would lose one in silence."""
    with pytest.raises(ValueError, match="same key twice"):
        Pairs((("a", 1), ("a", 2)))


def test_pairs_in_a_message_are_checked() -> None:
    """A dict is taken and frozen; its values have the type that the field says."""

    class Counts(Message, tag="test.counts.v1"):
        counts: Pairs[int] = Pairs()

    source = {"a": 1}
    counts = Counts(counts=source)  # type: ignore[arg-type]
    source["a"] = 2
    assert (Pairs({"a": 1}), Pairs) == (counts.counts, type(counts.counts))
    for wrong in ({"a": "1"}, {1: 1}, (("a", 1), ("a", 1)), (("a",),), [("a", 1)], 5, None):
        with pytest.raises(ValidationError):
            Counts(counts=wrong)  # type: ignore[arg-type]


def test_a_request_is_a_message() -> None:
    """Its reply type is for type checkers only."""

    class Ask(Request[int], tag="test.ask.v1"):
        x: int

    assert Ask(x=1) == decode(encode(Ask(x=1)))
