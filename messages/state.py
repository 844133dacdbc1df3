"""Memory that executions share: the keys of a stream and of all streams, how they are read, changed, and taken in turn.

A key has a version, which grows by one with every change, a deletion included, and never starts anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field

from .base import Message, Request
from .events import EventDraft, EventOrigin
from .history import RecordedStep
from .payload import Payload

__all__ = [
    "ChangeState",
    "DropStateTurns",
    "GetState",
    "LeaveStateTurn",
    "ReadState",
    "SharedScope",
    "StateChange",
    "StateEntries",
    "StateEntry",
    "StateTurn",
    "StateWritten",
    "TakeStateTurn",
    "WriteState",
]

SharedScope: TypeAlias = Literal["stream", "global"]


class StateEntry(Message, tag="state.entry.v1"):
    """A key of a shared scope, as it is or, in its history, as it was."""

    scope: SharedScope
    stream_id: str = ""
    """Of the scope "stream": whose."""
    key: str
    value_payload: Payload | None = Field(default=None, serialization_alias="value")
    """None: it is not there (any more)."""
    version: int = 0
    """0: it never was."""
    execution_id: str | None = None
    """Who made it so; None: somebody from outside."""
    changed_at: datetime | None = None

    @property
    def exists(self) -> bool:
        """Whether it has a value."""
        return self.value_payload is not None

    @property
    def value(self) -> Any:
        """A fresh copy of the value; None where there is none."""
        return None if self.value_payload is None else self.value_payload.value()


class StateEntries(Message, tag="state.entries.v1"):
    """What was found, in the order in which the scopes were asked for."""

    entries: tuple[StateEntry, ...] = ()


class StateChange(Message, tag="state.change.v1"):
    """One key of a change."""

    key: str
    value: Payload | None = None
    """None: delete it."""
    based_on: int | None = None
    """The version that whoever changes it has seen last; None: none."""


class StateTurn(Message, tag="state.turn.v1"):
    """It is this execution's turn to change a key. `entry` is what to change, perhaps not committed yet."""

    entry: StateEntry


class StateWritten(Message, tag="state.written.v1"):
    """What became of a change: every key has its new version, or, with `written` False, none was touched."""

    written: bool
    entries: tuple[StateEntry, ...] = ()
    """As they are now; without their values when they were written."""
    recorded: RecordedStep | None = None
    """It had been made already, as this step; nothing was written now."""
    events: tuple[EventDraft, ...] = ()
    """What is told of it."""
    first_seq: int | None = None


class ChangeState(Request[StateWritten], tag="write.state.v1"):
    """Change keys of one shared scope, all or none, with the step that records it in the same transaction.

    To the StateActor, which passes it on to the SessionActor. With `strict` nothing is written unless each key that
    says what it is based on still has that version; without, the last one wins, and what was overwritten unseen is told
    by a `state_conflict`. From outside of an execution it has neither epoch nor step.

    Errors: StaleWriter.
    """

    scope: SharedScope
    changes: tuple[StateChange, ...]
    strict: bool = False
    at: datetime
    stream_id: str | None = None
    """Whose the scope "stream" is, and of whose execution the events are."""
    execution_id: str | None = None
    expected_epoch: int | None = None
    session_id: str | None = None
    correlation_id: str | None = None
    graph_id: str | None = None
    node_id: str | None = None
    run: str | None = None
    step: RecordedStep | None = None
    turn: int | None = None
    """The number of the turn that ends with it."""
    keep: int = 100
    """Versions of a key that its history holds."""

    @property
    def event_origin(self) -> EventOrigin:
        """For its events."""
        ids = (self.execution_id, self.session_id, self.stream_id, self.correlation_id)
        return EventOrigin(*ids, self.graph_id, self.at)


class GetState(Request[StateEntries], tag="state.get.v1"):
    """To the StateActor: a key as the store has it, in each of these scopes; all keys that are there, with None."""

    scopes: tuple[SharedScope, ...]
    stream_id: str = ""
    key: str | None = None


class TakeStateTurn(Request[StateTurn], tag="state.take_turn.v1"):
    """Reply when it is this execution's turn on a key: from an executor, and on to the StateActor.

    A turn ends with the change that names it, with `LeaveStateTurn`, with the attempt, or after a while.
    Errors: StaleWriter.
    """

    epoch: int
    turn: int
    """Its number, of the attempt's own counting."""
    scope: SharedScope
    key: str
    stream_id: str = ""
    execution_id: str = ""


class LeaveStateTurn(Message, tag="state.leave_turn.v1"):
    """From an executor, and on to the StateActor: nothing comes of this turn, which it has or waits for."""

    epoch: int
    turn: int
    execution_id: str = ""


class DropStateTurns(Message, tag="state.drop_turns.v1"):
    """To the StateActor: the attempt that took turns is over."""

    execution_id: str


class ReadState(Request[StateEntries], tag="executor.read_state.v1"):
    """From an executor: as `GetState`. Errors: StaleWriter."""

    epoch: int
    scopes: tuple[SharedScope, ...]
    key: str | None = None


class WriteState(Request[StateWritten], tag="executor.write_state.v1"):
    """From an executor: as `ChangeState`, committed before I go on. Errors: StaleWriter."""

    epoch: int
    scope: SharedScope
    changes: tuple[StateChange, ...]
    strict: bool = False
    step: RecordedStep
    turn: int | None = None
    node_id: str | None = None
