"""Whatever a handler raises, sync or async, hurts nobody else: not neighbours, not the host's own actors."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pykka
import pytest

from propolis.actors import ActorLoop, ask
from propolis.messages import ActorRestarted

from .actors import Boss, Do, Echo, Note, Scripted, until

BASE_EXCEPTIONS = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]


def raising(kind: type[BaseException]) -> Any:
    """A handler that raises it."""

    def handler(*_: Any) -> None:
        raise kind

    return handler


def raising_async(kind: type[BaseException]) -> Any:
    """An async handler that raises it, after an await."""

    async def handler(*_: Any) -> None:
        await asyncio.sleep(0)
        raise kind

    return handler


@pytest.mark.parametrize("make", [raising, raising_async])
@pytest.mark.parametrize("kind", BASE_EXCEPTIONS)
def test_a_base_exception_is_a_crash_of_its_actor_alone(loop: ActorLoop, make: Any, kind: Any) -> None:
    """The asker gets an ordinary exception, the actor is restarted, neighbours notice nothing."""
    echo = Echo.start()
    neighbours = [loop.spawn(Scripted, do=lambda *_: 1) for _ in range(20)]
    boss = loop.spawn(Boss, register=True)
    victim = loop.spawn(Scripted, parent=boss.actor_inbox, name="victim", do=make(kind))
    with pytest.raises(ActorRestarted):
        ask(victim, Do()).get(timeout=5)
    victim.tell(Note(n=1))
    until(lambda: victim.actor_inbox.kept["seen"] == [1])
    assert 20 == sum(ask(ref, Do()).get(timeout=5) for ref in neighbours)
    assert "alive" == echo.ask("alive", timeout=5)
    assert {boss, echo} == set(pykka.ActorRegistry.get_all())
    pykka.ActorRegistry.stop_all()


CALLER = contextvars.ContextVar("CALLER", default="nobody")


def test_no_handler_sees_the_context_variables_of_whoever_happens_to_have_woken_the_loop(loop: ActorLoop) -> None:
    """A burst of messages of several callers wakes it once; in a web service that would be another request's user."""

    async def later(*_: Any) -> str:
        return CALLER.get()

    ref = loop.spawn(Scripted, do=lambda *_: CALLER.get(), ping=later)
    token = CALLER.set("somebody")
    try:
        assert ["nobody", "nobody"] == [ask(ref, Do(what=what)).get(timeout=5) for what in ("do", "ping")]
    finally:
        CALLER.reset(token)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_base_exception_in_a_task_that_a_handler_started_does_not_end_the_loop(loop: ActorLoop, kind: Any) -> None:
    """Asyncio raises these two through the loop, whosever task it is."""
    tasks: list[Any] = []

    async def die() -> None:
        raise kind

    async def start(*_: Any) -> int:
        tasks.append(asyncio.get_running_loop().create_task(die()))
        await asyncio.sleep(0)
        return 1

    ref = loop.spawn(Scripted, do=start, ping=lambda *_: 2)
    assert 1 == ask(ref, Do()).get(timeout=5)
    assert 2 == ask(ref, Do(what="ping")).get(timeout=5)
    assert kind is type(tasks[0].exception())


def test_a_listener_for_dead_letters_that_fails_does_no_harm(loop: ActorLoop) -> None:
    """It is called in the middle of an actor's turn."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    loop.on_dead_letter = fail
    ref = loop.spawn(Scripted, do=lambda *_: 1)
    ref.tell({"no": "message"})
    assert 1 == ask(ref, Do()).get(timeout=5)
    assert 1 == loop.dead_letters


def test_a_watcher_that_fails_keeps_no_other_from_hearing(loop: ActorLoop) -> None:
    """Each is told by itself."""
    heard: list[Any] = []

    def fail(reason: Any) -> None:
        raise ZeroDivisionError

    ref = loop.spawn(Scripted)
    ref.actor_inbox.watch(fail)
    ref.actor_inbox.watch(heard.append)
    ref.stop()
    until(lambda: heard == [None])
