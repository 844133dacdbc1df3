"""`check_replay`: what it lets pass, what it finds, and what it says of that."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from propolis import Backoff, Context, EntryPoint, RestartPolicy, SyncContext
from propolis.messages import InvalidInput
from propolis.testing import check_replay


def test_an_executor_that_keeps_to_its_steps_passes_and_its_functions_are_called_once() -> None:
    """Whatever they give: chance belongs into a step. A sleep of ten hours takes none."""
    called: list[str] = []

    def draw(what: str) -> float:
        called.append(what)
        return random.random()

    async def order(ctx: Context, data: Any) -> Any:
        first = await ctx.step("draw", draw, "first")
        await ctx.checkpoint("drawn", memory={"first": first})
        await ctx.sleep(36_000.0)
        return [first, await ctx.step("draw", draw, f"second {first}"), data]

    result = check_replay(order, {"n": 1})
    assert ("completed", {"n": 1}) == (result.status, result.output[2])
    assert ["first", f"second {result.output[0]}"] == called


def test_a_blocking_class_that_goes_on_behind_its_checkpoint_passes() -> None:
    """It is made anew for each attempt; the steps in front of the checkpoint are not called again."""

    class Rounds:
        def execute(self, ctx: SyncContext, data: int) -> int:
            at = ctx.memory.read("at", 0)
            while at < data:
                at = ctx.step("round", lambda n: n + 1, at)
                ctx.checkpoint(memory={"at": at})
            return at

    assert 2 == check_replay(Rounds, 2).output


def test_steps_side_by_side_pass() -> None:
    """Each has its own key, in whichever order they end."""

    async def both(ctx: Context, data: Any) -> Any:
        return await asyncio.gather(*(ctx.step("side", lambda n: n * 2, n) for n in range(3)))

    assert [0, 2, 4] == check_replay(both).output


def test_restarts_and_failures_are_part_of_what_is_compared() -> None:
    """A step that fails once, ends its attempt with it, and does better in the next."""
    tried = itertools.count()

    def flaky() -> str:
        if next(tried) == 0:
            raise ConnectionError("not yet")
        return "at last"

    point = EntryPoint(id="flaky", restart=RestartPolicy(backoff=Backoff(initial=0.0)))
    result = check_replay(lambda ctx, _: ctx.step("flaky", flaky), entry_point=point)
    assert ("at last", 1) == (result.output, result.restarts)
    assert 2 == next(tried)


def counting() -> Callable[[], int]:
    """Something outside of all steps that is another one each time."""
    count = itertools.count()
    return lambda: next(count)


def test_an_argument_that_differs_is_named_with_its_step() -> None:
    """And both values, and where the crash was."""
    other = counting()

    async def careless(ctx: Context, data: Any) -> Any:
        await ctx.step("look", str, "here")
        await ctx.step("charge", str, other())

    told = r"at its beginning, step 'charge' is called with \(1,\) in place of \(0,\)"
    with pytest.raises(AssertionError, match=told):
        check_replay(careless)


def test_a_result_that_differs_is_told() -> None:
    """Where every step is right."""
    other = counting()

    def careless(ctx: SyncContext, data: Any) -> Any:
        ctx.step("look", str, "here")
        return other()

    with pytest.raises(AssertionError, match=r"its output is \d+ in place of 0"):
        check_replay(careless)


@pytest.mark.parametrize(("at", "told"), [(0, "'extra' is not called any more"), (1, "'extra' is called, which")])
def test_a_step_that_comes_and_goes_is_named(at: int, told: str) -> None:
    """Called only the first time; called only later."""
    other = counting()

    async def careless(ctx: Context, data: Any) -> Any:
        await ctx.step("look", str, "here")
        if (other() == 0) == (at == 0):
            await ctx.step("extra", str, "x")

    with pytest.raises(AssertionError, match=f"step {told}"):
        check_replay(careless)


def test_a_variable_that_a_checkpoint_was_to_keep_is_found_missing() -> None:
    """It goes on behind the checkpoint, and what it had counted before is gone."""

    def forgetful(ctx: SyncContext, data: Any) -> Any:
        total = 0
        for n in range(ctx.memory.read("at", 0), 3):
            total += ctx.step("add", lambda n: n + 1, n)
            ctx.checkpoint(memory={"at": n + 1})
        return total

    with pytest.raises(AssertionError, match=r"behind checkpoint 1, its output is 5 in place of 6"):
        check_replay(forgetful)


def test_memory_that_grows_with_each_run_is_found() -> None:
    """It looks at its memory, and does not ask it whether it was here before."""

    async def again(ctx: Context, data: Any) -> None:
        await ctx.memory.update("runs", lambda n: n + 1, default=0)
        await ctx.checkpoint("counted")

    with pytest.raises(AssertionError, match="its memory is"):
        check_replay(again)


def test_an_executor_that_does_not_come_back_is_given_up() -> None:
    """With how long it was waited for."""
    gate = threading.Event()

    async def stuck(ctx: Context, data: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, gate.wait)

    try:
        with pytest.raises(TimeoutError, match=r"longer than 0\.2 s"):
            check_replay(stuck, timeout=0.2)
    finally:
        gate.set()


def test_what_is_no_executor_is_refused_as_ever() -> None:
    """Before anything runs."""
    with pytest.raises(InvalidInput, match="executor"):
        check_replay(5)
