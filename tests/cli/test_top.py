"""`propolis top`: what other processes are doing, told by the store and the system; and its live view."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from propolis import EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream
from propolis.cli import top
from propolis.cli.overview import Overview, look

from ..placements import hostile
from ..processes import ROOT, unmeasured
from ..runtime.support import PATIENCE, until
from .conftest import Recorded

Command = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store."""
    return f"sqlite:///{tmp_path}/top.db"


@pytest.fixture
def busy(url: str, tmp_path: Path) -> Iterator[Stream]:
    """A stream of two workers in a runtime: one spins, with the id that the file `id` has, one is a warm spare."""
    with Runtime(url, config=RuntimeConfig(grace_seconds=0.2)) as runtime:
        placement = Placement.process(workers=1, warm=1, start_method="forkserver")
        point = EntryPoint(id="spinning", placement=placement, restart=RestartPolicy(max_restarts=0), max_concurrent=2)
        stream = runtime.open_stream(point, hostile.spins).get(timeout=PATIENCE)
        gate = str(tmp_path / "gate")
        execution_id = stream.execute(gate).get(timeout=PATIENCE)
        stream.execute(gate).get(timeout=PATIENCE)
        until(Path(f"{gate}.1").exists)
        (tmp_path / "id").write_text(execution_id)
        yield stream


def looked(propolis: Command, url: str, *args: Any) -> dict[str, Any]:
    """What it says in JSON."""
    result = propolis("top", "--store", url, "--json", *args)
    assert 0 == result.exit_code, result.output
    seen: dict[str, Any] = json.loads(result.stdout)
    return seen


def settled(propolis: Command, url: str) -> dict[str, Any]:
    """The same, once one worker is busy and one is warm, in this order: which of them was started first says nothing of
    which was ready first.
    """

    def both() -> dict[str, Any] | None:
        seen = looked(propolis, url)
        seen["workers"].sort(key=lambda worker: str(worker["state"]))
        return seen if ["busy", "idle"] == [worker["state"] for worker in seen["workers"]] else None

    return until(both) or {}


def test_workers_are_shown_with_their_process_memory_and_execution(
    propolis: Command, busy: Stream, url: str, tmp_path: Path
) -> None:
    """All of it true of the processes that there are."""
    execution_id, pid = (tmp_path / "id").read_text(), int((tmp_path / "gate.1").read_text())
    seen = settled(propolis, url)
    working, spare = seen["workers"]
    assert (pid, execution_id, "spinning") == (working["pid"], working["execution_id"], working["pool"])
    assert working["rss_bytes"] > 2**20
    assert spare["execution_id"] is None
    assert os.getpgid(spare["pid"]) != os.getpgid(0)
    (runtime,) = seen["runtimes"]
    assert (os.getpid(), True, 2) == (runtime["pid"], runtime["running"], runtime["workers"])
    assert {"running": 2} == seen["unfinished"]
    first, second = seen["executions"]
    assert (execution_id, pid, "spinning", 1) == tuple(
        first[name] for name in ("execution_id", "pid", "stream_id", "attempt")
    )
    assert second["pid"] is None  # it waits for the worker
    assert 1 == len(looked(propolis, url, "--limit", 1)["executions"])


def test_a_worker_that_died_a_moment_ago_is_not_shown(propolis: Command, busy: Stream, url: str) -> None:
    """Whatever was reported of it last."""
    victim, spare = (worker["pid"] for worker in settled(propolis, url)["workers"])
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in [worker["pid"] for worker in looked(propolis, url)["workers"]])
    until(lambda: ("busy", spare) in [(worker["state"], worker["pid"]) for worker in looked(propolis, url)["workers"]])


def test_in_a_pipe_it_is_one_look_as_text(propolis: Command, busy: Stream, url: str, tmp_path: Path) -> None:
    """A table each for runtimes, workers, executions."""
    settled(propolis, url)
    result = propolis("top", "--store", url)
    assert 0 == result.exit_code
    lines = result.stdout.splitlines()
    assert "2 running" in lines[0]
    (line,) = [line for line in lines if line.startswith("spinning") and "busy" in line]
    assert (tmp_path / "gate.1").read_text() in line
    assert (tmp_path / "id").read_text() in line
    assert str(os.getpid()) in result.stdout


def test_a_store_at_rest_shows_nothing(propolis: Command, recorded: Recorded) -> None:
    """Whoever has left in order is not there."""
    seen = looked(propolis, recorded.url)
    assert ([], [], [], {}) == (seen["runtimes"], seen["workers"], seen["executions"], seen["unfinished"])
    result = propolis("top", "--once", "--store", recorded.url)
    assert "nothing unfinished" in result.stdout
    assert 1 == len(result.stdout.splitlines())


KILLED = """
import os, signal, sys
from propolis import EntryPoint, Placement, Runtime
from tests.placements import hostile

runtime = Runtime(sys.argv[1])
runtime.start().get()
placement = Placement.process(workers=1, warm=0)
runtime.open_stream(EntryPoint(id="left", placement=placement), hostile.good).get().execute(3).get()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_runtime_that_was_killed_is_gone_and_has_no_workers(propolis: Command, url: str) -> None:
    """Its execution is still there, for the next one."""
    subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, env=unmeasured(), check=False, timeout=PATIENCE)
    seen = looked(propolis, url)
    assert [False] == [runtime["running"] for runtime in seen["runtimes"]]
    assert [] == seen["workers"]
    assert ["left"] == [execution["stream_id"] for execution in seen["executions"]]
    assert "gone" in propolis("top", "--once", "--store", url).stdout


def test_a_store_that_is_not_there_is_named(propolis: Command) -> None:
    """And not made."""
    result = propolis("top", "--once", "--store", "sqlite:///nowhere.db")
    assert 1 == result.exit_code
    assert "nowhere.db" in result.stderr


def test_on_a_terminal_it_is_drawn_again_and_again_until_it_is_interrupted(busy: Stream, url: str) -> None:
    """What has changed is in the next picture."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "propolis", "top", "--store", url, "--interval", "0.1"]
    environ = unmeasured() | {"TERM": "xterm", "COLUMNS": "140", "LINES": "40"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as viewer:
        try:
            os.close(theirs)
            picture = b""
            while b"spinning" not in picture:
                picture += os.read(ours, 65536)
            late = busy.execute("nowhere").get(timeout=PATIENCE).encode()
            while late not in picture:
                picture += os.read(ours, 65536)
            viewer.send_signal(signal.SIGINT)
            while chunk := _read(ours):
                picture += chunk
            assert 0 == viewer.wait(PATIENCE)
            assert b"Traceback" not in picture
        finally:
            viewer.kill()
            os.close(ours)


def test_an_interrupt_that_comes_in_a_finalizer_is_not_lost(
    propolis: Command, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised there goes nowhere, so nothing is."""

    class Late:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def look_late(*args: Any) -> Overview:
        Late()
        return look(*args)

    monkeypatch.setattr(top, "look", look_late)
    monkeypatch.setattr(top, "Console", partial(Console, force_terminal=True))
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell has started the tests in the background
    result = propolis("top", "--store", recorded.url, "--interval", PATIENCE)
    assert 0 == result.exit_code
    assert "test.db" in result.stdout
    assert before is signal.getsignal(signal.SIGINT)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: nobody is on its other side
        return b""
