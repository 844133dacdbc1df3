"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.report import as_json, show
from benchmarks.rows import LIMITS, ROWS, Row
from benchmarks.runner import run_rounds
from benchmarks.venvs import ROOT, Unavailable, Venvs

RESULTS = ROOT / "build" / "benchmarks"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Propolis side by side with its peers. The first run makes venvs for them.",
        epilog="rows: " + ", ".join(row.key for row in ROWS),
    )
    parser.add_argument("--quick", action="store_true", help="smaller numbers: to see that it works, not to compare")
    parser.add_argument("--rows", type=_rows, default=ROWS, metavar="A,B", help="only these rows")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds to take the median of (default: 5)")
    parser.add_argument("--json", type=Path, default=RESULTS / "report.json", metavar="FILE", help="the report")
    parser.add_argument("--plot", type=Path, default=RESULTS / "report.png", metavar="FILE", help="the plot")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the contenders keep their stores"
    )
    return parser.parse_args(arguments)


def _rows(keys: str) -> tuple[Row, ...]:
    known = {row.key: row for row in ROWS}
    wanted = keys.split(",")
    if unknown := [key for key in wanted if key not in known]:
        raise argparse.ArgumentTypeError(f"no row {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[key] for key in wanted)


def main(arguments: list[str] | None = None) -> None:
    asked = parse(arguments)
    console, progress = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True)
    contenders = [*(c for row in asked.rows for c in row.contenders), *LIMITS]
    with progress.status("starting") as status:
        results = run_rounds(
            contenders, rounds=asked.rounds, quick=asked.quick, folder=asked.folder.resolve(), tell=status.update
        )
    report = as_json(asked.rows, results, rounds=asked.rounds, quick=asked.quick)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report, results, console)
    console.print(f"report: {asked.json}", markup=False)
    draw(asked.json, asked.plot, console)


def draw(report: Path, file: Path, console: Console) -> None:
    """Plot the report with the peers' matplotlib; a plot that cannot be drawn does not undo what was measured."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        python = Venvs().python("peers")
    except Unavailable as error:
        console.print(f"no plot: {error}", markup=False)
        return
    script = Path(__file__).with_name("plot.py")
    done = subprocess.run([str(python), str(script), str(report), str(file)], check=False)
    console.print(f"plot: {file}" if done.returncode == 0 else "no plot: see above", markup=False)


if __name__ == "__main__":
    main()
