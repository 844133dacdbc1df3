"""`rebuild`: decoding what this process encoded gives what validating decoding gives."""

from __future__ import annotations

import pytest

from propolis.messages import LeaveTurn, Message, Pairs, Payload, decode, encode, encoder, rebuild, unchecked

from .samples import full, minimal, ours


@pytest.mark.parametrize("tag", sorted(ours()))
@pytest.mark.parametrize("make", [full, minimal])
def test_rebuilding_gives_what_decoding_gives(tag: str, make: object) -> None:
    """The same message, field by field, type by type, hash and bytes included."""
    message = make(ours()[tag])  # type: ignore[operator]
    data = encode(message)
    rebuilt, decoded = rebuild(data), decode(data)
    assert decoded == rebuilt
    assert type(decoded) is type(rebuilt)
    assert list(decoded.__dict__.items()) == list(rebuilt.__dict__.items())
    assert [type(value) for value in decoded.__dict__.values()] == [type(value) for value in rebuilt.__dict__.values()]
    assert decoded.model_fields_set == rebuilt.model_fields_set
    assert hash(decoded) == hash(rebuilt)
    assert data == encode(rebuilt)


def test_a_rebuilt_message_is_a_copy_of_its_own() -> None:
    """No object is shared with the sender, and the copy is frozen like any other message."""
    tag = "execution.result.v1"
    message = full(ours()[tag])
    rebuilt = rebuild(encode(message))
    assert message is not rebuilt
    with pytest.raises(Exception, match="frozen"):
        rebuilt.status = "failed"  # type: ignore[attr-defined]


def test_what_the_wire_spells_otherwise_comes_back_at_every_depth() -> None:
    """Messages, payloads and pairs inside tuples inside messages."""

    class Leaf(Message, tag="test.rebuild_leaf.v1"):
        data: Payload
        marks: Pairs[int] = Pairs()

    class Tree(Message, tag="test.rebuild_tree.v1"):
        leaves: tuple[Leaf, ...] = ()
        pair: tuple[Leaf, int] | None = None
        names: tuple[str, ...] = ()

    leaf = Leaf(data=Payload.of({"a": (1, 2)}), marks=Pairs({"x": 1}))
    tree = Tree(leaves=(leaf, leaf), pair=(leaf, 3), names=("a", "b"))
    assert tree == rebuild(encode(tree))
    assert tree == decode(encode(tree))


def test_a_field_whose_members_the_wire_cannot_tell_apart_is_refused() -> None:
    """A union of two messages has no tag on the wire to choose by."""

    class One(Message, tag="test.rebuild_one.v1"):
        a: int = 0

    class Other(Message, tag="test.rebuild_other.v1"):
        a: int = 0

    class Either(Message, tag="test.rebuild_either.v1"):
        which: One | Other

    with pytest.raises(TypeError, match="apart"):
        rebuild(encode(Either(which=One())))


@pytest.mark.parametrize("tag", sorted(ours()))
@pytest.mark.parametrize("make", [full, minimal])
def test_what_is_made_unchecked_is_what_the_class_makes(tag: str, make: object) -> None:
    """Every field alike; what is at its default counts as not given. The encoder's bytes are that message's."""
    cls = ours()[tag]
    message = make(cls)  # type: ignore[operator]
    values = dict(message.__dict__)
    unvalidated = unchecked(cls)(**values)
    assert message == unvalidated
    assert list(message.__dict__) == list(unvalidated.__dict__)
    assert hash(message) == hash(unvalidated)
    assert message == decode(encode(unvalidated))
    given = unvalidated.model_fields_set
    defaults = {name: field.default for name, field in cls.model_fields.items() if not field.is_required()}
    assert {name for name in values if name not in defaults} <= given
    assert not [name for name in given if name in defaults and values[name] is defaults[name]]
    sent = encoder(cls)(**values)
    assert sent.ours
    assert message == decode(sent.data) == rebuild(sent.data)


def test_what_is_made_unchecked_still_needs_its_fields_and_no_others() -> None:
    """A type checker says so first."""
    with pytest.raises(TypeError, match=r"LeaveTurn needs execution_id"):
        unchecked(LeaveTurn)(session_id="s")  # type: ignore[call-arg]
    with pytest.raises(KeyError, match="nothing"):
        unchecked(LeaveTurn)(session_id="s", execution_id="e", nothing=1)  # type: ignore[call-arg]
