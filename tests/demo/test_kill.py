"""The demo as a process of its own, ended by SIGKILL at random moments and run again.

PROPOLIS_KILL_ROUNDS (1) and PROPOLIS_KILL_SEED (20) say how many rounds, and which.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from propolis.actors import Host, Store, open_store
from propolis.messages import EventFilter, ExecutionSpec, ExecutionState, PropolisError

from ..processes import unmeasured

ROUNDS = int(os.environ.get("PROPOLIS_KILL_ROUNDS", "1"))
SEED = int(os.environ.get("PROPOLIS_KILL_SEED", "20"))
MODULES = 60
PATIENCE = 100.0  # seconds that a run may take on a loaded machine
ENDED = ["completed", "failed"]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_random_moments_and_run_again_every_module_is_accounted_for_once(tmp_path: Path, number: int) -> None:
    """One to three kills, each when a number of modules drawn before has ended, or a moment after the start.

    Nothing that was recorded as ended before a kill is touched afterwards, and the run that is let be ends with one
    completed or failed execution for every module, none unfinished, and one event that says so.
    """
    draw = random.Random(f"{SEED} {number}")
    store = f"sqlite:///{tmp_path}/demo.db"
    recorded: dict[str, ExecutionState] = {}
    for aim in sorted(draw.randrange(-20, MODULES) for _ in range(draw.randint(1, 3))):
        kill(start(store), tmp_path, aim, draw.uniform(0.0, 1.0 if aim < 0 else 0.05))
        recorded |= {spec.execution_id: state for spec, state in executions(store) if state.status in ENDED}
    last = start(store)
    output, _ = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, output

    rows = executions(store)
    assert MODULES == len(rows) == len({spec.idempotency_key for spec, _ in rows})
    assert set(ENDED) >= {state.status for _, state in rows}
    assert recorded.items() <= {spec.execution_id: state for spec, state in rows}.items()
    assert Counter(spec.execution_id for spec, _ in rows) == ends_told(store)
    assert f"of {MODULES} modules audited" in output
    assert "0 without a result" in output


def start(store: str) -> subprocess.Popen[str]:
    """Start the demo."""
    command = [sys.executable, "-m", "propolis", "demo", "--store", store, "--plain", "--limit", str(MODULES)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=unmeasured())


def kill(process: subprocess.Popen[str], folder: Path, aim: int, more: float) -> None:
    """SIGKILL, `more` seconds after `aim` modules have ended. A negative aim is reached at once.

    A run that ends before that has nothing left to be killed in; that is a moment too.
    """
    deadline = time.monotonic() + PATIENCE
    with contextlib.ExitStack() as stack:
        store: Store | None = None  # opened once: that takes longer than a look, and the run needs the processor
        while aim > ended(store) and process.poll() is None and time.monotonic() < deadline:
            if store is None:
                with contextlib.suppress(PropolisError):  # there is none yet
                    store = stack.enter_context(reading(f"sqlite:///{folder}/demo.db"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=more)
    process.kill()
    process.communicate()


def ended(store: Store | None) -> int:
    """How many executions have ended so far; 0 while there is no store that can be read."""
    if store is None:
        return 0
    try:
        counts = store.count_executions()
    except PropolisError:
        return 0
    return counts.get("completed", 0) + counts.get("failed", 0)


@contextlib.contextmanager
def reading(url: str) -> Iterator[Store]:
    """The store, for reading."""
    store = open_store(url, host=Host(), read_only=True)
    try:
        yield store
    finally:
        store.close()


def executions(url: str) -> list[tuple[ExecutionSpec, ExecutionState]]:
    """All executions; none while there is no store yet."""
    try:
        with reading(url) as store:
            return list(store.list_executions(limit=10 * MODULES))
    except PropolisError:
        return []


def ends_told(url: str) -> Counter[str]:
    """How often an end was told, by execution."""
    told: Counter[str] = Counter()
    with reading(url) as store:
        kinds = EventFilter(types=("execution_completed", "execution_failed", "execution_cancelled"))
        told.update(event.execution_id or "" for event in store.events_after(0, kinds, 10 * MODULES))
    return told
