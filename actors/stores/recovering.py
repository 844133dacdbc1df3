"""Taking over what another runtime left unfinished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Final

from sqlalchemy import Update, and_, bindparam, case, func, select, update

from propolis.messages import (
    ExecutionSpec,
    ExecutionState,
    ExecutionStatus,
    MessageError,
    Recovered,
    RecoveredExecution,
    RecoverExecutions,
    encode,
    unchecked,
)

from .batch import Batch
from .moments import from_micros
from .posting import inbox_of
from .rows import as_payload, spec_of
from .schema import UNFINISHED, checkpoints, executions, sessions
from .statements import passed_on

__all__ = ["recover_executions"]

_new_state: Final = unchecked(ExecutionState)
_new_recovered: Final = unchecked(RecoveredExecution)

_UNFINISHED: Final[frozenset[ExecutionStatus]] = frozenset({"pending", "running", "restarting", "parked"})
_MOST: Final = 1 << 62
"""Above it a count could not be raised for long."""

_OWN: Final = executions.c.execution_id
_START: Final = case(
    (sessions.c.checkpoint_execution_id == _OWN, sessions.c.checkpoint_memory),
    (sessions.c.start_execution_id == _OWN, sessions.c.start_memory),
    (sessions.c.memory.is_(None), sessions.c.checkpoint_memory),
    else_=sessions.c.memory,
).label("start")
"""The memory that a re-run starts from."""


def _unfinished(owner: Any) -> Any:
    return and_(owner, executions.c.entry_point == bindparam("of_entry_point"), UNFINISHED)


def _find(owner: Any) -> Any:
    columns: tuple[Any, ...] = (
        executions.c.id,
        executions.c.execution_id,
        executions.c.spec,
        executions.c.status,
        executions.c.epoch,
        executions.c.attempt,
        executions.c.restarts,
        executions.c.lost_attempts,
        executions.c.owner,
        executions.c.started_at,
        _START,
        sessions.c.checkpoint_execution_id,
        sessions.c.start_execution_id,
        sessions.c.checkpoint_node,
        sessions.c.holder,
    )
    return (
        select(*columns)
        .select_from(executions.outerjoin(sessions, sessions.c.session_id == executions.c.session_id))
        .where(_unfinished(owner))
        .order_by(executions.c.id)
        .limit(bindparam("limit"))
        .with_for_update(of=executions)  # another runtime's takeover waits, where the store has locks for rows
    )


def _take(owner: Any) -> Update:
    was_running = and_(executions.c.status == "running", executions.c.owner.is_not(None))
    return (
        update(executions)
        .where(_unfinished(owner), executions.c.id <= bindparam("last"))
        .values(
            owner=bindparam("me"),
            **passed_on(case((was_running, 1), else_=0)),
        )
    )


# Of one owner at a time: each is a stretch of an index, in order. One search over all of them would sort everything
# there is for every page. And made once, since a statement takes longer to make than to run.
_OF_NOBODY: Final = executions.c.owner.is_(None)
_OF_OWNER: Final = executions.c.owner == bindparam("of")
_FIND: Final = {True: _find(_OF_NOBODY), False: _find(_OF_OWNER)}
_TAKE: Final = {True: _take(_OF_NOBODY), False: _take(_OF_OWNER)}
_ALL_OF_OWNER: Final = _find(_OF_OWNER).limit(None)
_CHANGE_SPEC: Final = update(executions).where(bindparam("of") == _OWN).values(spec=bindparam("new"))


def recover_executions(batch: Batch, write: RecoverExecutions) -> Recovered:
    """A statement that reads, and one that takes, for each owner that has left something, however much it is.

    Those that are this runtime's already (`mine`) come all at once, beyond the limit, and keep their epoch: nobody is
    taken over, and what still runs of them goes on.
    """
    connection, me = batch.connection, batch.runtime_id
    of = {"of_entry_point": write.entry_point, "limit": write.limit + 1}
    mine = connection.execute(_ALL_OF_OWNER, of | {"of": me}).all() if write.mine else []
    found: list[Any] = []
    for owner in (None, *(owner for owner in write.dead_owners if owner != me)):
        found += connection.execute(_FIND[owner is None], of | {"of": owner}).all()
    found.sort(key=_by_id)
    taken = found[: write.limit]
    for owner in {row.owner for row in taken}:
        last = {"of": owner, "of_entry_point": write.entry_point, "last": taken[-1].id, "me": me}
        connection.execute(_TAKE[owner is None], last)
    specs = _begin_under(batch, taken, write.version)
    rows = sorted([*taken, *mine], key=_by_id) if mine else taken
    return Recovered(executions=tuple(_read(batch, rows, me, specs)), more=len(found) > write.limit)


def _begin_under(batch: Batch, taken: Sequence[Any], version: str | None) -> dict[str, bytes]:
    """Those that were never begun are going to be, under this version of the user's code: their specs, if that is
    another one than they were accepted under.
    """
    specs = {}
    for row in taken:
        spec = _spec(row) if row.attempt == 0 else None
        if spec is not None and spec.version != version:
            specs[row.execution_id] = encode(spec.model_copy(update={"version": version}))
    if specs:
        batch.connection.execute(_CHANGE_SPEC, [{"of": own, "new": spec} for own, spec in specs.items()])
    return specs


def _is_whole(status: Any, counts: tuple[Any, ...], started_at: Any) -> bool:
    """Whether these columns hold what they should. A row that is damaged, its stream leaves alone."""
    try:
        from_micros(started_at)
    except (TypeError, OverflowError):
        return False
    return status in _UNFINISHED and all(type(count) is int and 0 <= count < _MOST for count in counts)


def _spec(row: Any) -> ExecutionSpec | None:
    """The spec of a row; None of one that is damaged."""
    try:
        return spec_of(row.spec)
    except MessageError:
        return None


def _by_id(row: Any) -> int:
    id: int = row[0]
    return id


def _read(batch: Batch, rows: Sequence[Any], me: str, specs: Mapping[str, bytes]) -> list[RecoveredExecution]:
    left = inbox_of(batch.connection, [row.id for row in rows])
    points = _points_beside(batch, rows)
    recovered = []
    for (
        _,
        own,
        spec,
        status,
        epoch,
        attempt,
        restarts,
        lost_attempts,
        owner,
        started_at,
        start,
        checkpoint_owner,
        _,
        node,
        holder,
    ) in rows:
        taken = owner != me
        memory, its_node = points.get(own) or (start, node if checkpoint_owner == own else None)
        if not (
            _is_whole(status, (epoch, attempt, restarts, lost_attempts), started_at)
            and isinstance(spec, bytes)
            and isinstance(memory, (bytes, NoneType))
        ):  # it goes as one whose spec cannot be read
            damaged = _new_state(execution_id=own, owner=me)
            recovered.append(_new_recovered(encoded_spec=b"", state=damaged, taken=taken))
            continue
        state = _new_state(
            execution_id=own,
            status=status,
            epoch=epoch + taken,
            attempt=attempt,
            restarts=restarts,
            lost_attempts=lost_attempts + (status == "running" and owner not in (me, None)),
            owner=me,
            started_at=from_micros(started_at),
        )
        recovered.append(
            _new_recovered(
                encoded_spec=specs.get(own, spec),
                state=state,
                memory=as_payload(memory),
                node=its_node,
                inbox=left.get(own, ()),
                taken=taken,
                takes=holder not in (None, own),
            )
        )
    return recovered


def _points_beside(batch: Batch, rows: Sequence[Any]) -> dict[str, tuple[Any, Any]]:
    """Memory and node of the last checkpoints, or starts, of executions of which the row of their session says nothing:
    they run beside the one that has it.
    """
    beside = {
        spec.run_id: row.execution_id
        for row in rows
        if row.checkpoint_execution_id not in {None, row.execution_id}
        and row.start_execution_id != row.execution_id
        and (spec := _spec(row)) is not None
    }
    if not beside:
        return {}
    last = select(checkpoints.c.run, func.max(checkpoints.c.ordinal).label("ordinal"))
    newest = last.where(checkpoints.c.run.in_(beside)).group_by(checkpoints.c.run).subquery()
    its = and_(checkpoints.c.run == newest.c.run, checkpoints.c.ordinal == newest.c.ordinal)
    found = batch.connection.execute(select(checkpoints).join(newest, its))
    return {beside[row.run]: (row.memory, row.node) for row in found}
