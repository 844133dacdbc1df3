"""What the proofs share: their parent runs as a process of its own, which has no thread when it forks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..processes import ROOT, unmeasured

__all__ = ["prove"]


def prove(role: str, folder: Path, *, patience: float = 240.0, **what: Any) -> dict[str, Any]:
    """Run a role of `rounds`, print its figures (`make chaos` shows them), and fail with what it says."""
    command = [sys.executable, "-m", "tests.proofs.rounds", role, str(folder), json.dumps(what)]
    ended = subprocess.run(
        command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=patience, check=False
    )
    if ended.returncode != 0:
        pytest.fail(f"{role} {what}, store and effects in {folder}:\n{ended.stderr[-6_000:]}", pytrace=False)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    sys.stdout.write(f"\n{role} {what}: {found}\n")
    return found
