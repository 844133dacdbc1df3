"""One write by itself: what depends on the rows that it finds, and everything once a batch has tripped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import select, update

from propolis.messages import (
    Advanced,
    AdvanceExecution,
    AnswerQuestion,
    Appended,
    AppendEvents,
    ChangeState,
    ClearInbox,
    DeleteSession,
    LeaveGoal,
    MoveGoal,
    MoveTrigger,
    OpenExecution,
    OpenGoal,
    OpenTrigger,
    Payload,
    PostToInbox,
    RecordSteps,
    RecoverExecutions,
    ReleaseExecutions,
    SessionBusy,
    StaleWriter,
    StateWritten,
    Write,
    encode,
)

from .aiming import leave_goal, move_goal, open_goal
from .asking import answer_question, check_given_up, gives_up
from .batch import Batch, advance_row, changes_session, names_another, session_change_row
from .holding import claim
from .merging import change_shared, runs_beside
from .moments import to_micros
from .opening import open_execution
from .posting import clear_inbox, post_to_inbox
from .protocol import Committed, Outcome
from .pruning import delete_rows_of
from .recovering import recover_executions
from .schema import UNFINISHED, executions
from .sharing import SharedKeys, find_recorded
from .statements import ADVANCE_EXECUTIONS, CHANGE_SESSIONS, CURRENT_EPOCH, of_session
from .stepping import PUT_CHECKPOINTS, PUT_STEPS, checkpoint_row, forget_steps, prune_checkpoints, step_rows
from .triggering import move_trigger, open_trigger

__all__ = ["apply_singly"]


def apply_singly(batch: Batch, write: Write) -> Outcome:
    """Apply one write. What it raises is its outcome; the caller takes back what it had written by then."""
    return _APPLY[type(write)](batch, write)


def _current_epoch(batch: Batch, execution_id: str) -> int | None:
    current: int | None = batch.connection.scalar(CURRENT_EPOCH, {"id": execution_id})
    return current


def _stale(batch: Batch, execution_id: str, epoch: int) -> StaleWriter:
    return StaleWriter(execution_id=execution_id, epoch=epoch, current=_current_epoch(batch, execution_id))


def _check_advance(batch: Batch, write: AdvanceExecution) -> None:
    if names_another(write, batch.runtime_id):
        raise _stale(batch, write.execution_id, write.expected_epoch)
    if gives_up(write):
        check_given_up(batch.connection, write)


def _advance(batch: Batch, write: AdvanceExecution) -> Advanced | Committed:
    execution_id = write.execution_id
    start = None
    _check_advance(batch, write)
    if write.claim:
        _check_epoch(batch, execution_id, write.expected_epoch)
        start = claim(batch, write)
        if start is None:
            return Advanced(execution_id=execution_id, claimed=False)
    first_seq = batch.add_drafts(write)
    if not ADVANCE_EXECUTIONS.run(batch.connection, [advance_row(batch, write)]):
        raise _stale(batch, execution_id, write.expected_epoch)
    if write.new_spec is not None:
        mine = executions.c.execution_id == execution_id
        batch.connection.execute(update(executions).where(mine).values(spec=encode(write.new_spec)))
    _change_session(batch, write)
    if write.inbox:
        clear_inbox(batch.connection, write.inbox)
    if write.forget:
        forget_steps(batch.connection, write.run or execution_id, write.forget)
    _keep_run(batch, write)
    if start is None:
        return Committed(first_seq)
    return Advanced(execution_id=execution_id, first_seq=first_seq, memory=Payload(start.memory), node=start.node)


def _change_session(batch: Batch, write: AdvanceExecution | RecordSteps) -> None:
    if not changes_session(write):
        return
    alone = not runs_beside(write) and CHANGE_SESSIONS.run(batch.connection, [session_change_row(write, batch.now)])
    if not alone:
        change_shared(batch, write)


def _keep_run(batch: Batch, write: AdvanceExecution | RecordSteps) -> None:
    """What the run has recorded, and which checkpoints of it are to go."""
    connection = batch.connection
    if write.steps:
        PUT_STEPS.run(connection, step_rows(write))
    point = checkpoint_row(write)
    if point is not None:
        PUT_CHECKPOINTS.run(connection, [point])
        if write.keep_checkpoints is not None:
            before = to_micros(write.drop_checkpoints_before)
            run, ordinal, *_ = point
            prune_checkpoints(connection, run, ordinal, write.keep_checkpoints, before)


def _record(batch: Batch, write: RecordSteps) -> Committed:
    _check_epoch(batch, write.execution_id, write.expected_epoch)
    _change_session(batch, write)
    _keep_run(batch, write)
    return Committed(batch.add_drafts(write))


def _change_state(batch: Batch, write: ChangeState) -> StateWritten:
    if write.execution_id is not None and write.expected_epoch is not None:
        _check_epoch(batch, write.execution_id, write.expected_epoch)
    recorded = find_recorded(batch.connection, write)
    if recorded is not None:
        return recorded
    keys = SharedKeys(batch.connection)
    done = keys.apply(write)
    if not done.written:
        return done
    keys.flush()
    if write.step is not None:
        PUT_STEPS.run(batch.connection, step_rows(write))
    return done.model_copy(update={"first_seq": batch.add_told(write, done.events)})


def _check_epoch(batch: Batch, execution_id: str, epoch: int) -> None:
    current = _current_epoch(batch, execution_id)
    if current != epoch:
        raise StaleWriter(execution_id=execution_id, epoch=epoch, current=current)


def _append(batch: Batch, write: AppendEvents) -> Appended:
    if write.execution_id is not None and write.expected_epoch is not None:
        _check_epoch(batch, write.execution_id, write.expected_epoch)
    return Appended(first_seq=batch.add_events(write.events))


def _release(batch: Batch, write: ReleaseExecutions) -> None:
    its = (executions.c.owner == batch.runtime_id) & (executions.c.entry_point == write.entry_point) & UNFINISHED
    batch.connection.execute(update(executions).where(its).values(owner=None))


def _delete(batch: Batch, write: DeleteSession) -> bool:
    connection, session_id = batch.connection, write.session_id
    its = of_session(session_id)
    unfinished = select(executions.c.execution_id).where(its, UNFINISHED).limit(1)
    busy = connection.scalar(unfinished)
    if busy is not None:
        raise SessionBusy(
            session_id=session_id, reason=f"its execution {busy!r} has not ended; wait for it, or cancel it"
        )
    found = connection.execute(select(executions.c.execution_id, executions.c.first_seq).where(its)).all()
    ids = [execution_id for execution_id, _ in found]
    if found:
        batch.drop_events_of(ids, min(first_seq for _, first_seq in found))
    delete_rows_of(connection, session_id, ids)
    return bool(found)


def _post_to_inbox(batch: Batch, write: PostToInbox) -> Appended:
    post_to_inbox(batch.connection, write)
    return Appended(first_seq=None)


def _answer(batch: Batch, write: AnswerQuestion) -> None:
    answer_question(batch.connection, write)


def _clear_inbox(batch: Batch, write: ClearInbox) -> None:
    clear_inbox(batch.connection, write.ids)


_APPLY: Final[Mapping[type[Any], Callable[[Batch, Any], Outcome]]] = {
    OpenExecution: open_execution,
    AdvanceExecution: _advance,
    RecordSteps: _record,
    ChangeState: _change_state,
    AppendEvents: _append,
    RecoverExecutions: recover_executions,
    PostToInbox: _post_to_inbox,
    AnswerQuestion: _answer,
    ClearInbox: _clear_inbox,
    DeleteSession: _delete,
    ReleaseExecutions: _release,
    OpenTrigger: open_trigger,
    MoveTrigger: move_trigger,
    OpenGoal: open_goal,
    MoveGoal: move_goal,
    LeaveGoal: leave_goal,
}
