"""What is kept and shown: executions, sessions, results. Records say how things stand; they change nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from pydantic import Field

from .base import Message, Pairs
from .failure import Failure
from .payload import Payload
from .rebuild import unchecked

__all__ = [
    "Checkpoint",
    "CheckpointRecord",
    "ExecutionContext",
    "ExecutionReport",
    "ExecutionResult",
    "ExecutionSpec",
    "ExecutionState",
    "ExecutionStatus",
    "IsolationLevel",
    "Origin",
    "SessionPolicy",
    "SessionRecord",
    "SessionStatus",
    "Standing",
    "Timestamps",
    "session_status",
]

ExecutionStatus: TypeAlias = Literal[
    "pending", "running", "restarting", "parked", "completed", "failed", "cancelled", "paused"
]
SessionStatus: TypeAlias = Literal["active", "paused", "completed", "failed", "cancelled"]
IsolationLevel: TypeAlias = Literal["isolated", "shared", "synchronized"]
SessionPolicy: TypeAlias = Literal["queue", "reject", "parallel"]
Origin: TypeAlias = Literal["fresh", "join", "resume", "fork"]
Quality: TypeAlias = Literal["clean", "degraded", "failed"]

ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled", "paused"})


def session_status(status: ExecutionStatus) -> SessionStatus:
    """The status of a session, which is that of the execution that owns it: active until that has ended."""
    match status:
        case "completed" | "failed" | "cancelled" | "paused":
            return status
        case _:
            return "active"


class ExecutionSpec(Message, tag="execution.spec.v1"):
    """What an execution is, fixed when it is accepted."""

    execution_id: str
    session_id: str
    stream_id: str
    entry_point: str
    correlation_id: str
    origin: Origin = "fresh"
    isolation_level: IsolationLevel = "isolated"
    priority: int = 0
    idempotency_key: str | None = None
    deadline: datetime | None = None
    accepted_at: datetime
    input_data: Payload
    version: str | None = None
    ancestry: tuple[str, ...] = ()
    """Of one that an event started: the entry points that events went through on the way, its own the last."""
    parent: str | None = None
    """The execution that called it."""
    run: str | None = None
    """The run of the session that it goes on with (a resume): whose steps it has behind it. None: its own."""

    traceparent: str | None = None
    """The trace that it is part of (W3C), and the span there that it hangs below; None: nothing is traced."""
    beside: bool = False
    """A join whose entry point has the policy `parallel`: it runs beside whoever has its session, and never has it."""
    memory_digest: bytes | None = None
    """Of the memory that it was given, where it has an idempotency key: by then that may have been overwritten."""

    @property
    def run_id(self) -> str:
        """What its steps and checkpoints are kept under: the id of the execution that began the run."""
        return self.run or self.execution_id


class Standing(Message):
    """How an execution stands: the fields of ExecutionState, and of the write that brings it there."""

    execution_id: str
    status: ExecutionStatus = "pending"
    epoch: int = 1
    attempt: int = 0
    restarts: int = 0
    lost_attempts: int = 0
    owner: str | None = None
    quarantined: bool = False
    started_at: datetime | None = None
    completed_at: datetime | None = None
    paused_at: datetime | None = None
    result: bytes | None = None
    """An encoded ExecutionResult, once it has ended; the same bytes go to the waiters and to the store."""


class ExecutionState(Standing, tag="execution.state.v1"):
    """How an execution stands. Every write of it carries the epoch that it was made under."""

    @classmethod
    def accepted(cls, spec: ExecutionSpec, owner: str, started_at: datetime | None) -> ExecutionState:
        """How an execution stands when it has been accepted: pending, or with its first attempt counted already."""
        status, epoch, attempt = cls.begins(counted=started_at is not None)
        return _new_state(
            execution_id=spec.execution_id,
            status=status,
            epoch=epoch,
            attempt=attempt,
            owner=owner,
            started_at=started_at,
        )

    @staticmethod
    def begins(*, counted: bool) -> tuple[ExecutionStatus, int, int]:
        """Status, epoch and attempt of an execution that has been accepted, and whose first attempt is counted."""
        return ("running", 1, 1) if counted else ("pending", 0, 0)


_new_state: Final = unchecked(ExecutionState)


class Checkpoint(Message, tag="checkpoint.v1"):
    """A point that an execution can be taken up from: the memory of its session at a node."""

    checkpoint_id: str
    execution_id: str
    node: str | None = None
    created_at: datetime
    memory: Payload
    run: str | None = None
    """The run that made it; None: that of its execution."""
    ordinal: int = 0
    """Which checkpoint of its run it is, counted from 1. (0: of a version that did not count.)"""

    @staticmethod
    def id_of(run: str, ordinal: int) -> str:
        """The id of a run's checkpoint."""
        return f"{run}.{ordinal}"


class CheckpointRecord(Message, tag="checkpoint.record.v1"):
    """A checkpoint of a session as the store has it: `stream.resume()` and `stream.fork()` take its id."""

    checkpoint_id: str
    execution_id: str
    """The execution that made it."""
    ordinal: int
    """Which one of its run it is, counted from 1."""
    node: str | None = None
    created_at: datetime
    memory_payload: Payload = Field(serialization_alias="memory")

    @property
    def memory(self) -> dict[str, Any]:
        """A fresh copy of the memory at that point."""
        value: dict[str, Any] = self.memory_payload.value()
        return value


class Timestamps(Message, tag="timestamps.v1"):
    """When things happened to a session (aware, UTC)."""

    started_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    paused_at: datetime | None = None


class ExecutionContext(Message, tag="execution.context.v1"):
    """An execution as its stream knows it."""

    id: str
    session_id: str
    correlation_id: str
    stream_id: str
    entry_point: str
    input_payload: Payload = Field(serialization_alias="input_data")
    isolation_level: IsolationLevel
    status: ExecutionStatus
    attempt: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    paused_at: datetime | None = None
    parent: str | None = None
    """The execution that called it (`ctx.call`)."""

    @property
    def input_data(self) -> Any:
        """A fresh copy of the input."""
        return self.input_payload.value()

    @classmethod
    def of(cls, spec: ExecutionSpec, state: ExecutionState) -> ExecutionContext:
        return cls(
            id=spec.execution_id,
            session_id=spec.session_id,
            correlation_id=spec.correlation_id,
            stream_id=spec.stream_id,
            entry_point=spec.entry_point,
            input_payload=spec.input_data,
            isolation_level=spec.isolation_level,
            status=state.status,
            attempt=state.attempt,
            started_at=state.started_at,
            completed_at=state.completed_at,
            paused_at=state.paused_at,
            parent=spec.parent,
        )


class ExecutionReport(Message, tag="execution.report.v1"):
    """The way that an executor of many parts has gone, for the result: handed over with `ctx.report()`."""

    path: tuple[str, ...] = ()
    """Its nodes, in order; one that was visited twice is in it twice."""
    steps_executed: int = 0
    total_tokens: int = 0
    nodes_with_failures: tuple[str, ...] = ()
    """Nodes that failed for good, though the execution may have gone on."""
    retry_details: Pairs[int] = Pairs()
    """By node, how often it was tried again."""
    had_partial_failures: bool = False
    """Something was left undone, and the execution went on without it."""
    node_visit_counts: Pairs[int] = Pairs()

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed, and nothing was tried twice."""
        return not (self.nodes_with_failures or self.retry_details or self.had_partial_failures)


class ExecutionResult(Message, tag="execution.result.v1"):
    """How an execution ended. `output` and `session_state` are fresh plain objects at every read."""

    execution_id: str
    session_id: str
    status: ExecutionStatus
    success: bool
    output_payload: Payload | None = Field(default=None, serialization_alias="output")
    memory_payload: Payload | None = Field(default=None, serialization_alias="session_state")
    failure: Failure | None = None
    paused_at: str | None = None
    path: tuple[str, ...] = ()
    steps_executed: int = 0
    restarts: int = 0
    total_tokens: int = 0
    total_latency_ms: int = 0
    total_retries: int = 0
    nodes_with_failures: tuple[str, ...] = ()
    retry_details: Pairs[int] = Pairs()
    had_partial_failures: bool = False
    execution_quality: Quality = "clean"
    node_visit_counts: Pairs[int] = Pairs()

    @property
    def output(self) -> Any:
        """What the executor returned; None when it did not end by returning."""
        return None if self.output_payload is None else self.output_payload.value()

    @property
    def session_state(self) -> Any:
        """The session's memory as the execution left it."""
        return {} if self.memory_payload is None else self.memory_payload.value()

    @property
    def error(self) -> str | None:
        """The failure in one line, `Kind: message`; None without one."""
        return None if self.failure is None else f"{self.failure.kind}: {self.failure.message}"

    @property
    def is_clean_success(self) -> bool:
        """Succeeded with no node that failed or was retried."""
        return self.success and self.execution_quality == "clean"

    @property
    def is_degraded_success(self) -> bool:
        """Succeeded, but some node failed or was retried on the way."""
        return self.success and self.execution_quality == "degraded"


class SessionRecord(Message, tag="session.record.v1"):
    """A session as the store has it. Status, attempt, result and the like are those of the execution that owns it."""

    session_id: str
    status: SessionStatus
    entry_point: str
    stream_id: str
    correlation_id: str
    execution_id: str
    input_payload: Payload = Field(serialization_alias="input_data")
    isolation_level: IsolationLevel = "isolated"
    attempt: int = 0
    restarts: int = 0
    lost_attempts: int = 0
    revision: int = 0
    epoch: int = 1
    owner: str | None = None
    quarantined: bool = False
    timestamps: Timestamps
    progress_payload: Payload | None = Field(default=None, serialization_alias="progress")
    memory_payload: Payload | None = Field(default=None, serialization_alias="memory")
    result: ExecutionResult | None = None
    checkpoint_id: str | None = None
    checkpoint_node: str | None = None
    version: str | None = None
    run: str | None = None
    """The run of the owning execution, which a resume goes on with."""

    @property
    def input_data(self) -> Any:
        """A fresh copy of the input of the owning execution."""
        return self.input_payload.value()

    @property
    def memory(self) -> dict[str, Any]:
        """A fresh copy of the session's memory as last committed."""
        value: dict[str, Any] = {} if self.memory_payload is None else self.memory_payload.value()
        return value

    @property
    def progress(self) -> dict[str, Any]:
        """The last progress that was committed: `fraction`, `note`, and what the executor's kind adds."""
        value: dict[str, Any] = {} if self.progress_payload is None else self.progress_payload.value()
        return value
