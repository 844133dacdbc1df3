"""Bytes from anywhere: each ends in a message or in a MessageError, and soon."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from propolis.messages import MessageError, Payload, decode, encode

from .samples import full, minimal, ours, user_data

REASONS = {
    "not_a_message",
    "truncated",
    "trailing_bytes",
    "unknown_tag",
    "unknown_version",
    "invalid_fields",
    "too_large",
    "too_deep",
}
GOOD = [encode(make(cls)) for cls in ours().values() for make in (minimal, full)]


def outcome(read: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether something was read, and what; any other error than a short MessageError for a known reason fails."""
    try:
        return True, read()
    except MessageError as error:
        problem = error
    assert problem.reason in REASONS
    assert len(str(problem)) < 1_000
    return False, problem


def read_message(data: bytes) -> None:
    """Decode; what comes out is a message in every respect."""
    is_read, message = outcome(lambda: decode(data))
    if is_read:
        assert message == decode(encode(message))
        hash(message)
        for value in vars(message).values():
            if isinstance(value, Payload):
                read_value(value.data)


def read_value(data: bytes) -> None:
    """Read user data; what comes out can be carried again."""
    is_read, value = outcome(Payload(data).value)
    if is_read:
        Payload.of(value)


@st.composite
def damaged(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """Good bytes with a few of them changed, removed, doubled, or replaced by a part of others."""
    data = bytearray(draw(sources))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 4)))
        with_what = st.binary(max_size=5) | st.just(bytes(data[start:end]) * 2) | sources.map(lambda other: other[:40])
        data[start:end] = draw(with_what)
    return bytes(data)


@settings(max_examples=60)
@given(damaged(st.sampled_from(GOOD)))
def test_damaged_messages_are_refused_by_name(data: bytes) -> None:
    """Or are still messages."""
    read_message(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_by_name(data: bytes) -> None:
    """As messages and as user data."""
    read_message(data)
    read_value(data)


@given(damaged(user_data(max_leaves=8).map(lambda value: Payload.of(value).data)))
def test_damaged_user_data_is_refused_by_name(data: bytes) -> None:
    """Or is still user data."""
    read_value(data)


def extension(code: int, data: bytes) -> Any:
    """An extension that msgpack takes as it is."""
    return msgpack.ExtType(code, data)


_codes = st.integers(0, 9) | st.integers(0, 127)
_trees: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
    | st.builds(extension, _codes, st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(st.tuples(inner, inner), max_size=3).map(tuple)
    | st.builds(lambda code, tree: extension(code, pack(tree)), _codes, inner),
    max_leaves=10,
)  # fmt: skip


def pack(tree: Any) -> bytes:
    """The bytes of a tree; a tuple of pairs is a map, with any key whatever, as no dict could have it."""
    if isinstance(tree, tuple) and not isinstance(tree, msgpack.ExtType):
        data: bytes = msgpack.Packer().pack_map_header(len(tree))
        return data + b"".join(pack(key) + pack(value) for key, value in tree)
    if isinstance(tree, list):
        data = msgpack.Packer().pack_array_header(len(tree))
        return data + b"".join(map(pack, tree))
    return bytes(msgpack.packb(tree))


@settings(max_examples=40)
@given(_trees)
def test_well_formed_msgpack_that_is_no_value_is_refused_by_name(tree: Any) -> None:
    """Extensions in extensions, keys that cannot be hashed, codes that nobody knows."""
    read_value(pack(tree))
    read_message(pack(tree))


@settings(max_examples=40)
@given(st.sampled_from(sorted(ours())), st.data())
def test_fields_of_any_kind_under_a_known_tag_are_refused_by_name(tag: str, data: st.DataObject) -> None:
    """The names are right, the values are anything."""
    names = st.sampled_from([*ours()[tag].model_fields, "unknown"]) | _trees
    fields = data.draw(st.lists(st.tuples(names, _trees), max_size=5).map(tuple))
    read_message(b"\x92" + pack(tag) + pack(fields))


def nested(levels: int, code: int, inner: bytes = b"\x90") -> bytes:
    """An extension that holds an array that holds an extension, and so on."""
    data = inner
    for _ in range(levels):
        data = b"\x91" + b"\xc9" + struct.pack(">Ib", len(data), code) + data
    return data


HUGE = b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\xc1", "not_a_message"),
        (b"\xc6" + HUGE, "truncated"),
        (b"\xdb" + HUGE + b"abc", "truncated"),
        (b"\xdd" + HUGE, "truncated"),
        (b"\xdf" + HUGE, "truncated"),
        (b"\xc9\x7f\xff\xff\xff\x01", "truncated"),
        (b"\xc9\xff\xff\xff\xfe\x07abc", "truncated"),
        (b"\xc9" + HUGE + b"\x01", "not_a_message"),  # msgpack adds one to this length and gets 0
        (b"\xdd" + HUGE + b"\xdd" + HUGE + b"\xdd" + HUGE, "truncated"),
        (b"\x91" * 100_000, "too_deep"),
        (b"\x81\x01" * 100_000, "too_deep"),
        (b"\x91" * 100_000 + b"\x01", "too_deep"),
        (nested(17, 1), "too_deep"),
        (nested(200, 1), "too_deep"),
        (nested(5_000, 2), "too_deep"),
        (nested(17, 3), "too_deep"),
        (b"\xc0\xc0", "trailing_bytes"),
        (b"\xa1\xff", "not_a_message"),
        (b"\x81\x90\x01", "not_a_message"),
        (b"\x81\x80\x01", "not_a_message"),
        (nested(1, 2, b"\x91\x90"), "not_a_message"),
        (nested(1, 3, b"\x91\x80"), "not_a_message"),
        (nested(1, 1, b"\x05"), "not_a_message"),
        (nested(1, 1, b"\xa5hello"), "not_a_message"),
        (nested(1, 1, b"\x80"), "not_a_message"),
        (nested(1, 1, b""), "truncated"),
        (nested(1, 2, b"\x92\x01"), "truncated"),
        (nested(1, 3, b"\x90\x90"), "trailing_bytes"),
        (pack(extension(4, b"")), "not_a_message"),
        (pack(extension(4, b"\xff\xfe")), "not_a_message"),
        (pack(extension(4, b"2024-02-30T00:00:00+00:00")), "not_a_message"),
        (pack(extension(4, b"2024-02-28T00:00:00")), "not_a_message"),
        (pack(extension(4, b"2024-02-28")), "not_a_message"),
        (pack(extension(5, b"short")), "not_a_message"),
        (pack(extension(6, b"")), "not_a_message"),
        (pack(extension(6, b"1e")), "not_a_message"),
        (pack(extension(6, b"\xff")), "not_a_message"),
        (pack(extension(6, b"1E+99999999999999999999")), "not_a_message"),
        (nested(1, 2, b"\x91" + pack(extension(6, b"sNaN"))), "not_a_message"),
        (b"\x81" + pack(extension(6, b"sNaN")) + b"\x01", "not_a_message"),
        (pack(extension(7, b"\xc0")), "not_a_message"),
        (pack(extension(99, b"")), "not_a_message"),
        (b"\xc7\x0c\xff" + b"\xff" * 12, "not_a_message"),
        (b"\xd7\xff" + b"\xff" * 8, "not_a_message"),
        (b"\xc7\x03\xffabc", "not_a_message"),
        (b"\xc7\x0c\xff" + struct.pack(">Iq", 0, 2**40), "not_a_message"),
    ],
)
def test_each_kind_of_bad_user_data_has_its_reason(data: bytes, reason: str) -> None:
    """No MemoryError at a length that is not there, no crash of the interpreter, no error of somebody else's."""
    with pytest.raises(MessageError) as caught:
        Payload(data).value()
    assert reason == caught.value.reason


def test_bad_user_data_does_not_hurt_a_thread_with_a_small_stack() -> None:
    """Deepest allowed, and far beyond: reading takes C stack, of which a thread may have a megabyte."""
    outcomes: list[str] = []

    def read() -> None:
        Payload(nested(16, 1, b"\x91" * 900 + b"\x01")).value()
        for data in (nested(400, 1), b"\x91" * 100_000):
            try:
                Payload(data).value()
            except MessageError as error:
                outcomes.append(error.reason)

    before = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(30)
    finally:
        threading.stack_size(before)
    assert ["too_deep", "too_deep"] == outcomes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc0", "not_a_message"),
        (b"\x90", "not_a_message"),
        (b"\x92\xa1x", "truncated"),
        (b"\x92\xa1x\x90", "not_a_message"),
        (b"\x92\x01\x80", "not_a_message"),
        (b"\x93\xa1x\x80\xc0", "not_a_message"),
        (b"\x92\xc4\x08event.v1\x80", "not_a_message"),
        (pack(extension(7, b"")), "not_a_message"),
        (pack(["nobody.knows.v1", ()]), "unknown_tag"),
        (pack(["event.v999", ()]), "unknown_version"),
        (pack(["event", ()]), "unknown_tag"),
        (pack(["", ()]), "unknown_tag"),
        (pack(["x" * 100_000, ()]), "unknown_tag"),
        (pack(["event.v1\n", ()]), "unknown_tag"),
        (pack(["event.v1", ()]), "invalid_fields"),
        (pack(["event.v1", ((1, 2),)]), "invalid_fields"),
        (pack(["event.v1", (("x" * 100_000, 2),)]), "invalid_fields"),
        (pack(["event.v1", (("type", 2),)]), "invalid_fields"),
        (pack(["stream.stats.v1", (("status_counts", [["a", 1], ["a", 2]]),)]), "invalid_fields"),
        (pack(["event.filter.v1", ()]) + b"\x00", "trailing_bytes"),
        (pack(["event.filter.v1", (("types", [extension(1, b"\x90")]),)]), "not_a_message"),
        (b"\x92\xafevent.filter.v1\x81\xa5types" + b"\x91" * 5_000, "too_deep"),
    ],
)
def test_each_kind_of_bad_message_has_its_reason(data: bytes, reason: str) -> None:
    """Said in less than a thousand characters, however long the thing is."""
    with pytest.raises(MessageError) as caught:
        decode(data)
    assert reason == caught.value.reason
    assert len(str(caught.value)) < 1_000


def test_a_truncated_message_is_said_to_be_truncated() -> None:
    """Wherever the end is missing from; and one byte too many is said to be that."""
    for data in GOOD:
        assert {"truncated"} == {refusal(data[:length]) for length in range(len(data))}, decode(data)
        assert "trailing_bytes" == refusal(data + b"\x00")


def refusal(data: bytes) -> str:
    """Why these bytes are no message."""
    with pytest.raises(MessageError) as caught:
        decode(data)
    return caught.value.reason


@given(damaged(st.dictionaries(st.text(), st.none()).map(lambda value: Payload.of(value).data)))
@example(b"")
@example(b"\x81\x01\x02")
@example(b"\x80\x80")
@example(b"\xdf" + HUGE)
@example(b"\x81\xa1a" + b"\x91" * 5_000)
def test_damaged_memory_is_split_or_refused_by_name(data: bytes) -> None:
    """Splitting looks at the keys only; a part that is damaged is found out by whoever reads it."""
    is_read, parts = outcome(Payload(data).split)
    for part in parts.values() if is_read else ():
        outcome(part.value)


def test_an_integer_of_any_size_in_a_payload_is_an_integer() -> None:
    """The largest that msgpack has."""
    assert 2**64 - 1 == Payload(b"\xcf" + b"\xff" * 8).value()


def test_bytes_beyond_the_limit_are_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a message and as user data. The limit is a gigabyte; here it is ten bytes."""
    monkeypatch.setattr("propolis.messages.wire.MAX_MESSAGE_BYTES", 10)
    assert "too_large" == refusal(b"\xc1" * 11)
    with pytest.raises(MessageError, match="too_large"):
        Payload(b"\xc1" * 11).value()
