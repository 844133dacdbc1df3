"""Draws a report: `python plot.py report.json plot.png`, in a venv that has matplotlib.

A bar is how far we are, in floors: 1 is the floor, the diamond is the goal, and longer is always better.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"goal": "#3a8f5c", "floor": "#d9a13b", "below": "#b5483a"}


def in_floors(row: dict[str, Any], value: float) -> float:
    """How many times as good as the floor a value of the row is."""
    floor = float(row["floor"]["value"])
    return floor / value if row["lower_is_better"] else value / floor


def draw(report: dict[str, Any], file: Path) -> None:
    rows = [row for row in report["rows"] if row["verdict"] in COLOURS]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.55 * max(1, len(rows))), layout="constrained")
    for place, row in enumerate(rows):
        score = in_floors(row, row["ours"]["value"])
        axes.barh(place, score, height=0.6, color=COLOURS[row["verdict"]])
        goal = 1.0
        if row["goal"] is not None and row["goal"]["value"] is not None:
            goal = in_floors(row, row["goal"]["value"])
            axes.plot(goal, place, "D", color="black", markersize=6, zorder=3)
        ratio = "no peer" if row["ratio"] is None else f"{row['ratio']:.3g} ×"
        axes.text(1.12 * max(score, goal, 1), place, ratio, va="center", fontsize=9)
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(rows)), [f"{row['title']}\nagainst {row['peer']['name']}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")  # a goal can be far off
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("how far: 1 is the floor (dashed), the diamond the goal; the number is the ratio to the peer")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    machine = report["machine"]
    axes.set_title(f"{machine['cpus']} CPUs, Python {machine['python']}, medians of {report['rounds']}", fontsize=10)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
