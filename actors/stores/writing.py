"""A batch of writes, inside the transaction that its caller opened: together if it can be, else one by one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from propolis.messages import InvalidInput, OpenExecution, PropolisError, SessionBusy, Write

from .batch import Batch
from .dialect import Fault, tell_fault
from .protocol import Outcome
from .schema import executions
from .singly import apply_singly
from .statements import Statements
from .together import Odd, Run

__all__ = ["apply_batch"]


def apply_batch(
    connection: Connection, statements: Statements, runtime_id: str, now: int, writes: Sequence[Write]
) -> list[Outcome]:
    """Apply the writes in order; one outcome each. A write that fails leaves nothing behind, and the others alone."""
    if not writes:
        return []
    expected = sum(len(getattr(write, "events", ())) for write in writes)

    def new_batch() -> Batch:
        return Batch(connection, statements, runtime_id, now, expected)

    if len(writes) > 1:
        try:
            with connection.begin_nested():
                return _apply_together(new_batch(), writes)
        except Odd:
            pass
        except Exception as error:
            if tell_fault(error)[0] not in {Fault.CONFLICT, Fault.VALUE}:
                raise
    batch = new_batch()
    outcomes = [_apply_guarded(batch, write) for write in writes]
    batch.finish()
    return outcomes


def _apply_together(batch: Batch, writes: Sequence[Write]) -> list[Outcome]:
    run = Run(batch, _taken_keys(batch.connection, writes))
    outcomes: list[Outcome] = []
    for write in writes:
        outcome = run.add(write)
        outcomes.append(_apply_guarded(batch, write) if outcome is write else outcome)  # type: ignore[arg-type]
    run.flush()
    batch.finish()
    return outcomes


def _taken_keys(connection: Connection, writes: Sequence[Write]) -> set[tuple[str, str]]:
    keys = {
        write.spec.idempotency_key: write.spec.entry_point
        for write in writes
        if isinstance(write, OpenExecution) and write.spec.idempotency_key is not None
    }
    if not keys:
        return set()
    query = select(executions.c.entry_point, executions.c.idempotency_key).where(
        executions.c.entry_point.in_(set(keys.values())), executions.c.idempotency_key.in_(keys)
    )
    return {(entry_point, key) for entry_point, key in connection.execute(query)}


def _apply_guarded(batch: Batch, write: Write) -> Outcome:
    """The outcome of one write, behind a savepoint."""
    mark = batch.mark()
    try:
        with batch.connection.begin_nested():
            return apply_singly(batch, write)
    except PropolisError as error:
        outcome: PropolisError = error
    except Exception as error:
        fault, reason = tell_fault(error)
        if fault is Fault.CONFLICT and isinstance(write, OpenExecution):
            outcome = SessionBusy(session_id=write.spec.session_id, reason="id_taken")
        elif fault in {Fault.CONFLICT, Fault.VALUE}:
            outcome = InvalidInput(what=type(write).__name__, reason=reason)
        else:
            raise
    batch.back_to(mark)
    return outcome
