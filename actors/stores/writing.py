"""A batch of writes in the transaction that its caller opened: together if that goes, else in ever smaller parts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from propolis.messages import (
    ChangeState,
    DeleteSession,
    IdempotencyConflict,
    InvalidInput,
    OpenExecution,
    PropolisError,
    SessionBusy,
    Write,
)

from .batch import Batch
from .dialect import Fault, tell_fault
from .opening import same_as
from .protocol import Outcome
from .rows import spec_of
from .schema import executions
from .singly import apply_singly
from .together import Odd, Run

__all__ = ["apply_apart", "apply_together", "count_events"]


def count_events(writes: Sequence[Write]) -> int:
    """How many events these writes bring, at most."""
    return sum(
        2 * len(write.changes) if isinstance(write, ChangeState) else len(getattr(write, "events", ()))
        for write in writes
    )


def apply_together(batch: Batch, writes: Sequence[Write]) -> list[Outcome]:
    """Apply the writes in order, in few statements; one outcome each.

    Raises:
        Odd: it cannot be done like this. The transaction holds half of it and is to be rolled back.
    """
    taken = _taken_keys(batch, writes)
    stay = not any(isinstance(write, DeleteSession) for write in writes)  # or a key may be free when it comes to it
    run = Run(batch)
    try:
        outcomes: list[Outcome] = []
        for write in writes:
            earlier = taken.get(_key_of(write)) if taken else None
            if earlier is not None and stay:
                outcomes.append(_answer_earlier(earlier, write))
            elif earlier is None and run.fits(write):
                outcomes.append(run.add(write))
            else:
                outcomes.append(_apply_after(run, batch, write))
        run.flush()
        batch.insert_events()
    except (Odd, PropolisError):
        raise
    except Exception as error:
        if tell_fault(error)[0] in {Fault.CONFLICT, Fault.VALUE}:
            raise Odd from error
        raise
    return outcomes


def _apply_after(run: Run, batch: Batch, write: Write) -> Outcome:
    run.flush()
    return _apply_guarded(batch, write, alone=False)


def apply_apart(batch: Batch, writes: Sequence[Write]) -> list[Outcome]:
    """Apply a batch with something wrong in it: half of it at a time, and halves of the half that trips, until what is
    wrong stands alone and is the outcome of that write. One bad write of a hundred costs seven bad halves.
    """
    if len(writes) == 1:
        return [_apply_guarded(batch, writes[0], alone=True)]
    mark = batch.mark()
    try:
        with batch.connection.begin_nested():
            return apply_together(batch, writes)
    except Odd:
        batch.back_to(mark)
    middle = len(writes) // 2
    return apply_apart(batch, writes[:middle]) + apply_apart(batch, writes[middle:])


def _key_of(write: Write) -> tuple[str, str] | None:
    if not isinstance(write, OpenExecution) or write.spec.idempotency_key is None:
        return None
    return write.spec.entry_point, write.spec.idempotency_key


def _answer_earlier(earlier: bytes, write: Write) -> Outcome:
    """What was accepted before this batch is only looked at: nothing is written for it."""
    assert isinstance(write, OpenExecution)
    try:
        return same_as(spec_of(earlier), write.spec)
    except IdempotencyConflict as error:
        return error


def _taken_keys(batch: Batch, writes: Sequence[Write]) -> dict[tuple[str, str] | None, bytes]:
    keys = {
        write.spec.idempotency_key: write.spec.entry_point
        for write in writes
        if isinstance(write, OpenExecution) and write.spec.idempotency_key is not None
    }
    if not keys:
        return {}
    query = select(executions.c.entry_point, executions.c.idempotency_key, executions.c.spec).where(
        executions.c.entry_point.in_(set(keys.values())), executions.c.idempotency_key.in_(keys)
    )
    return {(entry_point, key): spec for entry_point, key, spec in batch.connection.execute(query)}


def _apply_guarded(batch: Batch, write: Write, *, alone: bool) -> Outcome:
    """The outcome of one write, behind a savepoint. Events wait for those of others unless it is `alone`; then one that
    cannot be stored fails this write.
    """
    outcome: Outcome
    mark = batch.mark()
    try:
        with batch.connection.begin_nested():
            outcome = apply_singly(batch, write)
            if alone:
                batch.insert_events()
            return outcome
    except PropolisError as error:
        outcome = error
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
