"""What an execution does to its worker process does not reach the next one, nor the runtime."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.placements.process.logs import LineHandler
from propolis.actors.placements.process.output import MAX_LINES

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, Stream

from ..processes import ROOT, is_gone, unmeasured
from ..runtime.support import PATIENCE, Recorder, until
from . import tampering
from .conftest import SHARED

NEVER = RestartPolicy(max_restarts=0)


def opened(runtime: Runtime, executor: Any, **fields: Any) -> Stream:
    """A stream in the pool that all tests share: one worker at a time."""
    known = runtime.stream(executor.__name__)
    point = EntryPoint(id=executor.__name__, placement=SHARED, restart=NEVER, **fields)
    return known or runtime.open_stream(point, executor).get(timeout=PATIENCE)


def next_one(runtime: Runtime) -> int:
    """An innocent execution: it completes at its first attempt. Which process it had."""
    result = opened(runtime, tampering.which).run().get(timeout=PATIENCE)
    assert ("completed", 0) == (result.status, result.restarts)
    pid: int = result.output
    return pid


@pytest.mark.parametrize("what", list(tampering.CHANGES))
def test_a_process_that_was_changed_is_not_given_to_the_next_execution(shared: Runtime, what: str) -> None:
    """Whatever was changed for itself is allowed."""
    result = opened(shared, tampering.changes).run(what).get(timeout=PATIENCE)
    assert ("completed", None) == (result.status, result.failure)
    assert result.output != next_one(shared)


def test_a_process_that_was_left_as_it_was_is_used_again(shared: Runtime) -> None:
    """Or the test above would be worth nothing."""
    stream = opened(shared, tampering.which)
    assert 1 == len({stream.run().get(timeout=PATIENCE).output for _ in range(3)})


def test_an_exit_handler_that_hangs_holds_up_nobody(runtime: Runtime) -> None:
    """The worker is killed; the end of the runtime waits for it no longer than that takes."""
    stream = opened(runtime, tampering.changes)
    stream.run("atexit").get(timeout=PATIENCE)
    began = time.monotonic()
    runtime.stop().get(timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2


def test_logging_that_an_execution_sets_up_anew_loses_nothing_of_the_next(shared: Runtime) -> None:
    """Its records go to the runtime."""
    recorder = Recorder()
    stream = opened(shared, tampering.sets_up_logging_anew)
    shared.subscribe(["node_internal_output"], recorder, stream=stream.id).get(timeout=PATIENCE)
    for line in ("first", "second"):
        assert "completed" == stream.run(line).get(timeout=PATIENCE).status
    until(lambda: ["first", "second"] == [event.data["line"] for event in recorder.events])


@pytest.mark.parametrize("how", ["return", "raise"])
def test_an_executor_that_forks_and_comes_back_twice_has_one_end(shared: Runtime, how: str) -> None:
    """That of the process that it began in. The other one has no say, in the next execution either."""
    stream = opened(shared, tampering.comes_back_twice)
    for _ in range(5):
        result = stream.run(how).get(timeout=PATIENCE)
        assert "parent" == (result.output if how == "return" else str(result.error).rpartition(" ")[2])
        next_one(shared)


def test_a_context_in_a_forked_child_says_that_it_is_of_its_parent(shared: Runtime, tmp_path: Path) -> None:
    """It does not hang, and what the child logs is not lost."""
    recorder = Recorder()
    stream = opened(shared, tampering.uses_its_context_in_a_child)
    shared.subscribe(["node_internal_output"], recorder, stream=stream.id).get(timeout=PATIENCE)
    result = stream.run(str(tmp_path / "error")).get(timeout=PATIENCE)
    assert ("completed", 0) == (result.status, result.output)
    assert "ForkedRuntime" == (tmp_path / "error").read_text()
    until(lambda: ["from the child"] == [event.data["line"] for event in recorder.events])


@pytest.mark.parametrize("what", ["idle", "ready", "command"])
def test_who_speaks_in_the_name_of_the_worker_out_of_turn_is_ended(shared: Runtime, what: str) -> None:
    """Nothing of it takes effect."""
    failure = opened(shared, tampering.says).run(what).get(timeout=PATIENCE).failure
    assert failure is not None
    assert "worker_protocol" == failure.code
    next_one(shared)


def test_who_forges_its_own_end_has_told_it(shared: Runtime) -> None:
    """Once, and of nobody else."""
    assert "forged" == opened(shared, tampering.says).run("ended").get(timeout=PATIENCE).output
    next_one(shared)


def test_half_a_frame_on_the_line_is_seen(shared: Runtime) -> None:
    """At the next frame behind it."""
    failure = opened(shared, tampering.writes_half_a_frame).run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert "worker_protocol" == failure.code
    next_one(shared)


@pytest.mark.parametrize(("what", "status"), [("first", "failed"), ("most", "completed"), ("all", "completed")])
def test_who_steals_from_the_line_harms_nobody_else(shared: Runtime, tmp_path: Path, what: str, status: str) -> None:
    """What begins no frame ends the thief; half a frame ends its worker, once it is done. A whole frame is not missed:
    who would have had it is the thief.
    """
    gate = tmp_path / "gate"
    stream = opened(shared, tampering.steals_from_the_line)
    execution_id = stream.execute({"gate": str(gate), "what": what}).get(timeout=PATIENCE)
    until(gate.exists)
    stream.pause_execution(execution_id).get(timeout=PATIENCE)
    result: Any = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert status == result.status
    next_one(shared)


def test_a_worker_that_stops_itself_is_ended_by_its_limit(shared: Runtime) -> None:
    """SIGTERM does not reach it, SIGKILL does."""
    failure = opened(shared, tampering.stops_itself, timeout=0.3).run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert "timeout" == failure.code
    next_one(shared)


def test_a_worker_that_leaves_its_process_group_is_killed_all_the_same(shared: Runtime) -> None:
    """By its number."""
    stream = opened(shared, tampering.leaves_its_group)
    execution_id = stream.execute().get(timeout=PATIENCE)
    (worker,) = until(lambda: [worker for worker in shared.workers() if worker.execution_id == execution_id])
    assert worker.pid is not None
    until(lambda: os.getpgid(worker.pid or 0) != worker.pid)
    assert "cancelled" == stream.cancel_execution(execution_id, grace=0.1).get(timeout=PATIENCE).outcome
    assert is_gone(worker.pid)


def test_a_worker_that_becomes_another_program_has_died(shared: Runtime) -> None:
    """With the status of that."""
    failure = opened(shared, tampering.becomes_another_program).run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert failure.details is not None
    assert ("worker_exit", 7) == (failure.code, failure.details.value()["exit_status"])


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_module_that_ends_its_process_at_import_is_a_failure_by_policy(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, start_method: Any
) -> None:
    """And no endless line of workers."""
    monkeypatch.setenv("PROPOLIS_TEST_MAIN", str(os.getpid()))
    from . import leaves_at_import

    placement = Placement.process(workers=1, warm=1, start_method=start_method)
    restart = RestartPolicy(max_restarts=1, backoff=Backoff(initial=0.001))
    point = EntryPoint(id="work", placement=placement, restart=restart)
    stream = runtime.open_stream(point, leaves_at_import.work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert ("failed", 1) == (result.status, result.restarts)
    assert result.failure is not None
    assert result.failure.code in ("worker_exit", "worker_signal")
    assert "while it was starting" in result.failure.message


def daemons(path: Path) -> list[int]:
    """Their pids, once they are there."""
    until(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize(
    ("start_method", "then"),
    [
        ("spawn", "return"),
        ("forkserver", "return"),
        ("spawn", "spin"),
        ("spawn", "exit"),
        ("forkserver", "exit"),
        ("forkserver", "template"),
    ],
)
def test_daemons_end_with_the_execution_that_started_them(
    runtime: Runtime, tmp_path: Path, start_method: Any, then: str
) -> None:
    """Whether it returns, is killed, dies by itself, or with its template."""
    path = tmp_path / "pids"
    placement = Placement.process(workers=1, warm=0, start_method=start_method)
    point = EntryPoint(id="daemons", placement=placement, restart=NEVER)
    stream = runtime.open_stream(point, tampering.has_daemons).get(timeout=PATIENCE)
    execution_id = stream.execute({"path": str(path), "then": then}).get(timeout=PATIENCE)
    pids = daemons(path)
    if then == "template":
        (worker,) = runtime.workers()
        os.kill(int(Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    if then == "spin":
        assert not any(map(is_gone, pids))
        assert "cancelled" == stream.cancel_execution(execution_id, grace=0.1).get(timeout=PATIENCE).outcome
    result: Any = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert {"return": "completed", "spin": "cancelled", "exit": "failed", "template": "failed"}[then] == result.status
    until(lambda: all(map(is_gone, pids)), f"the end of {pids}")


PROGRAM = """
import sys, threading
from propolis import EntryPoint, Placement, Runtime
from tests.placements import tampering

runtime = Runtime()
runtime.start().get()
placement = Placement.process(workers=1, warm=0, start_method=sys.argv[2])
stream = runtime.open_stream(EntryPoint(id="daemons", placement=placement), tampering.has_daemons).get()
stream.execute({"path": sys.argv[1], "then": "spin"}).get()
threading.Event().wait()
"""


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_daemons_do_not_outlive_a_program_that_is_killed(tmp_path: Path, start_method: str) -> None:
    """A template hears of it, and ends everybody below it before itself; the keeper finds those of other workers."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "pids"), start_method]
    with subprocess.Popen(command, cwd=ROOT, env=unmeasured()) as program:
        try:
            pids = daemons(tmp_path / "pids")
            assert not any(map(is_gone, pids))
        finally:
            program.kill()
    until(lambda: all(map(is_gone, pids)), f"the end of {pids}")


def test_a_flood_of_log_records_does_not_pass_the_line(shared: Runtime) -> None:
    """So many of an attempt, and one more, with which the runtime says that there are more."""
    sent: list[Any] = []

    class Line:
        is_ours = True
        send = staticmethod(sent.append)

    handler = LineHandler(Line())  # type: ignore[arg-type]
    attempt: Any = type("Attempt", (), {"begin": type("Beginning", (), {"epoch": 1})})
    for _ in range(2):
        handler.belong_to(attempt)
        for number in range(MAX_LINES + 100):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 1, "%d", (number,), None))
    assert 2 * (MAX_LINES + 1) == len(sent)
    assert "done" == opened(shared, tampering.logs_without_end).run().get(timeout=PATIENCE).output
