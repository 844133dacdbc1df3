"""Taking over what another runtime left unfinished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, Select, and_, case, func, literal, select, union_all, update

from propolis.messages import Recovered, RecoveredExecution, RecoverExecutions

from .batch import Batch
from .posting import inbox_of
from .rows import as_payload, spec_of, state_of
from .schema import UNFINISHED, checkpoints, executions, sessions

__all__ = ["recover_executions"]

_OF_SESSION = (
    sessions.c.owner_execution_id,
    sessions.c.checkpoint_execution_id,
    sessions.c.checkpoint_id,
    sessions.c.checkpoint_node,
)


def recover_executions(batch: Batch, write: RecoverExecutions) -> Recovered:
    """Three statements, however many executions: find, take, read.

    Those that are this runtime's already (`mine`) come all at once, beyond the limit, and keep their epoch: nobody is
    taken over, and what still runs of them goes on.
    """
    connection = batch.connection
    me = batch.runtime_id
    others = tuple(owner for owner in write.dead_owners if owner != me)
    found = list(connection.execute(_find(write, (None, *others))).scalars())
    more = len(found) > write.limit
    taken = found[: write.limit]
    mine = list(connection.execute(_owned(write, me).order_by(executions.c.id)).scalars()) if write.mine else []
    if taken:
        was_running = and_(executions.c.status == "running", executions.c.owner.is_not(None))
        connection.execute(
            update(executions)
            .where(executions.c.id.in_(taken))
            .values(
                owner=me,
                epoch=executions.c.epoch + 1,
                lost_attempts=executions.c.lost_attempts + case((was_running, 1), else_=0),
            )
        )
    return Recovered(executions=tuple(_read(batch, sorted(taken + mine), set(taken))), more=more)


def _owned(write: RecoverExecutions, owner: str | None) -> Select[Any]:
    has_owner = executions.c.owner.is_(None) if owner is None else executions.c.owner == owner
    return select(executions.c.id).where(has_owner, executions.c.entry_point == write.entry_point, UNFINISHED)


def _find(write: RecoverExecutions, owners: tuple[str | None, ...]) -> Select[Any]:
    # The oldest of each owner, each a stretch of an index, and of those the oldest. One search over all owners would
    # sort everything there is for every page.
    parts = [
        select(_owned(write, owner).order_by(executions.c.id).limit(literal(write.limit + 1)).subquery().c.id)
        for owner in owners
    ]
    either = union_all(*parts).subquery()
    return select(either.c.id).order_by(either.c.id).limit(literal(write.limit + 1))


def _read(batch: Batch, ids: list[int], taken: set[int]) -> list[RecoveredExecution]:
    own = executions.c.execution_id
    start = case(
        (sessions.c.checkpoint_execution_id == own, sessions.c.checkpoint_memory),
        (sessions.c.start_execution_id == own, sessions.c.start_memory),
        (sessions.c.memory.is_(None), sessions.c.checkpoint_memory),
        else_=sessions.c.memory,
    ).label("start")
    query = (
        select(executions, start, *_OF_SESSION)
        .select_from(executions.outerjoin(sessions, sessions.c.session_id == executions.c.session_id))
        .where(executions.c.id.in_(ids))
        .order_by(executions.c.id)
    )
    left = inbox_of(batch.connection, ids)
    rows = batch.connection.execute(query).mappings().all()
    points = _points_beside(batch, rows)
    recovered = []
    for row in rows:
        its_own = row["execution_id"]
        point = points.get(its_own)
        resumes = row["owner_execution_id"] == its_own != row["session_id"]  # from the session's checkpoint
        from_checkpoint = resumes or row["checkpoint_execution_id"] == its_own
        recovered.append(
            RecoveredExecution(
                encoded_spec=row["spec"],
                state=state_of(row),
                memory=as_payload(row["start"] if point is None else point["memory"]),
                node=point["node"] if point is not None else row["checkpoint_node"] if from_checkpoint else None,
                inbox=left.get(its_own, ()),
                taken=row["id"] in taken,
            )
        )
    return recovered


def _points_beside(batch: Batch, rows: Sequence[RowMapping]) -> dict[str, RowMapping]:
    """The last checkpoints of executions whose session was at another one's last: they run beside each other."""
    beside = {
        spec_of(row["spec"]).run_id: row["execution_id"]
        for row in rows
        if row["checkpoint_id"] is not None and row["checkpoint_execution_id"] != row["execution_id"]
    }
    if not beside:
        return {}
    last = select(checkpoints.c.run, func.max(checkpoints.c.ordinal).label("ordinal"))
    newest = last.where(checkpoints.c.run.in_(beside)).group_by(checkpoints.c.run).subquery()
    its = and_(checkpoints.c.run == newest.c.run, checkpoints.c.ordinal == newest.c.ordinal)
    found = batch.connection.execute(select(checkpoints).join(newest, its)).mappings()
    return {beside[row["run"]]: row for row in found}
