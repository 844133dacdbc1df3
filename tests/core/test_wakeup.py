"""The WakeupActor: one heap, one timer, on a clock held still."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from propolis.actors.wakeup import LOOK_SECONDS
from pykka.messages import ProxyCall

from propolis.actors import WakeupActor, ask
from propolis.messages import WakeAt, WakeMe, Woken
from propolis.testing import InlineLoop, ManualHost

from .actors import Boss


def clock_of(inline: InlineLoop) -> ManualHost:
    """The clock."""
    assert isinstance(inline.host, ManualHost)
    return inline.host


def alarms(ref: Any, *seconds: float) -> list[Any]:
    """Asked for, in this order."""
    return [ask(ref, WakeMe(after=after), timeout=None) for after in seconds]


def test_who_waits_is_woken_at_its_time_in_order_of_the_times(inline: InlineLoop) -> None:
    """Not in the order in which they asked; equals in that order."""
    order: list[tuple[int, float]] = []
    ref = inline.spawn(WakeupActor)
    clock = clock_of(inline)
    for n, reply in enumerate(alarms(ref, 3.0, 1.0, 2.0, 2.0)):
        reply.on_done(lambda n=n: order.append((n, clock.monotonic())))
    clock.advance(2.5)
    assert [(1, 1.0), (2, 2.0), (3, 2.0)] == order
    clock.advance(0.5)
    assert (0, 3.0) == order[-1]


def test_an_alarm_does_not_ring_early(inline: InlineLoop) -> None:
    """And says so when it rings."""
    ref = inline.spawn(WakeupActor)
    (alarm,) = alarms(ref, 1.0)
    clock_of(inline).advance(0.999)
    assert not alarm.done()
    clock_of(inline).advance(0.001)
    assert isinstance(alarm.result(), Woken)


def test_no_time_at_all_rings_at_once(inline: InlineLoop) -> None:
    """Zero, or a moment that has passed already."""
    ref = inline.spawn(WakeupActor)
    replies = alarms(ref, 0.0, -5.0)
    inline.settle()
    assert [True, True] == [reply.done() for reply in replies]


def test_abandoned_alarms_are_not_answered_and_are_swept_out(inline: InlineLoop) -> None:
    """The heap does not grow with timeouts that nobody waits for any more."""
    ref = inline.spawn(WakeupActor)
    replies = []
    for _ in range(50):
        batch = alarms(ref, *[1000.0] * 200)
        inline.settle()
        for reply in batch:
            reply.abandoned = True
        replies += batch
    (kept,) = alarms(ref, 500.0)
    inline.settle()
    assert len(ref.actor_inbox.kept["by_seconds"]) < 2_500
    clock_of(inline).advance(2000.0)
    assert (True, 0) == (kept.done(), sum(reply.done() for reply in replies))
    assert 0 == len(ref.actor_inbox.kept["by_seconds"])


def test_alarms_survive_a_crash(inline: InlineLoop) -> None:
    """The new instance rings them, once, at their time."""
    rung: list[float] = []
    boss = inline.spawn(Boss)
    ref = inline.spawn(WakeupActor, parent=boss.actor_inbox, name="wakeups")
    clock = clock_of(inline)
    for reply in alarms(ref, 2.0, 4.0):
        reply.on_done(lambda: rung.append(clock.monotonic()))
    clock.advance(1.0)
    ref.ask(ProxyCall(("no_such_method",), (), {}), block=False)
    clock.advance(1.0)
    clock.advance(2.0)
    assert (1, [2.0, 4.0]) == (ref.actor_inbox.restarts, rung)


def test_a_stop_tells_who_still_waits(inline: InlineLoop) -> None:
    """Nobody waits for ever."""
    ref = inline.spawn(WakeupActor)
    (alarm,) = alarms(ref, 10.0)
    inline.settle()
    ref.stop(block=False)
    inline.settle()
    with pytest.raises(asyncio.CancelledError):
        alarm.result()


def test_an_alarm_that_nobody_would_hear_is_not_kept(inline: InlineLoop) -> None:
    """Told, not asked."""
    ref = inline.spawn(WakeupActor)
    ref.tell(WakeMe(after=1.0))
    inline.settle()
    assert 0 == len(ref.actor_inbox.kept["by_seconds"])


def at(ref: Any, clock: ManualHost, seconds: float) -> Any:
    """An alarm for a time of day, so many seconds from now."""
    return ask(ref, WakeAt(at=clock.now() + timedelta(seconds=seconds)), timeout=None)


def test_an_alarm_for_a_time_of_day_rings_then(inline: InlineLoop) -> None:
    """Among those that wait for so many seconds."""
    ref, clock = inline.spawn(WakeupActor), clock_of(inline)
    alarm = at(ref, clock, 3_600.0)
    clock.advance(3_599.999)
    assert not alarm.done()
    clock.advance(0.002)
    assert isinstance(alarm.result(), Woken)


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_time_of_day_that_has_passed_rings_at_once(inline: InlineLoop, seconds: float) -> None:
    """There is nothing to wait for."""
    ref, clock = inline.spawn(WakeupActor), clock_of(inline)
    alarm = at(ref, clock, seconds)
    inline.settle()
    assert alarm.done()


def test_a_wall_clock_that_is_set_forward_rings_soon_after(inline: InlineLoop) -> None:
    """Also when a machine slept: its monotonic clock stood still, and no timer noticed."""
    ref, clock = inline.spawn(WakeupActor), clock_of(inline)
    alarm, other = at(ref, clock, 3_600.0), alarms(ref, 3_600.0)[0]
    inline.settle()
    clock.jump(7_200.0)
    clock.advance(LOOK_SECONDS)
    assert (True, False) == (alarm.done(), other.done())


def test_any_number_of_times_of_day_are_one_look_at_the_clock(inline: InlineLoop) -> None:
    """However far off they are: a hundred thousand sleepers cost nothing while they sleep."""
    ref, clock = inline.spawn(WakeupActor), clock_of(inline)
    many = [at(ref, clock, 3_600.0 + n) for n in range(100)]
    inline.settle()
    looks = []
    ring = ref.actor_inbox.instance()._ring  # type: ignore[union-attr]
    ref.actor_inbox.instance()._ring = lambda: (looks.append(1), ring())  # type: ignore[union-attr, method-assign]
    clock.advance(10 * LOOK_SECONDS)
    assert (10, 0) == (len(looks), sum(alarm.done() for alarm in many))


def test_a_wall_clock_that_is_set_back_makes_it_wait_longer(inline: InlineLoop) -> None:
    """It never rings early."""
    ref, clock = inline.spawn(WakeupActor), clock_of(inline)
    alarm = at(ref, clock, 60.0)
    inline.settle()
    clock.jump(-30.0)
    clock.advance(89.9)
    assert not alarm.done()
    clock.advance(0.2)
    assert alarm.done()
