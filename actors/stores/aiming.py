"""The store's side of goals: their rows begin, move on, are left, are read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, exists, func, or_, select, update

from propolis.messages import (
    GoalProgress,
    GoalRow,
    GoalTally,
    LeaveGoal,
    Moved,
    MoveGoal,
    OpenGoal,
    Pairs,
    decode_as,
    encode,
)

from .batch import Batch
from .dialect import insert_or_update
from .moments import from_micros, to_micros
from .schema import goal_streams, goals, runtimes

__all__ = ["find_goal", "leave_goal", "list_goals", "move_goal", "open_goal"]


def open_goal(batch: Batch, write: OpenGoal) -> GoalRow:
    """Enter the stream, and the goal if it is new; one of another shape goes back to where its streams begin."""
    connection, at = batch.connection, to_micros(write.at)
    last = batch.next_seq() - 1
    stream = {"goal_id": write.goal_id, "stream_id": write.stream_id, "since": last}
    connection.execute(insert_or_update(goal_streams).values(stream).on_conflict_do_nothing())
    first = select(func.min(goal_streams.c.since)).where(goal_streams.c.goal_id == write.goal_id)
    new = {
        "goal_id": write.goal_id,
        "shape": write.shape,
        "owner": None,
        "position": connection.scalar(first),
        "tally": None,
        "progress": None,
        "updated_at": at,
    }
    connection.execute(
        insert_or_update(goals)
        .values(new)
        .on_conflict_do_update(index_elements=["goal_id"], set_=new, where=goals.c.shape != write.shape)
    )
    row = find_goal(connection, write.goal_id)
    assert row is not None
    return row


def move_goal(batch: Batch, write: MoveGoal) -> Moved | None:
    """Move it if it stands where it is expected to, and is nobody else's."""
    me = batch.runtime_id
    is_free = or_(goals.c.owner.is_(None), goals.c.owner == me, ~exists().where(runtimes.c.runtime_id == goals.c.owner))
    moved = batch.connection.execute(
        update(goals)
        .where(
            goals.c.goal_id == write.goal_id,
            goals.c.shape == write.shape,
            goals.c.position == write.expected,
            is_free,
        )
        .values(
            owner=me,
            position=write.tally.seq,
            tally=encode(write.tally),
            progress=encode(write.progress),
            updated_at=to_micros(write.at),
        )
    )
    return Moved(first_seq=batch.add_events(write.events)) if moved.rowcount else None


def leave_goal(batch: Batch, write: LeaveGoal) -> None:
    """It is free, if it was this runtime's."""
    mine = (goals.c.goal_id == write.goal_id) & (goals.c.owner == batch.runtime_id)
    batch.connection.execute(update(goals).where(mine).values(owner=None))


def find_goal(connection: Connection, goal_id: str) -> GoalRow | None:
    """One goal."""
    row = connection.execute(select(goals).where(goals.c.goal_id == goal_id)).mappings().one_or_none()
    return None if row is None else _row(connection, row)


def list_goals(connection: Connection) -> tuple[GoalRow, ...]:
    """All of them."""
    rows = connection.execute(select(goals).order_by(goals.c.goal_id)).mappings().all()
    return tuple(_row(connection, row) for row in rows)


def _row(connection: Connection, row: Any) -> GoalRow:
    streams = select(goal_streams.c.stream_id, goal_streams.c.since).where(goal_streams.c.goal_id == row["goal_id"])
    tally = GoalTally(seq=row["position"]) if row["tally"] is None else decode_as(GoalTally, row["tally"])
    return GoalRow(
        goal_id=row["goal_id"],
        shape=row["shape"],
        owner=row["owner"],
        streams=Pairs(tuple((stream, since) for stream, since in connection.execute(streams.order_by("stream_id")))),
        tally=tally,
        progress=None if row["progress"] is None else decode_as(GoalProgress, row["progress"]),
        updated_at=from_micros(int(row["updated_at"])),
    )
