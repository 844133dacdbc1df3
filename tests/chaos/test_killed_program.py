"""A program with busy workers, ended by SIGKILL, fifty times: two seconds later none of them lives.

PROPOLIS_CHAOS_KILLS (50) says how often, PROPOLIS_CHAOS_SEED (3) at which moments.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ..processes import ROOT, is_gone, unmeasured
from ..runtime.support import until

KILLS = int(os.environ.get("PROPOLIS_CHAOS_KILLS", "50"))
SEED = int(os.environ.get("PROPOLIS_CHAOS_SEED", "3"))
pytestmark = pytest.mark.chaos

LIMIT = 2.0
PATIENCE = 300.0
NAMES = ("leaves_children", "sleeps_in_c", "spins_deaf", "spins")

PROGRAM = """
import sys, threading
from propolis import EntryPoint, Placement, Runtime
from tests.placements import hostile

def main():
    runtime = Runtime()
    runtime.start().get()
    streams = {}
    for name in sys.argv[3:]:
        placement = Placement.process(workers=1, warm=int(name == "spins"), start_method=sys.argv[2])
        streams[name] = runtime.open_stream(EntryPoint(id=name, placement=placement), getattr(hostile, name)).get()
    for name, stream in streams.items():
        stream.execute(f"{sys.argv[1]}-{name}").get()
    threading.Event().wait()

main()
"""


@pytest.mark.parametrize("number", range(KILLS))
def test_no_worker_lives_two_seconds_after_its_program_was_killed(tmp_path: Path, number: int) -> None:
    """Starting, idle, spinning, deaf to signals or asleep in C code with the interpreter's lock; nor their children."""
    draw = random.Random(f"{SEED} {number}")
    gate = tmp_path / "gate"
    command = [sys.executable, "-c", PROGRAM, str(gate), ("spawn", "forkserver")[number % 2], *NAMES]
    with subprocess.Popen(command, cwd=ROOT, env=unmeasured()) as program:
        try:
            if number % 3:  # else at any moment of its start
                files = [f"{gate}-{name}" if name == "leaves_children" else f"{gate}-{name}.1" for name in NAMES]
                until(lambda: all(map(os.path.exists, files)), "work in every worker", patience=PATIENCE)
            threading.Event().wait(draw.uniform(0.0, 2.0 if number % 3 == 0 else 0.1))
            family = below(program.pid)
        finally:
            program.kill()
        began = time.monotonic()
    until(lambda: all(map(is_gone, family)), f"the end of {family}")
    took = time.monotonic() - began
    assert took < LIMIT, f"{took:.2f} s"
    if number % 3:
        assert len(family) > len(NAMES)


def below(pid: int) -> set[int]:
    """Every process that has come from this one and has not lost its parent."""
    found: set[int] = set()
    fresh = {pid}
    while fresh:
        parents = {child: parent for child, parent in _parents().items() if child not in found}
        fresh = {child for child, parent in parents.items() if parent in fresh}
        found |= fresh
    return found


def _parents() -> dict[int, int]:
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return parents
