"""The inbox: rows that anybody may leave for the owner of an execution, who clears them with their effect."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, delete, insert, select

from propolis.messages import ExecutionNotFound, InboxRow, PostToInbox

from .moments import to_micros
from .rows import inbox_row_of
from .schema import UNFINISHED, executions, inbox

__all__ = ["clear_inbox", "inbox_of", "list_inbox", "post_to_inbox"]


def post_to_inbox(connection: Connection, write: PostToInbox) -> None:
    """Leave a row. Raises ExecutionNotFound."""
    ended = connection.execute(
        select(executions.c.ended).where(executions.c.execution_id == write.execution_id)
    ).scalar_one_or_none()
    if ended is None or ended:
        reason = "it is not in this store" if ended is None else "it has ended"
        raise ExecutionNotFound(execution_id=write.execution_id, reason=reason)
    values = {
        "execution_id": write.execution_id,
        "kind": write.kind,
        "body": None if write.body is None else write.body.data,
        "created_at": to_micros(write.created_at),
    }
    connection.execute(insert(inbox).values(values))


def list_inbox(connection: Connection, runtime_id: str, after: int) -> tuple[InboxRow, ...]:
    """What was left for executions that this runtime owns."""
    query = _rows().where(inbox.c.id > after, executions.c.owner == runtime_id, UNFINISHED)
    return tuple(inbox_row_of(row) for row in connection.execute(query).mappings())


def inbox_of(connection: Connection, ids: Sequence[int]) -> dict[str, tuple[InboxRow, ...]]:
    """What was left for the executions in these rows, by their ids. Mostly there is nothing in the whole inbox."""
    if connection.scalar(select(inbox.c.id).limit(1)) is None:
        return {}
    found: dict[str, tuple[InboxRow, ...]] = {}
    for row in connection.execute(_rows().where(executions.c.id.in_(ids))).mappings():
        found[row["execution_id"]] = (*found.get(row["execution_id"], ()), inbox_row_of(row))
    return found


def clear_inbox(connection: Connection, ids: Sequence[int]) -> None:
    """These have been applied."""
    connection.execute(delete(inbox).where(inbox.c.id.in_(ids)))


def _rows() -> Select[tuple[object, ...]]:
    # the inbox first: it is nearly always empty, and executions are many
    joined = inbox.join(executions, executions.c.execution_id == inbox.c.execution_id)
    return select(inbox, executions.c.entry_point).select_from(joined).order_by(inbox.c.id)
