"""The part of the view that shows worker processes."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from propolis.messages import WorkerInfo

from .board import Board, Snapshot

__all__ = ["workers_line", "workers_table"]

ROWS = 4
"""Kept at least, so that the picture keeps its height: as many as there are while one is being replaced."""
STYLES = {"busy": "green", "idle": "", "starting": "yellow", "stopping": "dim"}


def workers_table(snapshot: Snapshot, board: Board) -> Table:
    """A line for each worker: its process, what it does, what it takes, and which execution it is busy with."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("worker", justify="right", min_width=8, no_wrap=True)
    table.add_column("state", min_width=8, no_wrap=True)
    table.add_column("memory", justify="right", min_width=7, no_wrap=True)
    table.add_column("ended", justify="right", no_wrap=True)
    table.add_column(
        f"runs   ({snapshot.attacks_ended} of {snapshot.attacks} hostile executions have ended)",
        no_wrap=True,
        overflow="ellipsis",
    )
    for worker in snapshot.workers:
        table.add_row(
            _pid(worker),
            Text(worker.state, style=STYLES[worker.state]),
            _memory(worker),
            str(worker.executions),
            Text(_runs(worker, board), style="red"),
        )
    for _ in range(ROWS - len(snapshot.workers)):
        table.add_row("", "", "", "", "")
    return table


def workers_line(snapshot: Snapshot, board: Board) -> str:
    """The same in one line."""
    parts = (
        " ".join(word for word in (_pid(worker), worker.state, _memory(worker), _runs(worker, board)) if word)
        for worker in snapshot.workers
    )
    return f"workers    {', '.join(parts) or 'none'}"


def _pid(worker: WorkerInfo) -> str:
    return "…" if worker.pid is None else str(worker.pid)


def _memory(worker: WorkerInfo) -> str:
    return "" if worker.rss_bytes is None else f"{worker.rss_bytes / 2**20:.0f} MB"


def _runs(worker: WorkerInfo, board: Board) -> str:
    return "" if worker.execution_id is None else board.name_of(worker.execution_id)
