"""The statements that a batch is made of. Compiled once, shared by every store of a dialect's engine."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Subquery, and_, bindparam, case, func, literal_column, or_, select, update

from .bulk import Bulk, bulk_insert, bulk_update, given
from .rows import EVENT_COLUMNS, EXECUTION_COLUMNS, STATE_COLUMNS
from .schema import LAST_SEQ, events, executions, inbox, meta, runtimes, sessions

__all__ = ["BEAT", "CURRENT_EPOCH", "NUMBER_EVENTS", "SESSION_TO_TAKE", "SET_LAST_SEQ", "Statements", "of_session"]

BEAT: Final = (
    update(runtimes)
    .where(runtimes.c.runtime_id == bindparam("me"), runtimes.c.last_batch < bindparam("batch"))
    .values(beat=runtimes.c.beat + 1, last_batch=bindparam("batch"))
)
"""Beat, owner's fence and the batch's write id, in one row."""

NUMBER_EVENTS: Final = (
    update(meta).where(meta.c.key == LAST_SEQ).values(value=meta.c.value + bindparam("count")).returning(meta.c.value)
)

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
"""A session, and how those stand that hold it and own it."""


def of_session(session_id: str) -> Any:
    """The condition that picks the executions of a session: its first one has its id, the others an index."""
    return or_(
        and_(executions.c.execution_id == session_id, executions.c.session_id == session_id),
        and_(executions.c.session_id == session_id, executions.c.session_id != executions.c.execution_id),
    )


class Statements:
    """The statements over many rows. Each keeps the SQL that it was compiled to, so a store has its own set."""

    def __init__(self) -> None:
        self.insert_executions: Final = bulk_insert(executions, EXECUTION_COLUMNS)
        self.insert_sessions: Final = bulk_insert(
            sessions,
            (
                "session_id",
                "owner_execution_id",
                "holder",
                "created_at",
                "updated_at",
                "revision",
                "checkpoint_execution_id",
                "checkpoint_memory",
            ),
        )
        self.insert_events: Final = bulk_insert(events, EVENT_COLUMNS)
        self.insert_inbox: Final = bulk_insert(inbox, ("execution_id", "kind", "body", "created_at"))
        self.advance_executions: Final = bulk_update(
            executions,
            [
                given(executions.c.execution_id),
                Column("expected_epoch", executions.c.epoch.type, nullable=False),
                *(given(executions.c[name]) for name in STATE_COLUMNS),
            ],
            lambda v: and_(executions.c.execution_id == v.c.execution_id, executions.c.epoch == v.c.expected_epoch),
            lambda v: {name: v.c[name] for name in STATE_COLUMNS},
        )
        self.advance_sessions: Final = bulk_update(
            sessions,
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
            lambda v: sessions.c.session_id == v.c.session_id,
            _session_changes,
        )
        self.count_current: Final = Bulk(
            [given(executions.c.execution_id), given(executions.c.epoch)],
            lambda v: select(func.count()).select_from(
                v.join(
                    executions,
                    and_(executions.c.execution_id == v.c.execution_id, executions.c.epoch == v.c.epoch),
                )
            ),
        )


def _session_changes(v: Subquery) -> dict[str, Any]:
    """What is given replaces what is there; a checkpoint replaces the memory too."""
    pinned = v.c.checkpoint_memory.is_not(None)

    def with_checkpoint(name: str) -> Any:
        return case((pinned, v.c[name]), else_=sessions.c[name])

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
        "updated_at": v.c.updated_at,
        "progress": func.coalesce(v.c.progress, sessions.c.progress),
        "memory": case((v.c.memory.is_not(None), v.c.memory), (pinned, None), else_=sessions.c.memory),
        **changes,
    }
