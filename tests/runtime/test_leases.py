"""Leases: who is declared lost while alive writes nothing more, joins again, and takes back what is free (D5, D6)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from propolis import Backoff, Runtime, RuntimeConfig
from propolis.actors import Host, open_store
from propolis.messages import AppendEvents, LeaseLost, StaleWriter, StoreUnavailable
from propolis.testing import FailingStore, ManualHost

from .support import PATIENCE, Gate, Recorder, executor_for, point, until
from .test_recovery import held, program


def name_of(runtime: Runtime) -> str:
    """Under which it is in the store."""
    return str(runtime.stats().get(timeout=PATIENCE).runtime_id)


def declare_lost(store: str, runtime: Runtime) -> str:
    """As a peer would; the name that it had."""
    name = name_of(runtime)
    opened = open_store(store, host=Host())
    opened.forget((name,))
    opened.close()
    return name


def records_of(runtime: Runtime) -> dict[Any, Any]:
    """All sessions of the store, by their input."""
    return {record.input_data: record for record in runtime.sessions().get(timeout=PATIENCE)}


def unwritten(runtime: Runtime) -> set[str]:
    """The kinds of writes that wait for their commit."""
    ledger = runtime.sessions_ref.actor_inbox.actor._ledger  # type: ignore[union-attr]
    return {type(pending.write).__name__ for pending in (*ledger.waiting, *ledger.flying)}


def test_who_is_declared_lost_is_taken_over_at_once_and_joins_again(
    file_store: str, placement: str, new_gate: Callable[[], Gate]
) -> None:
    """What the zombie still does never lands; whoever waits in its process gets the heir's result; it goes on."""
    gate, opened = new_gate(), new_gate()
    opened.open()
    log: list[Any] = []
    seen = Recorder()
    with Runtime(file_store) as zombie, Runtime(file_store) as heir:
        zombie.subscribe(("runtime_rejoined",), seen).get(timeout=PATIENCE)
        stream, other = held(zombie, gate, log, placement=placement), held(heir, opened, log, placement=placement)
        execution_id = stream.execute("x").get(timeout=PATIENCE)
        gate.wait_for(1)
        waiting = stream.wait_for_completion(execution_id)
        was = declare_lost(file_store, zombie)
        result = other.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ("completed", "x") == (result.status, result.output)
        late = stream.execute("y").get(timeout=PATIENCE)  # its first commit since
        assert {"was": was, "is": name_of(zombie)} == seen.wait_for("runtime_rejoined").data
        gate.open()
        assert "y" == stream.wait_for_completion(late).get(timeout=PATIENCE).output  # type: ignore[union-attr]
        assert result == waiting.get(timeout=PATIENCE)
        assert was != name_of(zombie)
        records = records_of(heir)
        assert [(2, 0, 0), (1, 0, 0)] == [
            (records[n].attempt, records[n].restarts, records[n].lost_attempts) for n in ("x", "y")
        ]
        first, second, *_ = [entry for entry in log if isinstance(entry, int)]
        assert records["x"].epoch == second > first


def test_what_nobody_took_is_taken_back_under_a_new_epoch(
    file_store: str, placement: str, new_gate: Callable[[], Gate]
) -> None:
    """Running and queued; each gets to its end once, its slots are its own, and whoever waits notices nothing."""
    gate = new_gate()
    log: list[Any] = []
    with Runtime(file_store) as runtime:
        stream = held(runtime, gate, log, placement=placement, max_concurrent=2)
        ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(5)]
        gate.wait_for(2)
        waiting = [stream.wait_for_completion(id) for id in ids]
        declare_lost(file_store, runtime)
        runtime.sessions_ref.ask(AppendEvents(events=()), timeout=PATIENCE)  # as a beat would, in its time
        gate.wait_for(4)
        gate.open()
        assert list(range(5)) == [reply.get(timeout=PATIENCE).output for reply in waiting]  # type: ignore[union-attr]
        records = records_of(runtime)
        assert [2, 2, 1, 1, 1] == [records[n].attempt for n in range(5)]
        stats = stream.get_stats().get(timeout=PATIENCE)
        assert (5, 5, 2) == (stats.total_executions, stats.completed_executions, stats.available_slots)


def test_a_zombie_that_is_let_go_writes_nothing_and_joins_again(file_store: str, gate: Gate) -> None:
    """SIGSTOP past its lease, a takeover, SIGCONT: its late writes are refused, the store is whole, and it works on."""
    gate.open()
    log: list[Any] = []
    with program("zombie", file_store, "-") as process:
        assert process.stdout is not None
        execution_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGSTOP)
        with Runtime(file_store, config=RuntimeConfig(lease_seconds=1.0)) as heir:
            stream = held(heir, gate, log)
            result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
            assert result is not None
            assert ("completed", "x") == (result.status, result.output)
            process.send_signal(signal.SIGCONT)
            told = [process.stdout.readline().strip() for _ in range(3)]
            assert [f"attempt 1: {StaleWriter.__name__}", "goes on: again", "heir's result: x"] == sorted(told)
            assert 0 == process.wait(timeout=PATIENCE)
            record = heir.session(execution_id).get(timeout=PATIENCE)
            assert record is not None
            assert ("completed", 2, {}) == (record.status, record.attempt, record.memory)
            threads = heir._running().threads
            checked = threads.read(lambda s: s.run_read(lambda c: c.exec_driver_sql("PRAGMA integrity_check").scalar()))
            assert "ok" == checked.get(timeout=PATIENCE)


@pytest.mark.parametrize("what", ["live event", "step"])
def test_while_its_lease_is_in_doubt_no_call_of_an_executor_is_answered(placement: str, gate: Gate, what: str) -> None:
    """Also one that commits nothing, or not before it begins. When a commit has landed all goes on."""
    host, failing = ManualHost(), FailingStore()
    retry = Backoff(initial=1.0, maximum=1.0, jitter=0.0, immediate_first=False)
    told: list[str] = []

    async def body(ctx: Any, data: Any) -> str:
        await ctx.emit("llm_text_delta", {})
        told.append("first")
        await gate.passed(ctx)
        if what == "step":
            await ctx.step("second", told.append, "second")
        else:
            await ctx.emit("llm_text_delta", {})
            told.append("second")
        return "done"

    def passed(condition: Callable[[], object]) -> Callable[[], object]:
        def step() -> object:
            host.advance(0.5)
            return condition()

        return step

    runtime = Runtime(failing.open, host=host, config=RuntimeConfig(lease_seconds=30.0, store_retry=retry))
    runtime.start().get(timeout=PATIENCE)
    try:
        stream = runtime.open_stream(point(placement), executor_for(placement, body)).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        gate.wait_for(1)
        lease = runtime._running().services.lease
        failing.next_commit(StoreUnavailable(store="memory:", reason="the disk is full"), times=100_000)
        until(passed(lambda: not lease.is_trusted()))
        gate.open()
        until(lambda: "AppendEvents" in unwritten(runtime))
        assert ["first"] == told
        failing.forget_plans()
        until(passed(lambda: ["first", "second"] == told))
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert "done" == result.output
    finally:  # or it would never be stopped
        failing.forget_plans()
        until(passed(runtime.stop().done))


def test_it_joins_again_however_often_and_also_when_the_store_is_away_meanwhile(
    file_store: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that is refused is tried again; what is asked in between waits, and gets its answer."""
    gate.open()
    failing = FailingStore(file_store)
    monkeypatch.setattr("propolis.actors.membership.JOIN_AGAIN_SECONDS", 0.05)
    with Runtime(failing.open) as runtime:
        stream = held(runtime, gate, [])
        names = [declare_lost(file_store, runtime)]
        refused: list[str] = []
        register = failing._store.register  # type: ignore[union-attr]

        def refuse_twice(row: Any) -> None:
            if len(refused) < 2:
                refused.append(row.runtime_id)
                raise StoreUnavailable(store="x", reason="the disk is full")
            register(row)

        monkeypatch.setattr(failing._store, "register", refuse_twice)
        assert 1 == stream.run(1).get(timeout=PATIENCE).output
        assert 2 == len(refused)
        for n in range(3):
            names.append(declare_lost(file_store, runtime))
            assert n == stream.run(n).get(timeout=PATIENCE).output
        assert len(names) == len(set(names)) == 4


def test_an_execution_that_was_in_doubt_when_the_lease_was_lost_is_not_made_twice(file_store: str, gate: Gate) -> None:
    """It landed, nobody heard, a peer declared its runtime lost: its caller gets an error, and it runs, once."""
    gate.open()
    log: list[Any] = []
    failing = FailingStore(file_store)
    host = ManualHost()
    retry = Backoff(initial=100.0, maximum=100.0, jitter=0.0, immediate_first=False)
    config = RuntimeConfig(store_retry=retry, lease_seconds=3_000_000.0)
    with Runtime(failing.open, host=host, config=config) as runtime:
        stream = held(runtime, gate, log)
        stream.run("w").get(timeout=PATIENCE)  # so that the next commit is not one of the stream's own
        failing.next_commit(StoreUnavailable(store="x", reason="who knows"), landed=True)
        doubtful = stream.execute("x")
        until(lambda: not runtime.stats().get(timeout=PATIENCE).store_available)
        declare_lost(file_store, runtime)
        host.wait_for_timer(100.0)
        host.advance(100.0)
        with pytest.raises(LeaseLost):
            doubtful.get(timeout=PATIENCE)
        until(lambda: ["completed"] * 2 == [record.status for record in records_of(runtime).values()])
    assert 2 == len([entry for entry in log if isinstance(entry, int)])


def test_a_cancel_that_comes_as_its_runtime_loses_it_reaches_the_new_owner(
    file_store: str, new_gate: Callable[[], Gate]
) -> None:
    """Whoever that is: the answer is the truth about it."""
    gate, other_gate = new_gate(), new_gate()
    log: list[Any] = []
    with Runtime(file_store) as zombie, Runtime(file_store) as heir:
        stream, other = held(zombie, gate, log), held(heir, other_gate, log)
        execution_id = stream.execute("x").get(timeout=PATIENCE)
        gate.wait_for(1)
        declare_lost(file_store, zombie)
        other_gate.wait_for(1)
        outcome = stream.cancel_execution(execution_id, grace=PATIENCE).get(timeout=PATIENCE)
        assert "cancelled" == outcome.outcome
        result = other.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert "cancelled" == result.status
