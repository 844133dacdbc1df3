"""The statements that a batch is made of. Compiled once for each process, whatever number of stores it opens."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Column,
    Subquery,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)

from .bulk import Bulk, bulk_insert, bulk_update, given
from .dialect import insert_or_update
from .rows import EMPTY, EVENT_COLUMNS, EXECUTION_COLUMNS, STATE_COLUMNS
from .schema import LAST_SEQ, events, executions, meta, runtimes, sessions

__all__ = [
    "ADVANCE_EXECUTIONS",
    "BEAT",
    "CHANGE_SESSIONS",
    "COUNT_CURRENT",
    "CURRENT_EPOCH",
    "GIVE_ROW",
    "INSERT_EVENTS",
    "INSERT_EXECUTIONS",
    "INSERT_SESSIONS",
    "LAST_NUMBER",
    "NUMBER_EVENTS",
    "OWNS_ITS_SESSION",
    "SESSION_TO_TAKE",
    "SET_LAST_SEQ",
    "of_session",
    "passed_on",
]

BEAT: Final = (
    update(runtimes)
    .where(runtimes.c.runtime_id == bindparam("me"), runtimes.c.last_batch < bindparam("batch"))
    .values(beat=runtimes.c.beat + 1, last_batch=bindparam("batch"))
)
"""Beat, owner's fence and the batch's write id, in one row."""

NUMBER_EVENTS: Final = (
    update(meta).where(meta.c.key == LAST_SEQ).values(value=meta.c.value + bindparam("count")).returning(meta.c.value)
)


def passed_on(lost: Any) -> dict[str, Any]:
    """What becomes of executions that leave their owner, or change it: a new epoch, and the attempts that are lost.

    What is no whole number stays as it is, and so the row remains damaged: SQLite would count it for 0.
    """

    def raised(column: Column[Any], by: Any) -> Any:
        return case((cast(column, column.type) == column, column + by), else_=column)

    return {"epoch": raised(executions.c.epoch, 1), "lost_attempts": raised(executions.c.lost_attempts, lost)}


LAST_NUMBER: Final = select(meta.c.value).where(meta.c.key == LAST_SEQ)

SET_LAST_SEQ: Final = update(meta).where(meta.c.key == LAST_SEQ).values(value=bindparam("last"))

CURRENT_EPOCH: Final = select(executions.c.epoch).where(executions.c.execution_id == bindparam("id"))

_holder = executions.alias("holder_execution")
_owner = executions.alias("owner_execution")

SESSION_TO_TAKE: Final = (
    select(
        sessions,
        # One that is gone, because its session was deleted and opened anew, holds nothing.
        and_(_holder.c.execution_id.is_not(None), _holder.c.ended == 0).label("held"),
        _owner.c.status.label("owner_status"),
        _owner.c.ended.label("owner_ended"),
    )
    .select_from(
        sessions.outerjoin(_holder, _holder.c.execution_id == sessions.c.holder).outerjoin(
            _owner, _owner.c.execution_id == sessions.c.owner_execution_id
        )
    )
    .where(sessions.c.session_id == bindparam("id"))
)
"""A session that has a row, and how those stand that hold it and own it."""

_FIRST_SESSION_COLUMNS: Final = (
    "session_id",
    "owner_execution_id",
    "holder",
    "created_at",
    "updated_at",
    "revision",
    "checkpoint_execution_id",
    "checkpoint_memory",
)

GIVE_ROW: Final = insert(sessions).from_select(
    list(_FIRST_SESSION_COLUMNS),
    select(
        executions.c.session_id,
        executions.c.execution_id,
        executions.c.execution_id,
        executions.c.accepted_at,
        executions.c.accepted_at,
        literal_column("0"),
        executions.c.execution_id,
        literal(EMPTY.data),
    ).where(
        executions.c.execution_id == bindparam("id"),
        executions.c.session_id == bindparam("id"),
        ~exists().where(sessions.c.session_id == bindparam("id")),
    ),
    include_defaults=False,
)
"""Give a session that has none a row which says what its first execution's does."""

OWNS_ITS_SESSION: Final = func.coalesce(sessions.c.owner_execution_id, executions.c.session_id) == (
    executions.c.execution_id
)
"""Of an execution with the row of its session, where that has one (an outer join)."""


def of_session(session_id: str) -> Any:
    """The condition that picks the executions of a session: its first one has its id, the others an index."""
    return or_(
        and_(executions.c.execution_id == session_id, executions.c.session_id == session_id),
        and_(executions.c.session_id == session_id, executions.c.session_id != executions.c.execution_id),
    )


def _change_sessions(v: Subquery) -> Any:
    """What is given replaces what is there; a checkpoint replaces the memory too. No row yet: it gets one."""
    first = executions
    new = {
        "session_id": first.c.session_id,
        "owner_execution_id": first.c.execution_id,
        "holder": first.c.execution_id,
        "created_at": first.c.accepted_at,
        "updated_at": v.c.updated_at,
        "revision": literal_column("1"),
        "memory": v.c.memory,
        "progress": v.c.progress,
        "checkpoint_execution_id": func.coalesce(v.c.checkpoint_execution_id, first.c.execution_id),
        "checkpoint_id": v.c.checkpoint_id,
        "checkpoint_node": v.c.checkpoint_node,
        "checkpoint_at": v.c.checkpoint_at,
        "checkpoint_memory": func.coalesce(v.c.checkpoint_memory, literal_column("x'80'")),
    }
    is_first = and_(first.c.execution_id == v.c.session_id, first.c.session_id == v.c.session_id)
    rows = select(*new.values()).select_from(v.join(first, is_first)).where(true())
    inserted = insert_or_update(sessions).from_select(list(new), rows, include_defaults=False)
    changes = _session_changes(inserted.excluded)
    alone = sessions.c.shared.is_(None)  # else it is to be merged, by itself
    return inserted.on_conflict_do_update(index_elements=["session_id"], set_=changes, where=alone)


def _session_changes(v: Any) -> dict[str, Any]:
    pinned = v.checkpoint_at.is_not(None)

    def with_checkpoint(name: str) -> Any:
        return case((pinned, v[name]), else_=sessions.c[name])

    changes = {
        name: with_checkpoint(name)
        for name in (
            "checkpoint_execution_id",
            "checkpoint_id",
            "checkpoint_node",
            "checkpoint_at",
            "checkpoint_memory",
        )
    }
    return {
        "revision": sessions.c.revision + literal_column("1"),  # a bound value would stand among those of the rows
        "updated_at": v.updated_at,
        "progress": func.coalesce(v.progress, sessions.c.progress),
        "memory": case((v.memory.is_not(None), v.memory), (pinned, null()), else_=sessions.c.memory),
        **changes,
    }


INSERT_EXECUTIONS: Final = bulk_insert(executions, EXECUTION_COLUMNS)
INSERT_SESSIONS: Final = bulk_insert(sessions, _FIRST_SESSION_COLUMNS)
INSERT_EVENTS: Final = bulk_insert(events, EVENT_COLUMNS)
ADVANCE_EXECUTIONS: Final = bulk_update(
    executions,
    [
        given(executions.c.execution_id),
        Column("expected_epoch", executions.c.epoch.type, nullable=False),
        given(executions.c.last_seq),
        *(given(executions.c[name]) for name in STATE_COLUMNS),
    ],
    lambda v: and_(executions.c.execution_id == v.c.execution_id, executions.c.epoch == v.c.expected_epoch),
    lambda v: {name: v.c[name] for name in ("last_seq", *STATE_COLUMNS)},
)
CHANGE_SESSIONS: Final = Bulk(
    [
        given(sessions.c.session_id),
        given(sessions.c.updated_at),
        *(
            given(sessions.c[name], nullable=True)
            for name in (
                "memory",
                "progress",
                "checkpoint_execution_id",
                "checkpoint_id",
                "checkpoint_node",
                "checkpoint_at",
                "checkpoint_memory",
            )
        ),
    ],
    _change_sessions,
)
COUNT_CURRENT: Final = Bulk(
    [given(executions.c.execution_id), given(executions.c.epoch)],
    lambda v: select(func.count()).select_from(
        v.join(
            executions,
            and_(executions.c.execution_id == v.c.execution_id, executions.c.epoch == v.c.epoch),
        )
    ),
)
