"""Every message there is crosses the wire unchanged."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.messages import (
    Event,
    EventFilter,
    ExecutionState,
    Message,
    MessageError,
    Payload,
    decode,
    encode,
    is_scalar,
)

from .samples import MOMENT, full, messages, minimal, ours


@pytest.mark.parametrize("cls", ours().values(), ids=ours().keys())
def test_any_message_comes_back_equal(cls: type[Message]) -> None:
    """Equal, of the same class, with the same hash and the same bytes; and it is another object."""

    @settings(max_examples=10)
    @given(messages(cls))
    def check(message: Message) -> None:
        data = encode(message)
        copied = decode(data)
        assert (cls, message, hash(message)) == (type(copied), copied, hash(copied))
        assert data == encode(copied)
        assert copied is not message

    check()


def test_every_message_pickles_and_copies() -> None:
    """For a debugger, a queue of somebody's, a test of the user's."""
    for message in map(full, ours().values()):
        assert [message] * 3 == [pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)]
        assert encode(message) == encode(pickle.loads(pickle.dumps(message)))


def test_what_was_left_at_its_default_does_not_travel() -> None:
    """The bytes of a message hold the fields that were given, and reading them fills in the rest."""
    for message in map(minimal, ours().values()):
        assert message.model_fields_set == decode(encode(message)).model_fields_set
        assert len(encode(message)) <= len(encode(full(type(message))))


def test_the_wire_format_is_a_tag_and_the_given_fields() -> None:
    """An array of two: 0x92; then the tag, then a map of one field."""
    expected = b"\x92\xafevent.filter.v1\x81\xa6stream\xa1s"
    assert expected == encode(EventFilter(stream="s"))


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_in_a_field_is_the_same_moment_in_utc(moment: datetime) -> None:
    """To the microsecond, also before 1970. What has no moment in UTC between the years 1 and 9999 is refused."""
    state = ExecutionState(execution_id="e", started_at=moment)
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(MessageError):
            encode(state)
        return
    copied = decode(encode(state))
    assert isinstance(copied, ExecutionState)
    assert copied.started_at is not None
    assert (expected, UTC) == (copied.started_at, copied.started_at.tzinfo)


@pytest.mark.parametrize(
    "message",
    [
        Event(type="custom", timestamp=MOMENT.replace(tzinfo=None)),
        Event(type="custom", timestamp=MOMENT, seq=2**64),
        Event(type="lone \ud800 surrogate", timestamp=MOMENT),
        Event.model_construct(type=object()),
        Event.model_construct(type={1, 2}),
    ],
    ids=["a naive datetime", "an integer of 65 bits", "a lone surrogate", "an object", "a set"],
)
def test_what_cannot_travel_is_refused_by_the_sender(message: Message) -> None:
    """Typed, with the tag, before anything is sent."""
    with pytest.raises(MessageError) as caught:
        encode(message)
    assert ("not_encodable", "event.v1") == (caught.value.reason, caught.value.tag)


@pytest.mark.parametrize("thing", [None, "text", 5, object(), {"tag": "event.v1"}, Event, Payload(b"\xc0")])
def test_only_messages_are_encoded(thing: object) -> None:
    """Anything else is said to be none."""
    with pytest.raises(MessageError) as caught:
        encode(thing)  # type: ignore[arg-type]
    assert "not_a_message" == caught.value.reason


def test_a_decoded_message_shares_nothing_with_the_sender() -> None:
    """User data is decoded anew at every read: changing one copy changes no other."""
    event = Event(type="custom", timestamp=MOMENT, data_payload=Payload.of({"list": [1]}))
    copied = decode(encode(event))
    assert isinstance(copied, Event)
    copied.data["list"].append(2)
    first = copied.data
    first["list"].append(3)
    assert [{"list": [1]}] * 2 == [copied.data, event.data]


def test_a_bare_reply_is_one_of_six_kinds() -> None:
    """Exactly of these types: a subclass would come back as another."""
    assert [True] * 6 == list(map(is_scalar, (None, True, 1, 1.5, "x", b"x")))
    assert [False] * 5 == list(map(is_scalar, ((), [], MOMENT, Payload(b"\xc0"), type("Text", (str,), {})("x"))))


@pytest.mark.parametrize("cls", ours().values(), ids=ours().keys())
def test_any_message_can_be_said_in_json(cls: type[Message]) -> None:
    """As an HTTP handler does that returns a record: user data is data there, mappings are objects."""
    for message in (minimal(cls), full(cls)):
        assert message.model_dump(mode="json") == json.loads(message.model_dump_json())
    assert "object" == cls.model_json_schema(mode="serialization")["type"]


def test_user_data_is_dumped_under_the_name_by_which_it_is_read() -> None:
    """`result.output` is `"output"` there, and not the field that keeps its bytes."""
    kept = {
        (cls, field.serialization_alias)
        for cls in ours().values()
        for name, field in cls.model_fields.items()
        if name.endswith("_payload")
    }
    assert len(kept) > 10
    assert [] == [name for cls, name in kept if not isinstance(getattr(cls, str(name), None), property)]


def test_what_json_has_no_word_for_is_text_there() -> None:
    """And the message has it as it was."""
    data = {"bytes": b"\xff", "set": {2, 1}, "when": MOMENT, "nan": float("nan")}
    event = Event(type="custom", timestamp=MOMENT, data_payload=Payload.of(data))
    said = {"bytes": "/w==", "set": [1, 2], "when": MOMENT.isoformat(), "nan": None}
    assert said == json.loads(event.model_dump_json())["data"]
    assert [b"\xff", {1, 2}] == [event.model_dump()["data"][key] for key in ("bytes", "set")]
    assert b"\xff" == Payload.of([event]).value()[0]["data"]["bytes"]
