"""Which failures may be followed by a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from propolis.actors.specs import RestartPolicy

from propolis.messages import (
    Failure,
    InvalidInput,
    MailboxFull,
    NonRetryable,
    PropolisError,
    ReplayMismatch,
    StaleWriter,
    StoreUnavailable,
)


class Declined(NonRetryable):
    """What a user might derive."""


MAILBOX_FULL = MailboxFull(actor="a", limit=1)
STALE = StaleWriter(execution_id="e", epoch=1)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no"), True),
        (TimeoutError(), True),
        (MAILBOX_FULL, True),
        (StoreUnavailable(store="s", reason="locked"), True),
        (NonRetryable("no"), False),
        (Declined("no"), False),
        (STALE, False),
        (InvalidInput(what="input", reason="no"), False),
        (ReplayMismatch(execution_id="e", step="s"), False),
        (SystemExit(1), False),
        (KeyboardInterrupt(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_by_default_exceptions_are_retried_unless_they_say_no(error: BaseException, expected: bool) -> None:
    """Errors of ours say it by their class; what is no Exception is no ordinary failure."""
    assert expected is RestartPolicy().retryable(error)


def test_only_what_retry_on_names_is_retried() -> None:
    """Subclasses too."""
    policy = RestartPolicy(retry_on=(OSError,))
    assert [True, True, False, False] == [
        policy.retryable(error) for error in (OSError(), ConnectionResetError(), ValueError(), MAILBOX_FULL)
    ]


def test_never_on_takes_precedence_over_retry_on() -> None:
    """A part of what retry_on names can be excepted."""
    policy = RestartPolicy(retry_on=(OSError,), never_on=(FileNotFoundError,))
    assert [True, False] == [policy.retryable(OSError()), policy.retryable(FileNotFoundError())]


def test_a_system_exit_is_retried_where_it_is_named() -> None:
    """A library that calls sys.exit() is nothing that its user can change."""
    assert RestartPolicy(retry_on=(Exception, SystemExit)).retryable(SystemExit(1))


@pytest.mark.parametrize("never", [NonRetryable("no"), STALE, FileNotFoundError()])
def test_a_group_with_one_that_is_never_retried_is_not_retried(never: Exception) -> None:
    """However deep it is: a TaskGroup wraps what its tasks raise."""
    policy = RestartPolicy(never_on=(FileNotFoundError,))
    group = ExceptionGroup("outer", [ValueError(), ExceptionGroup("inner", [never])])
    assert not policy.retryable(group)
    assert policy.retryable(ExceptionGroup("outer", [ValueError()]))


def test_a_group_is_retried_when_all_in_it_are_named() -> None:
    """A narrow retry_on means the same for one task and for a group of them."""
    policy = RestartPolicy(retry_on=(ConnectionError,))
    assert policy.retryable(ExceptionGroup("all", [ConnectionError(), ConnectionResetError()]))
    assert not policy.retryable(ExceptionGroup("one", [ConnectionError(), ValueError()]))


def test_a_group_is_retried_when_it_is_named_itself() -> None:
    """Then what is in it matters only if it is never retried."""
    policy = RestartPolicy(retry_on=(ExceptionGroup,))
    assert policy.retryable(ExceptionGroup("any", [ValueError()]))
    assert not policy.retryable(ExceptionGroup("any", [NonRetryable()]))
    assert not policy.retryable(ValueError())


def test_a_group_of_exits_is_no_ordinary_failure() -> None:
    """BaseExceptionGroup is not an Exception, as what it holds is not."""
    assert not RestartPolicy().retryable(BaseExceptionGroup("exits", [SystemExit(1)]))


def test_the_verdict_travels_with_the_failure() -> None:
    """It is judged beside the live exception and is data from there on."""
    policy = RestartPolicy(never_on=(KeyError,))
    failure = Failure.of(KeyError("k"), retryable=policy.retryable(KeyError("k")))
    assert failure.retryable is False


@pytest.mark.parametrize("given", [OSError, [OSError], (OSError,), {OSError}])
def test_one_class_or_any_collection_of_classes_will_do(given: Any) -> None:
    """It is kept as a tuple."""
    policy = RestartPolicy(retry_on=given)
    assert (OSError,) == policy.retry_on


def test_the_root_of_our_errors_can_be_named() -> None:
    """Then those are retried that may succeed later."""
    policy = RestartPolicy(retry_on=(PropolisError,))
    assert [True, False, False] == [policy.retryable(error) for error in (MAILBOX_FULL, STALE, ValueError())]


@pytest.mark.parametrize("kind", [InvalidInput, StaleWriter, NonRetryable, Declined])
def test_naming_in_retry_on_what_is_never_retried_is_refused(kind: type[Exception]) -> None:
    """Rather than ignored."""
    with pytest.raises(InvalidInput, match=kind.__name__) as caught:
        RestartPolicy(retry_on=(kind,))
    assert "RestartPolicy.retry_on" == caught.value.what


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"retry_on": (int,)}, "RestartPolicy.retry_on[0]"),
        ({"retry_on": (OSError, "ValueError")}, "RestartPolicy.retry_on[1]"),
        ({"retry_on": "OSError"}, "RestartPolicy.retry_on"),
        ({"retry_on": 7}, "RestartPolicy.retry_on"),
        ({"retry_on": (OSError,), "never_on": (OSError,)}, "RestartPolicy.never_on"),
        ({"strategy": "permanent"}, "RestartPolicy.strategy"),
        ({"max_restarts": -1}, "RestartPolicy.max_restarts"),
        ({"max_restart": 1}, "RestartPolicy.max_restart"),
        ({"backoff": 0.5}, "RestartPolicy.backoff"),
        ({"backoff": {"factor": 0}}, "Backoff.factor"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(fields: dict[str, Any], what: str) -> None:
    """What does not name an exception, a strategy or a number of restarts."""
    with pytest.raises(InvalidInput) as caught:
        RestartPolicy(**fields)
    assert what == caught.value.what
