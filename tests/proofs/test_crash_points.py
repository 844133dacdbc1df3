"""A crash at each named point, one in the recovery from it at the same point, and one more anywhere.

`make chaos` takes all points, `make test` a handful, which move on with the day. PROPOLIS_CRASH_SEED says where they
begin.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from propolis.actors import CRASH_POINTS

from .support import prove

SEED = int(os.environ.get("PROPOLIS_CRASH_SEED", int(time.time()) // 86_400))
SOME = 3

# How often a point is passed by before the first crash; where that says something else than how late it is.
SKIPS = {"commit.before": (0, 7, 19), "commit.after": (0, 7, 19), "runtimes.before": (0, 1), "runtimes.after": (0, 1)}
CASES = [(point, skip) for point in CRASH_POINTS for skip in SKIPS.get(point, (0, 1))]
ONCE = {"beat.before", "cancel.begun", "claim.before", "claim.committed", "inbox.heard", "inbox.posted"}
ONCE |= {"restart.before", "restart.committed", "trigger.moved", "unpark.before", "unpark.committed"}
CASES = [(point, skip) for point, skip in CASES if point not in ONCE or skip == 0]


def sweep(folder: Path, point: str, skip: int) -> None:
    """Crash, and look."""
    found = prove("sweep", folder, point=point, skip=skip, seed=SEED)
    assert -signal.SIGKILL == found["ends"][0], f"nothing came to {point} so often"
    assert found["recovery_seconds"] < 12.0


@pytest.mark.parametrize("number", range(SOME))
def test_a_crash_at_a_point_and_in_the_recovery_from_it_breaks_no_promise(tmp_path: Path, number: int) -> None:
    """A few of them."""
    sweep(tmp_path, *CASES[(SEED * SOME + number) % len(CASES)])


@pytest.mark.chaos
@pytest.mark.parametrize(("point", "skip"), CASES)
def test_no_crash_at_any_point_breaks_a_promise(tmp_path: Path, point: str, skip: int) -> None:
    """All of them."""
    sweep(tmp_path, point, skip)
