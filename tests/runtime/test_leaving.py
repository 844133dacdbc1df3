"""Stop, stop(cancel=True), drain; of a stream and of the runtime: what becomes of the work, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from propolis.actors.streams import leaving

from propolis import Runtime, RuntimeConfig, Stream
from propolis.actors import root
from propolis.messages import AppendEvents, RuntimeStopped, StreamNotRunning
from propolis.testing import FailingStore

from .support import PATIENCE, Gate, executor_for, point, until


def held_stream(runtime: Runtime, placement: str, gate: Gate, **fields: Any) -> Stream:
    """A stream whose executions wait at a gate."""

    async def held(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return data

    return runtime.open_stream(point(placement, **fields), executor_for(placement, held)).get(timeout=PATIENCE)


async def noted(ctx: Any, data: Any) -> Any:
    return data


def test_a_stopped_stream_keeps_its_work_and_goes_on_with_it_after_a_start(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """Running and queued ones stay so in the store; waiters hear RuntimeStopped; start() takes them up again."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=1)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(3)]
    gate.wait_for(1)
    waiting = stream.wait_for_completion(ids[2])
    stream.get_stats().get(timeout=PATIENCE)  # a stop travels ahead of what is queued: the wait is there before it
    assert () == stream.stop(grace=PATIENCE).get(timeout=PATIENCE).stragglers
    with pytest.raises(RuntimeStopped):
        waiting.get(timeout=PATIENCE)
    with pytest.raises(StreamNotRunning):
        stream.execute(9).get(timeout=PATIENCE)
    assert not stream.get_stats().get(timeout=PATIENCE).running
    statuses = {row.id: row.status for row in any_runtime.executions().get(timeout=PATIENCE)}
    assert dict(zip(ids, ("running", "pending", "pending"), strict=True)) == statuses
    gate.open()
    stream.start().get(timeout=PATIENCE)
    results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
    assert [0, 1, 2] == [result.output for result in results if result is not None]
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (3, 3, 0) == (stats.total_executions, stats.completed_executions, stats.active)


def test_a_stop_with_cancel_ends_everything_as_cancelled(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """Running, queued: waiters get the cancelled result."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=2)
    runs = [stream.run(n) for n in range(6)]
    gate.wait_for(2)
    until(lambda: len(stream.active_execution_ids) == 6)
    assert () == stream.stop(cancel=True, grace=PATIENCE).get(timeout=PATIENCE).stragglers
    assert {"cancelled"} == {run.get(timeout=PATIENCE).status for run in runs}
    assert {"cancelled": 6} == dict(stream.get_stats().get(timeout=PATIENCE).status_counts)


@pytest.mark.parametrize("cancel", [False, True])
def test_a_stop_while_executions_begin_and_end_answers_everybody(
    any_runtime: Runtime, placement: str, *, cancel: bool
) -> None:
    """Rows on their way into the store included: nobody hangs, nothing is left active."""

    async def quick(ctx: Any, data: Any) -> Any:
        return data

    stream = any_runtime.open_stream(point(placement, max_concurrent=8), executor_for(placement, quick)).get(
        timeout=PATIENCE
    )
    for _ in range(3):
        runs = [stream.run(n) for n in range(200)]
        until(lambda runs=runs: any(run.done() for run in runs))  # type: ignore[misc]
        stopping = stream.stop(cancel=cancel, grace=PATIENCE)
        assert () == stopping.get(timeout=PATIENCE).stragglers
        for run in runs:
            try:
                run.get(timeout=PATIENCE)
            except (RuntimeStopped, StreamNotRunning):
                continue
        assert () == stream.active_execution_ids
        if cancel:
            left = [row.status for row in any_runtime.executions(limit=5_000).get(timeout=PATIENCE)]
            assert not {"pending", "running"} & set(left)
        stream.start().get(timeout=PATIENCE)
        until(lambda: not stream.active_execution_ids)
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert stats.total_executions == stats.completed_executions
    assert stats.max_concurrent == stats.available_slots


@pytest.mark.parametrize("cancel", [False, True])
def test_a_stop_waits_for_the_row_that_is_on_its_way_into_the_store(file_store: str, *, cancel: bool) -> None:
    """And for nothing else: with that row the stop is through. With cancel it is cancelled, else it goes on later."""

    async def quick(ctx: Any, data: Any) -> Any:
        return data

    with Runtime(file_store) as runtime:
        stream = runtime.open_stream(point("asyncio"), quick).get(timeout=PATIENCE)
        for _ in range(20):
            run = stream.run(1)
            stream.get_stats().get(timeout=PATIENCE)  # behind it in the mailbox
            assert () == stream.stop(cancel=cancel, grace=60.0).get(timeout=PATIENCE).stragglers
            until(run.done)
            assert () == stream.active_execution_ids
            stream.start().get(timeout=PATIENCE)
            until(lambda: not stream.active_execution_ids)
        statuses = {row.status for row in runtime.executions().get(timeout=PATIENCE)}
        assert statuses <= {"completed", "cancelled"}
        assert ("cancelled" in statuses) is cancel


@pytest.mark.parametrize("whole", [False, True])
def test_a_stop_ends_though_the_store_takes_nothing(monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
    """Who waits for a row is told; one that lands after all belongs to nobody, and is done by the next start."""
    monkeypatch.setattr(leaving, "LAST_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(root, "FLUSH_SECONDS", 0.05)
    failing = FailingStore()
    with Runtime(failing.open) as runtime:
        stream = runtime.open_stream(point("asyncio"), executor_for("asyncio", noted)).get(timeout=PATIENCE)
        runtime.sessions_ref.ask(AppendEvents(events=()), timeout=PATIENCE)
        with failing.hold_commit() as held:
            accepting = stream.execute(1)
            held.wait_reached()
            stopping = runtime.stop(grace=0.0) if whole else stream.stop(grace=0.0)
            with pytest.raises(RuntimeStopped):
                accepting.get(timeout=PATIENCE)
            if not whole:
                assert () == stopping.get(timeout=PATIENCE).stragglers
            held.release()
            stopping.get(timeout=PATIENCE)
        if not whole:
            until(lambda: [row.status for row in runtime.executions().get(timeout=PATIENCE)])
            stats = stream.get_stats().get(timeout=PATIENCE)
            assert (0, stats.max_concurrent) == (stats.total_executions, stats.available_slots)
            stream.start().get(timeout=PATIENCE)
            until(lambda: ["completed"] == [row.status for row in runtime.executions().get(timeout=PATIENCE)])


def test_a_stop_is_not_through_before_the_row_that_is_on_its_way() -> None:
    """Or that would land in a stream that has told everybody that it stands still."""
    failing = FailingStore()
    with Runtime(failing.open) as runtime:
        stream = held_stream(runtime, "asyncio", Gate())
        runtime.sessions_ref.ask(
            AppendEvents(events=()), timeout=PATIENCE
        )  # what the stream said when it began is through
        with failing.hold_commit() as held:
            accepting = stream.execute(1)
            held.wait_reached()
            stopping = stream.stop(grace=0.0)
            stream.get_stats().get(timeout=PATIENCE)
            assert (False, False) == (accepting.done(), stopping.done())
            held.release()
            assert () == stopping.get(timeout=PATIENCE).stragglers
        assert accepting.get(timeout=PATIENCE)
        assert () == stream.active_execution_ids


def test_a_drain_finishes_what_was_admitted_and_admits_no_more(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """Also what is queued; then the stream stands still, and can be started again."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=1)
    runs = [stream.run(n) for n in range(3)]
    gate.wait_for(1)
    until(lambda: len(stream.active_execution_ids) == 3)
    draining = stream.drain()
    with pytest.raises(StreamNotRunning):
        stream.execute(9).get(timeout=PATIENCE)
    gate.open()
    assert () == draining.get(timeout=PATIENCE).stragglers
    assert [0, 1, 2] == [run.get(timeout=PATIENCE).output for run in runs]
    stream.start().get(timeout=PATIENCE)
    assert 7 == stream.run(7).get(timeout=PATIENCE).output


def test_a_drain_that_takes_too_long_names_what_did_not_end(runtime: Runtime, gate: Gate) -> None:
    """And leaves it running."""
    stream = held_stream(runtime, "asyncio", gate)
    execution_id = stream.execute(1).get(timeout=PATIENCE)
    gate.wait_for(1)
    assert (execution_id,) == stream.drain(timeout=0.02).get(timeout=PATIENCE).stragglers
    assert (execution_id,) == stream.active_execution_ids
    gate.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert 1 == result.output


def test_stopping_and_draining_again_is_harmless(runtime: Runtime) -> None:
    """Each call is answered, in every state."""
    stream = held_stream(runtime, "asyncio", Gate())
    for _ in range(2):
        assert () == stream.stop().get(timeout=PATIENCE).stragglers
        assert () == stream.drain().get(timeout=PATIENCE).stragglers
        assert () == stream.drain(timeout=1.0).get(timeout=PATIENCE).stragglers
    stream.start().get(timeout=PATIENCE)
    stream.start().get(timeout=PATIENCE)
    assert stream.get_stats().get(timeout=PATIENCE).running


def test_a_start_during_a_stop_is_answered(runtime: Runtime, gate: Gate) -> None:
    """It either runs afterwards or is refused; it does not hang."""
    stream = held_stream(runtime, "asyncio", gate)
    stream.execute(1).get(timeout=PATIENCE)
    gate.wait_for(1)
    stopping, starting = stream.stop(), stream.start()
    stopping.get(timeout=PATIENCE)
    with pytest.raises(StreamNotRunning):
        starting.get(timeout=PATIENCE)


@pytest.mark.parametrize("cancel", [False, True])
def test_a_straggler_is_named_and_left_behind(file_store: str, new_gate: Callable[[], Gate], *, cancel: bool) -> None:
    """A thread that does not come back holds nobody up; with cancel its end is recorded, without it can go on later."""
    gate = new_gate()

    def deaf(ctx: Any, data: Any) -> str:
        gate.block()
        return "late"

    config = RuntimeConfig(grace_seconds=0.05)
    with Runtime(file_store, config=config) as runtime:
        stream = runtime.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        gate.wait_for(1)
        assert (execution_id,) == runtime.stop(cancel=cancel).get(timeout=PATIENCE)
    gate.open()
    with Runtime(file_store, config=config) as runtime:
        (row,) = runtime.executions().get(timeout=PATIENCE)
        assert ("cancelled" if cancel else "running") == row.status
        stream = runtime.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ("cancelled" if cancel else "completed") == result.status


def test_leaving_the_runtime_keeps_its_work_for_the_next_one(file_store: str, placement: str, gate: Gate) -> None:
    """Nothing becomes cancelled, nothing is charged; the waiters are told."""
    with Runtime(file_store) as runtime:
        stream = held_stream(runtime, placement, gate, max_concurrent=1)
        ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(3)]
        gate.wait_for(1)
        waiting = [stream.wait_for_completion(id) for id in ids]
    for call in waiting:
        with pytest.raises(RuntimeStopped):
            call.get(timeout=PATIENCE)
    with pytest.raises(RuntimeStopped):
        stream.execute(1)
    gate.open()
    with Runtime(file_store) as runtime:
        stream = held_stream(runtime, placement, gate)
        results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
        assert [0, 1, 2] == [result.output for result in results if result is not None]
        records = runtime.sessions().get(timeout=PATIENCE)
        assert {(0, 0)} == {(record.lost_attempts, record.restarts) for record in records}


def test_a_runtime_drains_all_its_streams(runtime: Runtime, gate: Gate) -> None:
    """And names nobody when all have finished."""
    runs = []
    for id in ("one", "two"):
        stream = held_stream(runtime, "asyncio", gate, id=id)
        runs.append(stream.run(id))
    gate.wait_for(2)
    draining = runtime.drain()
    gate.open()
    assert () == draining.get(timeout=PATIENCE)
    assert ["one", "two"] == [run.get(timeout=PATIENCE).output for run in runs]


def test_a_cancel_that_a_stop_overtakes_is_carried_out_by_whoever_goes_on(any_runtime: Runtime) -> None:
    """It is not said to have ended before: it goes on, as the store has it."""

    async def parked(ctx: Any, data: Any) -> None:
        await ctx.receive("news")

    stream = any_runtime.open_stream(point("asyncio"), parked).get(timeout=PATIENCE)
    for _ in range(3):
        execution_id = stream.execute().get(timeout=PATIENCE)
        until(lambda: stream.get_context(execution_id).get(timeout=PATIENCE).status == "parked")  # type: ignore[union-attr]  # noqa: B023
        stopping, cancelling = stream.stop(), stream.cancel_execution(execution_id, grace=0.0)
        assert cancelling.get(timeout=PATIENCE).outcome in ("cancelling", "cancelled")
        stopping.get(timeout=PATIENCE)
        stream.start().get(timeout=PATIENCE)
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert "cancelled" == result.status


def test_a_blocked_caller_is_turned_away_by_a_stop(runtime: Runtime, gate: Gate) -> None:
    """It has no id yet, and nothing of it is kept."""
    stream = held_stream(runtime, "asyncio", gate, max_concurrent=1, max_pending=0, on_full="block")
    stream.execute(0).get(timeout=PATIENCE)
    blocked = [stream.execute(n) for n in (1, 2)]
    gate.wait_for(1)
    stream.get_stats().get(timeout=PATIENCE)
    stream.stop().get(timeout=PATIENCE)
    for call in blocked:
        with pytest.raises(StreamNotRunning):
            call.get(timeout=PATIENCE)
    assert 1 == len(runtime.executions().get(timeout=PATIENCE))


def test_a_closed_stream_can_be_opened_again(runtime: Runtime, placement: str, gate: Gate) -> None:
    """Under the same id, however it was closed, and the new handle is a living one."""
    gate.open()
    stream = held_stream(runtime, placement, gate)
    runtime.close_stream("work").get(timeout=PATIENCE)
    assert runtime.stream("work") is None
    assert () == runtime.streams()
    stream = held_stream(runtime, placement, gate)
    assert 1 == stream.run(1).get(timeout=PATIENCE).output
    stream.ref.stop(timeout=PATIENCE)
    until(lambda: runtime.stream("work") is None)
    stream = held_stream(runtime, placement, gate)
    assert 2 == stream.run(2).get(timeout=PATIENCE).output
    assert (stream,) == runtime.streams()


def test_a_runtime_starts_and_stops_and_starts_again(file_store: str) -> None:
    """Awaited or not; stop twice gives the same answer."""

    async def main() -> None:
        runtime = Runtime(file_store)
        for n in range(3):
            await runtime.start()
            stream = await runtime.open_stream(point("asyncio"), executor_for("asyncio", echo))
            assert n == (await stream.run(n)).output
            stopping = [runtime.stop(), runtime.stop()]
            assert [(), ()] == [await stop for stop in stopping]
            assert () == await runtime.stop()
        await runtime.start()
        runtime.stop()
        await runtime.start()  # waits for the stop, and then starts
        stream = await runtime.open_stream(point("asyncio"), executor_for("asyncio", echo))
        assert 9 == (await stream.run(9)).output
        await runtime.stop()
        assert () == await Runtime(file_store).stop()

    asyncio.run(asyncio.wait_for(main(), PATIENCE * 2))


async def echo(ctx: Any, data: Any) -> Any:
    return data
