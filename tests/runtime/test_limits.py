"""Time limits: deadline, timeout, total_timeout, idle_timeout; also of code that ignores them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from propolis import Backoff, RestartPolicy, Runtime, Stream
from propolis.messages import ExecutionResult, InvalidInput

from .support import PATIENCE, Gate, executor_for, point, until

QUICK = Backoff(initial=0.001, maximum=0.01)


def held_stream(runtime: Runtime, placement: str, gate: Gate, **fields: Any) -> Stream:
    """A stream whose executions wait at a gate."""

    async def held(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return ctx.attempt

    fields.setdefault("restart", RestartPolicy(backoff=QUICK, max_restarts=1))
    return runtime.open_stream(point(placement, **fields), executor_for(placement, held)).get(timeout=PATIENCE)


def outcome(result: ExecutionResult) -> tuple[str, str, int]:
    """Status, the failure's code, restarts."""
    assert result.failure is not None
    return result.status, result.failure.code, result.restarts


def soon(seconds: float = 0.05) -> datetime:
    """A deadline."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_deadline_ends_what_runs_and_is_not_retried(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """Failed, once."""
    stream = held_stream(any_runtime, placement, gate)
    result = stream.run(deadline=soon()).get(timeout=PATIENCE)
    assert ("failed", "deadline", 0) == outcome(result)


def test_a_deadline_includes_queueing(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """What still waits for its slot fails without having run."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=1)
    first = stream.run()
    gate.wait_for(1)
    result = stream.run(deadline=soon()).get(timeout=PATIENCE)
    assert ("failed", "deadline", 0) == outcome(result)
    assert 1 == gate.arrived
    gate.open()
    assert first.get(timeout=PATIENCE).success


def test_a_deadline_counts_while_waiting_for_a_session(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """And the queue of the session goes on."""
    stream = held_stream(any_runtime, placement, gate)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    late = stream.run(session_id=context.session_id, deadline=soon())
    next_one = stream.run(session_id=context.session_id)
    assert ("failed", "deadline", 0) == outcome(late.get(timeout=PATIENCE))
    gate.open()
    assert next_one.get(timeout=PATIENCE).success


def test_a_timeout_is_of_one_attempt_and_retried(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """Until the restarts are used up."""
    stream = held_stream(any_runtime, placement, gate, timeout=0.03)
    assert ("failed", "timeout", 1) == outcome(stream.run().get(timeout=PATIENCE))
    assert 2 == gate.arrived


@pytest.mark.parametrize("limit", ["timeout", "deadline", "total_timeout", "idle_timeout"])
def test_code_that_ignores_its_limit_is_left_behind(
    any_runtime: Runtime, placement: str, new_gate: Callable[[], Gate], limit: str
) -> None:
    """After the grace it is fenced off; where the limit allows a restart, one takes its place."""
    gate = new_gate()
    late = []

    async def deaf(ctx: Any, data: Any) -> Any:
        if ctx.attempt == 2:
            return "second"
        if placement == "thread":
            gate.block()
        else:
            while not gate.is_open():
                try:
                    await gate.passed(ctx)
                except asyncio.CancelledError:
                    continue
        try:
            await ctx.checkpoint("late")
        except BaseException as error:  # noqa: BLE001 - kept for the test
            late.append(type(error).__name__)
        return "first"

    fields: dict[str, Any] = {} if limit == "deadline" else {limit: 0.25}
    fields["restart"] = RestartPolicy(backoff=QUICK, max_restarts=1)
    stream = any_runtime.open_stream(point(placement, **fields), executor_for(placement, deaf)).get(timeout=PATIENCE)
    result = stream.run(deadline=soon(0.25) if limit == "deadline" else None).get(timeout=PATIENCE)
    if limit in ("timeout", "idle_timeout"):
        assert ("completed", "second", 1) == (result.status, result.output, result.restarts)
    else:
        assert ("failed", limit, 0) == outcome(result)
    gate.open()
    until(lambda: late)
    assert late[0] in ("StaleWriter", "Cancelled")
    record = any_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert (result, None) == (record.result, record.checkpoint_node)


def test_a_total_timeout_spans_restarts_and_is_not_retried(any_runtime: Runtime, placement: str) -> None:
    """It ends one that backs off, too."""

    async def fail(ctx: Any, data: Any) -> None:
        raise ValueError("again")

    restart = RestartPolicy(backoff=Backoff(initial=0.1, maximum=0.1, jitter=0.0), max_restarts=1_000)
    stream = any_runtime.open_stream(
        point(placement, restart=restart, total_timeout=1.0), executor_for(placement, fail)
    ).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert "failed" == result.status
    assert 1 <= result.restarts <= 11


def test_an_idle_timeout_is_put_off_by_every_sign_of_life(any_runtime: Runtime, placement: str) -> None:
    """Progress, events, checkpoints, heartbeats; without them the attempt ends, and may be retried."""
    beat = Gate()

    async def work(ctx: Any, data: Any) -> str:
        if data == "idle":
            await beat.passed(ctx)
        for n in range(8):
            match n % 4:
                case 0:
                    await ctx.progress(n / 8)
                case 1:
                    await ctx.emit("custom", {})
                case 2:
                    await ctx.checkpoint()
                case 3:
                    await ctx.heartbeat()
            wait = Gate()
            if placement == "asyncio":
                await asyncio.sleep(0.06)
            else:
                wait._open.wait(0.06)
        return "done"

    restart = RestartPolicy(backoff=QUICK, max_restarts=1)
    stream = any_runtime.open_stream(
        point(placement, restart=restart, idle_timeout=0.25), executor_for(placement, work)
    ).get(timeout=PATIENCE)
    assert "done" == stream.run().get(timeout=PATIENCE).output
    assert ("failed", "idle_timeout", 1) == outcome(stream.run("idle").get(timeout=PATIENCE))


def test_a_deadline_that_is_none_is_refused(runtime: Runtime, gate: Gate) -> None:
    """Naive, past, or no datetime at all."""
    stream = held_stream(runtime, "asyncio", gate)
    naive = datetime(2100, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(InvalidInput, match="deadline"):
        stream.execute(deadline=soon(-1)).get(timeout=PATIENCE)
    for bad in (naive, "tomorrow"):
        with pytest.raises(InvalidInput, match="deadline"):
            stream.execute(deadline=bad)  # type: ignore[arg-type]
