"""How a run looks while it runs: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from propolis.messages import ActorNode

from .board import Board, Snapshot
from .workers import workers_line, workers_table

__all__ = ["LiveView", "PlainView", "View", "picture"]

STYLES = {"failed": "red", "restarted": "yellow", "recovered": "magenta", "complex": "cyan"}
ROLES = {
    "wakeups": "whatever waits for a time",
    "sessions": "the only writer",
    "events": "publishes what was committed",
}
FINDINGS_SHOWN = 6


class View(Protocol):
    """Somebody who shows snapshots. Used on one thread, as a context manager from when the runtime has started."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        """Show how things stand."""
        ...


class PlainView:
    """A line for every failure, restart and recovery, one now and then for how far it is; the workers at the end."""

    def __init__(self, console: Console, board: Board, intro: str = "", every: float = 1.0) -> None:
        self._console = console
        self._board = board
        self._intro = intro
        self._every = every
        self._printed = 0
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._intro:
            self._line(self._intro)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        if self._board.names:  # before that, nobody could say which module it is about
            for finding in self._board.findings_after(self._printed):
                self._printed = finding.number
                self._line(f"{finding.kind:<9}  {self._board.name_of(finding.execution_id)}: {finding.text}")
        if snapshot.seconds >= self._next or snapshot.is_last:
            self._next = snapshot.seconds + self._every
            self._line(progress_line(snapshot))
        if snapshot.is_last and snapshot.attacks:
            self._line(workers_line(snapshot, self._board))

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """The picture below, redrawn in place. What is under it on the screen when it ends is the last one."""

    def __init__(self, console: Console, board: Board, title: str) -> None:
        self._board = board
        self._title = title
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, snapshot: Snapshot) -> None:
        self._live.update(picture(snapshot, self._board, self._title), refresh=True)


def progress_line(snapshot: Snapshot) -> str:
    """How far it is, in one line."""
    counts = snapshot.by_status
    parts = [
        f"{snapshot.done}/{snapshot.total} modules",
        f"{snapshot.per_second:.0f}/s",
        f"{counts.get('failed', 0)} failed",
        f"{snapshot.audit.restarts} restarts",
    ]
    if snapshot.attacks:
        parts.append(f"{snapshot.attacks_ended}/{snapshot.attacks} attacks over")
    if snapshot.before:
        parts.append(f"{snapshot.before} recorded before")
    if not snapshot.stats.store_available:
        parts.append("the store is away, trying again")
    return f"{snapshot.seconds:6.1f} s  {', '.join(parts)}"


def picture(snapshot: Snapshot, board: Board, title: str) -> RenderableType:
    """The live picture: how far, the supervision tree, figures, workers if any, the last things that happened."""
    workers: list[RenderableType] = [workers_table(snapshot, board), Text()] if snapshot.attacks else []
    body = Group(
        _bar(snapshot),
        Text(),
        Columns([_tree(snapshot, board), _figures(snapshot, board)], padding=(0, 4), expand=False),
        Text(),
        *workers,
        _happened(board),
    )
    return Panel(body, title=f"[bold]{title}[/bold]", title_align="left", border_style="dim", padding=(1, 2))


def _bar(snapshot: Snapshot) -> RenderableType:
    left = snapshot.seconds_left
    note = "" if left is None else f"about {left:.0f} s left"
    if snapshot.done >= snapshot.total:
        note = f"in {snapshot.seconds:.0f} s"
    row = Table.grid(padding=(0, 2), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    row.add_row(
        ProgressBar(total=max(1, snapshot.total), completed=snapshot.done),
        Text.assemble((f"{snapshot.done} / {snapshot.total}", "bold"), f" modules   {note:<16}"),
    )
    return row


def _tree(snapshot: Snapshot, board: Board) -> RenderableType:
    actors = snapshot.tree.actors
    if not actors:
        return Text("starting")
    root = Tree(_actor(actors[0], snapshot, board), guide_style="dim")
    branches = {actors[0].path: root}
    for actor in actors[1:]:
        parent = branches.get(actor.path.rpartition("/")[0], root)
        branches[actor.path] = parent.add(_actor(actor, snapshot, board))
    # the lines of the slots that are free now stay, so that the picture keeps its height
    for actor in (actor for actor in actors if actor.kind == "StreamActor"):
        branch = branches[actor.path]
        for _ in range(snapshot.stream(_stream_id(actor)).max_concurrent - len(branch.children)):
            branch.add(Text("free", style="dim"))
    return root


def _actor(actor: ActorNode, snapshot: Snapshot, board: Board) -> Text:
    name = actor.path.rpartition("/")[2]
    if actor.kind == "ExecutionActor":
        note = board.working.get(name, "starting")
        return Text.assemble((f"{note:<12}", "green"), f"{board.name_of(name):<34.34}")
    text = Text(name, style="bold" if actor.alive else "red")
    if actor.kind == "StreamActor":
        stream = snapshot.stream(_stream_id(actor))
        text.append(f"  {stream.max_concurrent - stream.available_slots} running, {stream.queue_depth} queued", "dim")
    elif name in ROLES:
        text.append(f"  {ROLES[name]}", "dim")
    if actor.restarts:
        text.append(f"  restarted {actor.restarts} ×", "yellow")
    return text


def _stream_id(actor: ActorNode) -> str:
    return actor.path.rpartition("stream:")[2]


def _figures(snapshot: Snapshot, board: Board) -> RenderableType:
    counts = snapshot.by_status
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold", min_width=8)
    table.add_column()
    rows: list[tuple[str, str, str]] = [
        (f"{snapshot.per_second:.1f}", "modules a second", ""),
        (f"{counts.get('completed', 0)}", "completed", ""),
        (f"{counts.get('failed', 0)}", "failed", STYLES["failed"]),
        (f"{snapshot.audit.restarts}", "restarts", STYLES["restarted"]),
        (f"{board.recovered}", "interrupted, taken up", STYLES["recovered"]),
        (f"{snapshot.before}", "recorded before", ""),
        (f"{snapshot.stats.rows_written}", f"rows in {snapshot.stats.commits} commits", ""),
    ]
    for figure, what, style in rows:
        table.add_row(Text(figure, style=style if figure != "0" else "dim"), Text(what, style="dim"))
    if not snapshot.stats.store_available:
        table.add_row(Text("!", style="red"), Text("the store is away; trying again", style="red"))
    return table


def _happened(board: Board) -> RenderableType:
    findings = board.findings_after(0)[-FINDINGS_SHOWN:]
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, width=9)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=3)
    for finding in findings:
        table.add_row(
            Text(finding.kind, style=STYLES[finding.kind]),
            Text(board.name_of(finding.execution_id)),
            Text(finding.text),
        )
    for _ in range(FINDINGS_SHOWN - len(findings)):
        table.add_row("", "", "")
    return table
