"""The keeper by itself: what it kills when the runtime is gone, and how it hears of that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest
from propolis.actors.placements.process.guard import KEEPER

from ..processes import is_gone
from ..runtime.support import PATIENCE, until

SLEEPER = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
PROGRAM = """
import os, subprocess, sys
command = [sys.executable, "-I", "-S", "-c", sys.argv[1], str(os.getpid()), sys.argv[2]]
print(subprocess.Popen(command, stdin=0, stdout=subprocess.DEVNULL).pid, flush=True)
os.wait()
"""

Started = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def mark() -> str:
    """The name of a variable that nobody else has."""
    return f"PROPOLIS_TEST_{uuid.uuid4().hex}"


@pytest.fixture
def started() -> Iterator[Started]:
    """Starts a process that leads a group, and waits for ever."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(SLEEPER, start_new_session=True, env={**os.environ, **environment}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_at_the_end_of_its_input_it_kills_every_group_that_it_was_not_untold(started: Started, mark: str) -> None:
    """Those that end by themselves a little later; and whoever has the mark, wherever it is."""
    told, untold, late, strayed = started(), started(), started(), started(**{mark: "1"})
    command = [sys.executable, "-I", "-S", "-c", KEEPER, str(os.getpid()), mark]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE)
    keeper.communicate(f"+{told.pid}\n+{untold.pid}\n~{late.pid}\n-{untold.pid}\n".encode(), timeout=PATIENCE)
    assert 0 == keeper.returncode
    assert [-signal.SIGKILL] * 3 == [process.wait(PATIENCE) for process in (told, late, strayed)]
    assert untold.poll() is None


def test_a_fork_of_the_runtime_that_holds_its_line_open_does_not_keep_it_waiting(started: Started, mark: str) -> None:
    """Here the test does: its parent's end is enough, and what it was told before that counts."""
    told = started()
    theirs, ours = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, KEEPER, mark]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE) as program:
        os.close(theirs)
        assert program.stdout is not None
        keeper = int(program.stdout.readline())
        os.write(ours, b"+%d\n" % told.pid)
        assert told.poll() is None
        program.kill()
    assert -signal.SIGKILL == told.wait(PATIENCE)
    until(lambda: is_gone(keeper))
    os.close(ours)
