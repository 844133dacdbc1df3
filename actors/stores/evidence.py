"""What the store knows about why a session does not get on. Read in one look."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from propolis.messages import ExecutionSpec, ExecutionState, InboxRow, RecordedStep

from .protocol import SessionEvidence
from .reading import find_execution, find_session, list_runtimes, pair_of
from .rows import event_of, inbox_row_of, readable
from .schema import UNFINISHED, events, executions, inbox, sessions
from .statements import of_session
from .stepping import find_history

__all__ = ["find_evidence"]


def find_evidence(connection: Connection, id: str) -> SessionEvidence | None:
    """All of it, of a session or of one execution; None when there is neither of that id."""
    session = find_session(connection, id)
    found = find_execution(connection, id if session is None else session.execution_id)
    if found is None:
        return None
    spec, state = found
    session = session or find_session(connection, spec.session_id)
    if session is None:
        return None
    rows = connection.execute(
        select(executions).where(of_session(session.session_id), UNFINISHED).order_by(executions.c.id)
    ).mappings()
    return SessionEvidence(
        session=session,
        spec=spec,
        state=state,
        unfinished=tuple(readable(rows, pair_of, "execution_id")),
        holder=connection.scalar(select(sessions.c.holder).where(sessions.c.session_id == session.session_id)),
        runtimes=list_runtimes(connection),
        ahead=_ahead(connection, state, spec),
        **_events(connection, spec.execution_id),
        waits=_waits(connection, spec),
        inbox=_inbox(connection, spec.execution_id),
    )


def _ahead(connection: Connection, state: ExecutionState, spec: ExecutionSpec) -> int:
    own = select(executions.c.id).where(executions.c.execution_id == spec.execution_id).scalar_subquery()
    query = select(func.count()).where(
        executions.c.owner == state.owner,
        executions.c.entry_point == spec.entry_point,
        UNFINISHED,
        executions.c.status == "pending",
        executions.c.id < own,
    )
    count: int = connection.execute(query).scalar_one()
    return count


def _events(connection: Connection, execution_id: str) -> dict[str, Any]:
    first = select(executions.c.first_seq).where(executions.c.execution_id == execution_id).scalar_subquery()
    its = select(events).where(events.c.seq >= first, events.c.execution_id == execution_id)
    newest = its.order_by(events.c.seq.desc()).limit(1)
    last = connection.execute(newest).mappings().one_or_none()
    restarted = its.where(events.c.type == "execution_restarted").order_by(events.c.seq.desc()).limit(1)
    restart = None if last is None else connection.execute(restarted).mappings().one_or_none()
    found = None if restart is None else event_of(restart)
    return {
        "last_event": None if last is None else (last["type"], event_of(last).timestamp),
        "restart": None if found is None else (found.timestamp, found.data),
    }


def _waits(connection: Connection, spec: ExecutionSpec) -> tuple[RecordedStep, ...]:
    steps = find_history(connection, spec.run_id).steps
    waits = [step for step in steps if step.kind != "step" and step.status == "begun"]
    return tuple(sorted(waits, key=lambda step: (step.due_at is None, step.due_at)))


def _inbox(connection: Connection, execution_id: str) -> tuple[InboxRow, ...]:
    query = (
        select(inbox, executions.c.entry_point)
        .join(executions, executions.c.execution_id == inbox.c.execution_id)
        .where(inbox.c.execution_id == execution_id)
        .order_by(inbox.c.id)
    )
    return tuple(readable(connection.execute(query).mappings(), inbox_row_of, "id"))
