"""Handlers that are coroutines: one at a time, and what a stop does to one that waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest

from propolis.actors import ActorLoop, Reply, ask
from propolis.testing import InlineLoop

from .actors import Boss, Do, Note, Scripted, Urgent, until


class Gate:
    """An async handler that waits until it is opened."""

    def __init__(self) -> None:
        self.reply: Reply[int] = Reply()
        self.entered = 0
        self.left: list[str] = []

    async def wait(self, actor: Any, message: Do) -> int:
        self.entered += 1
        try:
            return await self.reply
        except asyncio.CancelledError:
            self.left.append("cancelled")
            raise


def test_nothing_else_is_handled_while_an_async_handler_waits(inline: InlineLoop) -> None:
    """Neither user messages nor control ones: the instance's state is its own for so long."""
    gate = Gate()
    ref = inline.spawn(Scripted, do=gate.wait)
    answer = ask(ref, Do())
    inline.settle()
    ref.tell(Note(n=1))
    ref.tell(Urgent(n=2))
    inline.settle()
    assert (1, []) == (gate.entered, ref.actor_inbox.kept["seen"])
    gate.reply.set(9)
    assert 9 == inline.get(answer)
    inline.settle()
    assert [2, 1] == ref.actor_inbox.kept["seen"]


def test_other_actors_go_on_while_one_waits(loop: ActorLoop) -> None:
    """The loop is everybody's."""
    gate = Gate()
    waiting = ask(loop.spawn(Scripted, do=gate.wait), Do())
    assert 1 == ask(loop.spawn(Scripted, do=lambda *_: 1), Do()).get(timeout=5)
    gate.reply.set(2)
    assert 2 == waiting.get(timeout=5)


def test_a_stop_behind_a_waiting_handler_lets_it_finish(inline: InlineLoop) -> None:
    """It keeps its place in the queue, as pykka documents."""
    gate = Gate()
    ref = inline.spawn(Scripted, do=gate.wait)
    answer = ask(ref, Do())
    stopped = ref.stop(block=False)
    inline.settle()
    assert ref.is_alive()
    gate.reply.set(3)
    assert (3, True) == (inline.get(answer), inline.get(stopped))


def test_an_end_from_above_cancels_the_waiting_handler_and_answers_its_asker(inline: InlineLoop) -> None:
    """Nobody waits for ever for a handler that was cut off."""
    gate = Gate()
    boss = inline.spawn(Boss)
    ref = inline.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=gate.wait)
    answer = ask(ref, Do(), timeout=None)
    inline.settle()
    boss.stop(block=False)
    inline.settle()
    assert ["cancelled"] == gate.left
    with pytest.raises(pykka.ActorDeadError):
        inline.get(answer)


def test_an_end_before_the_handlers_first_step_answers_its_asker_too(inline: InlineLoop) -> None:
    """The coroutine is closed without ever having run."""
    gate = Gate()
    ref = inline.spawn(Scripted, do=gate.wait)
    inline.settle()
    answer = ask(ref, Do(), timeout=None)
    event_loop = inline.event_loop
    original = ref.actor_inbox._start_task

    def start_and_end(coroutine: Any, envelope: Any) -> None:
        original(coroutine, envelope)
        ref.actor_inbox.terminate(None)

    cell_class = type(ref.actor_inbox)
    try:
        cell_class._start_task = lambda self, *args: start_and_end(*args)  # type: ignore[method-assign]
        inline.settle()
    finally:
        cell_class._start_task = original.__func__  # type: ignore[attr-defined, method-assign]
    assert 0 == gate.entered
    assert answer.done()
    assert not asyncio.all_tasks(event_loop)


def test_an_async_handler_that_stops_its_own_actor_still_answers(inline: InlineLoop) -> None:
    """It is not cancelled by itself."""

    async def stop(actor: Scripted, message: Do) -> int:
        actor.stop_now()
        await asyncio.sleep(0)
        return 4

    ref = inline.spawn(Scripted, do=stop)
    assert 4 == inline.get(ask(ref, Do()))
    assert not ref.is_alive()


def test_an_async_handler_that_fails_after_its_actors_end_still_answers(inline: InlineLoop) -> None:
    """With its own error."""

    async def stop(actor: Scripted, message: Do) -> int:
        actor.stop_now()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inline.get(ask(inline.spawn(Scripted, do=stop), Do()))


def test_a_crash_in_an_async_handler_keeps_what_is_queued_behind_it(loop: ActorLoop) -> None:
    """As in a sync one."""

    async def fail(*_: Any) -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    boss = loop.spawn(Boss)
    ref = loop.spawn(Scripted, parent=boss.actor_inbox, name="worker", do=fail)
    answer = ask(ref, Do())
    ref.tell(Note(n=1))
    with pytest.raises(ZeroDivisionError):
        answer.get(timeout=5)
    until(lambda: ref.actor_inbox.kept["seen"] == [1])
    boss.stop()
