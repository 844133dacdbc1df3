"""`propolis state`: the memory that executions share, from any terminal."""

from __future__ import annotations

from typing import Any, Literal

import click

from propolis.messages import StateEntry

from .options import json_option, limit_option, store_option
from .plain import echo, json_text, one_line, print_table, when
from .stores import EVERYTHING, reading

__all__ = ["state"]

WIDTH = 60
"""Of a value in the table."""


@click.command("state")
@store_option
@click.option("--stream", metavar="ID", help="Only the memory of this stream.")
@click.option(
    "--key", metavar="KEY", help="What a key is and was, the last version first: a global one, or of --stream."
)
@limit_option("At most N lines.", default=100)
@json_option
def state(store: str, stream: str | None, key: str | None, limit: int, as_json: bool) -> None:
    """List the memory that executions share: the global one, then that of each stream."""
    scope: Literal["stream", "global"] = "global" if stream is None else "stream"
    with reading(store) as opened:
        if key is not None:
            found = opened.state_history(scope, stream or "", key, limit=limit)
        else:
            found = opened.list_state(limit=limit if stream is None else EVERYTHING)
            found = tuple(entry for entry in found if stream in (None, entry.stream_id))[:limit]
    if key is not None and not found:
        raise click.ClickException(f"There is no key {key!r} in the memory of scope {scope!r}.")
    if as_json:
        echo(json_text([_document(entry) for entry in found]))
        return
    header = ("SCOPE", "KEY", "VERSION", "CHANGED (UTC)", "BY", "VALUE")
    print_table(header, [_row(entry) for entry in found])


def _row(entry: StateEntry) -> tuple[str, ...]:
    return (
        entry.stream_id or entry.scope,
        entry.key,
        str(entry.version),
        when(entry.changed_at),
        entry.execution_id or "-",
        one_line(entry.value, WIDTH) if entry.exists else "(deleted)",
    )


def _document(entry: StateEntry) -> dict[str, Any]:
    return {
        "scope": entry.scope,
        "stream_id": entry.stream_id or None,
        "key": entry.key,
        "version": entry.version,
        "exists": entry.exists,
        "value": entry.value,
        "execution_id": entry.execution_id,
        "changed_at": entry.changed_at,
    }
