"""Turns samples into the report: verdicts, the table on the terminal, and the JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row
from benchmarks.runner import Results, Samples

FREE_FSYNC_MS = 0.02
VERDICTS = {"goal": "green", "floor": "yellow", "below": "bold red", "missing": "dim", "": "dim"}


def summarize(row: Row, results: Results) -> dict[str, Any]:
    """One row as plain data; bars and values in the row's unit."""
    ours, peer = results.median(row.ours), results.median(row.peer)
    floor = row.floor.absolute(peer) if row.floor else None
    goal = row.goal.absolute(peer) if row.goal else None
    return {
        "key": row.key,
        "title": row.title,
        "ours": {"name": row.ours, "value": ours},
        "peer": {"name": row.peer, "value": peer},
        "ratio": ours / peer if ours is not None and peer else None,
        "lower_is_better": row.lower_is_better,
        "floor": {"says": str(row.floor), "value": floor} if row.floor else None,
        "goal": {"says": str(row.goal), "value": goal} if row.goal else None,
        "verdict": _verdict(row, ours, floor, goal),
        "failures": [f"{c.label}: {results.failures[c.label]}" for c in row.contenders if c.label in results.failures],
    }


def _verdict(row: Row, ours: float | None, floor: float | None, goal: float | None) -> str:
    if row.floor is None:
        return ""
    if ours is None or floor is None:
        return "missing"
    if goal is not None and row.reaches(ours, goal):
        return "goal"
    return "floor" if row.reaches(ours, floor) else "below"


def as_json(rows: Iterable[Row], results: Results, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Everything that was measured, with the samples, and on what kind of machine."""
    return {
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
        "rounds": rounds,
        "quick": quick,
        "rows": [summarize(row, results) for row in rows],
        "samples": {name: {**asdict(s), "median": s.median, "spread": s.spread} for name, s in results.samples.items()},
        "failures": results.failures,
    }


def show(report: dict[str, Any], results: Results, console: Console) -> None:
    """Print the comparisons, then every measurement, then what is missing and why."""
    console.print(_comparisons(report, results))
    console.print(_measurements(results.samples))
    fsync = results.median("fsync")
    if fsync is not None and fsync < FREE_FSYNC_MS:
        console.print("An fsync costs nothing here (tmpfs?): the durable rows mean little. Try --folder on a disk.")
    for label, reason in results.failures.items():
        console.print(f"{label} was not measured: {reason}", style="dim", markup=False)


def _comparisons(report: dict[str, Any], results: Results) -> Table:
    table = Table(title=f"Propolis beside its peers, medians of {report['rounds']} rounds")
    table.add_column("what")
    table.add_column("against")
    for heading in ("ours", "theirs", "ratio", "at least", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reached")
    for row in report["rows"]:
        ours, peer, verdict = row["ours"], row["peer"], row["verdict"]
        table.add_row(
            row["title"],
            peer["name"],
            _number(ours["value"], results.samples.get(ours["name"])),
            _number(peer["value"], results.samples.get(peer["name"])),
            "–" if row["ratio"] is None else f"{row['ratio']:.2f} ×",
            _bar(row["floor"], lower=row["lower_is_better"]),
            _bar(row["goal"], lower=row["lower_is_better"]),
            f"[{VERDICTS[verdict]}]{verdict or '–'}",
        )
    return table


def _measurements(samples: dict[str, Samples]) -> Table:
    table = Table(title="Every measurement, physical limits included")
    table.add_column("name")
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("spread", justify="right")
    table.add_column("n", justify="right")
    table.add_column("of")
    table.add_column("note")
    for name, s in samples.items():
        table.add_row(name, _number(s.median, s), f"{s.spread:.0%}", f"{s.n:,}", s.package, s.note)
    return table


def _number(value: float | None, samples: Samples | None) -> str:
    if value is None or samples is None:
        return "–"
    return f"{value:,.0f} {samples.unit}" if value >= 100 else f"{value:.3g} {samples.unit}"


def _bar(bar: dict[str, Any] | None, *, lower: bool) -> str:
    if bar is None:
        return "–"
    return f"below {bar['says']}" if lower else str(bar["says"])
