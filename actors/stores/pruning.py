"""What retention deletes: sessions that have ended, with all that is theirs, and events. Little at a time.

Finding reads, page by page; deleting looks again at what may have changed meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Text, and_, cast, delete, exists, func, literal, or_, select

from .dialect import insert_or_update
from .moments import to_micros
from .protocol import Bounds, Expired
from .schema import (
    PRUNED_SEQ,
    QUARANTINED,
    UNFINISHED,
    events,
    executions,
    goals,
    inbox,
    meta,
    sessions,
    steps,
    triggers,
)
from .statements import of_session
from .stepping import drop_runs

__all__ = [
    "delete_events",
    "delete_rows_of",
    "delete_sessions",
    "find_bounds",
    "find_expired_events",
    "find_expired_sessions",
    "pruned_seq",
]

TRIGGER_PATIENCE: Final = timedelta(days=7)
"""An event trigger, or a goal, whose place has not moved for so long, while events came, is not waited for."""

_PRUNABLE: Final = executions.c.status.in_(("completed", "failed", "cancelled"))
_IS_FIRST: Final = executions.c.execution_id == executions.c.session_id
_EVERY: Final = 1 << 62
_CALL: Final = re.compile(r"call:(.+):(\d{1,18}):(\d{1,18})", re.ASCII)
"""The key of an execution that another one calls: the run of that, and which call of its it is (see `Parenting`)."""


def find_bounds(connection: Connection, *, keep_sessions: int | None, keep_events: int | None, now: datetime) -> Bounds:
    """With so many ended sessions, and so many events, at most."""
    session = event = None
    if keep_sessions is not None:
        ended = select(executions.c.id).where(_IS_FIRST, _PRUNABLE, ~QUARANTINED)
        session = connection.scalar(ended.order_by(executions.c.id.desc()).limit(1).offset(keep_sessions))
    if keep_events is not None:
        event = connection.scalar(select(events.c.seq).order_by(events.c.seq.desc()).limit(1).offset(keep_events))
    waits = and_(triggers.c.kind == "event", triggers.c.updated_at >= to_micros(now - TRIGGER_PATIENCE))
    looked = connection.scalar(select(func.min(triggers.c.position)).where(waits))
    is_read_for = goals.c.updated_at >= to_micros(now - TRIGGER_PATIENCE)
    counted = connection.scalar(select(func.min(goals.c.position)).where(is_read_for))
    return Bounds(session, event, min((seq for seq in (looked, counted) if seq is not None), default=_EVERY))


# -- sessions --------------------------------------------------------------------------------------------------------


def find_expired_sessions(
    connection: Connection, bounds: Bounds, *, before: datetime | None, after: int, limit: int
) -> Expired:
    """Ended sessions from before a time, or one too many, among the next so many executions."""
    page = connection.execute(
        select(executions.c.id, executions.c.accepted_at)
        .where(executions.c.id > after)
        .order_by(executions.c.id)
        .limit(limit)
    ).all()
    at = None if before is None else to_micros(before)
    if not page or not any(_may_go(id, accepted, bounds.session, at) for id, accepted in page):
        return Expired((), None)
    last: int = page[-1][0]
    first, owner = executions, executions.alias("owner_execution")
    owns = owner.c.execution_id == func.coalesce(sessions.c.owner_execution_id, first.c.execution_id)
    joined = first.outerjoin(sessions, sessions.c.session_id == first.c.session_id).join(owner, owns)
    too_many = first.c.id <= (bounds.session if bounds.session is not None else 0)
    query = (
        select(first.c.session_id)
        .select_from(joined)
        .where(
            first.c.id.between(after + 1, last),
            _IS_FIRST,
            owner.c.status.in_(("completed", "failed", "cancelled")),
            or_(too_many, owner.c.completed_at < at) if at is not None else too_many,
            _is_at_rest(first.c.session_id, bounds.seen),
        )
        .order_by(first.c.id)
    )
    found = tuple(connection.execute(query).scalars())
    awaited = _awaited(connection, found)
    return Expired(tuple(session_id for session_id in found if session_id not in awaited), last)


def _awaited(connection: Connection, session_ids: Sequence[str]) -> set[str]:
    """Those that another execution has called and has no answer of yet: without them it would call them again."""
    called = select(executions.c.execution_id, executions.c.entry_point, executions.c.idempotency_key).where(
        executions.c.execution_id.in_(session_ids), executions.c.idempotency_key.startswith("call:")
    )
    return {
        execution_id
        for execution_id, entry_point, key in connection.execute(called).all()
        if _is_open_call(connection, entry_point, key)
    }


def _is_open_call(connection: Connection, entry_point: str, key: str) -> bool:
    named = _CALL.fullmatch(key)
    if named is None:
        return False
    run, segment, call = named[1], int(named[2]), int(named[3])
    is_it = and_(steps.c.run == run, steps.c.segment == segment, steps.c.kind == "call", steps.c.call == call)
    begun = and_(is_it, steps.c.name == entry_point, steps.c.status == "begun")
    return connection.scalar(select(literal(1)).where(exists().where(begun))) is not None


def _may_go(id: int, accepted_at: int, bound: int | None, before: int | None) -> bool:
    return (bound is not None and id <= bound) or (before is not None and accepted_at < before)


def _is_at_rest(session_id: ColumnElement[Any], seen: int) -> ColumnElement[bool]:
    """Nothing of it is unfinished or quarantined, and every event of it has been looked at."""
    other = executions.alias("execution_of_session")
    of_it = or_(
        and_(other.c.execution_id == session_id, other.c.session_id == session_id),
        and_(other.c.session_id == session_id, other.c.session_id != other.c.execution_id),
    )
    # A timer that has fired and does not know it yet looks for the key of that (see triggers/timer.py).
    is_next = and_(
        triggers.c.entry_point == other.c.entry_point,
        other.c.idempotency_key == literal("timer:").concat(cast(triggers.c.position, Text)),
    )
    restless = or_(
        other.c.ended == 0,
        other.c.quarantined == 1,
        func.coalesce(other.c.last_seq, 0) > seen,
        and_(other.c.idempotency_key.is_not(None), exists().where(is_next)),
    )
    return ~exists().where(of_it, restless)


def delete_sessions(connection: Connection, session_ids: Sequence[str], bounds: Bounds) -> int:
    """Delete these with their events; how many. One that somebody has taken up again meanwhile stays."""
    count, pruned = 0, 0
    awaited = _awaited(connection, session_ids)
    for session_id in session_ids:
        if session_id in awaited:
            continue
        found = connection.execute(
            select(executions.c.execution_id, executions.c.first_seq, executions.c.last_seq).where(
                of_session(session_id), _is_at_rest(executions.c.session_id, bounds.seen)
            )
        ).all()
        for execution_id, first, last in found:
            between = events.c.seq.between(first, last if last is not None else first)
            connection.execute(delete(events).where(between, events.c.execution_id == execution_id))
            pruned = max(pruned, last or first)
        if found:
            count += 1
            delete_rows_of(connection, session_id, [execution_id for execution_id, _, _ in found])
    _remember(connection, pruned)
    return count


def delete_rows_of(connection: Connection, session_id: str, execution_ids: Sequence[str]) -> None:
    """Delete a session and its executions, all but their events."""
    connection.execute(delete(inbox).where(inbox.c.execution_id.in_(execution_ids)))
    drop_runs(connection, execution_ids)
    connection.execute(delete(executions).where(of_session(session_id)))
    connection.execute(delete(sessions).where(sessions.c.session_id == session_id))


# -- events ----------------------------------------------------------------------------------------------------------


def find_expired_events(
    connection: Connection, bounds: Bounds, *, before: datetime | None, after: int, limit: int
) -> Expired:
    """Events from before a time, or too many, among the next so many; none of what has not ended, or may go on."""
    needed = exists().where(
        executions.c.execution_id == events.c.execution_id,
        or_(UNFINISHED, executions.c.status == "paused", QUARANTINED),
    )
    page = connection.execute(
        select(events.c.seq, events.c.timestamp, needed.label("needed"))
        .where(events.c.seq > after, events.c.seq <= bounds.seen)
        .order_by(events.c.seq)
        .limit(limit)
    ).all()
    at = None if before is None else to_micros(before)
    expired = [(seq, needed) for seq, timestamp, needed in page if _may_go(seq, timestamp, bounds.event, at)]
    if not expired:
        return Expired((), None)
    return Expired(tuple(seq for seq, needed in expired if not needed), page[-1][0])


def delete_events(connection: Connection, seqs: Sequence[int]) -> int:
    """Delete these; how many."""
    count = connection.execute(delete(events).where(events.c.seq.in_(seqs))).rowcount
    _remember(connection, max(seqs, default=0))
    return count


def pruned_seq(connection: Connection) -> int:
    """The greatest number of an event that retention has deleted; 0 before the first."""
    return connection.scalar(select(meta.c.value).where(meta.c.key == PRUNED_SEQ)) or 0


def _remember(connection: Connection, pruned: int) -> None:
    if pruned:
        inserted = insert_or_update(meta).values(key=PRUNED_SEQ, value=pruned)
        greater = inserted.excluded.value > meta.c.value
        connection.execute(
            inserted.on_conflict_do_update(
                index_elements=["key"], set_={"value": inserted.excluded.value}, where=greater
            )
        )
