"""When a stream refuses work because its executions fail too fast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.specs import StreamPolicy
from propolis.actors.supervision.circuit import Circuit

from propolis.messages import InvalidInput

POLICY = StreamPolicy(max_failures=2, within=10.0, open_seconds=5.0, open_seconds_max=15.0)


def tripped(now: float = 0.0) -> Circuit:
    """A circuit that has opened at `now`."""
    circuit = Circuit()
    for _ in range(3):
        circuit = circuit.on_failure(POLICY, now)
    return circuit


def test_a_circuit_bears_as_many_failures_as_the_policy_says() -> None:
    """And lets everything in meanwhile."""
    circuit = Circuit().on_failure(POLICY, 0.0).on_failure(POLICY, 1.0)
    assert ("closed", True, 0.0) == (circuit.state, circuit.admit(1.0).allowed, circuit.admit(1.0).retry_after)


def test_one_failure_more_opens_it() -> None:
    """Work is refused with the time to come back in."""
    circuit = tripped(now=1.0)
    refused = circuit.admit(3.0)
    assert ("open", False, 3.0, False) == (circuit.state, refused.allowed, refused.retry_after, refused.trial)
    assert circuit == refused.circuit


def test_failures_that_are_old_do_not_count() -> None:
    """Only those within the window do; one exactly at its edge does."""
    circuit = Circuit()
    for now in (0.0, 1.0, 10.5, 12.0):
        circuit = circuit.on_failure(POLICY, now)
        assert "closed" == circuit.state
    assert "open" == circuit.on_failure(POLICY, 20.5).state


def test_success_does_not_make_up_for_failures_while_it_is_closed() -> None:
    """A stream that fails half the time trips all the same."""
    circuit = Circuit()
    for now in (0.0, 1.0, 2.0):
        circuit = circuit.on_success(now).on_failure(POLICY, now)
    assert "open" == circuit.state


def test_after_the_wait_exactly_one_trial_is_admitted() -> None:
    """Everybody else is refused until it has ended."""
    first = tripped().admit(5.0)
    second = first.circuit.admit(5.0)
    assert (True, True, "half_open") == (first.allowed, first.trial, first.circuit.state)
    assert (False, 5.0) == (second.allowed, second.retry_after)
    assert not second.circuit.admit(1_000.0).allowed


def test_a_trial_that_succeeds_closes_the_circuit_with_a_clean_slate() -> None:
    """The failures that opened it are forgotten, and so is how long it waited."""
    assert Circuit() == tripped().admit(5.0).circuit.on_success(6.0)


def test_a_trial_that_fails_opens_it_again_for_longer_up_to_a_limit() -> None:
    """5, 10, then 15 s, the maximum."""
    circuit, now, waits = tripped(), 0.0, []
    for _ in range(4):
        waits.append(circuit.retry_after(now))
        now += waits[-1]
        circuit = circuit.admit(now).circuit.on_failure(POLICY, now)
    assert [5.0, 10.0, 15.0, 15.0] == waits


def test_a_trial_that_is_abandoned_makes_way_for_another() -> None:
    """Cancelled, paused or parked it says nothing, and must not keep the stream shut."""
    circuit = tripped().admit(5.0).circuit.on_abandoned()
    again = circuit.admit(5.0)
    assert (True, True) == (again.allowed, again.trial)


def test_abandoning_changes_nothing_without_a_trial() -> None:
    """Any execution may be cancelled at any time."""
    assert [Circuit(), tripped()] == [Circuit().on_abandoned(), tripped().on_abandoned()]


def test_what_ends_while_it_is_open_changes_nothing() -> None:
    """Executions admitted before it opened end for a while after."""
    circuit = tripped()
    assert [circuit, circuit] == [circuit.on_failure(POLICY, 1.0), circuit.on_success(1.0)]


def test_a_circuit_that_opened_a_thousand_times_still_knows_its_wait() -> None:
    """The growth alone would be no float any more."""
    policy = StreamPolicy(max_failures=0, open_seconds=5.0, open_seconds_max=300.0, factor=10.0)
    circuit = Circuit(state="half_open", trial=True, opened=1_000).on_failure(policy, 0.0)
    assert 300.0 == circuit.retry_after(0.0)


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "fail", "succeed", "abandon"]), st.integers(0, 8)), max_size=60),
    st.integers(0, 4),
)
def test_whatever_happens_it_refuses_with_a_time_and_lets_one_trial_in(
    happenings: list[tuple[str, int]], max_failures: int
) -> None:
    """At every moment: refused means a retry_after above 0, and half open means at most one trial under way."""
    policy = StreamPolicy(max_failures=max_failures, within=10.0, open_seconds=2.0, open_seconds_max=20.0)
    circuit, now, trial = Circuit(), 0.0, False
    for happening, seconds in happenings:
        now += seconds
        match happening:
            case "ask":
                answer = circuit.admit(now)
                assert answer.allowed is (answer.retry_after == 0.0)
                assert not (answer.trial and trial)
                circuit, trial = answer.circuit, trial or answer.trial
            case "fail":
                circuit, trial = circuit.on_failure(policy, now), False
            case "succeed":
                circuit, trial = circuit.on_success(now), False
            case _:
                circuit, trial = circuit.on_abandoned(), False
        assert len(circuit.failures) <= max_failures + 1
        assert circuit.retry_after(now) <= 20.0
        assert trial is circuit.trial


def test_a_longest_wait_shorter_than_the_first_is_refused() -> None:
    """It cannot be meant."""
    with pytest.raises(InvalidInput) as caught:
        StreamPolicy(open_seconds=400.0)
    assert "StreamPolicy.open_seconds_max" == caught.value.what
