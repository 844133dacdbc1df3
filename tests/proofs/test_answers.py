"""Many open questions, answered in any order by a program that is killed three times meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ..processes import ROOT, unmeasured
from .answers import answer_to

KILLS = 3


@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=pytest.mark.chaos)])
def test_each_answer_reaches_its_own_execution_once(tmp_path: Path, count: int) -> None:
    """Every one completes with the answer to its question, has heard it once, and no answer was taken twice."""
    command = [sys.executable, "-m", "tests.proofs.answers", f"sqlite:///{tmp_path}/store.db", str(tmp_path)]
    ran = subprocess.run(
        [*command, str(count), str(KILLS)],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=110 if count < 1_000 else 600,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr[-4_000:]
    found = json.loads(ran.stdout)
    assert [-signal.SIGKILL] * KILLS + [0] == found["ends"], ran.stderr[-4_000:]
    assert ([[n, answer_to(n)] for n in range(count)], 0) == (found["outputs"], found["left"])
    heard = Counter((tmp_path / "heard").read_text().splitlines())
    assert {f"{n} {answer_to(n)}" for n in range(count)} == set(heard)
    # A kill between the function of the step and its commit lets it run again: for what was in flight, no other.
    assert sum(heard.values()) <= count + KILLS * 20
    assert all(times <= 1 + KILLS for times in heard.values())
    taken = Counter((tmp_path / "acknowledged").read_text().split())
    assert 1 == max(taken.values())
    # A kill between the commit of an answer and its acknowledgement hides it from this list.
    assert count - KILLS <= len(taken) <= count
