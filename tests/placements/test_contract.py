"""One contract for every placement: the same code does the same in each."""

from __future__ import annotations

import decimal
import logging
from pathlib import Path
from typing import Any

import pytest

from propolis import RestartPolicy, Runtime
from propolis.messages import InvalidInput

from ..runtime.support import PATIENCE, Recorder, until
from .conftest import Opener


def test_what_goes_in_comes_out(opened: Opener) -> None:
    """User data survives both ways."""
    data = {"n": 1, "t": (1, 2), "s": {3}, "b": b"\x00"}
    assert data == opened("echo").run(data).get(timeout=PATIENCE).output


def test_a_context_variable_that_an_executor_sets_is_its_own(opened: Opener) -> None:
    """Though the next one may run on the same thread. Nor does it see what its caller has set."""
    with decimal.localcontext(prec=7):
        stream = opened("sets_precision", max_concurrent=1)
        assert [28, 28] == [stream.run().get(timeout=PATIENCE).output for _ in range(2)]


def test_a_declared_input_is_made_where_the_executor_runs(opened: Opener) -> None:
    """And what does not fit is refused before anything runs."""
    stream = opened("takes_order")
    assert 8 == stream.run({"number": 7}).get(timeout=PATIENCE).output
    with pytest.raises(InvalidInput, match="number"):
        stream.run({"number": "x"}).get(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("body", "kind"), [("fails", "LookupError"), ("exits", "SystemExit"), ("interrupts", "KeyboardInterrupt")]
)
def test_whatever_is_raised_is_a_failure_and_the_placement_goes_on(opened: Opener, body: str, kind: str) -> None:
    """With its class, its trace, and a neighbour that is none the worse."""
    stream = opened(body)
    result = stream.run().get(timeout=PATIENCE)
    assert ("failed", kind) == (result.status, result.failure.kind if result.failure else None)
    assert result.failure is not None
    assert body in result.failure.trace
    assert kind == stream.run().get(timeout=PATIENCE).failure.kind  # type: ignore[union-attr]


def test_retry_on_is_judged_where_it_is_raised(opened: Opener) -> None:
    """By the classes that the policy names."""
    result = opened("fails", restart=RestartPolicy(retry_on=(OSError,))).run().get(timeout=PATIENCE)
    assert ("failed", 0, False) == (result.status, result.restarts, result.failure.retryable)  # type: ignore[union-attr]


def test_an_output_that_cannot_be_kept_fails_with_its_path(opened: Opener) -> None:
    """As anywhere."""
    failure = opened("returns_object").run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert "output.thing" in failure.message


def test_a_restart_goes_on_from_the_last_checkpoint(opened: Opener, quick: RestartPolicy) -> None:
    """With the memory that was committed."""
    result = opened("counts", restart=quick).run(3).get(timeout=PATIENCE)
    assert [4, 3, "box 3"] == result.output
    assert 3 == result.restarts


def test_recorded_steps_run_once_and_a_sleep_is_over_once(opened: Opener, quick: RestartPolicy, tmp_path: Path) -> None:
    """Through a restart, and through the wait, wherever it unwinds the executor."""
    effects = tmp_path / "effects"
    stream = opened("steps", restart=quick, max_concurrent=1)
    result = stream.run(str(effects)).get(timeout=PATIENCE)
    lines = {name: {"line": name} for name in ("one", "two", "three")}
    assert [*lines.values(), None] == result.output
    assert ["one", "two", "mark", "three"] == effects.read_text().split()
    assert 1 == result.restarts


def test_events_progress_and_logs_come_out(
    opened_here: Opener, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """In their order, with the execution's id."""
    recorder = Recorder()
    runtime.subscribe(["custom", "execution_progress", "execution_completed"], recorder).get(timeout=PATIENCE)
    with caplog.at_level(logging.INFO, "propolis.execution"):
        result = opened_here("tells").run().get(timeout=PATIENCE)
        recorder.wait_for("execution_completed")
    assert ["execution_progress", "custom", "execution_completed"] == recorder.types()
    progress, custom, _ = recorder.events
    assert {"fraction": 0.25, "note": "a quarter"} == progress.data
    assert ({"n": 1}, "here", result.execution_id) == (custom.data, custom.node_id, custom.execution_id)
    (record,) = [record for record in caplog.records if record.name == "propolis.execution"]
    assert ("from within", result.execution_id) == (record.getMessage(), record.__dict__["execution_id"])


@pytest.mark.parametrize(("data", "status"), [("", "completed"), ("fail", "failed"), ("pause", "paused")])
def test_what_an_executor_reports_of_its_way_is_in_the_result(opened: Opener, data: str, status: str) -> None:
    """However it ends; the last word counts."""
    result = opened("reports").run(data).get(timeout=PATIENCE)
    assert (status, ("a", "b"), 2, ("b",)) == (
        result.status,
        result.path,
        result.steps_executed,
        result.nodes_with_failures,
    )
    assert (data == "", False) == (result.is_degraded_success, result.is_clean_success)


def test_a_pause_ends_it_at_its_next_checkpoint_and_a_resume_goes_on(opened: Opener, gate: Path) -> None:
    """What was checkpointed is there."""
    stream = opened("pauses")
    execution_id = stream.execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    assert stream.pause_execution(execution_id).get(timeout=PATIENCE)
    gate.touch()
    paused: Any = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert "paused" == paused.status
    resumed = stream.resume(paused.session_id).get(timeout=PATIENCE)
    result: Any = stream.wait_for_completion(resumed).get(timeout=PATIENCE)
    assert ("completed", "resumed") == (result.status, result.output)


def test_an_executor_pauses_itself(opened: Opener) -> None:
    """With what it has written."""
    stream = opened("pauses_itself")
    paused = stream.run().get(timeout=PATIENCE)
    assert "paused" == paused.status
    resumed = stream.resume(paused.session_id).get(timeout=PATIENCE)
    result: Any = stream.wait_for_completion(resumed).get(timeout=PATIENCE)
    assert 1 == result.output


def test_a_cancel_ends_what_runs_and_what_waits(opened: Opener, gate: Path) -> None:
    """`cancelled` is said when it is gone; the place is free for the next."""
    stream = opened("held", max_concurrent=1)
    running = stream.execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    waiting = stream.execute(str(gate)).get(timeout=PATIENCE)
    for execution_id in (waiting, running):
        outcome = stream.cancel_execution(execution_id, grace=PATIENCE).get(timeout=PATIENCE)
        assert "cancelled" == outcome.outcome
    gate.touch()
    assert "through" == stream.run(str(gate)).get(timeout=PATIENCE).output


def test_a_timeout_is_of_one_attempt(opened: Opener, gate: Path) -> None:
    """It is interrupted, and has failed with that code."""
    result = opened("held", timeout=0.2).run(str(gate)).get(timeout=PATIENCE)
    assert ("failed", "timeout") == (result.status, result.failure.code)  # type: ignore[union-attr]


def test_a_wrong_argument_to_the_context_is_named(opened: Opener) -> None:
    """And not retried."""
    failure = opened("misuses", restart=RestartPolicy()).run().get(timeout=PATIENCE).failure
    assert failure is not None
    assert ("invalid_input", False) == (failure.code, failure.retryable)


def test_leaving_ends_what_runs(opened_here: Opener, runtime: Runtime, gate: Path) -> None:
    """Nothing of it is left; the fixture that looks for leaks says so."""
    opened_here("held").execute(str(gate)).get(timeout=PATIENCE)
    until(Path(f"{gate}.1").exists)
    assert () == runtime.stop().get(timeout=PATIENCE)
