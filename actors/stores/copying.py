"""Sessions that leave a store, and come into one, whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from propolis.messages import (
    Event,
    ExecutionCopy,
    ImportRefused,
    Payload,
    SessionCopy,
    SessionRow,
    StepCopy,
    encode,
)

from .batch import Batch
from .copied import check_copy, settle
from .moments import from_micros, to_micros
from .reading import find_session
from .rows import EXECUTION_COLUMNS, as_payload, execution_row, spec_of, state_of
from .schema import checkpoints, executions, sessions, steps
from .statements import of_session
from .stepping import list_all_checkpoints, runs_of, step_of

__all__ = ["find_copy", "put_copy"]


def find_copy(connection: Connection, session_id: str) -> SessionCopy | None:
    """All of a session, in one look."""
    its = select(executions).where(of_session(session_id)).order_by(executions.c.id)
    found = [
        ExecutionCopy(spec=spec_of(row["spec"]), state=state_of(row)) for row in connection.execute(its).mappings()
    ]
    if not found:
        return None
    row = connection.execute(select(sessions).where(sessions.c.session_id == session_id)).mappings().one_or_none()
    runs = runs_of(of_session(session_id))
    recorded = select(steps).where(steps.c.run.in_(runs)).order_by(*steps.primary_key.columns)
    return SessionCopy(
        session_id=session_id,
        executions=tuple(found),
        row=None if row is None else _row_of(row),
        steps=tuple(
            StepCopy(run=step["run"], at=from_micros(int(step["at"])), step=step_of(step))
            for step in connection.execute(recorded).mappings()
        ),
        checkpoints=list_all_checkpoints(connection, runs),
    )


def _row_of(row: RowMapping) -> SessionRow:
    times: dict[str, Any] = {name: from_micros(row[name]) for name in ("created_at", "updated_at", "checkpoint_at")}
    data: dict[str, Any] = {
        name: as_payload(row[name]) for name in ("memory", "progress", "start_memory", "checkpoint_memory")
    }
    plain = ("owner_execution_id", "holder", "revision", "start_execution_id", "checkpoint_execution_id")
    rest: dict[str, Any] = {name: row[name] for name in (*plain, "checkpoint_id", "checkpoint_node")}
    return SessionRow(**times, **data, **rest)


def put_copy(connection: Connection, copy: SessionCopy, now: datetime) -> SessionCopy:
    """Put a session in, as nobody's; what had not ended is paused. The copy as it was put in.

    Its events do not come with it, since whoever reacts to events would react to these: one says that it was imported.

    Raises:
        ImportRefused: it does not fit. The transaction is to be rolled back.
    """
    check_copy(copy)
    _check_free(connection, copy)
    copy = settle(copy, now)
    batch = Batch(connection, "", to_micros(now), 1)
    event = _imported(copy, now)
    seq = batch.add_events([event])
    assert seq is not None
    for each in copy.executions:
        row = dict(zip(EXECUTION_COLUMNS, execution_row(each.spec, each.state, seq), strict=True))
        connection.execute(insert(executions).values(**row, last_seq=seq))
    if copy.row is not None:
        connection.execute(insert(sessions).values(session_id=copy.session_id, **_values(copy.row)))
    for recorded in copy.steps:
        connection.execute(insert(steps).values(**_step_values(recorded)))
    for point in copy.checkpoints:
        own = {"run": point.run or point.execution_id, "ordinal": point.ordinal, "execution_id": point.execution_id}
        more = {"node": point.node, "at": to_micros(point.created_at), "memory": point.memory.data}
        connection.execute(insert(checkpoints).values(**own, **more))
    batch.finish()
    if find_session(connection, copy.session_id) is None:
        reason = "none of its executions owns it"
        raise ImportRefused(session_id=copy.session_id, reason="invalid", detail=reason)
    return copy


def _check_free(connection: Connection, copy: SessionCopy) -> None:
    ids = [each.spec.execution_id for each in copy.executions]
    taken = executions.c.execution_id.in_(ids) | of_session(copy.session_id)
    found = connection.scalar(select(executions.c.execution_id).where(taken).limit(1))
    if found is None:
        found = connection.scalar(select(sessions.c.session_id).where(sessions.c.session_id == copy.session_id))
    if found is not None:
        detail = f"execution {found!r} is in the store already"
        raise ImportRefused(session_id=copy.session_id, reason="exists", detail=detail)
    point, keys = executions.c.entry_point, executions.c.idempotency_key
    for spec in (each.spec for each in copy.executions if each.spec.idempotency_key is not None):
        same = (point == spec.entry_point) & (keys == spec.idempotency_key)
        other = connection.scalar(select(executions.c.execution_id).where(same))
        if other is not None:
            detail = f"execution {other!r} of the store has the idempotency key of {spec.execution_id!r}"
            raise ImportRefused(session_id=copy.session_id, reason="exists", detail=detail)


def _imported(copy: SessionCopy, now: datetime) -> Event:
    spec = next((e.spec for e in copy.executions if e.spec.execution_id == owner_of(copy)), copy.executions[0].spec)
    return Event(
        type="execution_imported",
        stream_id=spec.stream_id,
        session_id=spec.session_id,
        execution_id=spec.execution_id,
        correlation_id=spec.correlation_id,
        timestamp=now,
        data_payload=Payload.of({"executions": len(copy.executions)}),
    )


def owner_of(copy: SessionCopy) -> str:
    """The execution whose status is the session's."""
    return copy.session_id if copy.row is None else copy.row.owner_execution_id


def _values(row: SessionRow) -> dict[str, Any]:
    return {name: _value(getattr(row, name)) for name in type(row).model_fields}


def _value(value: Any) -> Any:
    if isinstance(value, Payload):
        return value.data
    return to_micros(value) if isinstance(value, datetime) else value


def _step_values(recorded: StepCopy) -> dict[str, Any]:
    step = recorded.step
    return {
        "run": recorded.run,
        **step.key._asdict(),
        "status": step.status,
        "digest": step.digest,
        "due_at": to_micros(step.due_at),
        "about": None if step.about is None else step.about.data,
        "value": None if step.value is None else step.value.data,
        "failure": None if step.failure is None else encode(step.failure),
        "inherited": 1 if step.inherited else 0,
        "at": to_micros(recorded.at),
    }
