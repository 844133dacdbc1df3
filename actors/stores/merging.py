"""The memory of a session that several executions write: each changes the keys that it has changed, and no others."""

from __future__ import annotations

from typing import Any

from propolis.messages import AdvanceExecution, Payload, RecordSteps

from .batch import Batch, pinned_by
from .holding import find_session_to_take, start_of, update_session
from .rows import memory_in
from .schema import PINNED

__all__ = ["change_shared", "merged", "runs_beside"]


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
    row, point = find_session_to_take(batch, write.session_id), pinned_by(write)
    changes: dict[str, Any] = {}
    if not runs_beside(write):  # it has the session, and so says of it more than the memory
        changes |= {} if write.progress is None else {"progress": write.progress.data}
        changes |= {} if point is None else dict(zip(PINNED, point, strict=True))
    new: bytes | None = None if point is None else point[-1]
    if write.memory is not None:
        new = write.memory.data
    if new is not None:
        own = write.execution_id
        memory, before = memory_in(row), start_of(batch.connection, row, own, write.run or own).memory
        after = merged(memory, before, new)
        if after != memory:
            changes |= {"memory": after, "shared": 1}
    update_session(batch, row, changes)


def runs_beside(write: AdvanceExecution | RecordSteps) -> bool:
    """Whether it is of an execution that never has its session."""
    return isinstance(write, AdvanceExecution) and write.beside
