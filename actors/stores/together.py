"""The fast path: runs of writes that do not depend on each other, each run in a handful of statements.

What is opened fresh, advanced without a claim, records steps, changes shared memory, or only appends events can go
together, as long as no execution and no session occurs twice. Everything else is applied by itself (`singly.py`),
between two runs.
"""

from __future__ import annotations

from typing import Any

from propolis.messages import (
    AdvanceExecution,
    Appended,
    AppendEvents,
    ChangeState,
    OpenExecution,
    RecordSteps,
    StateWritten,
    Write,
)

from .asking import gives_up
from .batch import (
    Batch,
    advance_row,
    changes_session,
    first_session_row,
    initial_state,
    names_another,
    session_change_row,
)
from .posting import clear_inbox
from .protocol import Committed, Outcome
from .rows import execution_row
from .sharing import RECORD_NEW_STEPS, SharedKeys
from .statements import ADVANCE_EXECUTIONS, CHANGE_SESSIONS, COUNT_CURRENT, INSERT_EXECUTIONS, INSERT_SESSIONS
from .stepping import PUT_CHECKPOINTS, PUT_STEPS, checkpoint_row, step_rows

__all__ = ["Odd", "Run"]


class Odd(Exception):
    """Something in a run was not as it should be (a stale row, say). The batch is rolled back and applied in parts."""


class Run:
    """A run of writes that is being collected. None has an idempotency key that the store had before the batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._keys: set[tuple[str, str]] = set()
        self._shared = SharedKeys(batch.connection)
        self._clear()

    def _clear(self) -> None:
        self._touched: set[str] = set()
        self._executions: list[tuple[Any, ...]] = []
        self._sessions: list[tuple[Any, ...]] = []
        self._advances: list[tuple[Any, ...]] = []
        self._changes: list[tuple[Any, ...]] = []
        self._steps: list[tuple[Any, ...]] = []
        self._new_steps: list[tuple[Any, ...]] = []
        self._points: list[tuple[Any, ...]] = []
        self._checks: dict[tuple[str, int], None] = {}  # a set that keeps its order
        self._applied: list[int] = []

    def fits(self, write: Write) -> bool:
        """Whether it is of a kind that can go with others."""
        if isinstance(write, AdvanceExecution):
            apart = write.claim or write.beside or write.forget or write.keep_checkpoints or write.new_spec
            return not (apart or gives_up(write) or names_another(write, self._batch.runtime_id))
        if isinstance(write, OpenExecution):
            return write.origin == "fresh" and not self._is_taken(write)
        if isinstance(write, RecordSteps):
            return not write.keep_checkpoints
        return isinstance(write, (AppendEvents, ChangeState))

    def add(self, write: Write) -> Outcome:
        """Take in a write that fits, flushing the run first where it must see that; its outcome if nothing is odd."""
        if isinstance(write, AdvanceExecution):
            changes = changes_session(write)
            if changes:
                self._keep_apart(write.execution_id, write.session_id)
            else:
                self._keep_apart(write.execution_id)
            return self._advance(write, changes=changes)
        if isinstance(write, OpenExecution):
            self._keep_apart(write.spec.execution_id)  # a fresh session has the same id
            return self._open(write)
        if isinstance(write, AppendEvents):
            return self._append(write)
        if isinstance(write, RecordSteps):
            return self._record(write)
        if isinstance(write, ChangeState):
            return self._change_state(write)
        raise TypeError(f"{type(write)} is no write of a run")

    def _record(self, write: RecordSteps) -> Committed:
        self._check(write.execution_id, write.expected_epoch)
        if changes_session(write):
            self._keep_apart(write.session_id)
            self._change_session(write)
        self._steps += step_rows(write)
        return Committed(self._batch.add_drafts(write))

    def _change_state(self, write: ChangeState) -> StateWritten:
        if write.execution_id is not None and write.expected_epoch is not None:
            self._check(write.execution_id, write.expected_epoch)
        done = self._shared.apply(write)
        if not done.written:
            return done
        self._new_steps += step_rows(write)
        return done.model_copy(update={"first_seq": self._batch.add_told(write, done.events)})

    def _check(self, execution_id: str, epoch: int) -> None:
        if execution_id in self._touched:
            self.flush()
        self._checks[execution_id, epoch] = None

    def _append(self, write: AppendEvents) -> Appended:
        if write.execution_id is not None and write.expected_epoch is not None:
            self._check(write.execution_id, write.expected_epoch)
        return Appended(first_seq=self._batch.add_events(write.events))

    def _is_taken(self, write: OpenExecution) -> bool:
        if write.spec.idempotency_key is None:
            return False
        pair = (write.spec.entry_point, write.spec.idempotency_key)
        if pair in self._keys:
            return True
        self._keys.add(pair)
        return False

    def _keep_apart(self, *ids: str) -> None:
        """Flush before an execution or a session is touched again. (A session has the id of its first execution.)"""
        if not self._touched.isdisjoint(ids):
            self.flush()
        self._touched.update(ids)

    def _open(self, write: OpenExecution) -> Committed:
        spec = write.spec
        state, next_seq = initial_state(self._batch, write), self._batch.next_seq()
        self._executions.append(execution_row(spec, state, next_seq))
        if write.memory is not None:
            self._sessions.append(first_session_row(spec, write.memory))
        return Committed(self._batch.add_drafts(write))

    def _advance(self, write: AdvanceExecution, *, changes: bool) -> Committed:
        first_seq = self._batch.add_drafts(write)
        self._advances.append(advance_row(self._batch, write))
        self._applied += write.inbox
        self._steps += step_rows(write)
        if changes:
            self._change_session(write)
        return Committed(first_seq)

    def _change_session(self, write: AdvanceExecution | RecordSteps) -> None:
        point = checkpoint_row(write)
        if point is not None:
            self._points.append(point)
        self._changes.append(session_change_row(write, self._batch.now))

    def flush(self) -> None:
        """Write what was collected.

        Raises:
            Odd: fewer rows were there than there should be.
        """
        connection = self._batch.connection
        if self._checks and COUNT_CURRENT.run(connection, list(self._checks)) != len(self._checks):
            raise Odd
        if self._executions:
            INSERT_EXECUTIONS.run(connection, self._executions)
        if self._sessions:
            INSERT_SESSIONS.run(connection, self._sessions)
        if self._advances and ADVANCE_EXECUTIONS.run(connection, self._advances) != len(self._advances):
            raise Odd
        if self._changes and CHANGE_SESSIONS.run(connection, self._changes) != len(self._changes):
            raise Odd
        if self._applied:
            clear_inbox(connection, self._applied)
        if self._points:
            PUT_CHECKPOINTS.run(connection, self._points)
        if self._steps:
            PUT_STEPS.run(connection, self._steps)
        self._shared.flush()
        if self._new_steps:  # a conflict: one is recorded already, and to be found by itself
            RECORD_NEW_STEPS.run(connection, self._new_steps)
        self._clear()
