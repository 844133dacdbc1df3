"""Executions that call others: started once, waited for without a slot, cancelled with their parent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from propolis.actors.streams.parenting import STREAM_PATIENCE_SECONDS

from propolis import NonRetryable, Runtime, Stream
from propolis.messages import ChildFailed, StreamNotFound
from propolis.testing import ManualHost

from .support import PATIENCE, Gate, executor_for, pass_time_until, point, until
from .test_parking import until_parked


def open_with(runtime: Runtime, placement: str, body: Any, id: str, **fields: Any) -> Stream:
    """A stream with a body."""
    return runtime.open_stream(point(placement, id, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


async def doubles(ctx: Any, data: Any) -> Any:
    if data == "fail":
        raise NonRetryable("no")
    return data * 2


async def calls(ctx: Any, data: Any) -> Any:
    return [await ctx.call("child", each) for each in data]


def test_a_call_gives_what_the_child_gives(any_runtime: Runtime, placement: str) -> None:
    """Parent and child have a slot each for as long as they run; the child has the parent's correlation id."""
    open_with(any_runtime, placement, doubles, "child", max_concurrent=1)
    parent = open_with(any_runtime, placement, calls, "parent", max_concurrent=1)
    result = parent.run([1, "x", [None]], correlation_id="order-17").get(timeout=PATIENCE)
    assert [2, "xx", [None, None]] == result.output
    children = any_runtime.executions(stream="child").get(timeout=PATIENCE)
    assert [(result.execution_id, "order-17")] * 3 == [(each.parent, each.correlation_id) for each in children]


def test_the_tree_shows_who_has_called_whom(runtime: Runtime) -> None:
    """An execution that is waited for names the one that waits."""
    gate = Gate()
    open_with(runtime, "asyncio", lambda ctx, data: gate.passed(ctx), "child")
    parent = open_with(runtime, "asyncio", calls, "parent")
    caller = parent.execute([1]).get(timeout=PATIENCE)
    gate.wait_for()
    tree = runtime.supervision_tree().get(timeout=PATIENCE)
    called = [actor.called_by for actor in tree.actors if actor.kind == "ExecutionActor"]
    assert [None, caller] == sorted(called, key=lambda each: each or "")
    gate.open()
    assert parent.wait_for_completion(caller).get(timeout=PATIENCE) is not None


def test_a_stream_may_call_itself(any_runtime: Runtime, placement: str) -> None:
    """With one slot: who waits for a child has given it back."""

    async def factorial(ctx: Any, n: int) -> int:
        return 1 if n == 0 else n * await ctx.call("work", n - 1)

    stream = open_with(any_runtime, placement, factorial, "work", max_concurrent=1)
    assert 720 == stream.run(6).get(timeout=PATIENCE).output


def test_a_child_is_started_once_however_often_its_parent_is_run(any_runtime: Runtime, placement: str) -> None:
    """Before it is waited for, and after."""

    async def work(ctx: Any, data: Any) -> Any:
        started = await ctx.start("child", 1)
        if ctx.attempt == 1:
            raise OSError("again")
        value = await ctx.call("child", 2)
        if ctx.attempt < 4:
            raise OSError("again")
        return [started, value]

    child = open_with(any_runtime, placement, doubles, "child")
    result = open_with(any_runtime, placement, work, "parent").run().get(timeout=PATIENCE)
    assert "completed" == result.status, result.error
    assert 4 == result.output[1]
    assert 2 == child.get_stats().get(timeout=PATIENCE).total_executions
    started = child.wait_for_completion(result.output[0]).get(timeout=PATIENCE)
    assert started is not None
    assert 2 == started.output


def test_a_failure_comes_up(any_runtime: Runtime, placement: str) -> None:
    """With the child's id and reason; the executor may catch it."""

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.call("child", "fail")
        except ChildFailed as error:
            return [error.child_id, error.status, error.reason]

    child = open_with(any_runtime, placement, doubles, "child")
    result = open_with(any_runtime, placement, work, "parent").run().get(timeout=PATIENCE)
    child_id, status, reason = result.output
    assert ("failed", "NonRetryable: no") == (status, reason)
    found = child.wait_for_completion(child_id).get(timeout=PATIENCE)
    assert found is not None
    assert "failed" == found.status


def test_a_call_to_nowhere_is_refused(any_runtime: Runtime, placement: str) -> None:
    """By name, with the streams that there are."""
    parent = open_with(any_runtime, placement, calls, "parent")
    result = parent.run([1]).get(timeout=PATIENCE)
    assert ("failed", "stream_not_found") == (result.status, result.failure.code)  # type: ignore[union-attr]
    assert str(StreamNotFound(stream_id="child", known=("parent",))) in (result.error or "")


def test_a_cancel_goes_down(any_runtime: Runtime, placement: str) -> None:
    """Whoever is called by what is cancelled ends too."""
    gate = Gate()

    async def waits(ctx: Any, data: Any) -> None:
        await gate.passed(ctx)

    child = open_with(any_runtime, placement, waits, "child")
    parent = open_with(any_runtime, placement, calls, "parent")
    execution_id = parent.execute([1]).get(timeout=PATIENCE)
    gate.wait_for()
    until_parked(parent, execution_id)
    (called,) = child.active_execution_ids
    assert "cancelled" == parent.cancel_execution(execution_id).get(timeout=PATIENCE).outcome
    result = child.wait_for_completion(called).get(timeout=PATIENCE)
    assert result is not None
    assert "cancelled" == result.status


def test_children_side_by_side(any_runtime: Runtime) -> None:
    """Each with its own answer."""

    async def work(ctx: Any, data: Any) -> Any:
        return await asyncio.gather(*(ctx.call("child", n) for n in range(20)))

    open_with(any_runtime, "asyncio", doubles, "child", max_concurrent=3)
    result = open_with(any_runtime, "asyncio", work, "parent").run().get(timeout=PATIENCE)
    assert [n * 2 for n in range(20)] == result.output


def test_a_parent_and_its_child_outlive_the_process(tmp_path: Path, placement: str) -> None:
    """Whichever stream is opened first."""
    store = f"sqlite:///{tmp_path}/store.db"
    gate = Gate()

    async def waits(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return data

    with Runtime(store) as runtime:
        open_with(runtime, placement, waits, "child")
        parent = open_with(runtime, placement, calls, "parent")
        execution_id = parent.execute(["x"]).get(timeout=PATIENCE)
        gate.wait_for()
        until_parked(parent, execution_id)
    gate.open()
    with Runtime(store) as runtime:
        parent = open_with(runtime, placement, calls, "parent")
        until(lambda: parent.active_execution_ids)
        child = open_with(runtime, placement, waits, "child")
        result = parent.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ["x"] == result.output
        assert 1 == child.get_stats().get(timeout=PATIENCE).total_executions


async def passes_and_calls(ctx: Any, gate: Gate) -> Any:
    await gate.passed(ctx)
    return await ctx.call("child", "x")


def test_a_call_of_one_that_was_taken_up_waits_for_its_stream_to_be_opened(tmp_path: Path, placement: str) -> None:
    """A program that opens its streams one after another has its first one go on before the second is there."""
    store = f"sqlite:///{tmp_path}/store.db"
    gate = Gate()
    with Runtime(store) as runtime:
        parent = open_with(runtime, placement, lambda ctx, data: passes_and_calls(ctx, gate), "parent")
        execution_id = parent.execute().get(timeout=PATIENCE)
        gate.wait_for()
    gate.open()
    with Runtime(store) as runtime:
        parent = open_with(runtime, placement, lambda ctx, data: passes_and_calls(ctx, gate), "parent")
        until_parked(parent, execution_id)
        open_with(runtime, placement, doubles, "child")
        result = parent.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ("xx", 0) == (result.output, result.restarts)


def test_a_call_of_one_that_was_taken_up_does_not_wait_for_ever(timed_runtime: Runtime, clock: ManualHost) -> None:
    """Nobody may ever open a stream of that name."""
    gate = Gate()
    parent = open_with(timed_runtime, "asyncio", lambda ctx, data: passes_and_calls(ctx, gate), "parent")
    execution_id = parent.execute().get(timeout=PATIENCE)
    gate.wait_for()
    parent.stop().get(timeout=PATIENCE)
    gate.open()
    parent.start().get(timeout=PATIENCE)
    until_parked(parent, execution_id)
    waiting = parent.wait_for_completion(execution_id)
    pass_time_until(clock, waiting.done, step=STREAM_PATIENCE_SECONDS / 10)
    failure = waiting.get().failure  # type: ignore[union-attr]
    assert failure is not None
    assert "stream_not_found" == failure.code
