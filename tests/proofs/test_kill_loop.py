"""SIGKILL at random moments, again and again; and a workload whose every step leaves a line in a file.

PROPOLIS_CHAOS_ROUNDS (1000) says how many rounds `make chaos` makes, in lots of 100 that each have a store and a seed
of their own; PROPOLIS_CHAOS_SEED (3) is the first seed. A failing lot prints its seed, and is the same from it but for
what the machine does meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .support import prove

SEED = int(os.environ.get("PROPOLIS_CHAOS_SEED", "3"))
ROUNDS = int(os.environ.get("PROPOLIS_CHAOS_ROUNDS", "1000"))
LOT = 100


def test_fifteen_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    """Async and blocking executors, some in processes, with steps, checkpoints, sleeps, joins, keys and cancels."""
    found = prove("kill", tmp_path, rounds=15, seed=SEED, process_every=0)
    assert found["kills"] >= 10
    assert found["lost_attempts"] > 0
    assert found["worst_recovery_seconds"] < 12.0  # two leases


@pytest.mark.chaos
@pytest.mark.parametrize("lot", range(-(-ROUNDS // LOT)))
def test_a_thousand_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, lot: int) -> None:
    """The same, a hundred rounds on one store."""
    found = prove("kill", tmp_path, rounds=min(LOT, ROUNDS - lot * LOT), seed=SEED + lot, patience=3_600)
    assert found["kills"] >= 0.6 * found["rounds"]
    assert found["worst_recovery_seconds"] < 12.0


def test_a_hundred_executions_of_ten_steps_outlive_five_kills(tmp_path: Path) -> None:
    """Each step's line is there once; twice at most for one that was in flight at a kill."""
    found = prove("many", tmp_path, executions=100, steps=10, kills=5, seed=SEED)
    assert (100, 5) == (found["executions"], found["kills"])


@pytest.mark.chaos
def test_a_thousand_executions_of_ten_steps_outlive_fifty_kills(tmp_path: Path) -> None:
    """The workload that issue and documentation name."""
    found = prove("many", tmp_path, executions=1_000, steps=10, kills=50, seed=SEED, patience=3_600)
    assert (1_000, 50) == (found["executions"], found["kills"])
