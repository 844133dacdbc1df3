"""Isolation: whatever one executor raises or does, its neighbours, the runtime and the host program go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from propolis import RestartPolicy, Runtime

from .support import PATIENCE, Gate, Recorder, executor_for, point, until


class Bystander(pykka.ThreadingActor):
    """A plain actor of the host program."""

    def ping(self) -> str:
        """Alive."""
        return "pong"


async def raise_error(ctx: Any) -> None:
    raise ValueError("bad")


async def raise_exit(ctx: Any) -> None:
    raise SystemExit(3)


async def raise_interrupt(ctx: Any) -> None:
    raise KeyboardInterrupt


async def raise_cancelled(ctx: Any) -> None:
    raise asyncio.CancelledError("by itself")


async def raise_generator_exit(ctx: Any) -> None:
    raise GeneratorExit


@pytest.mark.parametrize(
    "deed", [raise_error, raise_exit, raise_interrupt, raise_cancelled, raise_generator_exit], ids=lambda d: d.__name__
)
def test_what_one_raises_ends_that_one_only(runtime: Runtime, placement: str, gate: Gate, deed: Any) -> None:
    """A hundred neighbours, and the host program's own actors, do not notice."""
    bystander = Bystander.start()
    count = 100 if placement == "asyncio" else 20

    async def work(ctx: Any, data: Any) -> Any:
        if data == "deed":
            await deed(ctx)
        await gate.passed(ctx)
        return data

    stream = runtime.open_stream(point(placement, max_concurrent=count + 1), executor_for(placement, work)).get(
        timeout=PATIENCE
    )
    neighbours = [stream.run(n) for n in range(count)]
    gate.wait_for(count)
    bad = stream.run("deed").get(timeout=PATIENCE)
    assert ("failed", False) == (bad.status, bad.success)
    gate.open()
    assert list(range(count)) == [neighbour.get(timeout=PATIENCE).output for neighbour in neighbours]
    assert "pong" == bystander.proxy().ping().get(timeout=PATIENCE)
    assert "ok" == stream.run("ok").get(timeout=PATIENCE).output
    bystander.stop()


@pytest.mark.parametrize("how", ["error", "cancel", "exit", "cancelled"])
def test_a_thousand_neighbours_are_untouched(runtime: Runtime, placement: str, gate: Gate, how: str) -> None:
    """In both placements; the thousand wait, in the thread placement most of them for a slot."""
    bystander = Bystander.start()

    async def work(ctx: Any, data: Any) -> Any:
        if data == "bad":
            match how:
                case "error":
                    raise ValueError
                case "exit":
                    raise SystemExit
                case "cancelled":
                    raise asyncio.CancelledError
        await gate.passed(ctx)
        return data

    slots = 1_001 if placement == "asyncio" else 50
    once = RestartPolicy(strategy="temporary")
    stream = runtime.open_stream(
        point(placement, max_concurrent=slots, restart=once), executor_for(placement, work)
    ).get(timeout=PATIENCE)
    bad = stream.execute("bad", priority=1).get(timeout=PATIENCE)
    neighbours = [stream.run(n) for n in range(1_000)]
    if how == "cancel":
        stream.cancel_execution(bad).get(timeout=PATIENCE)
    ended = stream.wait_for_completion(bad, timeout=PATIENCE).get(timeout=PATIENCE)
    assert ended is not None
    assert ("cancelled" if how == "cancel" else "failed") == ended.status
    gate.open()
    assert list(range(1_000)) == [neighbour.get(timeout=PATIENCE).output for neighbour in neighbours]
    assert "pong" == bystander.proxy().ping().get(timeout=PATIENCE)
    bystander.stop()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_an_exit_in_a_child_task_ends_that_task_and_not_the_loop(
    runtime: Runtime, gate: Gate, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Asyncio would end the event loop with it, and everybody on it."""

    async def child() -> None:
        raise error

    async def work(ctx: Any, data: Any) -> Any:
        if data == "deed":
            task = asyncio.create_task(child())
            await asyncio.wait([task])
            return repr(task.exception())
        await gate.passed(ctx)
        return data

    stream = runtime.open_stream(point("asyncio", max_concurrent=101), work).get(timeout=PATIENCE)
    neighbours = [stream.run(n) for n in range(100)]
    gate.wait_for(100)
    assert repr(error) == stream.run("deed").get(timeout=PATIENCE).output
    gate.open()
    assert list(range(100)) == [neighbour.get(timeout=PATIENCE).output for neighbour in neighbours]


def test_code_that_blocks_a_thread_holds_up_no_coroutine(runtime: Runtime, new_gate: Callable[[], Gate]) -> None:
    """Nor the runtime."""
    gate = new_gate()

    def blocking(ctx: Any, data: Any) -> str:
        gate.block()
        return "blocked"

    async def quick(ctx: Any, data: Any) -> Any:
        return data

    slow = runtime.open_stream(point("thread", "slow"), blocking).get(timeout=PATIENCE)
    fast = runtime.open_stream(point("asyncio", "fast"), quick).get(timeout=PATIENCE)
    held = slow.run()
    gate.wait_for(1)
    assert 1 == fast.run(1).get(timeout=PATIENCE).output
    gate.open()
    assert "blocked" == held.get(timeout=PATIENCE).output


def test_executors_share_no_objects(runtime: Runtime, placement: str) -> None:
    """What one reads from memory and changes is not changed for anybody until it is written."""

    async def work(ctx: Any, data: Any) -> Any:
        value = await ctx.memory.read("list")
        value.append("mine")
        (await ctx.memory.read_all())["list"].append("mine")
        ctx.session_state["list"].append("mine")
        return await ctx.memory.read("list")

    stream = runtime.open_stream(point(placement), executor_for(placement, work)).get(timeout=PATIENCE)
    result = stream.run(memory={"list": [1]}).get(timeout=PATIENCE)
    assert [1] == result.output


class Hostile(Exception):
    """Raises wherever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Unreadable:
    """Raises when it is encoded."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return object.__getattribute__(self, name)
        raise RuntimeError("no")


def test_an_exception_that_cannot_be_looked_at_is_a_failure_like_any_other(runtime: Runtime, placement: str) -> None:
    """And so is an output that raises when it is looked at."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "raise":
            raise Hostile
        return Unreadable()

    stream = runtime.open_stream(point(placement), executor_for(placement, work)).get(timeout=PATIENCE)
    result = stream.run("raise").get(timeout=PATIENCE)
    assert ("failed", "Hostile") == (result.status, result.failure.kind)  # type: ignore[union-attr]
    assert "failed" == stream.run("return").get(timeout=PATIENCE).status


def test_a_handler_that_is_slow_or_fails_disturbs_nobody(runtime: Runtime, gate: Gate) -> None:
    """Neither the publishers nor another subscriber, and it gets the next event all the same."""
    seen, calls = Recorder(), []

    def slow(event: Any) -> None:
        gate.block()

    def failing(event: Any) -> None:
        calls.append(event)
        raise SystemExit("out")

    async def failing_async(event: Any) -> None:
        calls.append(event)
        raise asyncio.CancelledError

    async def quick(ctx: Any, data: Any) -> Any:
        return data

    for handler in (slow, failing, failing_async, seen):
        runtime.subscribe("execution_completed", handler).get(timeout=PATIENCE)
    stream = runtime.open_stream(point("asyncio"), quick).get(timeout=PATIENCE)
    for n in range(20):
        stream.run(n).get(timeout=PATIENCE)
    seen.wait_for("execution_completed", 20)
    until(lambda: len(calls) == 40)


def test_a_handler_may_publish_and_call_the_runtime(runtime: Runtime, placement: str) -> None:
    """No deadlock: a handler runs work, waits for it, and that publishes to the handler."""

    async def work(ctx: Any, data: int) -> Any:
        await ctx.emit("custom", {"n": data})
        return data

    stream = runtime.open_stream(point(placement), executor_for(placement, work)).get(timeout=PATIENCE)
    plain: list[int] = []
    coroutine: list[int] = []

    def handler(event: Any) -> None:
        n = event.data["n"]
        plain.append(n)
        if n < 5:
            assert n + 1 == stream.run(n + 1).get(timeout=PATIENCE).output

    async def async_handler(event: Any) -> None:
        n = event.data["n"]
        coroutine.append(n)
        if 100 <= n < 105:
            assert n + 1 == (await stream.run(n + 1)).output

    runtime.subscribe("custom", handler).get(timeout=PATIENCE)
    runtime.subscribe("custom", async_handler).get(timeout=PATIENCE)
    stream.run(0).get(timeout=PATIENCE)
    stream.run(100).get(timeout=PATIENCE)
    until(lambda: {5, 105} <= set(plain) and {5, 105} <= set(coroutine))
