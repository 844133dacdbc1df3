"""Runs the contenders in turn, round after round, and keeps every number that they print."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.rows import Contender
from benchmarks.venvs import ROOT, Unavailable, Venvs

LIMIT_SECONDS = 900


@dataclass(kw_only=True)
class Samples:
    """The values of one measurement, one per round."""

    unit: str
    n: int
    package: str
    note: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far apart the rounds are: (highest - lowest) / median."""
        return (max(self.values) - min(self.values)) / self.median


@dataclass(kw_only=True)
class Results:
    """Samples by the name of the measurement, and why a contender has none, by label."""

    samples: dict[str, Samples] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        """The median of a measurement, None if it was never taken."""
        return self.samples[name].median if name in self.samples else None


def run_rounds(
    contenders: Iterable[Contender], *, rounds: int, quick: bool, folder: Path, tell: Callable[[str], None]
) -> Results:
    """Run each contender once a round; every other round backwards. One that fails is not run again."""
    venvs, results = Venvs(), Results()
    order = list(dict.fromkeys(contenders))
    for number in range(rounds):
        for contender in order if number % 2 == 0 else reversed(order):
            if contender.label in results.failures:
                continue
            tell(f"round {number + 1}/{rounds}: {contender.label}")
            try:
                _run(contender, venvs, quick=quick, folder=folder, into=results)
            except (Unavailable, RuntimeError) as error:
                results.failures[contender.label] = str(error)
    return results


def _run(contender: Contender, venvs: Venvs, *, quick: bool, folder: Path, into: Results) -> None:
    n = contender.quick if quick else contender.n
    module = f"benchmarks.contenders.{contender.script}"
    command = [str(venvs.python(contender.venv)), "-m", module, str(n), str(folder)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            preexec_fn=_hold_to_one_core if contender.one_core else None,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not finished after {LIMIT_SECONDS} s") from None
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise RuntimeError(last)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            name, value = said.pop("name") + contender.suffix, said.pop("value")
            into.samples.setdefault(name, Samples(**said)).values.append(value)


def _hold_to_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
