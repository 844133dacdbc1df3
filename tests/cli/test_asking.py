"""`propolis sessions cancel` and `pause`: asked from outside, whoever owns the execution."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from propolis import EntryPoint, Runtime

from .conftest import Recorded

Run = Callable[..., Result]
PATIENCE = 30.0


class Latch:
    """Holds executions until they are asked to end."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)

    def __call__(self, ctx: Any, data: Any) -> None:
        self.arrived.release()
        while True:
            ctx.checkpoint("round")
            threading.Event().wait(0.01)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of the test's own."""
    return f"sqlite:///{tmp_path}/asked.db"


@pytest.mark.parametrize(("command", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_what_runs_elsewhere_is_ended_and_said_to_be(propolis: Run, url: str, command: str, status: str) -> None:
    """By the id of its session, or its own; the exit status says whether it worked."""
    body = Latch()
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), body).get(timeout=PATIENCE)
        ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(2)]
        for _ in ids:
            assert body.arrived.acquire(timeout=PATIENCE)
        result = propolis("sessions", command, ids[0], "--store", url, "--wait", PATIENCE)
        assert (0, f"{ids[0]}  {status}\n") == (result.exit_code, result.stdout)
        result = propolis("sessions", command, ids[1], "--store", url, "--wait", PATIENCE, "--json")
        assert (0, status) == (result.exit_code, json.loads(result.stdout)[0]["status"])
        assert status == stream.wait_for_completion(ids[0]).get(timeout=PATIENCE).status  # type: ignore[union-attr]
        again = propolis("sessions", command, ids[0], "--store", url)
        assert (1, f"it is {status} already") == (again.exit_code, again.stderr.split(": ")[2].split(". ")[0])


def test_what_nobody_owns_is_cancelled_by_who_takes_it_up(propolis: Run, url: str) -> None:
    """The command says so, and fails: it has not happened yet."""
    body = Latch()
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), body).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        assert body.arrived.acquire(timeout=PATIENCE)
    result = propolis("sessions", "cancel", execution_id, "--store", url, "--wait", "0", "--reason", "no use")
    assert 1 == result.exit_code
    assert "no runtime has it now" in result.stdout
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), body).get(timeout=PATIENCE)
        ended = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert ended is not None
        assert "cancelled" == ended.status
    assert not body.arrived.acquire(blocking=False)


def test_what_is_not_there_or_has_ended_is_an_error_of_one_line(propolis: Run, recorded: Recorded) -> None:
    """Nothing is left in the store, and no store is made."""
    for arguments, said in (
        (("nobody", "--store", recorded.url), "no session 'nobody'"),
        ((recorded.completed, "--store", recorded.url), "it is completed already"),
        (("x", "--store", "sqlite:///none.db"), "There is no store"),
    ):
        result = propolis("sessions", "cancel", *arguments)
        assert 1 == result.exit_code
        assert said in result.stderr
        assert 1 == len(result.stderr.splitlines())
    assert not Path("none.db").exists()
