"""How long a restart waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.specs import Backoff

from propolis.messages import InvalidInput


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """Any backoff that can be made."""
    initial = draw(st.floats(0, 1e6))
    return Backoff(
        initial=initial,
        maximum=draw(st.floats(initial, 1e9)),
        factor=draw(st.floats(1, 1e6)),
        jitter=draw(st.floats(0, 1)),
        immediate_first=draw(st.booleans()),
    )


RESTARTS = st.integers(1, 10_000)
DRAWS = st.floats(0, 1)


@given(backoffs(), RESTARTS, DRAWS)
def test_a_wait_is_never_negative_and_never_past_the_maximum_with_its_jitter(
    backoff: Backoff, restart: int, draw: float
) -> None:
    """Whatever the settings, the number of the restart and the draw."""
    assert 0.0 <= backoff.delay(restart, draw) <= backoff.maximum * (1 + backoff.jitter)


@given(backoffs(), RESTARTS)
def test_waits_do_not_shrink_from_one_restart_to_the_next(backoff: Backoff, restart: int) -> None:
    """With jitter left out (a draw of 0.5)."""
    assert backoff.delay(restart, 0.5) <= backoff.delay(restart + 1, 0.5)


@given(backoffs(), RESTARTS, DRAWS)
def test_jitter_stays_within_its_part_of_the_wait(backoff: Backoff, restart: int, draw: float) -> None:
    """At a jitter of 0.1, between 90 % and 110 %."""
    wait = backoff.delay(restart, 0.5)
    low, high = backoff.delay(restart, 0.0), backoff.delay(restart, 1.0)
    assert low <= backoff.delay(restart, draw) <= high
    assert pytest.approx(wait * (1 - backoff.jitter)) == low
    assert pytest.approx(wait * (1 + backoff.jitter)) == high


def test_the_first_restart_is_immediate_and_then_waits_double() -> None:
    """The defaults, without jitter."""
    backoff = Backoff(jitter=0.0)
    assert [0.0, 0.1, 0.2, 0.4, 0.8] == [backoff.delay(restart, 0.5) for restart in range(1, 6)]


def test_the_first_restart_waits_where_that_is_asked_for() -> None:
    """immediate_first=False starts the same series one restart earlier."""
    backoff = Backoff(jitter=0.0, immediate_first=False)
    assert [0.1, 0.2, 0.4] == [backoff.delay(restart, 0.5) for restart in range(1, 4)]


def test_the_ten_thousandth_restart_waits_the_maximum() -> None:
    """2 ** 9998 is no float; the wait is one all the same."""
    assert 30.0 == Backoff().delay(10_000, 0.5)


def test_an_initial_wait_of_zero_makes_every_restart_immediate() -> None:
    """Nothing grows from nothing, also where the growth alone would overflow."""
    backoff = Backoff(initial=0, immediate_first=False)
    assert [0.0, 0.0, 0.0] == [backoff.delay(restart, 1.0) for restart in (1, 2, 10_000)]


@pytest.mark.parametrize(("restart", "draw"), [(0, 0.5), (-1, 0.5), (1, -0.1), (1, 1.1), (1, float("nan"))])
def test_a_restart_before_the_first_and_a_draw_that_is_none_are_bugs_of_the_caller(restart: int, draw: float) -> None:
    """They raise rather than answer with a wait that breaks the bounds."""
    with pytest.raises(ValueError, match="from"):
        Backoff().delay(restart, draw)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"initial": -0.1}, "Backoff.initial"),
        ({"initial": 40.0}, "Backoff.maximum"),
        ({"initial": 2.0, "maximum": 1.0}, "Backoff.maximum"),
        ({"maximum": float("inf")}, "Backoff.maximum"),
        ({"factor": 0.5}, "Backoff.factor"),
        ({"jitter": 1.5}, "Backoff.jitter"),
        ({"immediate_first": "no"}, "Backoff.immediate_first"),
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused_by_name(fields: dict[str, Any], what: str) -> None:
    """Settings that would make a wait negative, shrinking or endless."""
    with pytest.raises(InvalidInput) as caught:
        Backoff(**fields)
    assert what == caught.value.what
