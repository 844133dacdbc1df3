"""Tags: how a class is found, and what cannot be one."""

from __future__ import annotations

from typing import ClassVar

import pytest

from propolis.messages import EventFilter, Message, MessageError, Request, decode, encode, registered, upcaster

from .samples import ours


@pytest.mark.parametrize(
    "tag", ["event", "event.v", "event.v0", "event.v01", ".v1", "Event.v1", "9.v1", "a b.v1", "a.v1 ", "a.v1\n", "é.v1"]
)
def test_a_tag_without_a_version_is_refused(tag: str) -> None:
    """An area, what it is, and a version from 1 on."""
    with pytest.raises(TypeError, match=r"has no version; write it as 'area.what.v1'"):

        class Bad(Message, tag=tag):
            pass

    assert tag not in registered()


def test_a_tag_is_never_reused() -> None:
    """The first class keeps it, and the error names both."""
    with pytest.raises(TypeError, match=r"Other: tag 'event.filter.v1' belongs to EventFilter; a tag is never reused"):

        class Other(Message, tag="event.filter.v1"):
            pass

    assert EventFilter is registered()["event.filter.v1"]


def test_a_module_may_be_read_again() -> None:
    """A reload defines the same class under the same tag once more; the newest counts."""

    def define() -> type[Message]:
        class Again(Message, tag="test.again.v1"):
            x: int = 1

        return Again

    first, second = define(), define()
    assert first is not second
    assert second is registered()["test.again.v1"]


def test_a_subclass_has_a_tag_of_its_own() -> None:
    """It adds fields to those of its base, and each is found by its own tag."""

    class Base(Message, tag="test.base.v1"):
        x: int = 0

    class Derived(Base, tag="test.derived.v1"):
        y: int = 0

    assert [Base, Derived] == [type(decode(encode(message))) for message in (Base(x=1), Derived(x=1, y=2))]


def test_a_subclass_without_a_tag_cannot_be_sent() -> None:
    """It does not pass for its base."""

    class Base(Message, tag="test.base.v1"):
        pass

    class Silent(Base):
        pass

    assert "" == Silent.tag
    with pytest.raises(MessageError) as caught:
        encode(Silent())
    assert "not_a_message" == caught.value.reason


def test_a_class_without_a_tag_is_abstract() -> None:
    """It lends its fields to those that have one."""

    class Located(Message):
        where: str

    class Moved(Located, Request[None], tag="test.moved.v1"):
        fast: bool = False

    assert Moved(where="here") == decode(encode(Moved(where="here")))
    with pytest.raises(MessageError):
        encode(Located(where="here"))


def test_class_variables_are_no_fields() -> None:
    """They belong to the class and do not travel."""

    class Flagged(Message, tag="test.flagged.v1"):
        control: ClassVar[bool] = True
        x: int = 0

    assert ["x"] == list(Flagged.model_fields)
    assert b"\x92\xaftest.flagged.v1\x80" == encode(Flagged())


def test_the_registry_is_read_only() -> None:
    """Only defining a class writes it."""
    with pytest.raises(TypeError):
        registered()["x.v1"] = EventFilter  # type: ignore[index]


def test_every_message_of_ours_says_what_it_is() -> None:
    """One line at least, and its tag is the one that it is found by."""
    assert [] == [cls.__name__ for cls in ours().values() if not (cls.__doc__ or "").strip()]
    assert {} == {tag: cls for tag, cls in ours().items() if cls.tag != tag}


def test_a_class_is_never_imported_by_a_name_in_data() -> None:
    """Only a tag finds one, and only what was defined has a tag."""
    for name in ("os.system.v1", "propolis.messages.events.Event", "builtins.v1"):
        with pytest.raises(MessageError) as caught:
            decode(b"\x92" + bytes([0xA0 + len(name)]) + name.encode() + b"\x80")
        assert "unknown_tag" == caught.value.reason


def test_an_unknown_version_is_told_from_an_unknown_tag() -> None:
    """The first is of a newer Propolis, the second of a module that was not imported."""

    class Known(Message, tag="test.known.v2"):
        pass

    reasons = {}
    for tag in ("test.known.v1", "test.known.v3", "test.other.v2", "test.known", "test.known.v2.v1"):
        with pytest.raises(MessageError) as caught:
            decode(b"\x92" + bytes([0xA0 + len(tag)]) + tag.encode() + b"\x80")
        assert tag == caught.value.tag
        reasons[tag] = caught.value.reason
    assert {
        "test.known.v1": "unknown_version",
        "test.known.v3": "unknown_version",
        "test.other.v2": "unknown_tag",
        "test.known": "unknown_tag",
        "test.known.v2.v1": "unknown_tag",
    } == reasons


def test_upcasters_may_be_registered_before_the_class_is_defined() -> None:
    """Modules are imported in any order."""

    @upcaster("test.late.v1", "test.late.v2")
    def _(fields: dict[str, object]) -> dict[str, object]:
        return {"x": fields["y"]}

    class Late(Message, tag="test.late.v2"):
        x: int

    assert Late(x=5) == decode(b"\x92\xactest.late.v1\x81\xa1y\x05")
