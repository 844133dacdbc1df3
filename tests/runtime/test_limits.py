"""Time limits: deadline, timeout, total_timeout, idle_timeout; also of code that ignores them.

Time passes when the test says so, which is when the executor has said where it is: no machine is too slow for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from propolis import Backoff, RestartPolicy, Runtime, Stream, ask
from propolis.messages import ExecutionResult, InvalidInput, WakeMe
from propolis.testing import ManualHost

from .support import GRACE, PATIENCE, Gate, executor_for, pass_time, pass_time_until, point, until

LIMIT = 60.0
"""Seconds of each limit here. Longer than the grace, so that the two are not taken for one another."""

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


def in_time(clock: ManualHost) -> datetime:
    """A deadline."""
    return clock.now() + timedelta(seconds=LIMIT)


def test_a_deadline_ends_what_runs_and_is_not_retried(
    timed_runtime: Runtime, clock: ManualHost, placement: str, gate: Gate
) -> None:
    """Failed, once."""
    stream = held_stream(timed_runtime, placement, gate)
    run = stream.run(deadline=in_time(clock))
    gate.wait_for(1)
    pass_time(clock, LIMIT)
    assert ("failed", "deadline", 0) == outcome(run.get(timeout=PATIENCE))
    assert 1 == gate.arrived


def test_a_deadline_includes_queueing(timed_runtime: Runtime, clock: ManualHost, placement: str, gate: Gate) -> None:
    """What still waits for its slot fails without having run."""
    stream = held_stream(timed_runtime, placement, gate, max_concurrent=1)
    first = stream.run()
    gate.wait_for(1)
    late = stream.run(deadline=in_time(clock))
    pass_time(clock, LIMIT)
    assert ("failed", "deadline", 0) == outcome(late.get(timeout=PATIENCE))
    assert 1 == gate.arrived
    gate.open()
    assert first.get(timeout=PATIENCE).success


def test_a_deadline_counts_while_waiting_for_a_session(
    timed_runtime: Runtime, clock: ManualHost, placement: str, gate: Gate
) -> None:
    """And the queue of the session goes on."""
    stream = held_stream(timed_runtime, placement, gate)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    late = stream.run(session_id=context.session_id, deadline=in_time(clock))
    next_one = stream.run(session_id=context.session_id)
    clock.wait_for_timer(within=LIMIT / 10, timeout=PATIENCE)  # who waits for a session looks at it now and then
    clock.advance(LIMIT + 1.0)
    assert ("failed", "deadline", 0) == outcome(late.get(timeout=PATIENCE))
    gate.open()
    assert next_one.get(timeout=PATIENCE).success


def test_a_timeout_is_of_one_attempt_and_retried(
    timed_runtime: Runtime, clock: ManualHost, placement: str, gate: Gate
) -> None:
    """Until the restarts are used up."""
    stream = held_stream(timed_runtime, placement, gate, timeout=LIMIT)
    run = stream.run()
    gate.wait_for(1)
    pass_time(clock, LIMIT)
    gate.wait_for(2)
    pass_time_until(clock, run.done, step=LIMIT)
    assert ("failed", "timeout", 1) == outcome(run.get(timeout=PATIENCE))
    assert 2 == gate.arrived


@pytest.mark.parametrize("limit", ["timeout", "deadline", "total_timeout", "idle_timeout"])
def test_code_that_ignores_its_limit_is_left_behind(
    timed_runtime: Runtime, clock: ManualHost, placement: str, new_gate: Callable[[], Gate], limit: str
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

    fields: dict[str, Any] = {} if limit == "deadline" else {limit: LIMIT}
    fields["restart"] = RestartPolicy(backoff=QUICK, max_restarts=1)
    stream = timed_runtime.open_stream(point(placement, **fields), executor_for(placement, deaf)).get(timeout=PATIENCE)
    run = stream.run(deadline=in_time(clock) if limit == "deadline" else None)
    gate.wait_for(1)
    pass_time(clock, LIMIT)
    pass_time(clock, GRACE)
    result = run.get(timeout=PATIENCE)
    if limit in ("timeout", "idle_timeout"):
        assert ("completed", "second", 1) == (result.status, result.output, result.restarts)
    else:
        assert ("failed", limit, 0) == outcome(result)
    gate.open()
    until(lambda: late)
    assert late[0] in ("StaleWriter", "Cancelled")
    record = timed_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert (result, None) == (record.result, record.checkpoint_node)
    assert 1 == stream.get_stats().get(timeout=PATIENCE).late_calls


def test_a_thread_that_is_cancelled_then_overruns_its_limit_and_ignores_both_is_detached(
    timed_runtime: Runtime, clock: ManualHost, gate: Gate
) -> None:
    """While it runs nothing is said of it that is not so; then it ends as cancelled, with its session still its own."""

    def deaf(ctx: Any, data: Any) -> str:
        gate.block()
        return "late"

    stream = timed_runtime.open_stream(point("thread", timeout=LIMIT), deaf).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    cancel = stream.cancel_execution(execution_id, grace=10 * LIMIT)
    until(lambda: stream.get_context(execution_id).get(timeout=PATIENCE))  # the cancel stands before it in the mailbox
    pass_time(clock, LIMIT)
    pass_time(clock, GRACE)
    assert "detached" == cancel.get(timeout=PATIENCE).outcome
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    assert "running" == context.status
    assert (execution_id,) == stream.active_execution_ids
    assert stream.get_result(execution_id).get(timeout=PATIENCE) is None
    gate.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("cancelled", None, 0) == (result.status, result.output, result.restarts)


def test_a_total_timeout_spans_restarts_and_is_not_retried(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """And a restart that would come too late for it is not waited for."""
    began: list[int] = []

    async def fail(ctx: Any, data: Any) -> None:
        began.append(ctx.attempt)
        raise ValueError("again")

    restart = RestartPolicy(backoff=Backoff(initial=20.0, maximum=20.0, jitter=0.0), max_restarts=1_000)
    stream = timed_runtime.open_stream(
        point(placement, restart=restart, total_timeout=LIMIT), executor_for(placement, fail)
    ).get(timeout=PATIENCE)
    run = stream.run()
    wakeups = timed_runtime.ref.proxy().children().get(timeout=PATIENCE)["wakeups"]
    for n in range(2):
        until(lambda: stream.get_stats().get(timeout=PATIENCE).available_slots == 10 and len(began) == n + 2)  # noqa: B023
        ask(wakeups, WakeMe(after=0.0)).get(timeout=PATIENCE)  # behind the alarm of the backoff
        clock.advance(20.001)
    result = run.get(timeout=PATIENCE)
    assert ("failed", 3) == (result.status, result.restarts)  # the first at once, then after 20 and 40 s


def test_a_replay_has_a_total_timeout_of_its_own(timed_runtime: Runtime, clock: ManualHost, gate: Gate) -> None:
    """Or nobody could give another chance to what has used up the first."""
    stream = held_stream(timed_runtime, "asyncio", gate, total_timeout=LIMIT)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for()
    for began in (1, 2):
        pass_time_until(clock, lambda: not stream.active_execution_ids, step=LIMIT / 2)
        failed = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert ("failed", "total_timeout", 0) == outcome(failed)  # type: ignore[arg-type]
        clock.advance(2 * LIMIT)
        timed_runtime.replay(execution_id).get(timeout=PATIENCE)
        gate.wait_for(began + 1)
    gate.open()
    assert "completed" == stream.wait_for_completion(execution_id).get(timeout=PATIENCE).status  # type: ignore[union-attr]


def test_an_idle_timeout_is_put_off_by_every_sign_of_life(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """Progress, events, checkpoints, heartbeats."""
    steps = [Gate() for _ in range(8)]

    async def work(ctx: Any, data: Any) -> str:
        for n, step in enumerate(steps):
            match n % 4:
                case 0:
                    await ctx.progress(n / 8)
                case 1:
                    await ctx.emit("custom", {})
                case 2:
                    await ctx.checkpoint()
                case 3:
                    await ctx.heartbeat()
            await step.passed(ctx)
        return "done"

    restart = RestartPolicy(backoff=QUICK, max_restarts=0)
    stream = timed_runtime.open_stream(
        point(placement, restart=restart, idle_timeout=LIMIT), executor_for(placement, work)
    ).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    for step in steps:
        step.wait_for(1)
        # Behind the sign in the mailbox of the execution: it has been heard before time passes.
        assert stream.get_context(execution_id).get(timeout=PATIENCE) is not None
        clock.advance(0.75 * LIMIT)
        step.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("completed", "done") == (result.status, result.output)


def test_an_idle_timeout_ends_an_attempt_without_a_sign_of_life(
    timed_runtime: Runtime, clock: ManualHost, placement: str, gate: Gate
) -> None:
    """It may be retried."""
    stream = held_stream(timed_runtime, placement, gate, idle_timeout=LIMIT)
    run = stream.run()
    gate.wait_for(1)
    pass_time(clock, LIMIT)
    gate.wait_for(2)
    pass_time_until(clock, run.done, step=LIMIT)
    assert ("failed", "idle_timeout", 1) == outcome(run.get(timeout=PATIENCE))


def test_a_deadline_that_is_none_is_refused(runtime: Runtime, gate: Gate) -> None:
    """Naive, past, or no datetime at all."""
    stream = held_stream(runtime, "asyncio", gate)
    naive = datetime(2100, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(InvalidInput, match="deadline"):
        stream.execute(deadline=datetime.now(UTC) - timedelta(seconds=1)).get(timeout=PATIENCE)
    for bad in (naive, "tomorrow"):
        with pytest.raises(InvalidInput, match="deadline"):
            stream.execute(deadline=bad)  # type: ignore[arg-type]
