"""After a death: what a process left is taken over once, with the right counts; and two processes share a file."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from propolis import Backoff, Runtime, RuntimeConfig, Stream
from propolis.messages import (
    AdvanceExecution,
    AttemptEnded,
    EmitEvents,
    Event,
    ExecutionState,
    Payload,
    ReportProgress,
    SaveCheckpoint,
    StaleWriter,
    StoreUnavailable,
)
from propolis.testing import FailingStore, ManualHost

from ..processes import unmeasured
from .support import PATIENCE, Gate, Recorder, executor_for, point, until

ROOT = Path(__file__).parents[2]


def program(*arguments: str) -> subprocess.Popen[str]:
    """The other process."""
    environment = None if "submit" in arguments else unmeasured()
    command = [sys.executable, "-m", "tests.runtime.program", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def killed(*arguments: str) -> str:
    """Run it until it kills itself; what it printed."""
    with program(*arguments) as process:
        printed, _ = process.communicate(timeout=60)
        assert -signal.SIGKILL == process.returncode
    return printed


def test_what_a_killed_process_left_is_finished_by_the_next_one(file_store: str, placement: str) -> None:
    """Once each: ended ones stay, interrupted ones run again from their checkpoint, queued ones for the first time."""
    ids = json.loads(killed("die", file_store, placement))
    seen = {}

    async def body(ctx: Any, n: int) -> int:
        seen[n] = (ctx.attempt, ctx.resumed_from, await ctx.memory.read("half"))
        return n

    with Runtime(file_store) as runtime:
        stream = runtime.open_stream(point(placement), executor_for(placement, body)).get(timeout=PATIENCE)
        results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
        assert list(range(12)) == [result.output for result in results if result is not None]
        expected = {n: (2, "half" if n % 2 else None, n if n % 2 else None) for n in range(5, 10)}
        assert expected | {10: (1, None, None), 11: (1, None, None)} == seen
        records = {record.input_data: record for record in runtime.sessions().get(timeout=PATIENCE)}
        assert [0] * 5 + [1] * 5 + [0] * 2 == [records[n].lost_attempts for n in range(12)]
        assert {0} == {record.restarts for record in records.values()}
        assert all(records[n].epoch > records[0].epoch for n in range(5, 10))
        stats = stream.get_stats().get(timeout=PATIENCE)
        assert (7, 7) == (stats.total_executions, stats.completed_executions)


@pytest.mark.parametrize(
    ("damage", "begun"),
    [
        ("spec = x'c1ff'", False),
        ("spec = x'c1ff'", True),
        ("spec = 'text', attempt = 2", False),
        ("status = 'runnin?'", False),
        ("status = 'runnin?'", True),
        ("epoch = 'abc'", False),
        ("epoch = 1.5, lost_attempts = x'ff'", True),
        ("started_at = 'abc'", True),
    ],
)
def test_a_damaged_row_holds_up_no_other_execution(file_store: str, gate: Gate, damage: str, *, begun: bool) -> None:
    """It stays as it is, and is told by an event; the others of its stream are taken over and end."""

    async def held(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return data

    with Runtime(file_store) as runtime:
        stream = runtime.open_stream(point("asyncio", max_concurrent=2), held).get(timeout=PATIENCE)
        ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(4)]
        gate.wait_for(2)
    gate.open()
    damaged = ids.pop(0 if begun else 2)
    row = f"SELECT {', '.join(each.split()[0] for each in damage.split(', '))} FROM executions WHERE execution_id = ?"
    with sqlite3.connect(file_store.removeprefix("sqlite:///")) as connection:
        connection.execute(f"UPDATE executions SET {damage} WHERE execution_id = ?", (damaged,))
        was = connection.execute(row, (damaged,)).fetchall()
    connection.close()
    seen = Recorder()
    with Runtime(file_store) as runtime:
        runtime.subscribe("execution_damaged", seen).get(timeout=PATIENCE)
        stream = runtime.open_stream(point("asyncio", version="2"), held).get(timeout=PATIENCE)
        for id in ids:
            result = stream.wait_for_completion(id).get(timeout=PATIENCE)
            assert result is not None
            assert result.success
        assert damaged == seen.wait_for("execution_damaged").data["execution_id"]
    with sqlite3.connect(file_store.removeprefix("sqlite:///")) as connection:
        left = connection.execute("SELECT execution_id, owner FROM executions WHERE NOT ended").fetchall()
        assert was == connection.execute(row, (damaged,)).fetchall()
    connection.close()
    assert [(damaged, None)] == left


def test_what_a_run_has_recorded_may_be_damaged(file_store: str, gate: Gate) -> None:
    """An execution that cannot know what it has done already stays as it is, and an event says so."""

    async def held(ctx: Any, data: Any) -> Any:
        await ctx.step("first", lambda: 1)
        await gate.passed(ctx)
        return data

    with Runtime(file_store) as runtime:
        stream = runtime.open_stream(point("asyncio"), held).get(timeout=PATIENCE)
        damaged, other = (stream.execute(n).get(timeout=PATIENCE) for n in range(2))
        gate.wait_for(2)
    gate.open()
    with sqlite3.connect(file_store.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE steps SET due_at = 'abc' WHERE run = ?", (damaged,))
        connection.execute("INSERT INTO inbox (execution_id, kind, created_at) VALUES (?, 'cancel', 'abc')", (other,))
    connection.close()
    seen = Recorder()
    with Runtime(file_store) as runtime:
        runtime.subscribe("execution_damaged", seen).get(timeout=PATIENCE)
        stream = runtime.open_stream(point("asyncio"), held).get(timeout=PATIENCE)
        assert damaged == seen.wait_for("execution_damaged").data["execution_id"]
        result = stream.wait_for_completion(other).get(timeout=PATIENCE)
        assert result is not None
        assert result.success  # nobody can read that cancel


def test_code_that_kills_its_process_is_quarantined_in_the_end(file_store: str) -> None:
    """Ten lost attempts in a row; then the next process finds it failed, and runs."""
    with program("suicides", file_store, "11") as process:
        printed, _ = process.communicate(timeout=PATIENCE * 2)
        assert 0 == process.returncode
    assert [-signal.SIGKILL] * 10 + [0] == json.loads(printed)
    with Runtime(file_store) as runtime:
        (record,) = runtime.quarantined().get(timeout=PATIENCE)
        assert ("failed", 10, 10, "attempts_lost") == (
            record.status,
            record.attempt,
            record.lost_attempts,
            record.result.failure.code,  # type: ignore[union-attr]
        )


def test_two_processes_on_one_file_run_each_key_once(file_store: str) -> None:
    """A thousand keys in each, the same ones; nobody hears of a lock, and both get every result."""
    processes = [program("submit", file_store, name) for name in ("one", "two")]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=90)
        assert 0 == process.returncode
    file = file_store.removeprefix("sqlite:///")
    one, two = (json.loads(Path(f"{file}.{name}").read_text()) for name in ("one", "two"))
    assert one["ids"] == two["ids"]
    assert {str(n): 2 * n for n in range(1_000)} == one["outputs"] == two["outputs"]
    assert list(range(1_000)) == sorted(one["ran"] + two["ran"])


def held(
    runtime: Runtime, gate: Gate, log: list[Any], id: str = "work", placement: str = "asyncio", **fields: Any
) -> Stream:
    """A stream whose executions wait at a gate."""

    async def body(ctx: Any, data: Any) -> Any:
        log.append(ctx.epoch)
        await gate.passed(ctx)
        try:
            await ctx.checkpoint("late")
        except StaleWriter as error:
            log.append(error)
            raise
        return data

    entry_point = point(placement, id, **fields)
    return runtime.open_stream(entry_point, executor_for(placement, body)).get(timeout=PATIENCE)


def test_a_stale_epoch_is_refused_and_its_attempt_leaves(file_store: str, gate: Gate) -> None:
    """Another writer has raised the epoch: the zombie's checkpoint does not land, its result neither."""
    log: list[Any] = []
    with Runtime(file_store) as runtime:
        stream = held(runtime, gate, log)
        execution_id = stream.execute("zombie").get(timeout=PATIENCE)
        gate.wait_for(1)
        context = stream.get_context(execution_id).get(timeout=PATIENCE)
        assert context is not None
        state = ExecutionState(execution_id=execution_id, status="running", epoch=7, attempt=2, owner="@version:8")
        write = advance_to(state)
        runtime.sessions_ref.ask(write, timeout=PATIENCE)
        with pytest.raises(StaleWriter, match="epoch 7"):
            runtime.sessions_ref.ask(write, timeout=PATIENCE)
        gate.open()
        until(lambda: not stream.active_execution_ids)
        until(lambda: len(log) == 2)
        assert isinstance(log[1], StaleWriter)
        record = runtime.session(context.session_id).get(timeout=PATIENCE)
        assert record is not None
        assert ("active", None, {}) == (record.status, record.checkpoint_node, record.memory)


def test_an_attempt_that_swallows_its_refusal_is_refused_again(file_store: str, gate: Gate) -> None:
    """Also where no store would notice: what is only live, what is only read."""
    told: list[str] = []
    calls: list[Any] = [
        lambda ctx: ctx.checkpoint("late"),
        lambda ctx: ctx.emit("llm_text_delta", {"text": "late"}),
        lambda ctx: ctx.progress(0.5),
        lambda ctx: ctx.memory.write("k", 1),
        lambda ctx: ctx.memory.read("k"),
    ]

    async def body(ctx: Any, data: Any) -> None:
        await gate.passed(ctx)
        for call in calls:
            try:
                await call(ctx)
                told.append("")
            except StaleWriter as error:
                told.append(type(error).__name__)

    with Runtime(file_store) as runtime:
        stream = runtime.open_stream(point("asyncio"), body).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        gate.wait_for(1)
        take_over(runtime, execution_id)
        gate.open()
        until(lambda: len(told) == len(calls))
        assert {"StaleWriter"} == set(told)
        until(lambda: not stream.active_execution_ids)


def test_a_store_that_is_away_is_told_in_stats_and_events_and_nothing_is_lost(placement: str) -> None:
    """D7: it stops acknowledging, keeps what it holds, and goes on when the store is back."""
    host, failing, seen = ManualHost(), FailingStore(), Recorder()
    retry = Backoff(initial=100.0, maximum=100.0, jitter=0.0, immediate_first=False)

    async def echo(ctx: Any, data: Any) -> Any:
        return data

    with Runtime(failing.open, host=host, config=RuntimeConfig(store_retry=retry, lease_seconds=3_000.0)) as runtime:
        runtime.subscribe(("store_unavailable", "store_available"), seen).get(timeout=PATIENCE)
        stream = runtime.open_stream(point(placement), executor_for(placement, echo)).get(timeout=PATIENCE)
        assert 0 == stream.run(0).get(timeout=PATIENCE).output
        failing.next_commit(StoreUnavailable(store="memory:", reason="the disk is full"))
        runs = [stream.run(n) for n in range(1, 4)]
        try:
            assert "the disk is full" in seen.wait_for("store_unavailable").data["reason"]
            stats = runtime.stats().get(timeout=PATIENCE)
            assert (False, 3) == (stats.store_available, stats.writes_waiting)
            assert not any(run.done() for run in runs)
        finally:  # or nothing would ever be stopped
            host.wait_for_timer(100.0)
            host.advance(100.0)
        assert [1, 2, 3] == [run.get(timeout=PATIENCE).output for run in runs]
        seen.wait_for("store_available")
        assert runtime.stats().get(timeout=PATIENCE).store_available


def advance_to(state: ExecutionState) -> AdvanceExecution:
    """The write that brings a fresh execution from its first epoch to this state."""
    own = state.execution_id
    return AdvanceExecution(
        **vars(state),
        expected_epoch=1,
        at=datetime.now(UTC),
        session_id=own,
        stream_id="hook",
        correlation_id=own,
    )


def take_over(runtime: Runtime, execution_id: str) -> None:
    """As if another runtime had."""
    state = ExecutionState(execution_id=execution_id, status="running", epoch=7, attempt=2, owner="@version:8")
    runtime.sessions_ref.ask(advance_to(state), timeout=PATIENCE)


def test_what_an_attempt_of_another_epoch_says_is_refused_by_its_actor(runtime: Runtime, gate: Gate) -> None:
    """It may be on its way already when its place is taken."""
    seen = Recorder()
    runtime.subscribe((), seen).get(timeout=PATIENCE)
    stream = held(runtime, gate, [])
    execution_id = stream.execute(1).get(timeout=PATIENCE)
    gate.wait_for(1)
    ref = stream.ref.proxy().children().get(timeout=PATIENCE)[execution_id]
    now = datetime.now(UTC)
    saved = SaveCheckpoint(epoch=0, ordinal=1, memory=Payload.of({"late": 1}))
    live = Event(type="llm_text_delta", execution_id=execution_id, timestamp=now)
    for late in (saved, EmitEvents(epoch=0, events=(live,))):
        with pytest.raises(StaleWriter, match="epoch 0"):
            ref.ask(late, timeout=PATIENCE)
    ref.tell(ReportProgress(epoch=0, fraction=0.5, note="late", at=now))
    ref.tell(AttemptEnded(epoch=0, how="returned", output=Payload.of("late")))
    gate.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert 1 == result.output
    seen.wait_for("execution_completed")
    assert not {"llm_text_delta", "execution_progress"} & set(seen.types())


def test_a_context_that_is_kept_past_the_end_is_refused(runtime: Runtime, placement: str) -> None:
    """It belongs to nobody any more: nothing that is said to it is kept, and nothing waits."""
    kept: list[Any] = []
    told: list[str] = []

    async def body(ctx: Any, data: Any) -> None:
        kept.append(ctx)

    async def late(ctx: Any, data: Any) -> None:
        old = kept[0]
        for call in (
            lambda: old.memory.write("k", 1),
            lambda: old.memory.read("k"),
            lambda: old.checkpoint("late"),
            lambda: old.emit("custom", {}),
            lambda: old.progress(0.5),
            old.pause,
        ):
            try:
                await call()
            except StaleWriter as error:
                told.append(type(error).__name__)

    first = runtime.open_stream(point(placement), executor_for(placement, body)).get(timeout=PATIENCE)
    other = runtime.open_stream(point(placement, "other"), executor_for(placement, late)).get(timeout=PATIENCE)
    ended = first.run().get(timeout=PATIENCE)
    assert other.run().get(timeout=PATIENCE).success
    assert ["StaleWriter"] * 6 == told
    record = runtime.session(ended.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert ({}, None) == (record.memory, record.checkpoint_node)


def test_waiting_for_what_another_runtime_has_follows_the_store(file_store: str, gate: Gate) -> None:
    """Its result, its time, and the end of the waiting runtime."""
    with Runtime(file_store) as owner, Runtime(file_store) as other:
        mine = held(owner, gate, [])
        yours = held(other, gate, [])
        execution_id = mine.execute(1).get(timeout=PATIENCE)
        assert yours.wait_for_completion(execution_id, timeout=0).get(timeout=PATIENCE) is None
        assert yours.wait_for_completion(execution_id, timeout=0.1).get(timeout=PATIENCE) is None
        waiting = yours.wait_for_completion(execution_id)
        gate.open()
        result = waiting.get(timeout=PATIENCE)
        assert result == mine.wait_for_completion(execution_id).get(timeout=PATIENCE)


def test_an_orderly_stop_charges_nothing_however_often(file_store: str, gate: Gate) -> None:
    """Twelve stops, more than attempts may be lost in a row; then it ends well."""
    log: list[Any] = []
    with Runtime(file_store) as runtime:
        execution_id = held(runtime, gate, log).execute("x").get(timeout=PATIENCE)
        gate.wait_for(1)
    for n in range(2, 13):
        with Runtime(file_store) as runtime:
            held(runtime, gate, log)
            gate.wait_for(n)
    gate.open()
    with Runtime(file_store) as runtime:
        result = held(runtime, gate, log).wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ("completed", 0) == (result.status, result.restarts)
        (record,) = runtime.sessions().get(timeout=PATIENCE)
        assert 0 == record.lost_attempts
    assert sorted(set(log)) == log


def test_the_first_that_are_taken_over_run_before_the_last_are(file_store: str, gate: Gate) -> None:
    """What is taken in the first page begins in a commit of its own, ahead of the others' takeover."""
    log: list[Any] = []
    with Runtime(file_store) as runtime:
        stream = held(runtime, gate, log, max_concurrent=1)
        for call in [stream.execute(n) for n in range(150)]:
            call.get(timeout=PATIENCE)
        runtime.stop(grace=0.0).get(timeout=PATIENCE)
    gate.open()
    failing = FailingStore(file_store)
    with Runtime(failing.open) as runtime:
        stream = held(runtime, gate, log, max_concurrent=5)
        until(lambda: not stream.active_execution_ids)
        kinds = [{type(write).__name__ for write in batch} for batch in failing.batches]
        pages = [n for n, kind in enumerate(kinds) if "RecoverExecutions" in kind][:2]
        assert any("AdvanceExecution" in kind for kind in kinds[pages[0] : pages[1]])
        assert 150 == sum(record.status == "completed" for record in runtime.sessions(limit=200).get(timeout=PATIENCE))
