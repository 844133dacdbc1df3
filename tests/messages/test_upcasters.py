"""Old messages are read by new code."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from propolis.messages import Message, MessageError, Payload, decode, encode, upcaster


class Moved(Message, tag="test.upcast.v3"):
    """Version 1 had `place`; version 2 had `x` and `y` as strings; this one has numbers."""

    x: int
    y: int
    note: str = ""
    data: Payload | None = None


@pytest.fixture(autouse=True)
def chain(registries_as_before: None) -> None:
    """Both steps, in the order in which nobody would read them."""

    @upcaster("test.upcast.v2", "test.upcast.v3")
    def to_numbers(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "x": int(fields["x"]), "y": int(fields["y"])}

    @upcaster("test.upcast.v1", "test.upcast.v2")
    def to_coordinates(fields: dict[str, Any]) -> dict[str, Any]:
        place = fields.pop("place")
        x, y = place.split(",")
        return {**fields, "x": x, "y": y}


def old(version: int, **fields: Any) -> bytes:
    """The bytes of an older version."""
    data: bytes = msgpack.packb([f"test.upcast.v{version}", fields])
    return data


def refusal(data: bytes) -> MessageError:
    """Why these bytes are no message."""
    with pytest.raises(MessageError) as caught:
        decode(data)
    return caught.value


def test_the_oldest_version_climbs_all_steps() -> None:
    """From 1 to 2 to 3; fields that no step knows keep their values."""
    payload = Payload.of([1])
    data = old(1, place="3,4", note="n", data=payload.data)
    assert Moved(x=3, y=4, note="n", data=payload) == decode(data)


def test_a_later_version_climbs_the_steps_that_are_left() -> None:
    """And the current one none."""
    assert [Moved(x=3, y=4)] * 2 == [decode(old(2, x="3", y="4")), decode(old(3, x=3, y=4))]


def test_what_was_read_is_written_in_the_current_version() -> None:
    """An old message that is stored again is new."""
    assert encode(Moved(x=3, y=4)) == encode(decode(old(1, place="3,4")))


def test_a_version_that_nobody_knows_is_said_to_be_that() -> None:
    """A newer one, or one before the first."""
    assert ("unknown_version", "test.upcast.v4") == (refusal(old(4)).reason, refusal(old(4)).tag)


def test_a_chain_that_leads_to_nothing_names_what_came_in() -> None:
    """The class at its end is not defined here."""

    @upcaster("test.nowhere.v1", "test.nowhere.v2")
    def _(fields: dict[str, Any]) -> dict[str, Any]:
        return fields

    error = refusal(msgpack.packb(["test.nowhere.v1", {}]))
    assert ("unknown_tag", "test.nowhere.v1") == (error.reason, error.tag)


@pytest.mark.parametrize(
    "fields",
    [{}, {"place": 5}, {"place": "3"}, {"place": "a,b"}, {"place": None}, {"place": "1,2", "more": 1}],
    ids=str,
)
def test_an_old_message_with_bad_fields_is_refused_under_its_own_tag(fields: dict[str, Any]) -> None:
    """Whether an upcaster or the class stumbles over them."""
    error = refusal(old(1, **fields))
    assert ("invalid_fields", "test.upcast.v1") == (error.reason, error.tag)


@pytest.mark.parametrize(
    "problem", [KeyError("x"), IndexError(), ZeroDivisionError(), RecursionError(), RuntimeError("\ud800")]
)
def test_whatever_an_upcaster_raises_is_a_message_error(problem: Exception) -> None:
    """Named in it, with the step that failed."""

    @upcaster("test.raises.v1", "test.raises.v2")
    def _(fields: dict[str, Any]) -> dict[str, Any]:
        raise problem

    error = refusal(msgpack.packb(["test.raises.v1", {}]))
    assert ("invalid_fields", "test.raises.v1") == (error.reason, error.tag)
    assert f"upcasting to test.raises.v2: {type(problem).__name__}" in error.detail


@pytest.mark.parametrize("result", [None, 5, [], "x", {1: 2}])
def test_an_upcaster_that_returns_no_fields_is_refused(result: Any) -> None:
    """What comes out of it is validated like anything else."""

    @upcaster("test.moved.v1", "test.moved.v2")
    def _(fields: dict[str, Any]) -> dict[str, Any]:
        return result  # type: ignore[no-any-return]

    class MovedAgain(Message, tag="test.moved.v2"):
        x: int = 0

    assert "invalid_fields" == refusal(msgpack.packb(["test.moved.v1", {}])).reason


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("test.a.v1", "test.a.v1"),
        ("test.a.v2", "test.a.v1"),
        ("test.a.v1", "test.b.v2"),
        ("test.a", "test.a.v2"),
        ("test.a.v1", "test.a"),
        ("test.a.v1\n", "test.a.v2"),
    ],
)
def test_an_upcaster_goes_to_a_later_version_of_the_same(before: str, after: str) -> None:
    """So that no chain can be a circle."""
    with pytest.raises(TypeError, match="is no later version of"):
        upcaster(before, after)


def test_a_step_is_registered_once() -> None:
    """Two for one old version would depend on the order of imports."""
    with pytest.raises(TypeError, match=r"'test.upcast.v1' has an upcaster already"):
        upcaster("test.upcast.v1", "test.upcast.v3")(dict)


def test_a_current_message_has_no_upcaster() -> None:
    """It would never be called."""
    with pytest.raises(TypeError, match=r"'test.upcast.v3' is the tag of a current message"):
        upcaster("test.upcast.v3", "test.upcast.v4")(dict)
