"""The inbox: rows that anybody may leave for the owner of an execution, who clears them with their effect."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, Select, delete, insert, select

from propolis.messages import ExecutionNotFound, InboxRow, PostToInbox

from .moments import to_micros
from .rows import OFTEN, inbox_row_of, readable
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
    return tuple(readable(connection.execute(query).mappings(), inbox_row_of, "id", OFTEN))


def inbox_of(connection: Connection, ids: Sequence[int]) -> dict[str, tuple[InboxRow, ...]]:
    """What was left for the executions in these rows, by their ids. Mostly there is nothing in the whole inbox."""
    if connection.scalar(select(inbox.c.id).limit(1)) is None:
        return {}
    found: dict[str, list[RowMapping]] = {}
    for row in connection.execute(_rows().where(executions.c.id.in_(ids))).mappings():
        found.setdefault(row["execution_id"], []).append(row)
    return {own: tuple(readable(rows, inbox_row_of, "id", OFTEN)) for own, rows in found.items()}


def clear_inbox(connection: Connection, ids: Sequence[int]) -> None:
    """These have been applied."""
    connection.execute(delete(inbox).where(inbox.c.id.in_(ids)))


def _rows() -> Select[tuple[object, ...]]:
    # the inbox first: it is nearly always empty, and executions are many
    joined = inbox.join(executions, executions.c.execution_id == inbox.c.execution_id)
    return select(inbox, executions.c.entry_point).select_from(joined).order_by(inbox.c.id)
