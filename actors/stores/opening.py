"""Opening one execution by itself: under a key, fresh, joining a session, taking one over."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, select, update

from propolis.messages import (
    Checkpoint,
    ExecutionSpec,
    IdempotencyConflict,
    Opened,
    OpenExecution,
    Payload,
    SessionBusy,
    SessionNotFound,
)

from .batch import Batch, first_session_row, initial_state
from .holding import Start, find_session_to_take, keep_start, pinned, start_of_owner, update_session
from .protocol import Committed
from .rows import execution_row, memory_in, overlaid, spec_of
from .schema import executions, sessions
from .statements import INSERT_EXECUTIONS, INSERT_SESSIONS, of_session
from .stepping import PUT_CHECKPOINTS, branch, find_checkpoint, runs_of

__all__ = ["open_execution", "same_as"]


def open_execution(batch: Batch, write: OpenExecution) -> Opened | Committed:
    """Apply it. Raises IdempotencyConflict, SessionNotFound, SessionBusy."""
    earlier = _find_earlier(batch, write)
    if earlier is not None:
        return earlier
    match write.origin:
        case "fresh":
            return _open_fresh(batch, write)
        case "join":
            return _join(batch, write)
        case "resume":
            return _resume(batch, write)
        case "fork":
            return _fork(batch, write)


def _find_earlier(batch: Batch, write: OpenExecution) -> Opened | None:
    spec = write.spec
    if spec.idempotency_key is None:
        return None
    found = batch.connection.execute(
        select(executions.c.spec).where(
            executions.c.entry_point == spec.entry_point, executions.c.idempotency_key == spec.idempotency_key
        )
    ).scalar_one_or_none()
    if found is None:
        return None
    return same_as(spec_of(found), spec)


def same_as(earlier: ExecutionSpec, spec: ExecutionSpec) -> Opened:
    """The answer to one whose idempotency key belongs to an earlier one. Raises IdempotencyConflict.

    The same request has the same input, session and memory. How soon and under what name it was asked for (priority,
    deadline, correlation_id) may differ, and so may the version of the code, which was deployed between two tries.
    """
    differs = None
    if not _is_equal(earlier.input_data, spec.input_data):
        differs = "input"
    elif _joined(earlier) != _joined(spec):
        differs = "session_id"
    elif earlier.memory_digest != spec.memory_digest:
        differs = "memory"
    if differs is not None:
        raise IdempotencyConflict(
            entry_point=spec.entry_point,
            idempotency_key=spec.idempotency_key or "",
            execution_id=earlier.execution_id,
            differs=differs,
        )
    return Opened(execution_id=earlier.execution_id, session_id=earlier.session_id, duplicate=True)


def _joined(spec: ExecutionSpec) -> str | None:
    return spec.session_id if spec.origin == "join" else None


def _is_equal(one: Payload, other: Payload) -> bool:
    return one == other or bool(one.value() == other.value())  # bytes differ by the order of keys, too


def _open_fresh(batch: Batch, write: OpenExecution) -> Committed:
    spec = write.spec
    taken = select(executions.c.id).where(executions.c.execution_id == spec.execution_id)
    if batch.connection.scalar(taken) is not None:
        raise SessionBusy(session_id=spec.session_id, reason="id_taken")
    opened = _insert(batch, write, None)
    if write.memory is not None:
        INSERT_SESSIONS.run(batch.connection, [first_session_row(spec, write.memory)])
    return Committed(opened.first_seq)


def _join(batch: Batch, write: OpenExecution) -> Opened:
    row = _session(batch, write)
    policy = write.session_policy
    if row["held"] and policy == "reject":
        raise SessionBusy(
            session_id=row["session_id"],
            reason=f"execution {row['holder']!r} has it and has not ended; wait for it, or let executions queue for "
            'their session, with EntryPoint(session_policy="queue")',
        )
    if (row["held"] or write.wait_turn) and policy == "queue":
        # Its turn is still to come, and so is what it puts on the memory: the holder goes on with the memory it has.
        return _insert(batch, write, None, waits=True)
    before = memory_in(row)
    memory = overlaid(before, write.memory)
    changes: dict[str, Any] = {} if memory == before else {"memory": memory}
    own = write.spec.execution_id
    if policy == "parallel":
        changes |= {"shared": 1} if changes else {}
        keep_start(batch, own, memory)
    else:
        changes |= {"holder": own, "start_execution_id": own, "start_memory": memory, "shared": None}
    update_session(batch, row, changes)
    return _insert(batch, write, Payload(memory))


def _resume(batch: Batch, write: OpenExecution) -> Opened:
    row, spec = _session(batch, write), write.spec
    session_id, own = row["session_id"], spec.execution_id
    if row["owner_ended"] is not None and not row["owner_ended"]:
        raise SessionBusy(
            session_id=session_id,
            reason=f"its execution {row['owner_execution_id']!r} is still active, and only what has ended can be "
            "resumed; wait for it",
        )
    if row["held"]:
        raise SessionBusy(
            session_id=session_id, reason=f"execution {row['holder']!r} has it and has not ended; wait for it"
        )
    start = _find_start(batch, write, row)
    if row["owner_status"] == "completed" and write.checkpoint_id is None:
        raise SessionBusy(session_id=session_id, reason="it is completed; name a checkpoint_id to go on from there")
    start = start._replace(memory=overlaid(start.memory, write.memory))
    taken = {"owner_execution_id": own, "holder": own, "memory": start.memory, "shared": None}
    if spec.run is None:
        start = _begin_run(batch, start, own)
    began = {"start_execution_id": own, "start_memory": start.memory}
    update_session(batch, row, taken | began | pinned(batch, row, own, start))
    return _insert(batch, write, Payload(start.memory), node=start.node)


def _find_start(batch: Batch, write: OpenExecution, row: RowMapping) -> Start:
    """The checkpoint that is named, or where its owner stands. Raises SessionNotFound."""
    if write.checkpoint_id is not None:
        session_id = row["session_id"]
        named = find_checkpoint(batch.connection, runs_of(of_session(session_id)), write.checkpoint_id)
        if named is not None:
            return Start(named.run or named.execution_id, named.ordinal, named.node, named.memory.data)
        if write.checkpoint_id != row["checkpoint_id"]:
            raise SessionNotFound(session_id=session_id, checkpoint_id=write.checkpoint_id)
        return start_of_owner(batch.connection, row)._replace(memory=row["checkpoint_memory"])  # a pause before any
    return start_of_owner(batch.connection, row)


def _begin_run(batch: Batch, start: Start, own: str) -> Start:
    """Have a run of its own begin there."""
    branch(batch.connection, start.run, start.ordinal, own)
    if start.ordinal:
        PUT_CHECKPOINTS.run(batch.connection, [(own, start.ordinal, own, start.node, batch.now, start.memory)])
    return start._replace(run=own)


def _fork(batch: Batch, write: OpenExecution) -> Opened:
    """A session of its own, which begins where another one stood. That one is only read."""
    assert write.source is not None
    spec = write.spec
    start = _find_start(batch, write, find_session_to_take(batch, write.source))
    memory = Payload(overlaid(start.memory, write.memory))
    opened = _open_fresh(batch, write.model_copy(update={"memory": memory}))
    start = _begin_run(batch, start._replace(memory=memory.data), spec.execution_id)
    if start.ordinal:
        _pin(batch, spec.session_id, start)
    return Opened(
        execution_id=spec.execution_id,
        session_id=spec.session_id,
        memory=memory,
        node=start.node,
        first_seq=opened.first_seq,
    )


def _pin(batch: Batch, session_id: str, start: Start) -> None:
    its = sessions.c.session_id == session_id
    point = {"checkpoint_id": Checkpoint.id_of(session_id, start.ordinal), "checkpoint_node": start.node}
    batch.connection.execute(update(sessions).where(its).values(checkpoint_at=batch.now, **point))


def _session(batch: Batch, write: OpenExecution) -> RowMapping:
    row = find_session_to_take(batch, write.spec.session_id)
    taken = select(executions.c.id).where(executions.c.execution_id == write.spec.execution_id)
    if batch.connection.scalar(taken) is not None:
        raise SessionBusy(session_id=write.spec.session_id, reason="id_taken")
    return row


def _insert(
    batch: Batch, write: OpenExecution, memory: Payload | None, *, waits: bool = False, node: str | None = None
) -> Opened:
    overlay = write.memory.data if waits and write.memory is not None else None
    row = execution_row(write.spec, initial_state(batch, write), batch.next_seq(), overlay)
    INSERT_EXECUTIONS.run(batch.connection, [row])
    return Opened(
        execution_id=write.spec.execution_id,
        session_id=write.spec.session_id,
        may_start=not waits,
        memory=memory,
        node=node,
        first_seq=batch.add_drafts(write),
    )
