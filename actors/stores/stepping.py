"""Recorded steps and checkpoints of a run: rows, and what is done with many at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any, Final

from sqlalchemy import (
    Connection,
    RowMapping,
    Subquery,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
)

from propolis.messages import (
    AdvanceExecution,
    ChangeState,
    Checkpoint,
    CheckpointRecord,
    Failure,
    MessageError,
    Payload,
    RecordedStep,
    RecordSteps,
    RunHistory,
    decode_as,
    encode,
)

from .bulk import Bulk, given
from .dialect import insert_or_update
from .moments import from_micros, to_micros
from .rows import as_bytes, as_payload, checked, readable
from .schema import checkpoints, executions, steps

__all__ = [
    "PUT_CHECKPOINTS",
    "PUT_STEPS",
    "STEP_CHANGES",
    "STEP_COLUMNS",
    "branch",
    "checkpoint_row",
    "drop_runs",
    "find_checkpoint",
    "find_history",
    "forget_steps",
    "last_point",
    "list_all_checkpoints",
    "list_checkpoints",
    "prune_checkpoints",
    "runs_of",
    "step_of",
    "step_rows",
]

STEP_COLUMNS: Final = tuple(column.name for column in steps.c)
STEP_CHANGES: Final = ("status", "digest", "due_at", "about", "value", "failure", "inherited", "at")
_ALL: Final = (1 << 63) - 1
_COUNTED: Final = checkpoints.c.ordinal > literal_column("0")
_CHECKPOINT_COLUMNS: Final = tuple(column.name for column in checkpoints.c)


def _put_steps(rows: Subquery) -> Any:
    put = insert_or_update(steps).from_select(list(STEP_COLUMNS), _real(rows), include_defaults=False)
    new = {name: put.excluded[name] for name in STEP_CHANGES}
    return put.on_conflict_do_update(index_elements=["run", "segment", "kind", "name", "call"], set_=new)


def _put_checkpoints(rows: Subquery) -> Any:
    put = insert_or_update(checkpoints).from_select(list(_CHECKPOINT_COLUMNS), _real(rows), include_defaults=False)
    new = {name: put.excluded[name] for name in ("execution_id", "node", "at", "memory")}
    return put.on_conflict_do_update(index_elements=["run", "ordinal"], set_=new)


def _real(rows: Subquery) -> Any:
    return select(rows).where(rows.c.run != literal_column("''"))


PUT_STEPS: Final = Bulk([given(column) for column in steps.c], _put_steps)
"""Record steps; what is there under the same key is replaced."""

PUT_CHECKPOINTS: Final = Bulk([given(column) for column in checkpoints.c], _put_checkpoints)
"""Keep checkpoints; one that is there under the same number is replaced (a pause, at the checkpoint before it)."""


def step_rows(write: AdvanceExecution | RecordSteps | ChangeState) -> list[tuple[Any, ...]]:
    """The rows of the steps that come with a write."""
    at = to_micros(write.at)
    run = write.run or write.execution_id if isinstance(write, AdvanceExecution) else write.run
    steps = write.steps if not isinstance(write, ChangeState) else (write.step,) if write.step is not None else ()
    return [
        (
            run,
            *step.key,
            step.status,
            step.digest,
            to_micros(step.due_at),
            None if step.about is None else step.about.data,
            None if step.value is None else step.value.data,
            None if step.failure is None else encode(step.failure),
            1 if step.inherited else 0,
            at,
        )
        for step in steps
    ]


def checkpoint_row(write: AdvanceExecution | RecordSteps) -> tuple[Any, ...] | None:
    """The row of the checkpoint that a write makes, if it does; None too of one that its maker did not count."""
    if isinstance(write, RecordSteps):
        if write.memory is None:
            return None
        return (write.run, write.ordinal, write.execution_id, write.node, to_micros(write.at), write.memory.data)
    checkpoint = write.checkpoint
    if checkpoint is None or not checkpoint.ordinal:
        return None
    own = checkpoint.execution_id
    at = to_micros(checkpoint.created_at)
    return (checkpoint.run or own, checkpoint.ordinal, own, checkpoint.node, at, checkpoint.memory.data)


def forget_steps(connection: Connection, run: str, keys: Iterable[tuple[int, str, str, int]]) -> None:
    """Have these steps run again."""
    for segment, kind, name, call in keys:
        its = and_(
            steps.c.run == run,
            steps.c.segment == segment,
            steps.c.kind == kind,
            steps.c.name == name,
            steps.c.call == call,
        )
        connection.execute(delete(steps).where(its))


# Made once: every execution that runs again asks them.
_STEPS_OF_RUN: Final = select(steps).where(steps.c.run == bindparam("run"))
_LAST_POINT: Final = (
    select(checkpoints).where(checkpoints.c.run == bindparam("run")).order_by(checkpoints.c.ordinal.desc()).limit(1)
)
_LAST_OF_RUN: Final = select(func.max(checkpoints.c.ordinal)).where(checkpoints.c.run == bindparam("run"))


def find_history(connection: Connection, run: str) -> RunHistory:
    """What a run has behind it."""
    found = connection.execute(_STEPS_OF_RUN, {"run": run}).mappings()
    last = connection.scalar(_LAST_OF_RUN, {"run": run})
    if not isinstance(last, (int, NoneType)):
        raise MessageError(reason="damaged_row", detail=f"a checkpoint has the number {last!r}")
    return RunHistory(steps=tuple(step_of(row) for row in found), segment=last or 0)


def last_point(connection: Connection, run: str) -> Checkpoint | None:
    """The last checkpoint of a run; what it began with (0) where it has made none and that is kept."""
    row = connection.execute(_LAST_POINT, {"run": run}).mappings().one_or_none()
    return None if row is None else _checkpoint_of(row)


@checked
def step_of(row: RowMapping) -> RecordedStep:
    """A recorded step."""
    return RecordedStep(
        segment=row["segment"],
        kind=row["kind"],
        name=row["name"],
        call=row["call"],
        status=row["status"],
        digest=row["digest"],
        due_at=from_micros(row["due_at"]),
        about=as_payload(row["about"]),
        value=as_payload(row["value"]),
        failure=None if row["failure"] is None else decode_as(Failure, row["failure"]),
        inherited=bool(row["inherited"]),
    )


def list_checkpoints(connection: Connection, runs: Any, limit: int) -> tuple[CheckpointRecord, ...]:
    """The checkpoints of these runs (a query that gives their ids), the last one first."""
    latest_first = (checkpoints.c.at.desc(), checkpoints.c.ordinal.desc())
    query = select(checkpoints).where(checkpoints.c.run.in_(runs), _COUNTED).order_by(*latest_first).limit(limit)
    return tuple(readable(connection.execute(query).mappings(), _record_of, "run"))


def _record_of(row: RowMapping) -> CheckpointRecord:
    point = _checkpoint_of(row)
    return CheckpointRecord(
        checkpoint_id=point.checkpoint_id,
        execution_id=point.execution_id,
        ordinal=point.ordinal,
        node=point.node,
        created_at=point.created_at,
        memory_payload=point.memory,
    )


def list_all_checkpoints(connection: Connection, runs: Any) -> tuple[Checkpoint, ...]:
    """The checkpoints of these runs, to be kept elsewhere."""
    query = select(checkpoints).where(checkpoints.c.run.in_(runs)).order_by(*checkpoints.primary_key.columns)
    return tuple(_checkpoint_of(row) for row in connection.execute(query).mappings())


def find_checkpoint(connection: Connection, runs: Any, checkpoint_id: str) -> Checkpoint | None:
    """A checkpoint of one of these runs by its id."""
    run, _, ordinal = checkpoint_id.rpartition(".")
    if not run or not ordinal.isdecimal() or len(ordinal) > 18:
        return None
    its = and_(checkpoints.c.run == run, checkpoints.c.ordinal == int(ordinal), checkpoints.c.run.in_(runs), _COUNTED)
    row = connection.execute(select(checkpoints).where(its)).mappings().one_or_none()
    return None if row is None else _checkpoint_of(row)


@checked
def _checkpoint_of(row: RowMapping) -> Checkpoint:
    return Checkpoint(
        checkpoint_id=Checkpoint.id_of(row["run"], row["ordinal"]),
        execution_id=row["execution_id"],
        node=row["node"],
        created_at=from_micros(int(row["at"])),
        memory=Payload(as_bytes(row["memory"])),
        run=row["run"],
        ordinal=row["ordinal"],
    )


def prune_checkpoints(connection: Connection, run: str, last: int, keep: int, before: int | None) -> None:
    """Drop the checkpoints of a run but the last `keep`, and of those all from `before` (microseconds) but the last."""
    old = checkpoints.c.ordinal <= last - keep
    if before is not None:
        old = old | (checkpoints.c.at < before)
    connection.execute(delete(checkpoints).where(checkpoints.c.run == run, checkpoints.c.ordinal < last, old))


def branch(connection: Connection, source: str, ordinal: int, run: str) -> None:
    """Have a run begin where another one stood at a checkpoint (0: its start), with the steps that were behind that.

    Where it is the last one of the other run, what that has recorded since comes along.
    """
    last = connection.scalar(select(func.max(checkpoints.c.ordinal)).where(checkpoints.c.run == source)) or 0
    below = _ALL if ordinal >= last else ordinal
    names = [column.name for column in steps.c]
    values = {"run": literal(run), "inherited": literal_column("1")}
    copied = select(*[values.get(name, steps.c[name]) for name in names]).where(
        steps.c.run == source, steps.c.segment < below
    )
    connection.execute(insert(steps).from_select(names, copied, include_defaults=False))


def drop_runs(connection: Connection, runs: Sequence[str]) -> None:
    """Their steps and checkpoints go."""
    connection.execute(delete(steps).where(steps.c.run.in_(runs)))
    connection.execute(delete(checkpoints).where(checkpoints.c.run.in_(runs)))


def runs_of(session: Any) -> Any:
    """The ids of the runs of a session, by the condition that picks its executions."""
    return select(executions.c.execution_id).where(session)
