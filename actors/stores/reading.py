"""The reads. Each is one statement on a connection of its own, and sees what was committed before it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, case, exists, func, select

from propolis.messages import (
    Event,
    EventFilter,
    ExecutionSpec,
    ExecutionState,
    ExecutionStatus,
    RuntimeRow,
    SessionRecord,
    SessionStatus,
)

from .rows import OFTEN, event_of, readable, runtime_of, session_of, spec_of, state_of
from .schema import LAST_SEQ, QUARANTINED, UNFINISHED, events, executions, goal_streams, meta, runtimes, sessions
from .statements import OWNS_ITS_SESSION, of_session

__all__ = [
    "count_executions",
    "events_after",
    "find_execution",
    "find_idempotent",
    "find_session",
    "last_seq",
    "list_executions",
    "list_runtimes",
    "list_sessions",
    "pair_of",
]

_NO_LAST: Final = (1 << 63) - 1
_SESSION_COLUMNS: Final[list[Any]] = [
    *(column for column in sessions.c if column.name != "session_id"),
    *(column for column in executions.c if column.name not in {"id", "session_id"}),
]


def _sessions() -> Select[Any]:
    columns: Any = select(*_SESSION_COLUMNS)
    query: Select[Any] = columns.select_from(
        executions.outerjoin(sessions, sessions.c.session_id == executions.c.session_id)
    ).where(OWNS_ITS_SESSION)
    return query


def pair_of(row: RowMapping) -> tuple[ExecutionSpec, ExecutionState]:
    """An execution. Raises MessageError."""
    return spec_of(row["spec"]), state_of(row)


def _one(connection: Connection, query: Select[Any]) -> tuple[ExecutionSpec, ExecutionState] | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else pair_of(row)


def find_session(connection: Connection, session_id: str) -> SessionRecord | None:
    """One session with the execution that owns it."""
    row = connection.execute(_sessions().where(of_session(session_id))).mappings().one_or_none()
    return None if row is None else session_of(row)


def list_sessions(
    connection: Connection,
    *,
    status: SessionStatus | None,
    stream: str | None,
    goal: str | None,
    quarantined: bool | None,
    limit: int,
) -> tuple[SessionRecord, ...]:
    """Sessions, the last opened or resumed first."""
    query = _sessions().order_by(executions.c.id.desc()).limit(limit)
    if status == "active":
        query = query.where(UNFINISHED)
    elif status is not None:
        query = query.where(executions.c.status == status)
    if stream is not None:
        query = query.where(executions.c.stream_id == stream)
    if goal is not None:
        pursued = exists().where(
            goal_streams.c.goal_id == goal,
            goal_streams.c.stream_id == executions.c.stream_id,
            goal_streams.c.since < executions.c.first_seq,
        )
        query = query.where(pursued)
    if quarantined is not None:
        query = query.where(QUARANTINED if quarantined else ~QUARANTINED)
    return tuple(readable(connection.execute(query).mappings(), session_of, "execution_id"))


def find_execution(connection: Connection, execution_id: str) -> tuple[ExecutionSpec, ExecutionState] | None:
    """One execution."""
    query = select(executions).where(executions.c.execution_id == execution_id)
    return _one(connection, query)


def list_executions(
    connection: Connection,
    *,
    stream: str | None,
    status: ExecutionStatus | None,
    session: str | None,
    limit: int,
) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
    """Executions, the last accepted first."""
    query = select(executions).order_by(executions.c.id.desc()).limit(limit)
    if session is not None:
        query = query.where(of_session(session))
    if stream is not None:
        query = query.where(executions.c.stream_id == stream)
    if status is not None:
        query = query.where(executions.c.status == status)
    return tuple(readable(connection.execute(query).mappings(), pair_of, "execution_id"))


def find_idempotent(connection: Connection, entry_point: str, key: str) -> tuple[ExecutionSpec, ExecutionState] | None:
    """The execution that was accepted under this key."""
    query = select(executions).where(executions.c.entry_point == entry_point, executions.c.idempotency_key == key)
    return _one(connection, query)


def events_after(connection: Connection, seq: int, filter: EventFilter, limit: int) -> tuple[Event, ...]:
    """Stored events, in order."""
    query = select(events).order_by(events.c.seq).limit(limit)
    if filter.execution is not None:
        query = query.where(*_between(executions.c.execution_id == filter.execution, seq))
    elif filter.session is not None:
        query = query.where(*_between(of_session(filter.session), seq))
    else:
        query = query.where(events.c.seq > seq)
    if filter.types:
        query = query.where(events.c.type.in_(filter.types))
    for column, wanted in (
        (events.c.stream_id, filter.stream),
        (events.c.node_id, filter.node),
        (events.c.execution_id, filter.execution),
        (events.c.graph_id, filter.graph),
        (events.c.session_id, filter.session),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return tuple(event_of(row) for row in connection.execute(query).mappings())


def _between(its: ColumnElement[bool], seq: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The numbers between which the events of these executions stand, from behind `seq` on.

    One bound on each side: of two, SQLite searches by the first and filters by the other.
    """
    first = func.min(executions.c.first_seq)
    have_ended = func.count(executions.c.last_seq) == func.count()
    after = select(case((first > seq, first - 1), else_=seq)).where(its)
    last = select(case((have_ended, func.max(executions.c.last_seq)), else_=_NO_LAST)).where(its)
    return events.c.seq > after.scalar_subquery(), events.c.seq <= last.scalar_subquery()


def last_seq(connection: Connection) -> int:
    """Where the numbering of events stands."""
    last: int = connection.execute(select(meta.c.value).where(meta.c.key == LAST_SEQ)).scalar_one()
    return last


def list_runtimes(connection: Connection) -> tuple[RuntimeRow, ...]:
    """Every registered runtime."""
    query = select(runtimes).order_by(runtimes.c.started_at, runtimes.c.runtime_id)
    return tuple(readable(connection.execute(query).mappings(), runtime_of, "runtime_id", OFTEN))


def count_executions(connection: Connection, stream: str | None) -> dict[ExecutionStatus, int]:
    """How many executions there are in each status."""
    query = select(executions.c.status, func.count()).group_by(executions.c.status)
    if stream is not None:
        query = query.where(executions.c.stream_id == stream)
    return {row[0]: row[1] for row in connection.execute(query)}
