"""Several processes on one file: they commit side by side, run nothing twice, and take over from who is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from propolis import Runtime, RuntimeConfig

from .support import PATIENCE, Gate
from .test_recovery import held, program


def crowd(store: str, processes: int, commits: int, patience: float) -> None:
    """Have so many processes make so many commits each, and look at what they did."""
    running = [program("crowd", store, f"{n},{commits}") for n in range(processes)]
    try:
        for process in running:
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running:
            process.communicate(timeout=patience)
            assert 0 == process.returncode
    finally:
        for process in running:
            process.kill()
            process.communicate()
    file = store.removeprefix("sqlite:///")
    told = [json.loads(Path(f"{file}.{n}").read_text()) for n in range(processes)]
    assert [True] * processes == [one["commits"] >= commits for one in told]
    assert [[]] * processes == [one["trouble"] for one in told]
    ran = [id for one in told for id in one["ran"]]
    accepted = [id for one in told for id in one["accepted"]]
    assert len(ran) == len(set(ran))
    assert set(ran) == set(accepted)
    with closing(sqlite3.connect(file)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        rows = connection.execute("SELECT execution_id, status, attempt, epoch FROM executions").fetchall()
        assert {(id, "completed", 1, 1) for id in accepted} == set(rows)
        (events,) = connection.execute("SELECT count(*) FROM events WHERE type = 'execution_completed'").fetchone()
        assert len(accepted) == events
        (first, last, count) = connection.execute("SELECT min(seq), max(seq), count(*) FROM events").fetchone()
        assert last - first + 1 == count  # the numbers have no gap and no repeat, whoever drew them


def test_three_processes_commit_side_by_side_and_run_nothing_twice(file_store: str) -> None:
    """No lock is ever heard of, and no numbers of events are drawn twice."""
    crowd(file_store, 3, 80, PATIENCE * 3)


@pytest.mark.chaos
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_ten_thousand_commits_in_each_process(tmp_path: Path, processes: int) -> None:
    """At full size."""
    crowd(f"sqlite:///{tmp_path}/store.db", processes, 10_000, 1_800.0)


def test_what_a_killed_peer_ran_is_taken_over_by_one_that_runs_long_before_its_lease_is_over(
    file_store: str, gate: Gate
) -> None:
    """The system says that it is dead: nobody waits for the lease, which is longer here than this test may take."""
    gate.open()
    log: list[Any] = []
    with Runtime(file_store, config=RuntimeConfig(lease_seconds=PATIENCE * 4)) as heir:
        stream = held(heir, gate, log)
        with program("deaf", file_store, "-") as process:
            assert process.stdout is not None
            execution_id = process.stdout.readline().strip()
            waiting = stream.wait_for_completion(execution_id)
            assert stream.active_execution_ids == ()
            process.send_signal(signal.SIGKILL)
            process.wait()
            result = waiting.get(timeout=PATIENCE)
        assert result is not None
        assert "completed" == result.status
        record = heir.session(execution_id).get(timeout=PATIENCE)
        assert record is not None
        assert (2, 0) == (record.attempt, record.restarts)


def test_what_a_runtime_leaves_in_an_orderly_way_is_taken_up_by_one_that_runs(file_store: str, gate: Gate) -> None:
    """At its next look, or a third of a lease later when it never saw the other; uncharged."""
    log: list[Any] = []
    with Runtime(file_store) as heir:
        with Runtime(file_store) as leaver:
            execution_id = held(leaver, gate, log).execute("x").get(timeout=PATIENCE)
            gate.wait_for(1)
            stream = held(heir, gate, log)
            gate.close()
        gate.wait_for(2)
        gate.open()
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert "completed" == result.status
        record = heir.session(execution_id).get(timeout=PATIENCE)
        assert record is not None
        assert (2, 0, 0) == (record.attempt, record.restarts, record.lost_attempts)


def test_what_a_stopped_stream_leaves_is_taken_up_by_a_runtime_that_has_it_open(
    file_store: str, new_gate: Callable[[], Gate]
) -> None:
    """Though the runtime of the stopped one lives on; and started again, it takes up what is left, uncharged."""
    gate, other_gate = new_gate(), new_gate()
    log: list[Any] = []
    with Runtime(file_store) as leaver:
        stream = held(leaver, gate, log)
        first = stream.execute("first").get(timeout=PATIENCE)
        gate.wait_for(1)
        stream.stop(grace=0.0).get(timeout=PATIENCE)
        stream.start().get(timeout=PATIENCE)
        gate.wait_for(2)
        stream.stop(grace=0.0).get(timeout=PATIENCE)
        with Runtime(file_store) as heir:
            other = held(heir, other_gate, log)
            other_gate.wait_for(1)
            other_gate.open()
            result = other.wait_for_completion(first).get(timeout=PATIENCE)
        assert result is not None
        assert "completed" == result.status
        record = leaver.session(first).get(timeout=PATIENCE)
        assert record is not None
        assert (3, 0, 0) == (record.attempt, record.restarts, record.lost_attempts)
