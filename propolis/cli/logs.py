"""`propolis sessions logs`: the log of a session, also while it runs in another process."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, cast

import click

from propolis.actors import Host, Store
from propolis.messages import LogEntry, LogLevel, SessionNotFound

from ..logs import LogReader
from .options import json_option, limit_option, store_option
from .plain import echo, iso, json_line, one_line, plain
from .stores import reading

__all__ = ["show_logs"]

LOOK_SECONDS: Final = 0.2
WIDTH: Final = 160
INDENT: Final = {1: "", 2: "  ", 3: "    "}


@click.command("logs")
@click.argument("session_id", metavar="ID")
@store_option
@click.option(
    "--level",
    type=click.Choice(("1", "2", "3")),
    default="2",
    show_default=True,
    help="1: a summary for each execution. 2: its nodes and steps too. 3: tool calls, events, ctx.log too.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on as it is written, until the session has ended.")
@limit_option("At most the last N lines of what is there.", default=1_000)
@json_option
def show_logs(session_id: str, store: str, level: str, follow: bool, limit: int, as_json: bool) -> None:
    """Show the log of a session, or of one execution by its id: a line each, with --json a JSON object each."""
    reader = LogReader(session_id, cast("LogLevel", int(level)))
    host = Host()
    with reading(store) as opened:
        if not reader.find(opened):
            raise SessionNotFound(session_id=session_id)
        last: deque[LogEntry] = deque(maxlen=limit)
        skipped, ended = _read(reader, opened, last)
        if skipped:
            echo(f"{skipped} lines before these; --limit N shows N.", err=True)
        _print(last, as_json)
        while follow and not ended:
            host.sleep(LOOK_SECONDS)
            last = deque()
            _, ended = _read(reader, opened, last)
            _print(last, as_json)
        if not ended and not as_json:
            echo("It has not ended; --follow goes on.", err=True)


def _read(reader: LogReader, store: Store, into: deque[LogEntry]) -> tuple[int, bool]:
    """All that is there now. How much of it there was no room for, and whether there will be no more."""
    count = 0
    while True:
        page = reader.read(store)
        into.extend(page.entries)
        count += len(page.entries)
        if page.ended or (page.at_end and not page.entries):
            return count - len(into), page.ended


def _print(entries: deque[LogEntry], as_json: bool) -> None:
    for entry in entries:
        echo(json_line(_document(entry)) if as_json else _line(entry))


def _line(entry: LogEntry) -> str:
    """`12:00:01.250  step charge failed  41 ms  ConnectionError: …  {"call": 0}`, indented by its level."""
    about = entry.name if entry.kind == "event" else " ".join(filter(None, (entry.kind, entry.name, entry.what)))
    if entry.kind == "execution" and entry.execution_id != entry.session_id:
        about = f"{about} ({entry.execution_id})"
    parts = [f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}", INDENT[entry.level] + (about or "")]
    if entry.duration_ms is not None:
        parts.append(f"{entry.duration_ms} ms" if entry.duration_ms < 10_000 else f"{entry.duration_ms / 1000:.1f} s")
    if entry.text:
        parts.append(" ".join(entry.text.split()))
    said = {key: value for key, value in entry.data.items() if value != entry.text}
    if said:
        parts.append(one_line(said, WIDTH))
    return "  ".join(parts)


def _document(entry: LogEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": iso(entry.at),
        "level": entry.level,
        "kind": entry.kind,
        "name": entry.name,
        "what": entry.what,
        "duration_ms": entry.duration_ms,
        "text": entry.text,
        "type": entry.type,
        "session_id": entry.session_id,
        "execution_id": entry.execution_id,
        "stream_id": entry.stream_id,
        "node_id": entry.node_id,
        "data": plain(entry.data),
    }
