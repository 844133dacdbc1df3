"""What an actor cannot go on without: alarms and answers that are asked for again when a crash has swallowed them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pykka
import pytest
from propolis.actors.alarms import has_crashed, wake
from propolis.actors.streams.finding import CRASHES_AT_MOST, ask_surely

from propolis.actors import Intensity, Ref, WakeupActor
from propolis.messages import ActorRestarted, LeaseLost, RuntimeStopped, StoreUnavailable, WakeMe
from propolis.testing import InlineLoop, ManualHost

from .actors import Boss, Do, Scripted

NEVER_MIND = Intensity(max_restarts=1_000, within_seconds=1.0)


def crash(*_: object) -> None:
    """What a bug does."""
    raise RuntimeError("a bug")


def beside_a_clock(inline: InlineLoop) -> tuple[Ref[Any], Ref[Any]]:
    """An actor, and a WakeupActor which is restarted when it crashes."""
    boss = inline.spawn(Boss, NEVER_MIND)
    return inline.spawn(Scripted, name="asks"), inline.spawn(WakeupActor, parent=boss.actor_inbox, name="wakeups")


def pass_seconds(inline: InlineLoop, seconds: float) -> None:
    """Time passes, and what is due happens."""
    assert isinstance(inline.host, ManualHost)
    inline.host.advance(seconds)
    inline.settle()


def test_an_alarm_rings_though_the_wakeup_actor_crashes_at_the_very_message(inline: InlineLoop) -> None:
    """An alarm that is lost is a stop that never ends. One that is no longer wanted is not asked for again."""
    ref, wakeups = beside_a_clock(inline)
    asks, rung = ref.actor_inbox.instance(), []
    wakeups.actor_inbox.actor.on_receive = crash  # of this instance
    wake(asks, wakeups, WakeMe(after=5.0), lambda: rung.append(inline.host.monotonic()))
    wake(asks, wakeups, WakeMe(after=5.0), lambda: rung.append(-1.0)).abandoned = True
    pass_seconds(inline, 1.0)
    assert 1 <= wakeups.actor_inbox.restarts
    pass_seconds(inline, 10.0)
    assert 1 == len(rung)
    assert 5.0 <= rung[0]


def test_who_waits_hears_that_there_are_no_alarms_any_more(inline: InlineLoop) -> None:
    """Once."""
    ref, wakeups = beside_a_clock(inline)
    heard: list[BaseException] = []
    wake(ref.actor_inbox.instance(), wakeups, WakeMe(after=5.0), crash, heard.append)
    inline.settle()
    wakeups.stop(block=False)
    inline.settle()
    assert [asyncio.CancelledError] == [type(error) for error in heard]


def answers(*outcomes: Any) -> Callable[[Any, Do], Any]:
    """What an actor does that crashes, refuses and answers, in this order."""
    left = iter(outcomes)

    def answer(_: Any, __: Do) -> Any:
        outcome = next(left)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return answer


def surely(inline: InlineLoop, *outcomes: Any) -> tuple[list[Any], list[BaseException]]:
    """What comes of asking such an actor: answers, and errors."""
    ref, wakeups = beside_a_clock(inline)
    boss = inline.spawn(Boss, NEVER_MIND)
    asked = inline.spawn(Scripted, parent=boss.actor_inbox, name="asked", do=answers(*outcomes))
    plan: Any = SimpleNamespace(sessions=asked, wakeups=wakeups)
    heard: tuple[list[Any], list[BaseException]] = [], []
    ask_surely(ref.actor_inbox.instance(), plan, Do(), heard[0].append, heard[1].append)
    for _ in range(2 * CRASHES_AT_MOST):
        pass_seconds(inline, 0.3)
    return heard


def test_a_question_is_asked_again_when_the_one_asked_crashed_over_it_or_cannot_read(inline: InlineLoop) -> None:
    """Who gave up there would leave an execution to nobody."""
    away = StoreUnavailable(store="s", reason="away")
    lost = LeaseLost(runtime_id="rt_1")
    assert ([7], []) == surely(inline, away, RuntimeError("a bug"), away, lost, SystemExit("gone"), 7)


@pytest.mark.parametrize("crashes", [[ValueError("always the same")] * 1_000, [RuntimeStopped()]])
def test_an_error_that_stays_is_heard(inline: InlineLoop, crashes: list[BaseException]) -> None:
    """An answer at once; a bug after a few crashes."""
    values, errors = surely(inline, *crashes)
    assert [] == values
    assert [type(crashes[0])] == [type(error) for error in errors]


@pytest.mark.parametrize(
    ("error", "crashed"),
    [
        (ValueError("a bug"), True),
        (ActorRestarted(actor="a", reason="SystemExit"), True),
        (RuntimeStopped(), False),
        (pykka.ActorDeadError("gone"), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_an_answer_is_told_from_a_crash(error: BaseException, crashed: bool) -> None:
    """By the kind of the error."""
    assert crashed == has_crashed(error)
