"""`InlineLoop`: actors in the test's own thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

import pytest

from propolis.actors import AsyncioActor, Handlers, Reply, ask, on_actor_loop
from propolis.messages import Request
from propolis.testing import InlineLoop


class WhichThread(Request[int], tag="test.kit.which_thread.v1"):
    """Where do you run?"""


class Where(AsyncioActor):
    """Says where it runs."""

    def which_thread(self, message: WhichThread) -> int:
        """Here."""
        assert on_actor_loop()
        return threading.get_ident()

    handlers: ClassVar[Handlers] = {WhichThread: which_thread}


def test_nothing_happens_until_the_test_settles() -> None:
    """And then in its thread."""
    with InlineLoop() as loop:
        reply = ask(loop.spawn(Where), WhichThread())
        assert not reply.done()
        loop.settle()
        assert threading.get_ident() == reply.result()
        assert not on_actor_loop()


def test_get_settles_until_the_answer_is_there() -> None:
    """Also when another thread has a part in it."""
    with InlineLoop() as loop:
        reply: Reply[int] = Reply()
        timer = threading.Timer(0.01, reply.set, args=(5,))
        timer.start()
        assert 5 == loop.get(reply)
        timer.join()


def test_a_condition_that_never_comes_true_times_out() -> None:
    """With the condition in the error."""
    with InlineLoop() as loop, pytest.raises(TimeoutError):
        loop.settle_until(lambda: False, timeout=0.01)


def test_stop_cancels_async_handlers_that_wait() -> None:
    """The leak check would see their tasks."""
    left: list[str] = []

    class Waiting(Where):
        async def wait(self, message: WhichThread) -> int:
            try:
                await asyncio.Event().wait()
            finally:
                left.append("left")
            return 0

        handlers: ClassVar[Handlers] = {WhichThread: wait}

    with InlineLoop() as loop:
        ask(loop.spawn(Waiting), WhichThread())
        loop.settle()
        assert ([], True) == (left, loop.is_running())
    assert (["left"], False) == (left, loop.is_running())


def test_after_its_end_it_does_nothing_and_says_nothing() -> None:
    """Stop and settle may be called again."""
    loop = InlineLoop()
    loop.settle()
    loop.stop()
    with loop:
        pass
    loop.stop()
    loop.settle()


def test_what_becomes_ready_by_several_steps_is_all_run() -> None:
    """Tasks of asyncio's take a step each."""
    steps: list[int] = []

    class Stepping(Where):
        async def step(self, message: WhichThread) -> int:
            for n in range(20):
                await asyncio.sleep(0)
                steps.append(n)
            return len(steps)

        handlers: ClassVar[Handlers] = {WhichThread: step}

    with InlineLoop() as loop:
        reply: Any = ask(loop.spawn(Stepping), WhichThread())
        loop.settle()
        assert 20 == reply.result()
