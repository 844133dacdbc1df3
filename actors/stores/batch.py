"""One batch in one transaction: what a write needs of the others around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete

from propolis.messages import (
    ENDED,
    AdvanceExecution,
    ChangeState,
    Checkpoint,
    Event,
    EventDraft,
    ExecutionSpec,
    ExecutionState,
    OpenExecution,
    Payload,
    RecordSteps,
)

from .moments import to_micros
from .protocol import VERSION_OWNER
from .rows import draft_rows, event_row, state_row
from .schema import PINNED, events
from .statements import INSERT_EVENTS, LAST_NUMBER, NUMBER_EVENTS, SET_LAST_SEQ

__all__ = [
    "Batch",
    "advance_row",
    "changes_session",
    "first_session_row",
    "initial_state",
    "names_another",
    "pinned_by",
    "session_change_row",
]

_NOT_PINNED: Final = (None,) * len(PINNED)
_BEYOND: Final = 1 << 62
"""Greater than every number of an event; where a batch without events stands."""


class Batch:
    """The open transaction, and the numbers and rows of the events of the batch, which go in together at its end.

    Numbers are drawn for all events of the batch at once, before the first write; those of writes that fail are given
    back, so the numbers of what was committed have no gap.
    """

    def __init__(self, connection: Connection, runtime_id: str, now: int, expected_events: int) -> None:
        self.connection = connection
        self.runtime_id = runtime_id
        self.now = now
        self._rows: list[tuple[Any, ...]] = []
        self._dropped: list[tuple[int, int, Sequence[str]]] = []
        self._drawn = self._next = _BEYOND
        if expected_events:
            last: int = connection.execute(NUMBER_EVENTS, {"count": expected_events}).scalar_one()
            self._next = last - expected_events + 1
            self._drawn = last + 1

    def add_events(self, new: Sequence[Event]) -> int | None:
        """Number these; the first number, None when there are none."""
        if not new:
            return None
        first = self._next
        self._rows += [event_row(seq, event) for seq, event in enumerate(new, first)]
        self._next += len(new)
        return first

    def add_drafts(self, write: OpenExecution | AdvanceExecution | RecordSteps) -> int | None:
        """Number the events that go with this; the first number, None when there are none."""
        return self.add_told(write, write.events)

    def add_told(
        self, write: OpenExecution | AdvanceExecution | RecordSteps | ChangeState, drafts: Sequence[EventDraft]
    ) -> int | None:
        """As `add_drafts`, of events that the write itself does not name."""
        if not drafts:
            return None
        first = self._next
        self._rows += draft_rows(first, write, drafts)
        self._next += len(drafts)
        return first

    def next_seq(self) -> int:
        """The number of the next event, whichever batch it comes in."""
        if self._next < _BEYOND:
            return self._next
        last: int = self.connection.execute(LAST_NUMBER).scalar_one()
        return last + 1

    def drop_events_of(self, execution_ids: Sequence[str], first_seq: int) -> None:
        """At the end, delete what events these executions have by now, from this number on, those of this batch
        included.
        """
        self._dropped.append((first_seq, self._next, execution_ids))

    def mark(self) -> tuple[int, int]:
        """Where the events stand, for `back_to`."""
        return self._next, len(self._dropped)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget the events since then. What was inserted of them is the matter of the caller's savepoint."""
        self._next, dropped = mark
        self._rows = [row for row in self._rows if row[0] < self._next]
        del self._dropped[dropped:]

    def insert_events(self) -> None:
        """Insert the events so far."""
        if self._rows:
            INSERT_EVENTS.run(self.connection, self._rows)
            self._rows = []

    def finish(self) -> None:
        """Insert the events, and give back the numbers that were not used."""
        self.insert_events()
        for first, before, ids in self._dropped:
            between = events.c.seq.between(first, before - 1)
            self.connection.execute(delete(events).where(between, events.c.execution_id.in_(ids)))
        if self._next != self._drawn:
            self.connection.execute(SET_LAST_SEQ, {"last": self._next - 1})


def initial_state(batch: Batch, write: OpenExecution) -> ExecutionState:
    """How a new execution stands: this runtime's."""
    return ExecutionState.accepted(write.spec, batch.runtime_id, write.started_at)


def names_another(write: AdvanceExecution, runtime_id: str) -> bool:
    """Whether it gives its execution to another runtime: it was made under the name that this one had before it lost
    its lease.
    """
    owner = write.owner
    return owner != runtime_id and owner is not None and not owner.startswith(VERSION_OWNER)


def advance_row(batch: Batch, write: AdvanceExecution) -> tuple[Any, ...]:
    """The row of `ADVANCE_EXECUTIONS`, once the events of this write have their numbers."""
    last_seq = batch.next_seq() - 1 if write.status in ENDED else None
    return (write.execution_id, write.expected_epoch, last_seq, *state_row(write))


def first_session_row(spec: ExecutionSpec, memory: Payload) -> tuple[Any, ...]:
    """The row of `INSERT_SESSIONS`: a session that begins with this memory."""
    own, at = spec.execution_id, to_micros(spec.accepted_at)
    return (spec.session_id, own, own, at, at, 0, own, memory.data)


def changes_session(write: AdvanceExecution | RecordSteps) -> bool:
    """Whether it has something to say of the session, too."""
    if write.memory is not None or write.progress is not None:
        return True
    return isinstance(write, AdvanceExecution) and write.checkpoint is not None


def session_change_row(write: AdvanceExecution | RecordSteps, now: int) -> tuple[Any, ...]:
    """The row of `CHANGE_SESSIONS`."""
    memory = write.memory if isinstance(write, AdvanceExecution) else None  # what is recorded is its checkpoint's
    return (
        write.session_id,
        now,
        None if memory is None else memory.data,
        None if write.progress is None else write.progress.data,
        *(pinned_by(write) or _NOT_PINNED),
    )


def pinned_by(write: AdvanceExecution | RecordSteps) -> tuple[Any, ...] | None:
    """What the columns `PINNED` of a session say of the checkpoint that a write makes; None when it makes none."""
    if isinstance(write, RecordSteps):
        if write.memory is None:
            return None
        own, name, node, made_at, memory = (
            write.execution_id,
            Checkpoint.id_of(write.run, write.ordinal),
            write.node,
            write.at,
            write.memory,
        )
    elif write.checkpoint is None:
        return None
    else:
        point = write.checkpoint
        own, name, node, made_at, memory = (
            point.execution_id,
            point.checkpoint_id,
            point.node,
            point.created_at,
            point.memory,
        )
    return own, name, node, to_micros(made_at), memory.data
