"""How exceptions travel: any of them, whatever their own methods do."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import pytest

from propolis.messages import (
    Failure,
    InvalidInput,
    NonRetryable,
    Payload,
    PropolisError,
    RemoteError,
    SessionNotFound,
    decode,
    encode,
)

E = TypeVar("E", bound=BaseException)


class Hostile(Exception):
    """Its text is what `what` says, or does."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __str__(self) -> str:
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what  # type: ignore[no-any-return]

    __repr__ = __str__


def raised(error: E) -> E:
    """The same with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def crossed(failure: Failure) -> Failure:
    """The failure as it arrives."""
    arrived = decode(encode(failure))
    assert isinstance(arrived, Failure)
    return arrived


def test_an_exception_that_is_not_ours_comes_back_as_a_remote_error() -> None:
    """With its class name, its words, and the end of its traceback."""
    failure = crossed(Failure.of(raised(KeyError("x"))))
    assert ("KeyError", "'x'", "crashed", True, None) == (
        failure.kind,
        failure.message,
        failure.code,
        failure.retryable,
        failure.details,
    )
    assert failure.trace.endswith("KeyError: 'x'\n")
    assert "test_failure.py" in failure.trace
    error = failure.to_error()
    assert isinstance(error, RemoteError)
    assert ("KeyError", "'x'", "crashed", "KeyError: 'x'") == (
        error.kind,
        error.message,
        error.remote_code,
        str(error),
    )


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ValueError(), True),
        (SystemExit(1), True),
        (NonRetryable(), False),
        (type("Mine", (NonRetryable,), {})(), False),
        (ExceptionGroup("g", [ValueError()]), True),
        (ExceptionGroup("g", [ValueError(), ExceptionGroup("h", [NonRetryable()])]), False),
        (BaseExceptionGroup("g", [KeyboardInterrupt(), NonRetryable()]), False),
        (SessionNotFound(session_id="x"), False),
    ],
    ids=repr,
)
def test_whether_it_may_be_retried_is_judged_beside_the_exception(error: BaseException, retryable: bool) -> None:
    """NonRetryable also counts from inside the group that an asyncio.TaskGroup makes of it."""
    assert retryable == Failure.of(error).retryable


def test_a_policy_has_the_last_word() -> None:
    """It passes what it found."""
    failure = Failure.of(NonRetryable(), code="timed_out", retryable=True)
    assert ("timed_out", True) == (failure.code, failure.retryable)


@pytest.mark.parametrize(
    "problem",
    [ValueError(), RecursionError(), SystemExit(), KeyboardInterrupt(), Hostile(ValueError()), Hostile(5)],
    ids=lambda problem: type(problem).__name__,
)
def test_an_exception_whose_str_raises_is_described_all_the_same(problem: BaseException) -> None:
    """Describing a failure never fails."""
    failure = crossed(Failure.of(raised(Hostile(problem))))
    assert f"<Hostile whose str() raised {type(problem).__name__}>" == failure.message


@pytest.mark.parametrize("text", [5, None, b"x"])
def test_an_exception_whose_str_is_no_string_is_described_all_the_same(text: Any) -> None:
    """Python raises a TypeError there."""
    assert "<Hostile whose str() raised TypeError>" == crossed(Failure.of(Hostile(text))).message


def test_what_is_no_valid_unicode_is_replaced() -> None:
    """In the words and in the trace."""
    failure = crossed(Failure.of(raised(ValueError("a\ud800b"))))
    assert "a?b" == failure.message
    assert "a?b" in failure.trace


def test_huge_words_are_cut() -> None:
    """They are kept in rows and shown in lists."""
    failure = crossed(Failure.of(raised(ValueError("x" * 10_000_000))))
    assert "x" * 2_000 + "… (10000000 characters)" == failure.message
    assert 4_000 == len(failure.trace)
    assert len(encode(failure)) < 10_000


def test_an_error_of_ours_with_huge_fields_keeps_its_words_only() -> None:
    """Sixty-four kilobytes of fields travel; with more it comes back as a RemoteError."""
    small, huge = (InvalidInput(what="x" * size, reason="r") for size in (60_000, 70_000))
    assert isinstance(crossed(Failure.of(small)).to_error(), InvalidInput)
    assert isinstance(crossed(Failure.of(huge)).to_error(), RemoteError)
    assert len(encode(Failure.of(huge))) < 10_000


def test_an_exception_group_says_what_is_in_it() -> None:
    """In the trace; its own words count them."""
    inner = ExceptionGroup("in", [raised(KeyError("second"))])
    group = raised(ExceptionGroup("two", [raised(ValueError("first")), inner]))
    failure = crossed(Failure.of(group))
    assert ("ExceptionGroup", "two (2 sub-exceptions)") == (failure.kind, failure.message)
    assert "ValueError: first" in failure.trace
    assert "KeyError: 'second'" in failure.trace


def test_a_long_chain_of_causes_is_described() -> None:
    """Deeper than Python recurses; and one in a circle."""
    error: BaseException = ValueError("first")
    for number in range(3_000):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    assert "2999" == crossed(Failure.of(error)).message
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert "one" == crossed(Failure.of(one)).message
    while error.__cause__ is not None:  # freed one by one: all at once would recurse in C
        error = error.__cause__
    one.__cause__ = None


def test_fields_that_cannot_travel_leave_the_words() -> None:
    """Of a leaf of a user's, say."""

    @dataclasses.dataclass(eq=False, kw_only=True)
    class Odd(PropolisError):
        sentence = "It is odd. Look."
        thing: Any

    class Worse(PropolisError):
        def details(self) -> dict[str, Any]:
            raise ZeroDivisionError

    failures = [Failure.of(Odd(thing=object())), Failure.of(Worse())]
    assert [None, None] == [failure.details for failure in failures]
    assert ["Odd: It is odd. Look.", "Worse: worse"] == [str(failure.to_error()) for failure in failures]


@pytest.mark.parametrize(
    "details",
    [
        Payload.of({}),
        Payload.of({"session_id": "x", "new_field": 1}),
        Payload.of([1]),
        Payload.of(None),
        Payload.of({1: 2}),
        Payload(b"\xc1"),
        Payload(b""),
    ],
    ids=["empty", "newer", "list", "none", "no names", "damaged", "truncated"],
)
def test_details_of_another_version_leave_the_words(details: Payload) -> None:
    """The error is a RemoteError with the kind, the message and the code that it came with."""
    failure = Failure(kind="SessionNotFound", message="gone", code="session_not_found", details=details)
    error = crossed(failure).to_error()
    assert isinstance(error, RemoteError)
    assert ("SessionNotFound", "gone", "session_not_found") == (error.kind, error.message, error.remote_code)


def test_details_of_other_types_leave_the_words() -> None:
    """An error that could not even say itself is not made."""
    details = Payload.of({"stream_id": 1, "retry_after": "x"})
    failure = Failure(kind="StreamTripped", message="m", code="stream_tripped", details=details)
    assert isinstance(failure.to_error(), RemoteError)


def test_a_code_that_nobody_has_is_kept() -> None:
    """Codes of executors are theirs."""
    error = Failure(kind="K", message="m", code="timed_out", details=Payload.of({})).to_error()
    assert isinstance(error, RemoteError)
    assert "timed_out" == error.remote_code


def test_a_remote_error_that_is_sent_on_stays_what_it_is() -> None:
    """Over any number of hops."""
    error: PropolisError = RemoteError(kind="KeyError", message="'x'", remote_code="crashed")
    for _ in range(3):
        error = crossed(Failure.of(error)).to_error()
    assert isinstance(error, RemoteError)
    assert ("KeyError", "'x'", "crashed") == (error.kind, error.message, error.remote_code)


class Nameless(type):
    """A metaclass that gives nothing away."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        """Never there."""
        raise ValueError("no")


class Unspeakable(Exception, metaclass=Nameless):
    """Does not say what it is."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        """Never there."""
        raise SystemExit("no")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        """Nor to be set."""


class BadCode(PropolisError):
    """One of the family, with a code that cannot travel."""

    code = 3  # type: ignore[assignment]


def test_an_exception_that_does_not_say_what_it_is_has_a_name_all_the_same() -> None:
    """That of its type, whatever its metaclass and its `__class__` say."""
    failure = Failure.of(raised(Unspeakable("words")))
    assert ("Unspeakable", "words", "crashed") == (failure.kind, failure.message, failure.code)


def test_an_error_of_the_family_that_cannot_travel_is_described_without_its_fields() -> None:
    """And not retried unless that was said."""
    assert ("BadCode", "crashed", False) == _essence(Failure.of(BadCode()))
    assert ("BadCode", "crashed", True) == _essence(Failure.of(BadCode(), retryable=True))


def test_a_name_is_cut_to_size() -> None:
    """Somebody will make one of a megabyte."""
    assert "N" * 200 == Failure.of(type("N" * 1_000_000, (Exception,), {})()).kind


def _essence(failure: Failure) -> tuple[str, str, bool]:
    return failure.kind, failure.code, failure.retryable
