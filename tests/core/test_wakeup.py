"""The WakeupActor: one heap, one timer, on a clock held still."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pykka.messages import ProxyCall

from propolis.actors import WakeupActor, ask
from propolis.messages import WakeMe, Woken
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
    assert len(ref.actor_inbox.kept["heap"]) < 2_500
    clock_of(inline).advance(2000.0)
    assert (True, 0) == (kept.done(), sum(reply.done() for reply in replies))
    assert [] == ref.actor_inbox.kept["heap"]


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
    assert [] == ref.actor_inbox.kept["heap"]
