"""When a supervisor gives up on an actor of the system."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.specs import Backoff, Intensity
from propolis.actors.supervision.intensity import decide_system
from propolis.actors.supervision.policy import Escalate, Restart

MOMENTS = st.lists(st.integers(0, 50).map(float), min_size=1, max_size=40).map(sorted)


@given(MOMENTS, st.integers(0, 6), st.integers(1, 20))
def test_a_crash_escalates_when_more_than_allowed_lie_in_the_window(
    moments: list[float], allowed: int, within: int
) -> None:
    """Against a model that keeps every crash ever and counts anew each time."""
    intensity = Intensity(max_restarts=allowed, within_seconds=within)
    crashes: tuple[float, ...] = ()
    for index, now in enumerate(moments):
        decision, crashes = decide_system(intensity, crashes, now)
        recent = [then for then in moments[: index + 1] if now - within <= then]
        assert tuple(recent) == crashes
        assert (len(recent) > allowed) is isinstance(decision, Escalate)


def test_five_crashes_in_ten_seconds_are_borne_and_a_sixth_is_not() -> None:
    """The defaults."""
    crashes: tuple[float, ...] = ()
    decisions = []
    for now in (0.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        decision, crashes = decide_system(Intensity(), crashes, now)
        decisions.append(decision)
    assert [Restart] * 5 + [Escalate] == [type(decision) for decision in decisions]
    assert Escalate("6 crashes within 10 s, 5 are allowed") == decisions[-1]


def test_an_actor_that_crashes_now_and_then_lives_for_ever_and_is_not_remembered() -> None:
    """The window is pruned: a year of crashes takes no more memory than a few."""
    crashes: tuple[float, ...] = ()
    for day in range(365):
        decision, crashes = decide_system(Intensity(), crashes, day * 86_400.0)
        assert Restart(0.0) == decision
        assert (day * 86_400.0,) == crashes


def test_a_zero_intensity_escalates_at_the_first_crash() -> None:
    """OTP's MaxR of 0."""
    assert isinstance(decide_system(Intensity(max_restarts=0), (), 1.0).decision, Escalate)


def test_crashes_in_a_row_wait_a_little_longer_each_time() -> None:
    """So that five attempts see more than one moment of the trouble; without jitter, for there is one such actor."""
    intensity = Intensity(backoff=Backoff(initial=0.05, maximum=0.1, jitter=0.0))
    crashes: tuple[float, ...] = ()
    waits = []
    for now in (0.0, 1.0, 2.0, 3.0):
        decision, crashes = decide_system(intensity, crashes, now)
        assert isinstance(decision, Restart)
        waits.append(decision.after)
    assert [0.0, 0.05, 0.1, 0.1] == waits
