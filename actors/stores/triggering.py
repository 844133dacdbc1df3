"""The store's side of triggers: their rows begin, move on, are read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, case, or_, select, update

from propolis.messages import Moved, MoveTrigger, OpenTrigger, TriggerRow

from .batch import Batch
from .dialect import insert_or_update
from .moments import from_micros, to_micros
from .schema import triggers

__all__ = ["find_trigger", "list_triggers", "move_trigger", "open_trigger"]


def open_trigger(batch: Batch, write: OpenTrigger) -> TriggerRow:
    """Insert the row, or begin it anew when it has another shape."""
    at = to_micros(write.at)
    first = write.position
    if first is None and write.kind == "event":
        first = batch.next_seq() - 1
    new = {
        "entry_point": write.entry_point,
        "kind": write.kind,
        "shape": write.shape,
        "began_at": at,
        "position": first,
        "updated_at": at,
    }
    changes = {name: value for name, value in new.items() if name != "entry_point"}
    if write.kind == "event" and write.position is None:
        changes["position"] = case((triggers.c.kind == "event", triggers.c.position), else_=first)
    is_other = or_(triggers.c.shape != write.shape, triggers.c.kind != write.kind)
    batch.connection.execute(
        insert_or_update(triggers)
        .values(new)
        .on_conflict_do_update(index_elements=["entry_point"], set_=changes, where=is_other)
    )
    row = find_trigger(batch.connection, write.entry_point)
    assert row is not None
    return row


def move_trigger(batch: Batch, write: MoveTrigger) -> Moved | None:
    """Move it if it stands where it is expected to."""
    moved = batch.connection.execute(
        update(triggers)
        .where(
            triggers.c.entry_point == write.entry_point,
            triggers.c.shape == write.shape,
            triggers.c.position == write.expected,
        )
        .values(position=write.position, updated_at=to_micros(write.at))
    )
    return Moved(first_seq=batch.add_events(write.events)) if moved.rowcount else None


def find_trigger(connection: Connection, entry_point: str) -> TriggerRow | None:
    """The trigger of an entry point."""
    query = select(triggers).where(triggers.c.entry_point == entry_point)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _row(row)


def list_triggers(connection: Connection) -> tuple[TriggerRow, ...]:
    """All of them."""
    query = select(triggers).order_by(triggers.c.entry_point)
    return tuple(_row(row) for row in connection.execute(query).mappings())


def _row(row: RowMapping | Any) -> TriggerRow:
    return TriggerRow(
        entry_point=row["entry_point"],
        kind=row["kind"],
        shape=row["shape"],
        began_at=from_micros(int(row["began_at"])),
        position=row["position"],
        updated_at=from_micros(int(row["updated_at"])),
    )
