"""What the SessionActor commits. Each write is applied whole or not at all, under the epoch that it names."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from .base import Message, Request
from .codec import decode_as, encode_fields, upcaster
from .events import Event, EventDraft, EventOrigin
from .goals import LeaveGoal, MoveGoal, OpenGoal
from .history import RecordedStep
from .payload import Payload
from .questions import AnswerQuestion
from .records import Checkpoint, ExecutionSpec, ExecutionState, Origin, SessionPolicy, Standing
from .state import ChangeState
from .triggers import MoveTrigger, OpenTrigger

__all__ = [
    "AdvanceExecution",
    "Advanced",
    "AppendEvents",
    "Appended",
    "AwaitTurn",
    "ClearInbox",
    "DeleteSession",
    "InboxRow",
    "LeaseWasLost",
    "LeaveTurn",
    "OpenExecution",
    "Opened",
    "PostToInbox",
    "ReadInbox",
    "RecordSteps",
    "RecoverExecutions",
    "Recovered",
    "RecoveredExecution",
    "Rejoined",
    "ReleaseExecutions",
    "RuntimeRow",
    "Write",
]


class Opened(Message, tag="write.opened.v1"):
    """The execution's row is committed; or, with `duplicate`, was before, under the same idempotency key.

    `may_start` is False while another execution has the session. `memory` is the session's memory to start from,
    `checkpoint` the one that a resume starts from.
    """

    execution_id: str
    session_id: str
    duplicate: bool = False
    may_start: bool = True
    memory: Payload | None = None
    node: str | None = None
    """Of a resume: where the checkpoint was made that it starts from."""
    first_seq: int | None = None


class OpenExecution(Request[Opened | None], tag="write.open.v2"):
    """Insert an execution, and by its `origin` open (`fresh`), join or take over (`resume`) its session.

    `fork` opens a session that begins where another one (`source`) stood at a checkpoint. A `resume` whose spec names
    no run begins one likewise.

    With `started_at` its first attempt is counted in the same commit (D2), else it is pending. None is the reply to a
    `fresh` one that is committed just as it was asked for.

    Errors: IdempotencyConflict, SessionNotFound (unknown session or checkpoint), SessionBusy (`reject` policy, or a
    resume of what may not be resumed).
    """

    encoded_spec: bytes
    """As it is stored: it is encoded once, and put together again only by who needs the whole of it."""
    origin: Origin = "fresh"
    """The spec's."""
    started_at: datetime | None = None
    memory: Payload | None = None
    """fresh: the initial memory. join, resume: pairs to put on top of the session's."""
    checkpoint_id: str | None = None
    """resume, fork: None is the last one."""
    source: str | None = None
    """fork: the other session."""
    session_policy: SessionPolicy = "queue"
    graph_id: str | None = None
    events: tuple[EventDraft, ...] = ()
    wait_turn: bool = False
    """join, with the policy `queue`: others wait for the session already; do not take it though it be free."""

    @cached_property
    def spec(self) -> ExecutionSpec:
        """What the execution is."""
        return decode_as(ExecutionSpec, self.encoded_spec)

    @property
    def event_origin(self) -> EventOrigin:
        """For its events."""
        spec = self.spec
        at = self.started_at or spec.accepted_at
        ids = (spec.execution_id, spec.session_id, spec.stream_id, spec.correlation_id)
        return EventOrigin(*ids, self.graph_id, at)


@upcaster("write.open.v1", "write.open.v2")
def _with_encoded_spec(fields: dict[str, Any]) -> dict[str, Any]:
    """The spec was a message of its own in it, which was put together on its way, and encoded again for the store."""
    spec = fields.pop("spec")
    origin = {"origin": spec["origin"]} if "origin" in spec else {}
    return {**fields, **origin, "encoded_spec": encode_fields(ExecutionSpec.tag, spec)}


class Advanced(Message, tag="write.advanced.v1"):
    """The change is committed. When it claimed the session, `memory` is what the execution begins with: the session's,
    or, once it has begun, what it has saved last.
    """

    execution_id: str
    first_seq: int | None = None
    memory: Payload | None = None
    claimed: bool = True
    """False: the session is held by another execution; nothing was written. Ask again when it has ended."""
    node: str | None = None
    """Where the checkpoint was made that the memory is of."""


class AdvanceExecution(Standing, Request[Advanced | None], tag="write.advance.v2"):
    """Bring an execution's row to this state if it is still at `expected_epoch`, with what belongs to the same moment.

    None is the reply where there was nothing to claim: it is committed.

    Errors: StaleWriter.
    """

    expected_epoch: int
    at: datetime
    session_id: str
    stream_id: str
    correlation_id: str
    graph_id: str | None = None
    claim: bool = False
    """Take the session for this execution, in the same transaction, and say what it begins with."""
    memory: Payload | None = None
    progress: Payload | None = None
    checkpoint: Checkpoint | None = None
    steps: tuple[RecordedStep, ...] = ()
    forget: tuple[tuple[int, str, str, int], ...] = ()
    """Keys of steps that are to run again."""
    run: str | None = None
    """Whose steps these are; None: the execution's own."""
    keep_checkpoints: int | None = None
    """Drop the checkpoints of the run beyond so many."""
    drop_checkpoints_before: datetime | None = None
    """With `keep_checkpoints`: and those from before."""
    events: tuple[EventDraft, ...] = ()
    inbox: tuple[int, ...] = ()
    """Rows of the execution's inbox that this is the effect of: they go in the same transaction."""
    new_spec: ExecutionSpec | None = None
    """What the execution is from now on: one that is replayed is of another version of the user's code."""
    beside: bool = False
    """It does not have the session: of its memory only what it has changed goes into the session's, and neither its
    checkpoint nor its progress become the session's.
    """

    @property
    def event_origin(self) -> EventOrigin:
        """For its events."""
        ids = (self.execution_id, self.session_id, self.stream_id, self.correlation_id)
        return EventOrigin(*ids, self.graph_id, self.at)


@upcaster("write.advance.v1", "write.advance.v2")
def _flattened(fields: dict[str, Any]) -> dict[str, Any]:
    """The state was a message of its own, which had to be put together on its way."""
    state = fields.pop("state")
    return {**fields, **state}


class Appended(Message, tag="write.appended.v1"):
    """The events are committed, numbered from `first_seq` on."""

    first_seq: int | None


class RecordSteps(Request[Appended], tag="write.steps.v1"):
    """Record what a run has come to, steps or a checkpoint, if the execution is still at this epoch; its row stays as
    it is. Errors: StaleWriter.
    """

    execution_id: str
    expected_epoch: int
    at: datetime
    session_id: str
    stream_id: str
    correlation_id: str
    graph_id: str | None = None
    run: str
    steps: tuple[RecordedStep, ...]
    events: tuple[EventDraft, ...] = ()
    progress: Payload | None = None
    ordinal: int = 0
    """Which checkpoint of the run this is, made at `node`, of this `memory`. 0: none."""
    node: str | None = None
    memory: Payload | None = None
    keep_checkpoints: int | None = None
    """As in `AdvanceExecution`."""
    drop_checkpoints_before: datetime | None = None

    @property
    def event_origin(self) -> EventOrigin:
        """For its events."""
        ids = (self.execution_id, self.session_id, self.stream_id, self.correlation_id)
        return EventOrigin(*ids, self.graph_id, self.at)


class AppendEvents(Request[Appended], tag="write.events.v1"):
    """Append events; of an execution, if it is still at this epoch. Errors: StaleWriter."""

    events: tuple[Event, ...]
    execution_id: str | None = None
    expected_epoch: int | None = None


class PostToInbox(Request[Appended], tag="write.inbox.v1"):
    """Leave a row for the owner of an execution: how anyone but the owner asks for a change.

    `kind` says what is asked: `cancel` (its body a dict with `reason` and `grace`, both optional), `pause`, `signal`
    (`topic` and `value`), `answer` (`question_id` and `value`).

    Errors: ExecutionNotFound (there is none, or it has ended).
    """

    execution_id: str
    kind: str
    body: Payload | None = None
    created_at: datetime


class InboxRow(Message, tag="inbox.row.v1"):
    """A row left for the owner of an execution; as a message, to its stream and its ExecutionActor, in order of id."""

    id: int
    execution_id: str
    kind: str
    body: Payload | None = None
    created_at: datetime
    entry_point: str = ""
    """Of the execution."""


class ReadInbox(Message, tag="runtime.read_inbox.v1"):
    """To the root: this runtime itself has left a row; do not wait for the next look."""


class RecoveredExecution(Message, tag="write.recovered_execution.v1"):
    """An unfinished execution that this runtime owns now: under a new epoch, as its last commit left it."""

    encoded_spec: bytes
    """As it was stored. It is decoded where it is read, since a message holds a thousand of these."""
    state: ExecutionState
    memory: Payload | None = None
    """Of the session's last checkpoint (at first: its start), which is what a re-run starts from."""
    node: str | None = None
    """Where that checkpoint was made."""
    inbox: tuple[InboxRow, ...] = ()
    """What was left for it while nobody read that."""
    taken: bool = True
    """Under a new epoch. False: it was this runtime's already, and stays under the one that it has."""
    takes: bool = False
    """Another one has, or had last, its session, so it takes that with its next attempt."""

    @property
    def spec(self) -> ExecutionSpec:
        """What the execution is. Raises MessageError when the bytes are damaged."""
        return decode_as(ExecutionSpec, self.encoded_spec)


class Recovered(Message, tag="write.recovered.v1"):
    """What was taken over, oldest first; ask again while there is `more`."""

    executions: tuple[RecoveredExecution, ...]
    more: bool = False


class RecoverExecutions(Request[Recovered], tag="write.recover.v1"):
    """Take over the unfinished executions of an entry point that nobody owns, or only dead runtimes do."""

    entry_point: str
    stream_id: str
    dead_owners: tuple[str, ...] = ()
    limit: int = 500
    at: datetime
    mine: bool = False
    """Also those that this runtime owns already (a restarted StreamActor rebuilding itself)."""
    version: str | None = None
    """Of the user's code. What is taken and was never begun begins under it, and is of it from then on."""


class ClearInbox(Request[None], tag="write.clear_inbox.v1"):
    """These rows of the inbox have been applied."""

    ids: tuple[int, ...]


class ReleaseExecutions(Request[None], tag="write.release.v1"):
    """What this runtime owns unfinished of an entry point is free, uncharged: its stream has stopped, and it lives on.

    Whoever has that stream open on the same store takes it over; here it does when it is started again.
    """

    entry_point: str


class DeleteSession(Request[bool], tag="write.delete_session.v1"):
    """Delete a session with its executions and their events. False when there is none. Errors: SessionBusy."""

    session_id: str


class AwaitTurn(Request[None], tag="session.await_turn.v1"):
    """To the SessionActor: reply when it is this execution's turn to try to claim its session. It may be too early."""

    session_id: str
    execution_id: str


class LeaveTurn(Message, tag="session.leave_turn.v1"):
    """To the SessionActor: this execution no longer wants its session."""

    session_id: str
    execution_id: str


class LeaseWasLost(Message, tag="runtime.lease_lost.v1"):
    """To the root: a peer has declared this runtime dead; nothing more can be committed under that name."""

    runtime_id: str


class Rejoined(Request[None], tag="runtime.rejoined.v1"):
    """From the root: this runtime was declared lost, and goes on under another name. It owns nothing any more.

    To a stream, first: let go of all executions, then take back those that are free. To the SessionActor, after: write.
    """

    control: ClassVar[bool] = True
    runtime_id: str


class RuntimeRow(Message, tag="runtime.row.v1"):
    """A runtime's own row: who it is, so that a peer on the same machine can see whether it lives, and its beat."""

    runtime_id: str
    host: str
    """Name of the machine and of its current boot; a pid means something only where this is the same."""
    pid: int
    pid_started: int
    """When the OS says that the process started (0 where it does not): a pid may be used again."""
    started_at: datetime
    beat: int = 0


Write = (
    OpenExecution
    | AdvanceExecution
    | RecordSteps
    | AppendEvents
    | PostToInbox
    | AnswerQuestion
    | RecoverExecutions
    | ClearInbox
    | ReleaseExecutions
    | DeleteSession
    | OpenTrigger
    | MoveTrigger
    | OpenGoal
    | MoveGoal
    | LeaveGoal
    | ChangeState
)
