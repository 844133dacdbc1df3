"""The error family: each says what happened, to what, and what to do; and survives travelling."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from collections.abc import Iterator
from typing import Any, ClassVar, get_type_hints

import pytest

from propolis.messages import (
    Event,
    Failure,
    GraphProblem,
    InvalidInput,
    MailboxFull,
    MessageError,
    NonRetryable,
    Payload,
    PropolisError,
    RemoteError,
    SessionNotFound,
    StaleWriter,
    StreamNotFound,
    decode,
    encode,
)

from .samples import MOMENT


def leaves(root: type[PropolisError] = PropolisError) -> Iterator[type[PropolisError]]:
    """Every error class of ours, found by subclassing and not by a list."""
    for cls in root.__subclasses__():
        if cls.__module__.startswith("propolis."):
            yield cls
            yield from leaves(cls)


def sample(cls: type[PropolisError]) -> PropolisError:
    """One with every field set to something that is seen to be that field's."""
    types = get_type_hints(cls)
    values = {field.name: _value(field.name, types[field.name]) for field in dataclasses.fields(cls)}
    return cls(**values)


def _value(name: str, annotation: Any) -> Any:
    if annotation in (int, int | None):
        return len(name) + 1000
    problems = (GraphProblem("unreachable", f"{name}-1", f"The-{name}."),)
    known = {float: 2.5, tuple[str, ...]: (f"{name}-1", f"{name}-2"), tuple[GraphProblem, ...]: problems}
    return known.get(annotation, f"The-{name}.")


def fields_of(error: PropolisError) -> dict[str, Any]:
    """The fields of an error by name."""
    return {field.name: getattr(error, field.name) for field in dataclasses.fields(error)}


each_leaf = pytest.mark.parametrize("cls", list(leaves()), ids=lambda cls: cls.__name__)


@each_leaf
def test_a_leaf_pickles_and_copies(cls: type[PropolisError]) -> None:
    """With its fields, as the same class; also raised, which adds a traceback that stays behind."""
    with pytest.raises(cls) as caught:
        raise sample(cls)
    error = caught.value
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (cls, fields_of(error), str(error)) == (type(copied), fields_of(copied), str(copied))


@each_leaf
def test_a_leaf_says_what_happened_to_whom_and_what_to_do(cls: type[PropolisError]) -> None:
    """Every field that names something is in the sentence, and another sentence or clause follows."""
    error = sample(cls)
    for name, value in fields_of(error).items():
        if isinstance(value, str) and not (cls is MailboxFull and name == "message") and name != "remote_code":
            assert value in str(error)
    if cls is not RemoteError:  # says what somebody else's error said
        assert re.search(r"[.:;] [A-Za-z].*\.$", str(error))


@each_leaf
def test_a_leaf_crosses_as_a_failure_and_comes_back_as_itself(cls: type[PropolisError]) -> None:
    """With equal fields and the same words. Only the message in MailboxFull stays on its side."""
    error = sample(cls)
    failure = Failure.of(error)
    assert (cls.__name__, str(error), cls.code, cls.retryable) == (
        failure.kind,
        failure.message,
        failure.code,
        failure.retryable,
    )
    crossed = decode(encode(failure))
    assert isinstance(crossed, Failure)
    back = crossed.to_error()
    expected = fields_of(error) | ({"message": None} if cls is MailboxFull else {})
    assert (cls, expected, str(error)) == (type(back), fields_of(back), str(back))


@each_leaf
def test_a_leaf_has_a_code_that_is_a_word_for_programs(cls: type[PropolisError]) -> None:
    """Its class name in small letters, and nobody else's."""
    words = re.findall("[A-Z][a-z]*", cls.__name__)
    assert "_".join(words).lower() == cls.code
    assert cls is PropolisError.by_code[cls.code]


@each_leaf
def test_a_leaf_takes_fields_by_name_only(cls: type[PropolisError]) -> None:
    """A new field would change what positions mean."""
    with pytest.raises(TypeError):
        cls("text")


def test_the_family_is_caught_by_its_root_and_by_pythons_own_kinds() -> None:
    """Whoever catches LookupError or ValueError today goes on doing so."""
    builtin = (LookupError, ValueError, TimeoutError)
    kinds = {cls.__name__: [base for base in cls.__mro__ if base in builtin] for cls in leaves()}
    assert {
        "InvalidInput": [ValueError],
        "GraphInvalid": [ValueError],
        "BranchTimedOut": [TimeoutError],
        "NodeTimedOut": [TimeoutError],
        "QuestionExpired": [TimeoutError],
        "QuestionNotFound": [LookupError],
        "AskTimeout": [TimeoutError],
        "StreamNotFound": [LookupError],
        "SessionNotFound": [LookupError],
        "ExecutionNotFound": [LookupError],
        "DecisionNotFound": [LookupError],
        "GoalNotFound": [LookupError],
    } == {name: found for name, found in kinds.items() if found}


def test_what_a_user_raises_to_fail_at_once_is_no_error_of_ours() -> None:
    """It is not caught with ours."""
    assert not issubclass(NonRetryable, PropolisError)


def test_sentences_that_depend_on_the_case() -> None:
    """Word for word."""
    moved = ", this writer is of epoch 2: another attempt or owner has taken over. Stop working; the newer one goes on."
    expected = [
        "No stream 's' is open here (open: none). Open it with runtime.open_stream().",
        "No stream 's' is open here (open: a, b). Open it with runtime.open_stream().",
        "There is no session 'x' in this store. See runtime.sessions().",
        f"Execution 'e' is gone{moved}",
        f"Execution 'e' is at epoch 3{moved}",
        "Not a message that can be handled 'a.v9' (unknown_version). Install the version that sent it.",
        "Not a message that can be handled (truncated): d. Send it again from an undamaged source.",
    ]
    errors = [
        StreamNotFound(stream_id="s"),
        StreamNotFound(stream_id="s", known=("a", "b")),
        SessionNotFound(session_id="x"),
        StaleWriter(execution_id="e", epoch=2),
        StaleWriter(execution_id="e", epoch=2, current=3),
        MessageError(reason="unknown_version", tag="a.v9"),
        MessageError(reason="truncated", detail="d"),
    ]
    assert expected == list(map(str, errors))


def test_braces_in_a_field_are_only_text() -> None:
    """A sentence is filled in once."""
    assert "{what}: {0}. {reason}" == str(InvalidInput(what="{what}", reason="{0}", remedy="{reason}"))


def test_a_full_mailbox_hands_back_the_message_itself() -> None:
    """Not a copy; it travels along in a pickle, and stays behind when the error crosses as a Failure."""
    event = Event(type="custom", timestamp=MOMENT, data_payload=Payload.of(1))
    error = MailboxFull(actor="a", limit=1, message=event)
    assert error.message is event
    assert event == pickle.loads(pickle.dumps(error)).message
    back = Failure.of(error).to_error()
    assert isinstance(back, MailboxFull)
    assert ("a", 1, None) == (back.actor, back.limit, back.message)


def test_a_leaf_of_a_users_own_crosses_too() -> None:
    """Defined anywhere, with or without fields of its own."""

    @dataclasses.dataclass(eq=False, kw_only=True)
    class OutOfStock(PropolisError):
        retryable: ClassVar[bool] = True
        sentence = "No {item} left. Order some."
        item: str

    class Plain(PropolisError):
        pass

    failure = Failure.of(OutOfStock(item="nuts"))
    assert ("out_of_stock", True, "No nuts left. Order some.") == (failure.code, failure.retryable, failure.message)
    back = failure.to_error()
    assert isinstance(back, OutOfStock)
    assert "nuts" == back.item
    assert (Plain, "plain") == (type(Failure.of(Plain()).to_error()), str(Plain()))


def test_a_users_class_does_not_take_the_code_of_one_of_ours() -> None:
    """What crosses as `session_not_found` is ours."""
    ours = SessionNotFound
    type("SessionNotFound", (PropolisError,), {})
    assert ours is PropolisError.by_code["session_not_found"]
