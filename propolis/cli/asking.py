"""`propolis sessions cancel | pause`: ask whoever owns an execution, through its inbox, and say what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from propolis.actors import Host, Store
from propolis.messages import (
    ENDED,
    ExecutionNotFound,
    ExecutionSpec,
    ExecutionState,
    Payload,
    PostToInbox,
    SessionNotFound,
)

from .options import json_option, store_option
from .plain import echo, json_text
from .stores import EVERYTHING, changing

__all__ = ["cancel_session", "pause_session"]

LOOK_SECONDS: Final = 0.1

wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0.0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for what comes of it.",
)
id_argument = click.argument("id", metavar="ID")


@click.command("cancel")
@id_argument
@store_option
@click.option("--reason", default="cancelled", show_default=True, metavar="TEXT", help="Recorded with the cancel.")
@wait_option
@json_option
def cancel_session(id: str, store: str, reason: str, wait: float, as_json: bool) -> None:
    """Cancel what of a session has not ended, or one execution by its id.

    Its owner is asked, whichever process that is; what nobody owns is cancelled by the runtime that takes it up. The
    exit status is 0 when it is all cancelled by the end of --wait.
    """
    _ask(id, store, "cancel", Payload.of({"reason": reason}), wait, "cancelled", as_json)


@click.command("pause")
@id_argument
@store_option
@wait_option
@json_option
def pause_session(id: str, store: str, wait: float, as_json: bool) -> None:
    """Have what of a session has not ended pause: at its next checkpoint, or at once when it is not running.

    The exit status is 0 when it is all paused by the end of --wait.
    """
    _ask(id, store, "pause", None, wait, "paused", as_json)


def _ask(id: str, url: str, kind: str, body: Payload | None, wait: float, wanted: str, as_json: bool) -> None:
    host = Host()
    with changing(url, host) as store:
        asked = _post(store, host, _named(store, id), kind, body)
        ids = [spec.execution_id for spec, _ in asked]
        states = _look(store, ids)
        until = host.monotonic() + wait
        while any(state.status not in ENDED for state in states) and host.monotonic() < until:
            host.sleep(LOOK_SECONDS)
            states = _look(store, ids)
    if as_json:
        echo(json_text([{"execution_id": s.execution_id, "status": s.status, "owner": s.owner} for s in states]))
    else:
        for state in states:
            echo(f"{state.execution_id}  {_said(state, kind)}")
    if any(state.status != wanted for state in states):
        raise click.exceptions.Exit(1)


def _named(store: Store, id: str) -> Sequence[tuple[ExecutionSpec, ExecutionState]]:
    """What has not ended of the session of that id, or the one execution. Raises SessionNotFound, ExecutionNotFound."""
    rows = store.list_executions(session=id, limit=EVERYTHING)
    if not rows:
        found = store.get_execution(id)
        if found is None:
            raise SessionNotFound(session_id=id)
        rows = (found,)
    unfinished = [(spec, state) for spec, state in reversed(rows) if state.status not in ENDED]
    if not unfinished:
        raise ExecutionNotFound(execution_id=rows[0][0].execution_id, reason=f"it is {rows[0][1].status} already")
    return unfinished


def _post(
    store: Store,
    host: Host,
    rows: Sequence[tuple[ExecutionSpec, ExecutionState]],
    kind: str,
    body: Payload | None,
) -> Sequence[tuple[ExecutionSpec, ExecutionState]]:
    for spec, _ in rows:
        try:
            store.post(PostToInbox(execution_id=spec.execution_id, kind=kind, body=body, created_at=host.now()))
        except ExecutionNotFound:
            continue  # it has ended since: what it ended as is told all the same
    return rows


def _look(store: Store, ids: Sequence[str]) -> list[ExecutionState]:
    found = (store.get_execution(id) for id in ids)
    return [row[1] for row in found if row is not None]


def _said(state: ExecutionState, kind: str) -> str:
    if state.status in ENDED:
        return state.status
    if state.owner is None:
        return f"{state.status}; no runtime has it now, and the one that takes it up finds the {kind}"
    return f"{state.status}; its owner, {state.owner}, has not got to the {kind} yet, and will"
