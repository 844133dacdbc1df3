"""The memory of a session that several executions write: each changes the keys that it has changed, and no others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, update

from propolis.messages import AdvanceExecution, Payload, RecordSteps

from .batch import Batch
from .holding import find_session_to_take, start_of
from .moments import to_micros
from .rows import memory_in
from .schema import sessions

__all__ = ["change_shared", "merged"]


def merged(memory: bytes, before: bytes, after: bytes) -> bytes:
    """Memory with what an execution has changed since `before`: keys that it has set or deleted. The last one wins."""
    there, old, new = (Payload(each).split() for each in (memory, before, after))
    kept = {key: value for key, value in there.items() if key in new or key not in old}
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    return Payload.join(kept | changed).data


def change_shared(batch: Batch, write: AdvanceExecution | RecordSteps) -> None:
    """Change a session of which others write the memory too: what a run beside its holder does, and then the holder.

    What an execution has changed is what differs from its last checkpoint, or its start. Raises SessionNotFound.
    """
    row = find_session_to_take(batch, write.session_id)
    beside = isinstance(write, AdvanceExecution) and write.beside
    changes: dict[str, Any] = {} if beside else _told(write)
    memory = memory_in(row)
    after = _merged_into(batch, write, row, memory)
    if after != memory:
        changes |= {"memory": after, "shared": 1}
    if changes:
        batch.connection.execute(
            update(sessions)
            .where(sessions.c.session_id == write.session_id)
            .values(revision=sessions.c.revision + 1, updated_at=batch.now, **changes)
        )


def _merged_into(batch: Batch, write: AdvanceExecution | RecordSteps, row: RowMapping, memory: bytes) -> bytes:
    """The memory of the session behind this write."""
    new = write.memory
    if new is None and write.checkpoint is not None:
        new = write.checkpoint.memory
    if new is None:
        return memory
    own = write.state.execution_id if isinstance(write, AdvanceExecution) else write.execution_id
    return merged(memory, start_of(batch.connection, row, own, write.run or own).memory, new.data)


def _told(write: AdvanceExecution | RecordSteps) -> dict[str, Any]:
    """What its holder says of a session, besides the memory."""
    changes: dict[str, Any] = {} if write.progress is None else {"progress": write.progress.data}
    point = write.checkpoint
    if point is not None:
        changes |= {
            "checkpoint_execution_id": point.execution_id,
            "checkpoint_id": point.checkpoint_id,
            "checkpoint_node": point.node,
            "checkpoint_at": to_micros(point.created_at),
            "checkpoint_memory": point.memory.data,
        }
    return changes
