"""Cancelling: wherever an execution is, it ends, its waiters hear of it, and nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from propolis import Backoff, RestartPolicy, Runtime, Stream
from propolis.messages import CancelOutcome

from .support import PATIENCE, Gate, executor_for, point, until


def held_stream(runtime: Runtime, placement: str, gate: Gate, **fields: Any) -> Stream:
    """A stream whose executions wait at a gate."""

    async def held(ctx: Any, data: Any) -> str:
        await gate.passed(ctx)
        return "through"

    return runtime.open_stream(point(placement, **fields), executor_for(placement, held)).get(timeout=PATIENCE)


def cancel(stream: Stream, execution_id: str, grace: float = PATIENCE) -> CancelOutcome:
    """Cancel and wait for what became of it."""
    return stream.cancel_execution(execution_id, grace=grace).get(timeout=PATIENCE)


def test_cancelling_one_that_waits_for_its_slot_ends_it_and_answers_its_waiters(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """It is gone for all: waiters, snapshot, stats, store; and its neighbours go on."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=1)
    first = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    second, third = (stream.execute().get(timeout=PATIENCE) for _ in range(2))
    waiting = stream.wait_for_completion(second)
    assert "cancelled" == cancel(stream, second).outcome
    result = waiting.get(timeout=PATIENCE)
    assert result is not None
    assert ("cancelled", False) == (result.status, result.success)
    assert (first, third) == stream.active_execution_ids
    assert 1 == stream.get_stats().get(timeout=PATIENCE).queue_depth
    gate.open()
    for execution_id in (first, third):
        ended = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert ended is not None
        assert "through" == ended.output
    record = any_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert ("cancelled", 0) == (record.status, record.attempt)


def test_cancelling_a_running_one_waits_until_it_is_gone(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """`cancelled` is said when it no longer runs."""
    stream = held_stream(any_runtime, placement, gate)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    outcome = cancel(stream, execution_id)
    assert ("cancelled", True) == (outcome.outcome, bool(outcome))
    assert () == stream.active_execution_ids
    result = stream.get_result(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert "cancelled" == result.status


def test_a_cancel_right_behind_the_start_ends_it_too(runtime: Runtime, placement: str, gate: Gate) -> None:
    """Whether its code has begun or not."""
    stream = held_stream(runtime, placement, gate, max_concurrent=200)
    for _ in range(100):
        execution_id = stream.execute().get(timeout=PATIENCE)
        assert "cancelled" == cancel(stream, execution_id).outcome
    assert () == stream.active_execution_ids
    assert 200 == stream.get_stats().get(timeout=PATIENCE).available_slots


def test_cancelling_one_that_backs_off_ends_it_at_once(runtime: Runtime, placement: str) -> None:
    """It does not wait for its restart."""

    async def fail(ctx: Any, data: Any) -> None:
        raise ValueError("again")

    restart = RestartPolicy(backoff=Backoff(initial=60.0, maximum=60.0, immediate_first=False))
    stream = runtime.open_stream(point(placement, restart=restart), executor_for(placement, fail)).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)

    def status() -> str:
        context = stream.get_context(execution_id).get(timeout=PATIENCE)
        assert context is not None
        return context.status

    until(lambda: status() == "restarting" and stream.get_active_count().get(timeout=PATIENCE) == 0)
    assert "cancelled" == cancel(stream, execution_id).outcome
    assert "cancelled" == status()


def test_cancelling_what_has_ended_is_falsy_and_says_so(runtime: Runtime, placement: str, gate: Gate) -> None:
    """Its result stays what it was."""
    gate.open()
    stream = held_stream(runtime, placement, gate)
    result = stream.run().get(timeout=PATIENCE)
    outcome = cancel(stream, result.execution_id)
    assert ("ended", False) == (outcome.outcome, bool(outcome))
    kept = stream.get_result(result.execution_id).get(timeout=PATIENCE)
    assert kept is not None
    assert "completed" == kept.status


def test_many_callers_cancel_one_execution_and_all_are_answered(runtime: Runtime, placement: str, gate: Gate) -> None:
    """None of them hangs, none is told that it was not there."""
    stream = held_stream(runtime, placement, gate)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    calls = [stream.cancel_execution(execution_id, grace=PATIENCE) for _ in range(20)]
    outcomes = {call.get(timeout=PATIENCE).outcome for call in calls}
    assert outcomes <= {"cancelled", "ended"}
    assert "cancelled" in outcomes


def test_an_execution_that_ignores_its_cancel_is_not_forgotten(
    runtime: Runtime, placement: str, new_gate: Callable[[], Gate]
) -> None:
    """After the grace the truth is told; it stays active, holds its slot, and ends when it ends."""
    gate, unwinding = new_gate(), new_gate()

    async def stubborn(ctx: Any, data: Any) -> str:
        try:
            await gate.passed(ctx)
        except BaseException:
            await unwinding.passed(ctx) if placement == "asyncio" else unwinding.block()
            raise
        return "through"

    stream = runtime.open_stream(point(placement), executor_for(placement, stubborn)).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    outcome = cancel(stream, execution_id, grace=0.05)
    assert {"asyncio": "cancelling", "thread": "detached"}[placement] == outcome.outcome
    assert (execution_id,) == stream.active_execution_ids
    assert 1 == stream.get_active_count().get(timeout=PATIENCE)
    assert "running" == stream.get_context(execution_id).get(timeout=PATIENCE).status  # type: ignore[union-attr]
    unwinding.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert "cancelled" == result.status


def test_a_detached_thread_that_comes_back_later_changes_nothing(
    runtime: Runtime, new_gate: Callable[[], Gate]
) -> None:
    """Its session is locked until then, its late calls are refused, what it returns is not kept."""
    gate = new_gate()
    late: list[BaseException] = []

    def deaf(ctx: Any, data: Any) -> str:
        gate.block()
        try:
            ctx.memory.write("late", 1)
        except BaseException as error:  # noqa: BLE001 - kept for the test
            late.append(error)
        return "late"

    stream = runtime.open_stream(point("thread", session_policy="reject"), deaf).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    assert "detached" == cancel(stream, execution_id, grace=0.05).outcome
    assert 1 == stream.get_stats().get(timeout=PATIENCE).detached
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    with pytest.raises(Exception, match="has not ended"):
        stream.execute(session_id=context.session_id).get(timeout=PATIENCE)
    gate.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("cancelled", None) == (result.status, result.output)
    assert ["Cancelled"] == [type(error).__name__ for error in late]
    record = runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert {} == record.memory
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (0, 1) == (stats.detached, stats.late_calls)


def test_a_coroutine_on_a_thread_is_cancelled_at_its_next_await(runtime: Runtime) -> None:
    """Placement.thread() takes an `async def`, too; a cancel reaches it there."""
    gate = Gate()

    async def forever(ctx: Any, data: Any) -> None:
        gate.open()
        await asyncio.sleep(PATIENCE * 3)

    stream = runtime.open_stream(point("thread"), forever).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until(gate.is_open)
    assert "cancelled" == cancel(stream, execution_id).outcome


def test_a_detached_coroutine_on_a_thread_is_fenced(runtime: Runtime, new_gate: Callable[[], Gate]) -> None:
    """It swallows its cancel and goes on: what it then asks of its context is refused, and nothing of it is kept."""
    gate = new_gate()
    late: list[BaseException] = []

    async def deaf(ctx: Any, data: Any) -> str:
        gate.block()
        for call in (lambda: ctx.checkpoint("late", memory={"late": 1}), lambda: ctx.emit("custom", {})):
            while True:
                try:
                    await call()
                except asyncio.CancelledError:
                    continue
                except BaseException as error:  # noqa: BLE001 - kept for the test
                    late.append(error)
                break
        return "late"

    stream = runtime.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    assert "detached" == cancel(stream, execution_id, grace=0.05).outcome
    gate.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("cancelled", None) == (result.status, result.output)
    assert ["StaleWriter", "StaleWriter"] == [type(error).__name__ for error in late]
    record = runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert ({}, None) == (record.memory, record.checkpoint_node)
    assert 2 == stream.get_stats().get(timeout=PATIENCE).late_calls
