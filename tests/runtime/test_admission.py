"""Admission, idempotency and retention: who comes in, in what order, once; and what is kept of the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from propolis import Runtime, Stream
from propolis.calls import Call
from propolis.messages import IdempotencyConflict, SessionNotFound, StreamSaturated
from propolis.testing import ManualHost

from .support import PATIENCE, Gate, Recorder, executor_for, point, until


def logged_stream(runtime: Runtime, placement: str, gate: Gate, **fields: Any) -> tuple[Stream, list[Any]]:
    """A stream that writes down what it runs; the input "hold" waits at the gate."""
    log: list[Any] = []

    async def work(ctx: Any, data: Any) -> Any:
        log.append(data)
        if data == "hold":
            await gate.passed(ctx)
        return data

    return runtime.open_stream(point(placement, **fields), executor_for(placement, work)).get(timeout=PATIENCE), log


def test_a_higher_priority_starts_first_and_of_one_priority_who_came_first(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """Whatever the order of coming."""
    stream, log = logged_stream(any_runtime, placement, gate, max_concurrent=1)
    stream.execute("hold").get(timeout=PATIENCE)
    runs = [stream.run([priority, n], priority=priority) for n, priority in enumerate((0, 5, -1, 5, 0, 9))]
    until(lambda: len(stream.active_execution_ids) == 7)
    gate.open()
    for run in runs:
        run.get(timeout=PATIENCE)
    assert ["hold", [9, 5], [5, 1], [5, 3], [0, 0], [0, 4], [-1, 2]] == log


def test_no_more_run_at_a_time_than_the_entry_point_allows(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """Slots are full, the rest waits."""
    stream, log = logged_stream(any_runtime, placement, gate, max_concurrent=3)
    runs = [stream.run("hold") for _ in range(10)]
    gate.wait_for(3)
    until(lambda: len(stream.active_execution_ids) == 10)
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (3, 0, 7, 10) == (gate.arrived, stats.available_slots, stats.queue_depth, stats.active)
    gate.open()
    assert all(run.get(timeout=PATIENCE).success for run in runs)
    assert 10 == len(log)


def test_a_full_queue_rejects(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """By name, and nothing of it is kept; with room again it accepts."""
    stream, _ = logged_stream(any_runtime, placement, gate, max_concurrent=1, max_pending=2)
    for _ in range(3):
        stream.execute("hold").get(timeout=PATIENCE)
    with pytest.raises(StreamSaturated, match="'work' has 2"):
        stream.execute("more").get(timeout=PATIENCE)
    assert 3 == len(any_runtime.executions().get(timeout=PATIENCE))
    gate.open()
    until(lambda: not stream.active_execution_ids)
    assert stream.run("more").get(timeout=PATIENCE).success


def test_a_full_queue_lets_callers_wait_in_order(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """They have no id until there is room."""
    stream, log = logged_stream(any_runtime, placement, gate, max_concurrent=1, max_pending=1, on_full="block")
    stream.execute("hold").get(timeout=PATIENCE)
    calls = [stream.execute(n) for n in range(5)]
    calls[0].get(timeout=PATIENCE)
    stream.get_stats().get(timeout=PATIENCE)
    assert [True, False, False, False, False] == [call.done() for call in calls]
    assert 2 == len(any_runtime.executions().get(timeout=PATIENCE))
    gate.open()
    for call in calls:
        result = stream.wait_for_completion(call.get(timeout=PATIENCE)).get(timeout=PATIENCE)
        assert result is not None
        assert result.success
    assert ["hold", 0, 1, 2, 3, 4] == log


@pytest.mark.parametrize("call", ["execute", "run", "trigger", "trigger_and_wait"])
def test_a_caller_that_is_cancelled_while_it_waits_for_room_leaves_nothing(
    runtime: Runtime, gate: Gate, call: str
) -> None:
    """D1. Who waits behind it does not notice."""
    stream, log = logged_stream(runtime, "asyncio", gate, max_concurrent=1, max_pending=1, on_full="block")
    calls: dict[str, Callable[[str], Call[Any]]] = {
        "execute": stream.execute,
        "run": stream.run,
        "trigger": lambda data: runtime.trigger(stream.id, data),
        "trigger_and_wait": lambda data: runtime.trigger_and_wait(stream.id, data),
    }

    async def main() -> None:
        await stream.execute("hold")
        await stream.execute("queued")
        leaving, staying = (asyncio.ensure_future(calls[call](data)) for data in ("leaving", "staying"))
        await stream.get_stats()  # behind them: both wait
        leaving.cancel()
        await asyncio.wait([leaving])
        await stream.get_stats()
        gate.open()
        await staying
        await stream.drain()

    asyncio.run(main())
    assert ["hold", "queued", "staying"] == log
    assert 3 == len(runtime.executions().get(timeout=PATIENCE))


def test_a_full_queue_drops_the_oldest_of_the_lowest_priority(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """It ends as cancelled, `dropped`, for its waiter and in the store."""
    dropped = Recorder()
    any_runtime.subscribe("execution_cancelled", dropped).get(timeout=PATIENCE)
    stream, log = logged_stream(any_runtime, placement, gate, max_concurrent=1, max_pending=2, on_full="drop_oldest")
    stream.execute("hold").get(timeout=PATIENCE)
    high = stream.run("high", priority=1)
    old = stream.run("old")
    until(lambda: len(stream.active_execution_ids) == 3)
    new = stream.run("new")
    assert "cancelled" == old.get(timeout=PATIENCE).status
    assert "dropped" == dropped.wait_for("execution_cancelled").data["reason"]
    gate.open()
    assert ("high", "new") == (high.get(timeout=PATIENCE).output, new.get(timeout=PATIENCE).output)
    assert ["hold", "high", "new"] == log


def test_one_that_is_dropped_before_its_row_is_there_ends_too(file_store: str, gate: Gate) -> None:
    """Every caller is answered, nothing stays active."""
    with Runtime(file_store) as runtime:
        fields: dict[str, Any] = {"max_concurrent": 1, "max_pending": 1, "on_full": "drop_oldest"}
        stream, _ = logged_stream(runtime, "asyncio", gate, **fields)
        stream.execute("hold").get(timeout=PATIENCE)
        runs = [stream.run(n) for n in range(50)]
        until(lambda: sum(run.done() for run in runs) == 49)
        gate.open()
        statuses = [run.get(timeout=PATIENCE).status for run in runs]
        assert [*["cancelled"] * 49, "completed"] == statuses
        assert () == stream.active_execution_ids


def test_nobody_is_dropped_for_a_request_that_is_refused_or_was_made_before(any_runtime: Runtime, gate: Gate) -> None:
    """What was accepted gives way to what is accepted."""
    fields: dict[str, Any] = {"max_concurrent": 1, "max_pending": 1, "on_full": "drop_oldest"}
    stream, log = logged_stream(any_runtime, "asyncio", gate, **fields)
    first = stream.execute("hold", idempotency_key="k").get(timeout=PATIENCE)
    waiting = stream.run("waits")
    until(lambda: len(stream.active_execution_ids) == 2)
    assert first == stream.execute("hold", idempotency_key="k").get(timeout=PATIENCE)
    for refused in ({"idempotency_key": "k"}, {"session_id": "nobody"}):
        with pytest.raises((IdempotencyConflict, SessionNotFound)):
            stream.execute("other", **refused).get(timeout=PATIENCE)
    gate.open()
    assert "completed" == waiting.get(timeout=PATIENCE).status
    assert ["hold", "waits"] == log


def test_the_total_timeout_of_who_waited_for_room_begins_when_it_has_come(
    timed_runtime: Runtime, clock: ManualHost
) -> None:
    """It was not accepted before, and has no id."""
    gates = [Gate(), Gate()]

    async def work(ctx: Any, n: int) -> None:
        await gates[n].passed(ctx)

    fields: dict[str, Any] = {"max_concurrent": 1, "max_pending": 0, "on_full": "block", "total_timeout": 60.0}
    stream = timed_runtime.open_stream(point("asyncio", **fields), work).get(timeout=PATIENCE)
    runs = []
    for n in range(2):
        runs.append(stream.run(n))
        gates[0].wait_for()
        stream.get_stats().get(timeout=PATIENCE)  # behind it
    for n, gate in enumerate(gates):
        gate.wait_for()
        clock.advance(59.0)
        stream.get_stats().get(timeout=PATIENCE)
        gate.open()
        assert "completed" == runs[n].get(timeout=PATIENCE).status


# -- idempotency -------------------------------------------------------------------------------------------------------


def test_one_key_is_one_execution_however_often_it_is_asked_for(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """A hundred at once, run and execute; also after it has ended; also when nobody holds its result any more."""
    stream, log = logged_stream(any_runtime, placement, gate, result_retention_max=0)
    runs = [stream.run("hold", idempotency_key="k") for _ in range(50)]
    ids = {stream.execute("hold", idempotency_key="k").get(timeout=PATIENCE) for _ in range(50)}
    gate.open()
    assert ids == {run.get(timeout=PATIENCE).execution_id for run in runs}
    assert 1 == len(ids)
    assert ids == {stream.run("hold", idempotency_key="k").get(timeout=PATIENCE).execution_id}
    assert ["hold"] == log
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (1, 1, 10) == (stats.total_executions, stats.completed_executions, stats.available_slots)


def test_one_key_with_other_input_is_a_conflict(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """It names the execution that has the key. Another entry point has keys of its own."""
    stream, log = logged_stream(any_runtime, placement, gate)
    first = stream.run({"a": 1, "b": 2}, idempotency_key="k").get(timeout=PATIENCE)
    with pytest.raises(IdempotencyConflict, match=first.execution_id):
        stream.run({"a": 2}, idempotency_key="k").get(timeout=PATIENCE)
    same = stream.run({"b": 2, "a": 1}, idempotency_key="k").get(timeout=PATIENCE)
    assert first.execution_id == same.execution_id
    with pytest.raises(IdempotencyConflict, match="memory"):
        stream.run({"a": 1, "b": 2}, idempotency_key="k", memory={"c": 3}).get(timeout=PATIENCE)
    with pytest.raises(IdempotencyConflict, match="session_id"):
        stream.run({"a": 1, "b": 2}, idempotency_key="k", session_id=first.session_id).get(timeout=PATIENCE)
    kept = stream.run({}, idempotency_key="m", memory={"c": 3, "d": {"e": 1, "f": 2}}).get(timeout=PATIENCE)
    same = stream.run({}, idempotency_key="m", memory={"d": {"f": 2, "e": 1}, "c": 3}).get(timeout=PATIENCE)
    assert kept.execution_id == same.execution_id
    other, _ = logged_stream(any_runtime, placement, gate, id="other")
    assert first.execution_id != other.run({"a": 2}, idempotency_key="k").get(timeout=PATIENCE).execution_id
    assert [{"a": 1, "b": 2}, {}] == log


def test_a_key_is_known_to_every_runtime_on_the_store(file_store: str, placement: str, gate: Gate) -> None:
    """Two at a time on one file: each key runs once, and both get its result."""
    with Runtime(file_store) as one, Runtime(file_store) as two:
        first, log_one = logged_stream(one, placement, gate)
        second, log_two = logged_stream(two, placement, gate)
        runs = [(first.run(n, idempotency_key=f"k{n}"), second.run(n, idempotency_key=f"k{n}")) for n in range(50)]
        for n, (mine, yours) in enumerate(runs):
            assert n == mine.get(timeout=PATIENCE).output
            assert mine.get().execution_id == yours.get(timeout=PATIENCE).execution_id
        assert list(range(50)) == sorted(log_one + log_two)


# -- retention ---------------------------------------------------------------------------------------------------------


def test_results_are_kept_up_to_a_count(any_runtime: Runtime, gate: Gate) -> None:
    """Pruned ones read None, and are still in the store."""
    stream, _ = logged_stream(any_runtime, "asyncio", gate, result_retention_max=3)
    results = [stream.run(n).get(timeout=PATIENCE) for n in range(5)]
    held = [stream.get_result(result.execution_id).get(timeout=PATIENCE) for result in results]
    assert [None, None, *results[2:]] == held
    assert 3 == stream.get_stats().get(timeout=PATIENCE).results_held
    record = any_runtime.session(results[0].session_id).get(timeout=PATIENCE)
    assert record is not None
    assert results[0] == record.result
    assert results[0] == stream.wait_for_completion(results[0].execution_id).get(timeout=PATIENCE)


def test_results_are_kept_for_a_time(clock: ManualHost, gate: Gate) -> None:
    """Judged by the Host's clock."""
    with Runtime(host=clock) as runtime:
        stream, _ = logged_stream(runtime, "asyncio", gate, result_retention_ttl=60.0)
        result = stream.run(1).get(timeout=PATIENCE)
        clock.advance(59.0)
        assert result == stream.get_result(result.execution_id).get(timeout=PATIENCE)
        clock.advance(2.0)
        assert stream.get_result(result.execution_id).get(timeout=PATIENCE) is None
        assert 0 == stream.get_stats().get(timeout=PATIENCE).results_held


def test_stats_add_up(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """Of a stream and of the runtime: accepted is ended plus active, and every end is counted by its status."""
    stream, _ = logged_stream(any_runtime, placement, gate, max_concurrent=2)
    for n in range(5):
        stream.run(n).get(timeout=PATIENCE)
    held = [stream.execute("hold").get(timeout=PATIENCE) for _ in range(4)]
    gate.wait_for(2)
    stream.cancel_execution(held[3]).get(timeout=PATIENCE)
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (9, 6, 3, 1, 0) == (
        stats.total_executions,
        stats.completed_executions,
        stats.active,
        stats.queue_depth,
        stats.available_slots,
    )
    assert {"completed": 5, "cancelled": 1} == dict(stats.status_counts)
    assert {"p50", "p90", "p99"} == set(stats.latency_ms)
    whole = any_runtime.stats().get(timeout=PATIENCE)
    assert (True, True, 0) == (whole.running, whole.store_available, whole.writes_waiting)
    assert [stats.total_executions] == [one.total_executions for one in whole.streams]


def test_the_snapshot_is_there_before_the_reply_that_it_explains(runtime: Runtime, placement: str, gate: Gate) -> None:
    """An id is active before it is told, and no longer active before its result is."""
    stream, _ = logged_stream(runtime, placement, gate, max_concurrent=1)
    for n in range(50):
        execution_id = stream.execute("hold" if n == 0 else n).get(timeout=PATIENCE)
        assert execution_id in stream.active_execution_ids
    gate.open()
    for n in range(50):
        result = stream.run(n).get(timeout=PATIENCE)
        assert result.execution_id not in stream.active_execution_ids
