"""Who has a session: how it goes from hand to hand, and with what memory each of its executions begins.

Who takes it (a join whose turn has come, a resume, a replay) begins with the memory of the session as it is then: what
its owner saved last, and what others have written since. With that, or its own last checkpoint, it begins again after a
crash, whatever those write meanwhile who run beside it. Then the session is `shared`: its memory is another one than
its holder knows, and what that writes is merged into it (`merging.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select, update

from propolis.messages import AdvanceExecution, Checkpoint, SessionNotFound

from .batch import Batch
from .rows import memory_in, overlaid, spec_of
from .schema import executions, sessions
from .statements import GIVE_ROW, SESSION_TO_TAKE
from .stepping import PUT_CHECKPOINTS, last_point

__all__ = [
    "Start",
    "claim",
    "find_session_to_take",
    "keep_start",
    "pinned",
    "start_of",
    "start_of_owner",
    "update_session",
]


class Start(NamedTuple):
    """Where a run begins that does not begin at the beginning: at a checkpoint of it, or of another (0: its start)."""

    run: str
    ordinal: int
    node: str | None
    memory: bytes


def find_session_to_take(batch: Batch, session_id: str) -> RowMapping:
    """A session with how it is held and owned, which has a row from now on. Raises SessionNotFound."""
    row = batch.connection.execute(SESSION_TO_TAKE, {"id": session_id}).mappings().one_or_none()
    if row is None and batch.connection.execute(GIVE_ROW, {"id": session_id}).rowcount:
        row = batch.connection.execute(SESSION_TO_TAKE, {"id": session_id}).mappings().one_or_none()
    if row is None:
        raise SessionNotFound(session_id=session_id)
    return row


def update_session(batch: Batch, row: RowMapping, changes: Mapping[str, Any]) -> None:
    """Change these columns of a session, if there are any."""
    if changes:
        batch.connection.execute(
            update(sessions)
            .where(sessions.c.session_id == row["session_id"])
            .values(revision=sessions.c.revision + 1, updated_at=batch.now, **changes)
        )


def start_of_owner(connection: Connection, row: RowMapping) -> Start:
    """Where the owner of a session stands, and so who goes on with it: at its last checkpoint, with what others have
    written since.
    """
    owner = row["owner_execution_id"]
    spec = select(executions.c.spec).where(executions.c.execution_id == owner)
    run = spec_of(connection.execute(spec).scalar_one()).run_id
    point = last_point(connection, run)
    last, node = (0, None) if point is None else (point.ordinal, point.node)
    if row["checkpoint_execution_id"] == owner or row["checkpoint_id"] == Checkpoint.id_of(run, last):
        node = row["checkpoint_node"]  # also of a pause, which has no number of its own
    others_wrote = row["shared"] or row["holder"] != owner
    return Start(run, last, node, memory_in(row) if others_wrote else row["checkpoint_memory"])


def pinned(batch: Batch, row: RowMapping, own: str, start: Start) -> dict[str, Any]:
    """The columns that say that an execution, which owns its session from now on, begins with this again."""
    return {
        "checkpoint_execution_id": own,
        "checkpoint_id": Checkpoint.id_of(start.run, start.ordinal) if start.ordinal else row["checkpoint_id"],
        "checkpoint_node": start.node,
        "checkpoint_at": batch.now,
        "checkpoint_memory": start.memory,
    }


def start_of(connection: Connection, row: RowMapping, own: str, run: str) -> Start:
    """What an execution that has begun, or may, begins with again: what it has saved last, or began with."""
    if row["checkpoint_execution_id"] == own:
        return Start(run, 0, row["checkpoint_node"], row["checkpoint_memory"])
    if row["start_execution_id"] == own:
        return Start(run, 0, None, row["start_memory"])
    point = last_point(connection, run)
    if point is None:
        return Start(run, 0, None, memory_in(row))
    return Start(run, point.ordinal, point.node, point.memory.data)


def keep_start(batch: Batch, own: str, memory: bytes) -> None:
    """Keep what a run begins with that never has its session, for the session's row does not say it."""
    PUT_CHECKPOINTS.run(batch.connection, [(own, 0, own, None, batch.now, memory)])


def claim(batch: Batch, write: AdvanceExecution) -> Start | None:
    """Take the session; what the execution begins with, None when another one has the session.

    One that has it and has begun goes on with what it has, and one that runs beside takes nothing.
    """
    own, run = write.execution_id, write.run or write.execution_id
    row = find_session_to_take(batch, write.session_id)
    mine, owns = row["holder"] == own, row["owner_execution_id"] == own
    if write.beside or (mine and (not row["shared"] or _has_begun(batch, own))):
        return start_of(batch.connection, row, own, run)
    if row["held"] and not mine:
        return None
    start = Start(run, 0, None, _with_overlay(batch, own, memory_in(row)))
    if owns:
        start = start_of_owner(batch.connection, row)._replace(memory=start.memory)
    taken = {"holder": own, "memory": start.memory, "shared": None}
    began = {"start_execution_id": own, "start_memory": start.memory}
    update_session(batch, row, taken | began | (pinned(batch, row, own, start) if owns else {}))
    return start


def _has_begun(batch: Batch, own: str) -> bool:
    status = select(executions.c.status).where(executions.c.execution_id == own)
    return bool(batch.connection.scalar(status) != "pending")


def _with_overlay(batch: Batch, own: str, memory: bytes) -> bytes:
    its = executions.c.execution_id == own
    overlay = batch.connection.scalar(select(executions.c.overlay).where(its))
    if overlay is not None:
        batch.connection.execute(update(executions).where(its).values(overlay=None))
    return overlaid(memory, overlay)
