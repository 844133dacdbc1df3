"""`propolis sessions`: what a store has recorded, with no runtime needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from propolis.actors import Store
from propolis.messages import Event, EventFilter, ExecutionContext, SessionNotFound, SessionRecord, SessionStatus

from .asking import cancel_session, pause_session
from .importing import import_sessions
from .logs import show_logs
from .options import json_option, limit_option, store_option
from .plain import echo, iso, json_text, one_line, plain, print_table, when
from .state import state_of, write_state
from .stores import EVERYTHING, reading

__all__ = ["sessions"]

PAGE = 1_000
WIDTH = 48


@click.group(invoke_without_command=True)
@click.pass_context
def sessions(context: click.Context) -> None:
    """Look at the sessions of a store, also while a runtime works on it."""
    if context.invoked_subcommand is None:
        echo(context.get_help())


@sessions.command("list")
@store_option
@click.option("--status", type=click.Choice(get_args(SessionStatus)), help="Only sessions in this status.")
@click.option("--stream", metavar="ID", help="Only sessions of this stream.")
@limit_option("At most N sessions.", default=50)
@json_option
def list_sessions(store: str, status: SessionStatus | None, stream: str | None, limit: int, as_json: bool) -> None:
    """List sessions, the last opened or resumed first."""
    with reading(store) as opened:
        records = opened.list_sessions(status=status, stream=stream, limit=limit + 1)
    more, records = len(records) > limit, records[:limit]
    if as_json:
        echo(json_text([_summary(record) for record in records]))
        return
    if not records:
        echo("No sessions.", err=True)
        return
    print_table(("SESSION", "STATUS", "STREAM", "STARTED", "ATTEMPTS", "INPUT", "OUTCOME"), [_row(r) for r in records])
    if more:
        echo(f"There are more than these {limit}; --limit N shows N.", err=True)


@sessions.command("show")
@click.argument("session_id", metavar="ID")
@store_option
@limit_option("At most N executions, and the last N events.", default=20)
@json_option
def show_session(session_id: str, store: str, limit: int, as_json: bool) -> None:
    """Show a session: its record, its executions, its last events."""
    with reading(store) as opened:
        record = opened.get_session(session_id)
        if record is None:
            raise SessionNotFound(session_id=session_id)
        rows = opened.list_executions(session=session_id, limit=limit)
        executions = [ExecutionContext.of(spec, state) for spec, state in rows]
        events = _last_events(opened, executions, limit)
    if as_json:
        shown = {
            **state_of(record),
            "executions": [_execution(execution) for execution in executions],
            "events": [_event(event) for event in events],
        }
        echo(json_text(shown))
    else:
        _print_session(record, executions, events)


@sessions.command("export")
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder that gets sessions/<id>/state.json; made if it is not there.",
)
@store_option
@limit_option("At most N sessions, when none is named.")
@json_option
def export_sessions(session_ids: Sequence[str], folder: Path, store: str, limit: int | None, as_json: bool) -> None:
    """Write sessions as one JSON document each: those named, or all. Beside it, what `import` needs besides."""
    with reading(store) as opened:
        records = _chosen(opened, session_ids, limit or EVERYTHING)
        written = [write_state(folder, record, opened.copy_session(record.session_id)) for record in records]
    if as_json:
        echo(json_text([str(path) for path in written]))
    else:
        echo(f"{len(written)} {'session' if len(written) == 1 else 'sessions'} written below {folder}.")


sessions.add_command(cancel_session)
sessions.add_command(pause_session)
sessions.add_command(show_logs)
sessions.add_command(import_sessions)


def _chosen(store: Store, session_ids: Sequence[str], limit: int) -> list[SessionRecord]:
    """All that were named, or none: an unknown one is found before anything is written."""
    if not session_ids:
        return list(store.list_sessions(limit=limit))
    found = []
    for session_id in dict.fromkeys(session_ids):
        record = store.get_session(session_id)
        if record is None:
            raise SessionNotFound(session_id=session_id)
        found.append(record)
    return found


def _last_events(store: Store, executions: Sequence[ExecutionContext], limit: int) -> list[Event]:
    last: list[Event] = []
    for execution in executions:
        kept: deque[Event] = deque(maxlen=limit)
        seq = 0
        while page := store.events_after(seq, EventFilter(execution=execution.id), PAGE):
            kept.extend(page)
            seq = page[-1].seq or 0
        last.extend(kept)
    return sorted(last, key=lambda event: event.seq or 0)[-limit:]


# -- as text ---------------------------------------------------------------------------------------------------------


def _row(record: SessionRecord) -> tuple[str, ...]:
    return (
        record.session_id,
        record.status + (" (quarantined)" if record.quarantined else ""),
        record.stream_id,
        when(record.timestamps.started_at),
        str(record.attempt),
        one_line(record.input_data, WIDTH),
        _outcome(record),
    )


def _outcome(record: SessionRecord) -> str:
    if record.result is None:
        return str(record.progress.get("note") or "")
    if record.result.error is not None:
        return record.result.error
    return "" if record.result.output is None else one_line(record.result.output, 2 * WIDTH)


def _print_session(record: SessionRecord, executions: Sequence[ExecutionContext], events: Sequence[Event]) -> None:
    state = state_of(record)
    lines = [
        ("session", record.session_id),
        ("status", record.status + (" (quarantined)" if record.quarantined else "")),
        ("stream", record.stream_id),
        ("correlation", record.correlation_id),
        ("started", when(record.timestamps.started_at)),
        ("updated", when(record.timestamps.updated_at)),
        ("completed", when(record.timestamps.completed_at)),
        ("attempts", f"{record.attempt}, {record.restarts} restarts, {record.lost_attempts} lost with their process"),
        ("progress", _progress(record)),
        ("checkpoint", f"{record.checkpoint_id} {record.checkpoint_node or ''}" if record.checkpoint_id else "-"),
        ("error", state["result"]["error"] or "-"),
    ]
    for name, text in lines:
        echo(f"{name:<12} {text}".rstrip())
    for name, value in (
        ("input", record.input_data),
        ("output", record.result.output if record.result is not None else None),
        ("memory", record.memory),
    ):
        echo(f"\n{name}\n{json_text(value)}")
    echo()
    print_table(
        ("EXECUTION", "STATUS", "ATTEMPT", "STARTED", "COMPLETED"),
        [(e.id, e.status, str(e.attempt), when(e.started_at), when(e.completed_at)) for e in executions],
    )
    echo()
    print_table(
        ("SEQ", "TIME", "EVENT", "DATA"),
        [(str(e.seq), when(e.timestamp), e.type, one_line(e.data, 2 * WIDTH) if e.data else "") for e in events],
    )


def _progress(record: SessionRecord) -> str:
    fraction, note = record.progress.get("fraction"), record.progress.get("note")
    done = f"{fraction:.0%} " if isinstance(fraction, float) else ""
    return f"{done}{note or ''}".strip() or "-"


# -- as data ---------------------------------------------------------------------------------------------------------


def _summary(record: SessionRecord) -> dict[str, Any]:
    return {
        "session_id": record.session_id,
        "status": record.status,
        "quarantined": record.quarantined,
        "stream_id": record.stream_id,
        "entry_point": record.entry_point,
        "correlation_id": record.correlation_id,
        "execution_id": record.execution_id,
        "attempt": record.attempt,
        "restarts": record.restarts,
        "lost_attempts": record.lost_attempts,
        "started_at": iso(record.timestamps.started_at),
        "updated_at": iso(record.timestamps.updated_at),
        "completed_at": iso(record.timestamps.completed_at),
        "error": record.result.error if record.result is not None else None,
    }


def _execution(execution: ExecutionContext) -> dict[str, Any]:
    return {
        "execution_id": execution.id,
        "status": execution.status,
        "stream_id": execution.stream_id,
        "correlation_id": execution.correlation_id,
        "attempt": execution.attempt,
        "started_at": iso(execution.started_at),
        "completed_at": iso(execution.completed_at),
        "paused_at": iso(execution.paused_at),
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "timestamp": iso(event.timestamp),
        "execution_id": event.execution_id,
        "node_id": event.node_id,
        "data": plain(event.data),
    }
