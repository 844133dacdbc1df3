"""`propolis top`: runtimes, workers and running executions, live."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from propolis.actors import Host, Store

from .options import json_option, limit_option, store_option
from .overview import Overview, look
from .plain import echo, json_text, print_table, span, visible, when
from .stores import reading

if TYPE_CHECKING:
    from typing import Self

__all__ = ["top"]

STYLES = {"busy": "green", "running": "green", "starting": "yellow", "restarting": "yellow", "stopping": "dim"}
Rows = list[tuple[str, ...]]


@click.command()
@store_option
@click.option("--once", is_flag=True, help="Print one look and end, as into a pipe.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="From one look to the next.",
)
@limit_option("At most N executions.", default=20)
@json_option
def top(store: str, *, once: bool, interval: float, limit: int, as_json: bool) -> None:
    """Show what runs: runtimes, their worker processes, executions that have not ended. Ctrl-C ends it.

    It reads the store, in which a runtime keeps what its workers do, about a second old; whether a process of this
    machine lives, and what memory it has, the system says.
    """
    host, console = Host(), Console()
    with reading(store) as opened:
        if as_json:
            echo(json_text(look(opened, host.now(), limit).plain()))
        elif once or not console.is_terminal:
            _print(look(opened, host.now(), limit))
        else:
            _follow(opened, host, console, interval, limit)


def _follow(store: Store, host: Host, console: Console, interval: float, limit: int) -> None:
    def picture() -> RenderableType:
        return _picture(look(store, host.now(), limit))

    with (
        _Interrupts() as interrupts,
        Live(picture(), console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as live,
    ):
        while interrupts.let(host.sleep, interval):
            live.update(picture(), refresh=True)


class _Interrupts:
    """Ctrl-C ends the wait; in the middle of whatever else it raises nothing, since in a finalizer that would be lost.
    A second one does.
    """

    def __enter__(self) -> Self:
        self._came = self._waits = False
        self._before = signal.signal(signal.SIGINT, self._come)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _come(self, *_: object) -> None:
        again, self._came = self._came, True
        if self._waits or again:
            raise KeyboardInterrupt

    def let(self, wait: Callable[[float], None], seconds: float) -> bool:
        """Wait. False when one has come, before or meanwhile."""
        try:
            self._waits = True
            if not self._came:
                wait(seconds)
            self._waits = False
        except KeyboardInterrupt:
            self._waits = False
        return not self._came


def _sections(seen: Overview) -> list[tuple[tuple[str, ...], Rows]]:
    runtimes: Rows = [
        (
            runtime.row.runtime_id,
            runtime.machine,
            str(runtime.row.pid),
            {True: "running", False: "gone", None: "elsewhere"}[runtime.running],
            when(runtime.row.started_at),
            _megabytes(runtime.rss_bytes),
            str(runtime.workers),
        )
        for runtime in seen.runtimes
    ]
    workers: Rows = [
        (
            worker.info.pool,
            "-" if worker.info.pid is None else str(worker.info.pid),
            worker.info.state,
            _megabytes(worker.info.rss_bytes),
            str(worker.info.executions),
            worker.info.execution_id or "-",
        )
        for worker in seen.workers
    ]
    executions: Rows = [
        (
            execution.spec.execution_id,
            execution.spec.stream_id,
            execution.state.status,
            str(execution.state.attempt),
            str(execution.state.restarts),
            span(execution.state.started_at, seen.at),
            "-" if execution.pid is None else str(execution.pid),
        )
        for execution in seen.executions
    ]
    return [
        (("RUNTIME", "MACHINE", "PID", "STATE", "STARTED", "MEMORY", "WORKERS"), runtimes),
        (("POOL", "WORKER", "STATE", "MEMORY", "ENDED", "RUNS"), workers),
        (("EXECUTION", "STREAM", "STATUS", "ATTEMPT", "RESTARTS", "SINCE", "WORKER"), executions),
    ]


def _headline(seen: Overview) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in seen.counts.items()) or "nothing unfinished"
    return f"{seen.store}   {when(seen.at)} UTC   {counts}"


def _print(seen: Overview) -> None:
    echo(_headline(seen))
    for header, rows in _sections(seen):
        if rows:
            echo()
            print_table(header, rows)


def _picture(seen: Overview) -> RenderableType:
    parts: list[RenderableType] = [Text(visible(_headline(seen)), style="bold", no_wrap=True)]
    for header, rows in _sections(seen):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for name in header:
            right = name in ("PID", "MEMORY", "ENDED", "ATTEMPT", "RESTARTS", "SINCE", "WORKERS")
            table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(visible(cell), style=STYLES.get(cell, "")) for cell in row))
        if rows:
            parts += [Text(), table]
    return Group(*parts)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f} MB"
