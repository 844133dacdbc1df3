"""What the function of a step may be, call, give and raise, and what it may not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from propolis import Runtime
from propolis.messages import InvalidInput

from .support import PATIENCE
from .test_steps import Effects, effects, open_with

__all__ = ["effects"]


def test_steps_within_a_step_are_counted_apart(any_runtime: Runtime, placement: str, effects: Effects) -> None:
    """A re-run that finds the outer one recorded does not come by them, and takes no other for one of them (D4)."""

    async def work(ctx: Any, data: Any) -> Any:
        plain = ctx.ctx if placement == "thread" else None  # its own calls do not wait

        def outer() -> Any:
            return [plain.step("same", effects.plain, "inner"), plain.step_key]

        async def outer_async() -> Any:
            return [await ctx.step("same", effects.plain, "inner"), ctx.step_key]

        inner, key = await ctx.step("outer", outer if plain is not None else outer_async)
        same = await ctx.step("same", effects.plain, "own")
        if ctx.attempt == 1:
            raise OSError("again")
        return [inner, same, key.endswith(":0:outer:0"), ctx.step_key]

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert [{"got": "inner"}, {"got": "own"}, True, None] == result.output
    assert ["inner", "own"] == effects.called


def test_a_step_that_failed_behind_one_within_it_does_not_repeat_that(any_runtime: Runtime, effects: Effects) -> None:
    """The function is called again, and finds the inner step recorded."""

    async def work(ctx: Any, data: Any) -> Any:
        async def outer() -> Any:
            inner = await ctx.step("inner", effects.plain, "inner")
            if ctx.attempt == 1:
                raise OSError("again")
            return inner

        return await ctx.step("outer", outer)

    assert {"got": "inner"} == open_with(any_runtime, "asyncio", work).run().get(timeout=PATIENCE).output
    assert ["inner"] == effects.called


@pytest.mark.parametrize(("name", "args"), [("checkpoint", ()), ("pause", ()), ("sleep", (60.0,)), ("sleep", (0.01,))])
def test_what_a_re_run_would_miss_is_refused_within_a_step(
    runtime: Runtime, placement: str, name: str, args: tuple[Any, ...]
) -> None:
    """A re-run has the outcome of the step: it would count its checkpoints, and its waits, otherwise."""

    async def work(ctx: Any, data: Any) -> Any:
        plain = ctx.ctx if placement == "thread" else ctx
        try:
            await ctx.step("outer", getattr(plain, name), *args)
        except InvalidInput as error:
            return [error.what, "'outer'" in error.reason]
        return None

    assert [name, True] == open_with(runtime, placement, work).run().get(timeout=PATIENCE).output


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_is_no_exception_reaches_the_executor_and_nobody_else(
    runtime: Runtime, placement: str, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    """It does not pass through the event loop on its way, with a timeout neither. It is not recorded."""
    seen: list[str] = []

    def leave() -> None:
        raise kind

    async def leave_softly() -> None:
        raise kind

    async def work(ctx: Any, data: Any) -> Any:
        for function in (leave, leave_softly):
            for timeout in (None, PATIENCE):
                try:
                    await ctx.step("leave", function, timeout=timeout)
                except BaseException as error:
                    seen.append(type(error).__name__)
                    if type(error) is not kind:
                        raise
        return "stays"

    with caplog.at_level(logging.WARNING):
        result = open_with(runtime, placement, work).run().get(timeout=PATIENCE)
    assert ("stays", [kind.__name__] * 4) == (result.output, seen)
    assert "through the event loop" not in caplog.text


def test_a_function_that_raises_after_its_timeout_is_not_missed(
    runtime: Runtime, placement: str, new_gate: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for it any more, and asyncio has nothing to say about it."""
    gate, passed = new_gate(), new_gate()

    def late() -> None:
        gate.block()
        passed.arrived += 1
        raise OSError("late")

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.step("late", late, timeout=0.01)
        except TimeoutError:
            gate.open()
            await passed_by(ctx)
            return "timeout"
        return None

    async def passed_by(ctx: Any) -> None:
        while not passed.arrived:
            await ctx.sleep(0.01)

    assert "timeout" == open_with(runtime, placement, work).run().get(timeout=PATIENCE).output
    runtime.stop().get(timeout=PATIENCE)
    assert "never retrieved" not in caplog.text


async def answer(value: Any) -> Any:
    """A coroutine function."""
    return value


def test_a_coroutine_in_place_of_a_value_is_refused_with_what_to_do(runtime: Runtime, placement: str) -> None:
    """`lambda: fetch(x)` in place of `fetch, x`; and it is not left behind unawaited."""

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.step("one", lambda: answer(1))
        except InvalidInput as error:
            return [error.what, error.remedy]
        return None

    result = open_with(runtime, placement, work).run().get(timeout=PATIENCE)
    assert ["step 'one'", "Pass the async def itself, uncalled, with its arguments."] == result.output


def test_a_value_that_cannot_be_kept_is_a_failure_that_is_recorded(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """The function took effect: an executor that goes on without its value is not made to call it again (D4)."""

    def give() -> object:
        effects.plain("took effect")
        return object()

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.step("give", give)
        except InvalidInput as error:
            what = error.what
        if ctx.attempt == 1:
            raise OSError("again")
        return what

    assert "step 'give'" == open_with(any_runtime, placement, work).run().get(timeout=PATIENCE).output
    assert ["took effect"] == effects.called


def test_arguments_in_another_order_are_the_same(any_runtime: Runtime, placement: str, effects: Effects) -> None:
    """A dict's keys, a set's members: another process has strings in another order."""

    async def work(ctx: Any, data: Any) -> Any:
        first = ctx.attempt == 1
        names = {"a": [{"x": 1, "y": {2}}], "b": 2}
        again = {"b": 2, "a": [{"y": {2}, "x": 1}]}
        await ctx.step("one", effects.plain, names if first else again)
        await ctx.step("two", effects.plain, {0, 8} if first else {8, 0})
        if first:
            raise OSError("again")

    assert list({0, 8}) != list({8, 0})
    assert "completed" == open_with(any_runtime, placement, work).run().get(timeout=PATIENCE).status
    assert 2 == len(effects.called)


def test_a_step_that_asks_an_actor_has_the_answer_and_a_result_is_plain_data(
    any_runtime: Runtime, placement: str
) -> None:
    """`stream.run` is awaited and waited for everywhere, so it is a step's function too; it runs once."""
    asked = open_with(any_runtime, "asyncio", double, id="asked")

    async def work(ctx: Any, data: Any) -> Any:
        result = await ctx.step("ask", asked.run, 2)
        if ctx.attempt == 1:
            raise OSError("again")
        return [result["output"], result["success"]]

    async def returns(ctx: Any, data: Any) -> Any:
        return await asked.run(3)

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert [4, True] == result.output, result
    stats = asked.get_stats().get(timeout=PATIENCE)
    assert 1 == stats.total_executions
    given = open_with(any_runtime, "asyncio", returns, id="returns").run().get(timeout=PATIENCE)
    assert 6 == given.output["output"], given


async def double(ctx: Any, number: int) -> int:
    return 2 * number
