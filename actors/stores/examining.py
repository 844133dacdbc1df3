"""Looks at everything in a store, changes nothing, and says what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)

from propolis.messages import (
    ENDED,
    ExecutionResult,
    ExecutionSpec,
    ExecutionStatus,
    Failure,
    MessageError,
    Payload,
    decode_as,
)

from .findings import SHOWN, Finding
from .moments import from_micros
from .protocol import VERSION_OWNER
from .schema import (
    LAST_SEQ,
    QUARANTINED,
    UNFINISHED,
    checkpoints,
    events,
    executions,
    inbox,
    meta,
    metadata,
    runtimes,
    sessions,
    steps,
    triggers,
    workers,
)

__all__ = ["ORPHANS", "examine"]

OVERDUE_MICROS: Final = 5 * 60 * 1_000_000

_OWN = exists().where(executions.c.execution_id == events.c.execution_id)

ORPHANS: Final[Mapping[Table, tuple[Column[Any], Any, str]]] = {
    events: (events.c.seq, and_(events.c.execution_id.is_not(None), ~_OWN), "events of executions that are not there"),
    inbox: (
        inbox.c.id,
        ~exists().where(executions.c.execution_id == inbox.c.execution_id, UNFINISHED),
        "rows for executions that are not there, or have ended",
    ),
    steps: (
        steps.c.run,
        ~exists().where(executions.c.execution_id == steps.c.run),
        "recorded steps of executions that are not there",
    ),
    checkpoints: (
        checkpoints.c.run,
        ~exists().where(executions.c.execution_id == checkpoints.c.run),
        "checkpoints of executions that are not there",
    ),
    workers: (
        workers.c.runtime_id,
        ~exists().where(runtimes.c.runtime_id == workers.c.runtime_id),
        "worker processes of runtimes that are not there",
    ),
    sessions: (
        sessions.c.session_id,
        ~exists().where(executions.c.execution_id == sessions.c.owner_execution_id),
        "sessions whose execution is not there",
    ),
}
"""By table: the id of a row, when it is an orphan, and what that is called."""


OWNER_IS_NONE: Final = and_(
    executions.c.owner.is_not(None),
    ~exists().where(runtimes.c.runtime_id == executions.c.owner),
    ~executions.c.owner.startswith(VERSION_OWNER),  # what waits for its version
)
"""The owner of an execution is no runtime of this store."""


def examine(connection: Connection, alive: Mapping[str, bool | None], now: int) -> Iterator[Finding]:
    """Everything but the file's own structure. `alive`: of the registered runtimes, None where it cannot be told.

    Reads every row. `now` is in microseconds since 1970.
    """
    yield from _runtimes(connection, alive)
    yield from _executions(connection)
    yield from _orphans(connection)
    yield from _counters(connection)
    yield from _undecodable(connection)
    yield from _versions(connection)
    yield from _triggers(connection, alive, now)


def _listed(connection: Connection, query: Select[Any], **fields: Any) -> Iterator[Finding]:
    """A finding with the ids that a query gives, or none."""
    ids = [str(id) for id in connection.execute(query).scalars()]
    if ids:
        yield Finding(ids=tuple(ids[:SHOWN]), count=len(ids), **fields)


# -- who has what ----------------------------------------------------------------------------------------------------


def _runtimes(connection: Connection, alive: Mapping[str, bool | None]) -> Iterator[Finding]:
    for row in connection.execute(select(runtimes).order_by(runtimes.c.started_at)).mappings():
        id = row["runtime_id"]
        its = select(executions.c.execution_id).where(executions.c.owner == id, UNFINISHED).order_by(executions.c.id)
        ids = [str(found) for found in connection.execute(its).scalars()]
        facts: dict[str, Any] = {"subject": f"runtime {id}", "ids": tuple(ids[:SHOWN]), "count": len(ids)}
        process = f"process {row['pid']}, with {len(ids)} unfinished executions"
        match alive.get(id):
            case True:
                yield Finding(kind="live_runtime", severity="note", detail=f"it is alive: {process}", **facts)
            case False:
                yield Finding(
                    kind="dead_runtime",
                    detail=f"it is dead, and its lease is open: {process}",
                    remedy="frees what it had, for the next runtime",
                    repairable=True,
                    **facts,
                )
            case None:
                yield Finding(
                    kind="unseen_runtime",
                    severity="note",
                    detail=f"on {row['host'].partition('/')[0]}, where it cannot be seen from here: {process}",
                    remedy="--wait SECONDS watches its beat, and tells whether it stands still",
                    **facts,
                )


def _executions(connection: Connection) -> Iterator[Finding]:
    id = executions.c.execution_id
    yield from _listed(
        connection,
        select(id).where(UNFINISHED, OWNER_IS_NONE).order_by(executions.c.id),
        kind="stuck",
        subject="executions",
        detail="unfinished, and their owner is no runtime of this store: nobody would take them over",
        remedy="frees them, for the next runtime",
        repairable=True,
    )
    ended = executions.c.status.in_(sorted(ENDED))
    yield from _listed(
        connection,
        select(id).where(case((ended, 1), else_=0) != executions.c.ended).order_by(executions.c.id),
        kind="disagreement",
        subject="executions",
        detail="their status says that they have ended and their row does not, or the other way round",
        remedy="sets the row as the status says",
        repairable=True,
    )
    yield from _listed(
        connection,
        select(id).where(ended, executions.c.result.is_(None)).order_by(executions.c.id),
        kind="no_result",
        subject="executions",
        detail="ended, without a result",
        remedy="delete their sessions, or restore the file",
    )
    yield from _listed(
        connection,
        select(id).where(executions.c.status.not_in(get_args(ExecutionStatus))).order_by(executions.c.id),
        kind="undecodable",
        subject="executions.status",
        detail="their status is none that an execution has",
        remedy="delete their sessions, or restore the file",
    )
    unowned = select(executions.c.entry_point, func.count()).where(UNFINISHED, executions.c.owner.is_(None))
    for entry_point, count in connection.execute(unowned.group_by(executions.c.entry_point)):
        yield Finding(
            kind="unowned",
            severity="note",
            subject=f"entry point {entry_point}",
            detail=f"{count} unfinished executions wait for a runtime that opens it",
            count=count,
        )
    yield from _listed(
        connection,
        select(id).where(QUARANTINED).order_by(executions.c.id),
        kind="quarantined",
        severity="note",
        subject="executions",
        detail="failed until their restarts were used up; runtime.replay() runs one again",
    )


# -- rows that do not fit --------------------------------------------------------------------------------------------


def _orphans(connection: Connection) -> Iterator[Finding]:
    for table, (key, is_orphan, called) in ORPHANS.items():
        yield from _listed(
            connection,
            select(key).where(is_orphan).order_by(key),
            kind="orphans",
            subject=table.name,
            detail=called,
            remedy="deletes them",
            repairable=True,
        )


def _counters(connection: Connection) -> Iterator[Finding]:
    last = connection.scalar(select(meta.c.value).where(meta.c.key == LAST_SEQ))
    highest = connection.scalar(select(func.max(events.c.seq))) or 0
    if last is None or last < highest:
        yield Finding(
            kind="counter",
            subject="meta",
            detail=f"the last event is number {highest}, and {last} would be the one before the next",
            remedy=f"sets it to {highest}",
            repairable=True,
        )


def _undecodable(connection: Connection) -> Iterator[Finding]:
    for table, keys in _KEYS.items():
        if table not in metadata.tables:
            continue
        found = metadata.tables[table]
        key_columns = [found.c[key] for key in keys]
        for column in found.columns:
            if isinstance(column.type, Integer):
                is_none = cast(column, column.type) != column
                yield from _unreadable(connection.execute(select(*key_columns, column).where(is_none)), column)
            elif isinstance(column.type, LargeBinary) and column.name not in _RAW:
                given = select(*key_columns, column).where(column.is_not(None))
                yield from _unreadable(connection.execution_options(yield_per=1_000).execute(given), column)


_KEYS: Final = {
    "executions": ("execution_id",),
    "sessions": ("session_id",),
    "events": ("seq",),
    "inbox": ("id",),
    "steps": ("run", "segment", "kind", "name", "call"),
    "checkpoints": ("run", "ordinal"),
    "state": ("scope", "key"),
    "state_history": ("scope", "key", "version"),
    "runtimes": ("runtime_id",),
    "triggers": ("entry_point",),
}
_RAW: Final = frozenset({"digest"})
"""Columns of plain bytes."""

_MESSAGES: Final[Mapping[str, Any]] = {"spec": ExecutionSpec, "result": ExecutionResult, "failure": Failure}


def _unreadable(rows: Iterable[Any], column: Column[Any]) -> Iterator[Finding]:
    """Of these rows (their key, and this column) those in which the column cannot be read."""
    bad: list[str] = []
    count, why = 0, ""
    for *key, data in rows:
        reason = _reason(column, data)
        if reason is not None:
            count += 1
            why = why or reason
            if len(bad) < SHOWN:
                bad.append("/".join(map(str, key)))
    if count:
        yield Finding(
            kind="undecodable",
            subject=str(column),
            detail=f"these rows cannot be read; the first: {why}",
            ids=tuple(bad),
            count=count,
            remedy="delete their sessions, or restore the file",
        )


def _reason(column: Column[Any], data: Any) -> str | None:
    wanted = "number" if isinstance(column.type, Integer) else "bytes"
    if wanted == "number" or not isinstance(data, bytes):
        return f"it holds {type(data).__name__} and no {wanted}"
    try:
        if column.name in _MESSAGES:
            decode_as(_MESSAGES[column.name], data)
        else:
            Payload(data).value()
    except MessageError as error:
        return str(error)
    return None


# -- what is good to know --------------------------------------------------------------------------------------------


def _versions(connection: Connection) -> Iterator[Finding]:
    latest: dict[str, str | None] = {}
    unfinished: dict[str, list[tuple[str, str | None]]] = {}
    query = select(executions.c.entry_point, executions.c.execution_id, executions.c.spec, executions.c.ended)
    newest = select(func.max(executions.c.id)).group_by(executions.c.entry_point).scalar_subquery()
    rows = connection.execute(query.where(or_(UNFINISHED, executions.c.id.in_(newest))).order_by(executions.c.id))
    for entry_point, id, spec, ended in rows:
        try:
            version = decode_as(ExecutionSpec, spec).version
        except MessageError:
            continue  # told already
        latest[entry_point] = version
        if not ended:
            unfinished.setdefault(entry_point, []).append((id, version))
    for entry_point, found in sorted(unfinished.items()):
        others = [(id, version) for id, version in found if version != latest[entry_point]]
        if others:
            versions = ", ".join(sorted({repr(version) for _, version in others}))
            yield Finding(
                kind="version_mismatch",
                severity="note",
                subject=f"entry point {entry_point}",
                detail=f"unfinished under version {versions}; the last execution has {latest[entry_point]!r}",
                ids=tuple(id for id, _ in others[:SHOWN]),
                count=len(others),
            )


def _triggers(connection: Connection, alive: Mapping[str, bool | None], now: int) -> Iterator[Finding]:
    if any(state is not False for state in alive.values()):
        return  # somebody may be at it
    late = select(triggers).where(triggers.c.kind == literal("timer"), triggers.c.position < now - OVERDUE_MICROS)
    for row in connection.execute(late.order_by(triggers.c.entry_point)).mappings():
        yield Finding(
            kind="overdue",
            severity="note",
            subject=f"entry point {row['entry_point']}",
            detail=f"its timer was due at {from_micros(int(row['position'])):%Y-%m-%d %H:%M:%S} UTC",
            remedy="a runtime that opens it does what was missed, as its misfire says",
        )
