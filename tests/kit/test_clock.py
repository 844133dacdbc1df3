"""`ManualHost`: time that the test lets pass."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from propolis.actors import ActorLoop, WakeupActor, ask
from propolis.messages import WakeMe
from propolis.testing import InlineLoop, ManualHost


def test_time_stands_still_until_it_is_advanced() -> None:
    """Both clocks move together."""
    host = ManualHost(datetime(2030, 1, 1, tzinfo=UTC))
    assert (0.0, datetime(2030, 1, 1, tzinfo=UTC)) == (host.monotonic(), host.now())
    host.advance(90.0)
    assert (90.0, datetime(2030, 1, 1, 0, 1, 30, tzinfo=UTC)) == (host.monotonic(), host.now())


def test_two_hosts_of_one_seed_make_the_same_ids_and_numbers() -> None:
    """And of another seed others."""
    one, same, other = ManualHost(seed=1), ManualHost(seed=1), ManualHost(seed=2)
    made = [(host.new_session_id(), host.new_urn(), host.draw()) for host in (one, same, other)]
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_timers_fire_in_order_each_at_its_own_moment() -> None:
    """And those that a timer sets fire within the same advance."""
    host = ManualHost()
    fired: list[tuple[str, float]] = []
    with InlineLoop(host) as loop:

        def note(name: str) -> None:
            fired.append((name, host.monotonic()))
            if name == "first":
                loop.call_later(1.0, lambda: note("set by the first"))

        loop.call_later(3.0, lambda: note("last"))
        loop.call_later(1.0, lambda: note("first"))
        assert 1.0 == host.until_next
        host.advance(5.0)
    assert [("first", 1.0), ("set by the first", 2.0), ("last", 3.0)] == fired
    assert (5.0, None) == (host.monotonic(), host.until_next)


def test_a_jump_sets_the_wall_clock_and_no_timer_notices() -> None:
    """Forward and back."""
    host, fired = ManualHost(), []
    before = host.now()
    with InlineLoop(host) as loop:
        loop.call_later(10.0, lambda: fired.append(1))
        host.jump(3_600.0)
        assert (timedelta(hours=1), 0.0, []) == (host.now() - before, host.monotonic(), fired)
        host.jump(-7_200.0)
        host.advance(10.0)
    assert [1] == fired
    assert timedelta(hours=-1, seconds=10) == host.now() - before


def test_a_cancelled_timer_does_not_fire() -> None:
    """Nor counts as the next one."""
    host = ManualHost()
    with InlineLoop(host) as loop:
        fired: list[int] = []
        loop.call_later(1.0, lambda: fired.append(1)).cancel()
        assert host.until_next is None
        host.advance(2.0)
    assert [] == fired


def test_a_sleeping_thread_wakes_when_the_test_says_so() -> None:
    """And not before."""
    host = ManualHost()
    thread = threading.Thread(target=host.sleep, args=(10.0,))
    thread.start()
    host.wait_for_timer(within=10.0)
    host.advance(9.0)
    assert thread.is_alive()
    host.advance(1.0)
    thread.join(5)
    assert not thread.is_alive()


def test_a_loop_with_a_thread_of_its_own_runs_on_it_too() -> None:
    """There the test waits for the timer first."""
    host = ManualHost()
    loop = ActorLoop(host).start()
    alarm = ask(loop.spawn(WakeupActor), WakeMe(after=3600.0), timeout=None)
    host.wait_for_timer(within=3600.0)
    host.advance(3600.0)
    alarm.get(timeout=5)
    loop.stop()


def test_waiting_for_a_timer_that_nobody_sets_times_out() -> None:
    """In real seconds."""
    host = ManualHost()
    with pytest.raises(TimeoutError):
        host.wait_for_timer(within=1.0, timeout=0.01)


def test_a_timer_of_a_loop_that_is_closed_fires_into_nothing() -> None:
    """Nobody is left to care."""
    host = ManualHost()
    with InlineLoop(host) as loop:
        loop.call_later(1.0, lambda: None)
    host.advance(2.0)
    assert timedelta(seconds=2) == host.now() - ManualHost().now()
