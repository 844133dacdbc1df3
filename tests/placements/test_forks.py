"""Workers whose template forks them in a bad moment: wherever they hang, none is left over.

PROPOLIS_CHAOS_FORKS (60) says how many templates `make chaos` ends while they fork, and how many programs;
PROPOLIS_CHAOS_SEED (3) at which moments.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from propolis.actors.placements.process import worker

from propolis import EntryPoint, Placement, RestartPolicy, Runtime, Stream

from ..processes import ROOT, is_gone, marked, unmeasured
from ..runtime.support import PATIENCE, until
from . import held_lock

ROUNDS = int(os.environ.get("PROPOLIS_CHAOS_FORKS", "60"))
SEED = os.environ.get("PROPOLIS_CHAOS_SEED", "3")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """One that waits for nothing that hangs."""
    with Runtime() as runtime:
        yield runtime


def opened(runtime: Runtime) -> Stream:
    """One whose template forks a worker at once, which hangs."""
    placement = Placement.process(workers=1, warm=1, start_method="forkserver")
    point = EntryPoint(id="work", placement=placement, restart=RestartPolicy(max_restarts=0))
    return runtime.open_stream(point, held_lock.work).get(timeout=PATIENCE)


def forking() -> tuple[int, int]:
    """The template of this process, and the worker that it has forked."""
    return next(((parent, child) for parent in _children("self") for child in _children(parent)), (0, 0))


def _templates() -> list[int]:
    return [pid for pid in _children("self") if b"import main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _children(pid: int | str) -> list[int]:
    return [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]


@pytest.mark.parametrize("end", ["template", "runtime"])
def test_a_worker_that_hangs_in_the_fork_ends_with_its_template(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Which hangs, too, and so has told nobody of it; whether that is killed, or the runtime stops."""
    monkeypatch.setenv("PROPOLIS_TEST_HANGS", "child=1 parent=1")
    opened(runtime)
    until(lambda: forking() != (0, 0), "a fork")
    template, child = forking()
    assert os.getpgid(child) == template
    if end == "template":
        os.kill(template, signal.SIGKILL)
    else:
        runtime.stop(grace=0.1).get(timeout=PATIENCE)
    until(lambda: is_gone(template) and is_gone(child), f"the end of {template} and {child}")


@pytest.mark.parametrize("hanging", ["child=1", "child=1 parent=1"])
def test_a_worker_that_says_nothing_after_its_fork_is_killed_and_what_waits_for_it_told(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    """The template with it, if that has not told of the fork either."""
    monkeypatch.setenv("PROPOLIS_TEST_HANGS", hanging)
    monkeypatch.setattr(worker, "FORK_SECONDS", 0.3)
    failure = opened(runtime).run(1).get(timeout=PATIENCE).failure
    assert failure is not None
    assert ("worker_not_started", True) == (failure.code, failure.retryable)
    assert 'start_method="spawn"' in failure.message


def test_a_template_that_cannot_fork_says_so_and_goes_on(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other workers with it."""
    monkeypatch.setenv("PROPOLIS_TEST_HANGS", "refused=1")
    stream = opened(runtime)
    template = until(_templates)
    failure = stream.run(1).get(timeout=PATIENCE).failure
    assert failure is not None
    assert ("worker_not_started", True) == (failure.code, failure.retryable)
    assert template == _templates()


@pytest.fixture
def mark() -> Iterator[str]:
    """In the environment of a program and of all that comes of it, which ends with the test."""
    mark = f"PROPOLIS_TEST_MARK={uuid.uuid4().hex}"
    yield mark.partition("=")[2]
    for pid in marked(mark):
        os.kill(pid, signal.SIGKILL)


def storm(mark: str, seed: str, rounds: int) -> subprocess.Popen[str]:
    """A program that ends its templates while they fork, of which some hang."""
    command = [sys.executable, "-m", "tests.placements.forks", seed, str(rounds)]
    hangs = {"PROPOLIS_TEST_HANGS": "child=0.2 parent=0.02", "PROPOLIS_TEST_MARK": mark}
    return subprocess.Popen(command, cwd=ROOT, env=unmeasured() | hangs, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("rounds", [2, pytest.param(ROUNDS, marks=pytest.mark.chaos)])
def test_nothing_is_left_of_templates_that_are_ended_while_they_fork(mark: str, rounds: int) -> None:
    """Killed, stopped, or closed in order; seen after each one, and at the end."""
    with storm(mark, SEED, rounds) as program:
        assert program.stdout is not None
        said = program.stdout.read()
    assert said.endswith(" forks, 0 left []\n")
    until(lambda: not marked(mark), "the end of everything")


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_is_left_of_a_program_that_is_killed_while_its_templates_fork(mark: str, number: int) -> None:
    """Two seconds later."""
    draw = random.Random(f"{SEED} {number}")
    with storm(mark, f"{SEED} {number}", 1000) as program:
        try:
            assert program.stdout is not None
            program.stdout.readline()
            threading.Event().wait(draw.uniform(0.0, 1.5))
            assert len(marked(mark)) >= 1
        finally:
            program.kill()
    until(lambda: not marked(mark), "the end of everything", patience=2.0)
