"""What a store does, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from propolis.messages import (
    Advanced,
    AnswerQuestion,
    Appended,
    CheckpointRecord,
    Decision,
    Event,
    EventFilter,
    ExecutionSpec,
    ExecutionState,
    ExecutionStatus,
    GetState,
    GoalRow,
    InboxRow,
    Moved,
    Opened,
    PostToInbox,
    PropolisError,
    Question,
    QuestionRow,
    RecordedStep,
    Recovered,
    RunHistory,
    RuntimeRow,
    SessionCopy,
    SessionRecord,
    SessionStatus,
    SharedScope,
    StateEntries,
    StateEntry,
    StateWritten,
    TriggerRow,
    WorkersReport,
    Write,
)

__all__ = ["VERSION_OWNER", "Bounds", "Committed", "Expired", "Outcome", "SessionEvidence", "Store", "StoreHost"]

VERSION_OWNER: Final = "@version:"
"""The owner of what waits for a version of the user's code begins so, and no runtime's id does."""


class Committed(NamedTuple):
    """It is committed just as it was asked for: a fresh opening, an advance that claims nothing."""

    first_seq: int | None
    """The number of the first of its events."""


Outcome: TypeAlias = (
    Committed
    | Opened
    | Advanced
    | Appended
    | Recovered
    | TriggerRow
    | GoalRow
    | Moved
    | StateWritten
    | bool
    | PropolisError
    | None
)
"""What became of one write: its reply, or the error that it alone met. An error means that nothing of it landed."""


class Bounds(NamedTuple):
    """Where a sweep ends."""

    session: int | None
    """Number of the first execution of the youngest session that is one too many."""
    event: int | None
    """`seq` of the youngest event that is one too many."""
    seen: int
    """What comes after this, some event trigger has yet to look at, or some goal to count."""


class Expired(NamedTuple):
    """One page of what is to go, and where the next one begins; None when there is no more."""

    ids: tuple[Any, ...]
    next: int | None


class SessionEvidence(NamedTuple):
    """A session, what works on it, and who they are."""

    session: SessionRecord
    spec: ExecutionSpec
    state: ExecutionState
    """Of the execution that is asked about: the one that owns the session, unless another was named."""
    unfinished: tuple[tuple[ExecutionSpec, ExecutionState], ...]
    """The executions of the session that have not ended, the first accepted first."""
    holder: str | None
    """The execution whose turn it is on the session."""
    runtimes: tuple[RuntimeRow, ...]
    ahead: int
    """Executions that wait for a slot of the same entry point and owner, and were accepted before."""
    last_event: tuple[str, datetime] | None
    """Of the execution: type and time."""
    restart: tuple[datetime, dict[str, Any]] | None
    """When the execution was last restarted, and what was said then."""
    waits: tuple[RecordedStep, ...]
    """What the execution waits for while it is parked."""
    inbox: tuple[InboxRow, ...]
    """What was left for the execution and is not applied yet."""


class StoreHost(Protocol):
    """What a store needs of the world around it (a `Host` has it all)."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def now(self) -> datetime:
        """The wall clock, aware."""
        ...

    def draw(self) -> float:
        """A random number in [0, 1)."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        ...


class Store(Protocol):
    """Where executions, sessions and events are kept.

    Every call blocks. `commit` belongs to one thread at a time, the commit thread; everything else may be called from
    any thread, also while a commit is under way: a read then sees what was committed before. No call may be made on an
    actor loop.

    Raises, from every call:
        StoreUnavailable: locked for over 5 s, full, unreachable, closed, or opened read-only. Nothing was written (but
            see `commit`), the store stays usable, the same call may succeed later.
        StoreCorrupt: the file is damaged.
    """

    @property
    def name(self) -> str:
        """The store as errors and people call it: its URL."""
        ...

    # --- runtimes ---

    def register(self, row: RuntimeRow) -> None:
        """Enter a runtime; from here on it may commit. Raises InvalidInput when there is one of that id."""
        ...

    def release(self, runtime_id: str) -> None:
        """Leave in an orderly way: the row goes, and what it had not finished is free for the next one, uncharged."""
        ...

    def forget(self, runtime_ids: Sequence[str]) -> None:
        """Declare runtimes dead: their rows go, so that no commit of theirs lands any more, and so goes their hold on
        what they had not finished, under a new epoch; what was running is charged a lost attempt.
        """
        ...

    def runtimes(self) -> tuple[RuntimeRow, ...]:
        """Every runtime that is registered, with its beat."""
        ...

    def report_workers(self, report: WorkersReport) -> None:
        """Keep what the workers of a runtime do, in place of what was kept before, until it leaves or is forgotten.
        Dropped when it is not registered (any more).
        """
        ...

    def workers(self) -> tuple[WorkersReport, ...]:
        """What was reported last of the workers of every runtime that has some."""
        ...

    # --- writing ---

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Outcome]:
        """Apply a batch in order, in one transaction; one outcome per write, in the same order.

        A write that fails (a stale epoch, a session that is gone) does so alone. The runtime's beat goes up by one in
        the same transaction, so an empty batch is a beat.

        `batch` grows from call to call. When a commit ends in StoreUnavailable it may or may not have landed; call
        again with the same number and writes: what has landed is not written twice, its outcomes come back.

        Raises:
            LeaseLost: this runtime has no row (any more). Nothing was written.
        """
        ...

    def post(self, write: PostToInbox | AnswerQuestion) -> None:
        """Leave a row for the owner of an execution, in a transaction of its own: who posts need not be a runtime.

        Raises ExecutionNotFound when there is none, or it has ended.
        """
        ...

    def commit_here(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Outcome] | None:
        """As `commit`, on an actor loop, where nothing may block: None, with nothing done, if that would have to wait
        for anything (a disk, a reader). A store may have no such method.
        """
        ...

    # --- reading ---

    def get_session(self, session_id: str) -> SessionRecord | None:
        """One session, None when there is none."""
        ...

    def list_sessions(
        self,
        *,
        status: SessionStatus | None = None,
        stream: str | None = None,
        goal: str | None = None,
        quarantined: bool | None = None,
        limit: int = 100,
    ) -> tuple[SessionRecord, ...]:
        """Sessions, the last opened or resumed first. `goal`: of the streams that pursue it, since they do."""
        ...

    def get_execution(self, execution_id: str) -> tuple[ExecutionSpec, ExecutionState] | None:
        """One execution, None when there is none."""
        ...

    def history(self, run: str) -> RunHistory:
        """What a run has recorded; nothing, of one that is unknown."""
        ...

    def list_questions(self, *, stream: str | None = None, limit: int = 100) -> tuple[Question, ...]:
        """Questions that wait for an answer, the oldest first."""
        ...

    def find_question(self, question_id: str) -> QuestionRow | None:
        """One question, whether it is open or not; None when there is none."""
        ...

    def list_checkpoints(self, session_id: str, *, limit: int = 100) -> tuple[CheckpointRecord, ...]:
        """The checkpoints of a session that are still kept, over all its runs, the last one first."""
        ...

    def list_executions(
        self,
        *,
        stream: str | None = None,
        status: ExecutionStatus | None = None,
        session: str | None = None,
        limit: int = 100,
    ) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
        """Executions, the last accepted first."""
        ...

    def find_idempotent(self, entry_point: str, key: str) -> tuple[ExecutionSpec, ExecutionState] | None:
        """The execution that was accepted under this key."""
        ...

    def events_after(self, seq: int, filter: EventFilter, limit: int = 500) -> tuple[Event, ...]:
        """Stored events with a greater `seq` that pass the filter, in order."""
        ...

    def last_seq(self) -> int:
        """The `seq` of the last event that was committed; 0 before the first."""
        ...

    def inbox(self, runtime_id: str, after: int = 0) -> tuple[InboxRow, ...]:
        """What was left for executions that this runtime owns, in order, from behind that id on."""
        ...

    def count_executions(self, *, stream: str | None = None) -> Mapping[ExecutionStatus, int]:
        """How many executions there are in each status. Reads every row: for people, not for loops."""
        ...

    def get_trigger(self, entry_point: str) -> TriggerRow | None:
        """The timer or event trigger of an entry point; None when it was never opened with one."""
        ...

    def list_triggers(self) -> tuple[TriggerRow, ...]:
        """All timers and event triggers, by entry point."""
        ...

    def get_goal(self, goal_id: str) -> GoalRow | None:
        """A goal, and what was counted of it; None when no stream was ever opened with it."""
        ...

    def list_goals(self) -> tuple[GoalRow, ...]:
        """All goals, by their ids."""
        ...

    def get_decision(self, decision_id: str) -> Decision | None:
        """A decision, without its outcomes; None when there is none (any more)."""
        ...

    def list_decisions(self, session_id: str, *, limit: int = 100) -> tuple[Decision, ...]:
        """The decisions of a session with their outcomes, over all its runs, the first one first."""
        ...

    def list_unfinished(self, *, limit: int = 100) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
        """Executions that have not ended: those that run first, then those that are to run again, then the others;
        the first accepted first.
        """
        ...

    def count_unfinished(self) -> Mapping[ExecutionStatus, int]:
        """How many of them there are in each status."""
        ...

    def find_evidence(self, session_id: str) -> SessionEvidence | None:
        """What there is to say about why a session does not get on; None when there is no such session."""
        ...

    # --- copies ---

    def copy_session(self, session_id: str) -> SessionCopy | None:
        """All of a session that a resume of it needs; None when there is none."""
        ...

    def import_session(self, copy: SessionCopy, now: datetime) -> SessionCopy:
        """Put a session in, in one transaction, owned by nobody: what had not ended is paused. As it is now.

        Raises ImportRefused, with nothing done: an id or an idempotency key of it is there, or it does not hold
        together.
        """
        ...

    # --- shared memory ---

    def read_state(self, questions: Sequence[GetState]) -> list[StateEntries]:
        """Keys of shared scopes, an answer for each question, all of the same moment."""
        ...

    def list_state(self, *, limit: int = 100) -> tuple[StateEntry, ...]:
        """Every key that is there, by scope and key: first the global ones, then those of each stream."""
        ...

    def state_history(
        self, scope: SharedScope, stream_id: str, key: str, *, limit: int = 100
    ) -> tuple[StateEntry, ...]:
        """What a key is and was, the last version first, as far back as that is kept."""
        ...

    # --- retention ---

    def retention_bounds(self, *, keep_sessions: int | None, keep_events: int | None, now: datetime) -> Bounds:
        """Which are one too many when so many ended sessions, and so many events, are kept."""
        ...

    def expired_sessions(self, bounds: Bounds, *, before: datetime | None, after: int, limit: int) -> Expired:
        """Ended sessions that may go, a page at a time: beyond the bounds, or completed `before`.

        Never what is unfinished, paused or quarantined, nor what an event trigger has yet to look at.
        """
        ...

    def prune_sessions(self, session_ids: Sequence[str], bounds: Bounds) -> int:
        """Delete these with all that is theirs, in one transaction; how many. What is at work again stays."""
        ...

    def expired_events(self, bounds: Bounds, *, before: datetime | None, after: int, limit: int) -> Expired:
        """As `expired_sessions`, of events; by their `seq`."""
        ...

    def prune_events(self, seqs: Sequence[int]) -> int:
        """Delete these, in one transaction; how many."""
        ...

    def pruned_seq(self) -> int:
        """The greatest `seq` of an event that was pruned: up to here, some may be missing. 0 before the first."""
        ...

    def close(self) -> None:
        """Let go of every connection and file. Waits for calls under way. May be called twice."""
        ...
