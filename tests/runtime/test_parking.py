"""Parked executions: they give their slot back, keep their session, and go on when their time has come."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from propolis.actors.streams import leaving
from propolis.actors.wakeup import LOOK_SECONDS

from propolis import Runtime, RuntimeConfig, Stream
from propolis.messages import AdvanceExecution, GiveUp, InvalidInput
from propolis.testing import FailingStore, HeldCommit, ManualHost

from .support import PATIENCE, Gate, Recorder, executor_for, pass_time, pass_time_until, point, until


def open_with(runtime: Runtime, placement: str, body: Any, **fields: Any) -> Stream:
    """A stream with a body."""
    return runtime.open_stream(point(placement, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


def status(stream: Stream, execution_id: str) -> str:
    """Of an execution that is under way."""
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    return context.status


def until_parked(stream: Stream, *execution_ids: str) -> None:
    """Wait for it."""
    for execution_id in execution_ids:
        until(lambda: status(stream, execution_id) == "parked", "it is parked")  # noqa: B023 - called at once
    until(lambda: stream.get_active_count().get(timeout=PATIENCE) == 0, "the slots are free")


async def nap(ctx: Any, data: Any) -> Any:
    await ctx.sleep(60.0)
    return [data, ctx.attempt]


def test_a_sleep_gives_the_slot_back(timed_runtime: Runtime, clock: ManualHost, placement: str) -> None:
    """One slot, five sleepers: they sleep side by side."""
    stream = open_with(timed_runtime, placement, nap, max_concurrent=1)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(5)]
    until_parked(stream, *ids)
    pass_time(clock, 60.0)
    results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
    attempts = 1 if placement == "asyncio" else 2  # a thread is unwound, and its executor run again
    assert [[n, attempts] for n in range(5)] == [result.output for result in results if result is not None]
    assert {0} == {result.restarts for result in results if result is not None}


def test_what_waits_keeps_its_session(timed_runtime: Runtime, clock: ManualHost, placement: str) -> None:
    """Another one that joins it has its turn afterwards."""
    order: list[Any] = []

    async def work(ctx: Any, data: Any) -> None:
        if data == "sleeper":
            await ctx.sleep(60.0)
        order.append(data)

    stream = open_with(timed_runtime, placement, work)
    first = stream.execute("sleeper").get(timeout=PATIENCE)
    until_parked(stream, first)
    second = stream.execute("joiner", session_id=first).get(timeout=PATIENCE)
    clock.advance(30.0)
    assert [] == order
    pass_time_until(clock, lambda: len(order) == 2, step=10.0)
    assert stream.wait_for_completion(second).get(timeout=PATIENCE) is not None
    assert ["sleeper", "joiner"] == order


def test_a_sleep_begun_is_over_at_its_time_however_often_it_is_run_again(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """A stop in the middle, and a start after its end: it does not begin anew."""
    stream = open_with(timed_runtime, placement, nap)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    clock.advance(40.0)
    stream.stop().get(timeout=PATIENCE)
    assert "parked" == timed_runtime.executions().get(timeout=PATIENCE)[0].status
    stream.start().get(timeout=PATIENCE)
    until(lambda: status(stream, execution_id) == "parked")
    pass_time(clock, 20.0)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ["x", 2] == result.output


def test_it_wakes_up_in_another_process_too(file_store: str) -> None:
    """Killed while it slept, it is taken over parked, and wakes at its time."""
    command = [sys.executable, "-m", "tests.runtime.program", "sleepers", file_store, "3"]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE * 2, check=False)
    assert -signal.SIGKILL == ended.returncode, ended.stderr.decode()
    ids = json.loads(ended.stdout)

    async def body(ctx: Any, n: int) -> Any:
        await ctx.sleep(3_600.0)
        return [n, ctx.attempt]

    with Runtime(file_store) as runtime:
        stream = open_with(runtime, "asyncio", body)
        until(lambda: all(status(stream, id) == "parked" for id in ids))
        records = [runtime.session(id).get(timeout=PATIENCE) for id in ids]
        assert {0} == {record.lost_attempts for record in records if record is not None}
    later = ManualHost(start=datetime.now(UTC) + timedelta(hours=2))
    runtime = Runtime(file_store, config=RuntimeConfig(grace_seconds=0.0), host=later)
    with runtime:
        stream = open_with(runtime, "asyncio", body)
        results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
    assert [[n, 2] for n in range(3)] == [result.output for result in results if result is not None]


def test_many_wake_up_at_once(timed_runtime: Runtime, clock: ManualHost) -> None:
    """More than there are slots: they take turns."""
    stream = open_with(timed_runtime, "asyncio", nap, max_concurrent=3)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(50)]
    until_parked(stream, *ids)
    pass_time(clock, 60.0)
    results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
    assert list(range(50)) == [result.output[0] for result in results if result is not None]


def test_a_short_sleep_keeps_its_place(timed_runtime: Runtime, clock: ManualHost, placement: str) -> None:
    """It is over sooner than it could be written down."""

    async def work(ctx: Any, data: Any) -> int:
        await ctx.sleep(0.0)
        await ctx.sleep(0.05)
        return int(ctx.attempt)

    running = open_with(timed_runtime, placement, work).run()
    pass_time(clock, 0.05)
    result = running.get(timeout=PATIENCE)
    assert 1 == result.output
    types = [event.type for event in _stored(timed_runtime, result.execution_id)]
    assert "execution_parked" not in types


def _stored(runtime: Runtime, execution_id: str) -> list[Any]:
    found = []
    for event in runtime.events(0, execution=execution_id):
        found.append(event)
        if event.type in ("execution_completed", "execution_failed", "execution_cancelled"):
            break
    return found


def test_parking_is_told(timed_runtime: Runtime, clock: ManualHost, placement: str) -> None:
    """As events, with what for and until when; and it is no restart."""
    stream = open_with(timed_runtime, placement, nap)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    due = clock.now().isoformat()
    pass_time(clock, 60.0)
    stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    events = {event.type: event.data for event in _stored(timed_runtime, execution_id)}
    assert "sleep" == events["execution_parked"]["kind"]
    assert due < events["execution_parked"]["until"]
    assert "execution_unparked" in events
    assert "execution_restarted" not in events


# -- what comes in between ---------------------------------------------------------------------------------------------


def test_what_is_cancelled_while_its_wait_is_being_written_ends_once() -> None:
    """It has ended by the time at which the wait is in the store."""
    store = FailingStore("memory:")
    helds: list[HeldCommit] = []

    async def work(ctx: Any, data: Any) -> Any:
        helds.append(store.hold_commit())
        await ctx.sleep(60.0)

    with Runtime(store.open) as runtime:
        stream = open_with(runtime, "asyncio", work)
        execution_id = stream.execute().get(timeout=PATIENCE)
        until(lambda: helds, "it is about to sleep")
        with helds[0] as held:
            held.wait_reached(PATIENCE)
            cancelling = stream.cancel_execution(execution_id)
            until(lambda: status(stream, execution_id) == "cancelled", "its end is on its way")
        assert "cancelled" == cancelling.get(timeout=PATIENCE).outcome
        runtime.stop().get(timeout=PATIENCE)
        ends = [write.status for batch in store.batches for write in batch if isinstance(write, AdvanceExecution)]
        assert ["parked", "cancelled"] == ends


def test_what_fails_while_its_wait_is_being_written_keeps_its_slot(gate: Gate) -> None:
    """Its next attempt runs on it."""
    store = FailingStore("memory:")

    async def work(ctx: Any, data: Any) -> Any:
        if ctx.attempt > 1:
            await gate.passed(ctx)
            return "again"
        held = store.hold_commit()
        sleeping = asyncio.ensure_future(ctx.sleep(60.0))
        await asyncio.to_thread(held.wait_reached, PATIENCE)
        helds.append(held)
        sleeping.cancel()
        raise OSError("it thought better of it")

    helds: list[HeldCommit] = []
    with Runtime(store.open) as runtime:
        stream = open_with(runtime, "asyncio", work, max_concurrent=1)
        execution_id = stream.execute().get(timeout=PATIENCE)
        until(lambda: helds, "it is about to sleep")
        with helds[0]:
            until(lambda: status(stream, execution_id) == "running", "it is to run again")
        gate.wait_for()
        assert 0 == stream.get_stats().get(timeout=PATIENCE).available_slots
        gate.open()
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ("again", 1) == (result.output, result.restarts)


def test_a_cancel_ends_what_is_parked(timed_runtime: Runtime, placement: str) -> None:
    """At once."""
    stream = open_with(timed_runtime, placement, nap)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    assert "cancelled" == stream.cancel_execution(execution_id).get(timeout=PATIENCE).outcome
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert "cancelled" == result.status


def test_a_pause_ends_what_is_parked_and_a_resume_sleeps_on(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """Until the time that it had."""
    stream = open_with(timed_runtime, placement, nap)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    assert stream.pause_execution(execution_id).get(timeout=PATIENCE)
    paused = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert paused is not None
    assert "paused" == paused.status
    clock.advance(30.0)
    again = stream.resume(paused.session_id).get(timeout=PATIENCE)
    until_parked(stream, again)
    pass_time(clock, 30.0)
    result = stream.wait_for_completion(again).get(timeout=PATIENCE)
    assert result is not None
    assert "completed" == result.status


def test_a_deadline_ends_what_is_parked(timed_runtime: Runtime, clock: ManualHost, placement: str) -> None:
    """Its time goes on; that of a single attempt does not."""
    stream = open_with(timed_runtime, placement, nap, total_timeout=30.0, timeout=10.0, idle_timeout=5.0)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=1.0)
    result = stream.get_result(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("failed", "total_timeout") == (result.status, result.failure.code)  # type: ignore[union-attr]


def test_time_that_was_slept_does_not_count_for_the_timeout_of_an_attempt(
    timed_runtime: Runtime, clock: ManualHost
) -> None:
    """What was run before does."""
    gates = Gate(), Gate()

    async def work(ctx: Any, data: Any) -> None:
        await gates[0].passed(ctx)
        await ctx.sleep(60.0)
        await gates[1].passed(ctx)

    stream = open_with(timed_runtime, "asyncio", work, timeout=10.0)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gates[0].wait_for()
    clock.advance(6.0)
    gates[0].open()
    until_parked(stream, execution_id)
    pass_time(clock, 60.0)
    gates[1].wait_for()
    clock.advance(3.0)
    assert "running" == status(stream, execution_id)
    pass_time(clock, 1.0)
    gates[1].wait_for(2)  # it was restarted, and sleeps no more
    gates[1].open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("completed", 1) == (result.status, result.restarts)


def test_a_drain_does_not_wait_for_what_is_parked(
    timed_runtime: Runtime, placement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left to whoever comes next; each is told once, as there may be many."""
    told: list[GiveUp] = []
    monkeypatch.setattr(leaving, "GiveUp", lambda: told.append(GiveUp()) or told[-1])
    stream = open_with(timed_runtime, placement, nap)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(5)]
    until_parked(stream, *ids)
    assert () == stream.drain().get(timeout=PATIENCE).stragglers
    assert () == stream.active_execution_ids
    assert {"parked"} == {row.status for row in timed_runtime.executions().get(timeout=PATIENCE)}
    assert len(ids) == len(told)


def test_a_wall_clock_that_is_set_forward_ends_a_sleep_and_a_deadline_soon(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """As when a machine has slept: the monotonic clock stood still, and says that neither is due."""
    stream = open_with(timed_runtime, placement, nap)
    sleeper = stream.execute("x").get(timeout=PATIENCE)
    other = stream.execute("y", deadline=clock.now() + timedelta(seconds=50.0)).get(timeout=PATIENCE)
    until_parked(stream, sleeper, other)
    clock.jump(7_200.0)
    clock.advance(LOOK_SECONDS)
    results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in (sleeper, other)]
    assert ["completed", "failed"] == [result.status for result in results if result is not None]


def test_a_wall_clock_that_is_set_back_puts_a_deadline_off(timed_runtime: Runtime, clock: ManualHost) -> None:
    """Of what is parked, and of what has not begun."""
    gate = Gate()

    async def work(ctx: Any, data: Any) -> None:
        if data == "parks":
            await ctx.receive("news")
        await gate.passed(ctx)

    due = clock.now() + timedelta(seconds=60.0)
    stream = open_with(timed_runtime, "asyncio", work, max_concurrent=1)
    parked = stream.execute("parks", deadline=due).get(timeout=PATIENCE)
    until_parked(stream, parked)
    running = stream.execute().get(timeout=PATIENCE)
    gate.wait_for()
    queued = stream.execute(deadline=due).get(timeout=PATIENCE)
    clock.jump(-60.0)
    for _ in range(9):
        clock.advance(10.0)
        stream.get_stats().get(timeout=PATIENCE)
    assert {"parked", "running", "pending"} == {status(stream, id) for id in (parked, running, queued)}
    pass_time_until(clock, lambda: stream.active_execution_ids == (running,), step=5.0)
    gate.open()
    assert "completed" == stream.wait_for_completion(running).get(timeout=PATIENCE).status  # type: ignore[union-attr]


@pytest.mark.parametrize("when", ["before", "while it drains"])
def test_a_drain_does_not_wait_for_who_is_behind_what_is_parked(any_runtime: Runtime, gate: Gate, when: str) -> None:
    """It has its turn on the session when that goes on, which may be in days."""

    async def work(ctx: Any, data: Any) -> None:
        if data == "first":
            await gate.passed(ctx)
            await ctx.receive("news")

    stream = open_with(any_runtime, "asyncio", work)
    first = stream.execute("first").get(timeout=PATIENCE)
    gate.wait_for()
    second = stream.execute("second", session_id=first).get(timeout=PATIENCE)
    if when == "before":
        gate.open()
        until_parked(stream, first)
    draining = stream.drain()
    stream.get_stats().get(timeout=PATIENCE)
    gate.open()
    assert () == draining.get(timeout=PATIENCE).stragglers
    stream.start().get(timeout=PATIENCE)
    stream.send(first, "news", 1).get(timeout=PATIENCE)
    results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in (first, second)]
    assert ["completed"] * 2 == [result.status for result in results if result is not None]


def test_its_actor_may_crash_while_it_is_parked(timed_runtime: Runtime, clock: ManualHost, placement: str) -> None:
    """And so may its stream's: it wakes up all the same, and nothing is charged."""
    stream = open_with(timed_runtime, placement, nap, max_concurrent=1)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    child = stream.ref.proxy().children().get(timeout=PATIENCE)[execution_id]
    for ref in (child, stream.ref):
        with pytest.raises(AttributeError):
            ref.proxy().there_is_no_such_method().get(timeout=PATIENCE)
    until(lambda: status(stream, execution_id) == "parked")
    other = stream.execute("y").get(timeout=PATIENCE)
    until_parked(stream, other)
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=10.0)
    results = [stream.get_result(id).get(timeout=PATIENCE) for id in (execution_id, other)]
    assert ["completed"] * 2 == [result.status for result in results if result is not None]
    assert [0, 0] == [result.restarts for result in results if result is not None]


def test_waits_side_by_side_are_over_one_by_one(timed_runtime: Runtime, clock: ManualHost) -> None:
    """Each at its own time; the execution is parked until the last."""
    woken: list[int] = []

    async def one(ctx: Any, n: int) -> None:
        await ctx.sleep(n * 10.0)
        woken.append(n)

    async def work(ctx: Any, data: Any) -> None:
        await asyncio.gather(*(one(ctx, n) for n in (3, 1, 2)))

    stream = open_with(timed_runtime, "asyncio", work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=1.0)
    assert [1, 2, 3] == woken
    result = stream.get_result(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert "completed" == result.status


def test_what_fails_while_it_is_parked_is_restarted_with_a_slot(timed_runtime: Runtime, clock: ManualHost) -> None:
    """A branch beside the sleep raises: the slot has been given back, so the restart waits for one."""
    failed = Gate()

    async def fails(ctx: Any) -> None:
        await failed.passed(ctx)
        if ctx.attempt == 1:
            raise OSError("again")

    async def work(ctx: Any, data: Any) -> int:
        await asyncio.gather(ctx.sleep(60.0), fails(ctx))
        return int(ctx.attempt)

    stream = open_with(timed_runtime, "asyncio", work, max_concurrent=1)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    failed.open()
    until(lambda: failed.arrived == 2)
    until_parked(stream, execution_id)
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=10.0)
    result = stream.get_result(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert (2, 1) == (result.output, result.restarts)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), 1e12, 1e300, 10**400, "1", True, None])
def test_a_sleep_of_no_length_is_refused(runtime: Runtime, placement: str, seconds: Any) -> None:
    """By name."""

    async def work(ctx: Any, data: Any) -> str:
        with pytest.raises(InvalidInput) as caught:
            await ctx.sleep(seconds)
        return str(caught.value)

    assert "sleep" in open_with(runtime, placement, work).run().get(timeout=PATIENCE).output


def test_who_subscribes_hears_of_it(timed_runtime: Runtime, clock: ManualHost) -> None:
    """While it happens."""
    recorder = Recorder()
    timed_runtime.subscribe((), recorder).get(timeout=PATIENCE)
    stream = open_with(timed_runtime, "asyncio", nap)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    recorder.wait_for("execution_parked")
    until_parked(stream, execution_id)
    pass_time(clock, 60.0)
    recorder.wait_for("execution_unparked")
    recorder.wait_for("execution_completed")
