"""Restart, stop or escalate."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.specs import Backoff, RestartPolicy
from propolis.actors.supervision.policy import Escalate, History, Restart, Stop, decide

from propolis.messages import Failure, LeaseLost

CRASH = Failure(kind="ValueError", message="no")
HOPELESS = Failure(kind="KeyError", message="no", retryable=False)
STEADY = RestartPolicy(backoff=Backoff(jitter=0.0))


def test_a_first_crash_is_followed_by_an_immediate_restart() -> None:
    """By default."""
    assert Restart(0.0) == decide(RestartPolicy(), History(), CRASH, now=0.0)


def test_later_restarts_wait_longer_and_longer_until_none_is_left() -> None:
    """max_restarts=3 is three restarts, so four attempts."""
    decisions = [decide(STEADY, History(restarts=restarts), CRASH, now=0.0) for restarts in range(5)]
    expected = [Restart(0.0), Restart(0.1), Restart(0.2), Stop("exhausted"), Stop("exhausted")]
    assert expected == decisions


def test_the_draw_decides_on_the_jitter() -> None:
    """Chance comes in as data, so the decision is a function."""
    decisions = [decide(RestartPolicy(), History(restarts=1, draw=draw), CRASH, now=0.0) for draw in (0.0, 0.5, 1.0)]
    assert [0.09, 0.1, 0.11] == [
        pytest.approx(decision.after) for decision in decisions if isinstance(decision, Restart)
    ]


def test_a_temporary_execution_is_never_restarted() -> None:
    """Whatever max_restarts says."""
    policy = RestartPolicy(strategy="temporary", max_restarts=100)
    assert Stop("temporary") == decide(policy, History(), CRASH, now=0.0)


def test_a_failure_that_is_not_retryable_stops_with_restarts_left() -> None:
    """And is told apart from an execution that has used them up: only that one is quarantined."""
    assert Stop("not_retryable") == decide(RestartPolicy(), History(), HOPELESS, now=0.0)


def test_no_restarts_at_all_can_be_asked_for() -> None:
    """max_restarts=0 quarantines at the first failure, where `temporary` does not."""
    assert Stop("exhausted") == decide(RestartPolicy(max_restarts=0), History(), CRASH, now=0.0)


@pytest.mark.parametrize(
    ("deadline", "expected"), [(100.11, Restart(0.1)), (100.1, Stop("deadline")), (99.0, Stop("deadline"))]
)
def test_a_restart_that_would_come_after_the_deadline_is_not_made(deadline: float, expected: object) -> None:
    """The execution ends with its real failure now, and not with a timeout later."""
    assert expected == decide(STEADY, History(restarts=1, deadline=deadline), CRASH, now=100.0)


@pytest.mark.parametrize(
    "policy", [RestartPolicy(), RestartPolicy(strategy="temporary"), RestartPolicy(max_restarts=0)]
)
def test_a_failure_of_the_runtime_escalates_and_is_charged_to_nobody(policy: RestartPolicy) -> None:
    """What is above knows whether the lease is lost in fact."""
    failure = Failure.of(LeaseLost(runtime_id="r"))
    assert Escalate("lease_lost") == decide(policy, History(restarts=3), failure, now=0.0)


@given(st.integers(0, 20), st.integers(0, 20), st.booleans(), st.floats(0, 1))
def test_restarts_are_bounded_and_a_failure_that_is_not_retryable_never_gets_one(
    allowed: int, restarts: int, retryable: bool, draw: float
) -> None:
    """D2 counts attempts in the store, so this bounds them across processes."""
    policy = RestartPolicy(max_restarts=allowed)
    failure = Failure(kind="E", message="", retryable=retryable)
    decision = decide(policy, History(restarts=restarts, draw=draw), failure, now=0.0)
    assert (retryable and restarts < allowed) is isinstance(decision, Restart)


def test_a_decision_is_frozen() -> None:
    """Decisions are data that are passed on."""
    with pytest.raises(FrozenInstanceError):
        Restart(1.0).after = 2.0  # type: ignore[misc]
