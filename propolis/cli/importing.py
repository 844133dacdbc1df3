"""`propolis sessions import`: a folder that `export`, or another tool of that layout, has written, into a store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import click

from propolis.actors import Host, RuntimeConfig, Store, open_store
from propolis.messages import ENDED, ImportRefused, SessionCopy

from .folder import list_folder
from .options import json_option, store_option
from .plain import echo, json_text
from .state_in import copy_of

__all__ = ["import_sessions"]

MEGABYTE: Final = 1 << 20


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@store_option
@click.option(
    "--max-mb",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="N",
    help="A session whose file is larger is left out.",
)
@json_option
def import_sessions(folder: Path, store: str, max_mb: int, as_json: bool) -> None:
    """Take the sessions of DIR/sessions/<id>/state.json into a store, which is made if it is not there.

    Each goes in whole or not at all, and one that does not fit stops no other; the exit status is then 1. Runtimes may
    be at work on the store: what is imported belongs to none of them. A session that had not ended is paused, to be
    resumed on its stream.
    """
    host = Host()
    opened = open_store(store, host=host)
    taken: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    try:
        for found in list_folder(folder, max_mb * MEGABYTE):
            try:
                if isinstance(found, ImportRefused):
                    raise found
                copy = copy_of(found, RuntimeConfig().max_payload_bytes)
                taken.append(_taken(copy, _put(opened, copy, host)))
            except ImportRefused as error:
                refused.append({"session_id": error.session_id, "reason": error.reason, "detail": error.detail})
    finally:
        opened.close()
    if as_json:
        echo(json_text({"store": store, "imported": taken, "refused": refused}))
    else:
        _print(store, taken, refused)
    if refused:
        raise click.exceptions.Exit(1)


def _put(store: Store, copy: SessionCopy, host: Host) -> SessionCopy:
    try:
        return store.import_session(copy, host.now())
    except (OverflowError, UnicodeError) as error:  # what no column holds, and no check has foreseen
        raise ImportRefused(session_id=copy.session_id, reason="invalid", detail=str(error)) from None


def _taken(before: SessionCopy, after: SessionCopy) -> dict[str, Any]:
    unfinished = sum(each.state.status not in ENDED for each in before.executions)
    owner = before.session_id if before.row is None else before.row.owner_execution_id
    status = next(each.state.status for each in after.executions if each.spec.execution_id == owner)
    return {
        "session_id": after.session_id,
        "status": status,
        "executions": len(after.executions),
        "paused_by_import": unfinished,
        "steps": len(after.steps),
        "checkpoints": len(after.checkpoints),
    }


def _print(store: str, taken: list[dict[str, Any]], refused: list[dict[str, Any]]) -> None:
    counts = Counter(each["status"] for each in taken)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    what = "session" if len(taken) == 1 else "sessions"
    echo(f"{len(taken)} {what} imported into {store}{f': {listed}' if listed else ''}.")
    paused = sum(bool(each["paused_by_import"]) for each in taken)
    if paused:
        echo(f"{paused} had not ended, and are paused: stream.resume(session_id) goes on with one.")
    if refused:
        echo(f"{len(refused)} did not fit:", err=True)
        for each in refused:
            detail = " ".join(str(each["detail"]).split())
            echo(f"  {each['session_id']}  {each['reason']}: {detail}", err=True)
