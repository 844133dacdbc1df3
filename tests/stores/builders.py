"""What the tests of stores make their writes from: a world that they hold still, and executions in any state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from propolis.actors.stores import Committed, Outcome, Store

from propolis.messages import (
    AdvanceExecution,
    Checkpoint,
    Event,
    EventDraft,
    ExecutionResult,
    ExecutionSpec,
    ExecutionStatus,
    Opened,
    OpenExecution,
    Origin,
    Payload,
    PropolisError,
    RecordedStep,
    RecordSteps,
    RecoverExecutions,
    RuntimeRow,
    SessionPolicy,
    Write,
    encode,
)

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class StillHost:
    """A world in which time passes only by sleeping, and chance always says the same."""

    def __init__(self) -> None:
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.slept

    def now(self) -> datetime:
        return START + timedelta(hours=1, seconds=self.slept)

    def draw(self) -> float:
        return 0.5

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def runtime_row(runtime_id: str = "r1", **fields: Any) -> RuntimeRow:
    """The row of a runtime."""
    return RuntimeRow(runtime_id=runtime_id, host="here", pid=1, pid_started=0, started_at=START, **fields)


def event(type: str = "custom", execution_id: str | None = None, data: Any = None, **fields: Any) -> Event:
    """An event."""
    payload = None if data is None else Payload.of(data)
    return Event(type=type, execution_id=execution_id, timestamp=START, data_payload=payload, **fields)


def opening(
    execution_id: str,
    *,
    session_id: str | None = None,
    origin: Origin = "fresh",
    input_data: Any = None,
    key: str | None = None,
    entry_point: str = "hook",
    started: bool = True,
    memory: Any = None,
    policy: SessionPolicy = "queue",
    checkpoint_id: str | None = None,
    events: int | Sequence[EventDraft] = 0,
) -> OpenExecution:
    """An execution that is opened; fresh ones have the session of their own id."""
    spec = ExecutionSpec(
        execution_id=execution_id,
        session_id=session_id or execution_id,
        stream_id=entry_point,
        entry_point=entry_point,
        correlation_id=f"c-{execution_id}",
        origin=origin,
        idempotency_key=key,
        accepted_at=START,
        input_data=Payload.of({"n": 1} if input_data is None else input_data),
        beside=origin == "join" and policy == "parallel",
    )
    return OpenExecution(
        encoded_spec=encode(spec),
        origin=origin,
        started_at=START if started else None,
        memory=None if memory is None else Payload.of(memory),
        session_policy=policy,
        checkpoint_id=checkpoint_id,
        events=drafts("execution_started", events),
    )


def with_spec(write: OpenExecution, **changes: Any) -> OpenExecution:
    """The same, of an execution that differs in this."""
    spec = write.spec.model_copy(update=changes)
    given = {name: getattr(write, name) for name in write.model_fields_set}
    return OpenExecution(**given | {"encoded_spec": encode(spec), "origin": spec.origin})


def drafts(type: str, events: int | Sequence[EventDraft]) -> tuple[EventDraft, ...]:
    """So many events of a type, told apart by their data; or these."""
    if isinstance(events, int):
        return tuple((type, None, Payload.of({"i": i}).data) for i in range(events))
    return tuple(events)


def advance(
    execution_id: str,
    status: ExecutionStatus = "completed",
    *,
    epoch: int = 1,
    to_epoch: int | None = None,
    session_id: str | None = None,
    claim: bool = False,
    beside: bool = False,
    memory: Any = None,
    progress: Any = None,
    checkpoint: tuple[str, Any] | None = None,
    events: int | Sequence[EventDraft] = 0,
    output: Any = None,
    owner: str | None = "r1",
    **state: Any,
) -> AdvanceExecution:
    """An execution that is brought to a status; ended ones have a result. `checkpoint` is an id and a memory."""
    session_id = session_id or execution_id
    ended = status in {"completed", "failed", "cancelled", "paused"}
    result = ExecutionResult(
        execution_id=execution_id,
        session_id=session_id,
        status=status,
        success=status == "completed",
        output_payload=Payload.of(output),
    )
    return AdvanceExecution(
        execution_id=execution_id,
        status=status,
        epoch=epoch if to_epoch is None else to_epoch,
        attempt=state.pop("attempt", 1),
        owner=owner,
        started_at=START,
        completed_at=START + timedelta(seconds=2) if ended else None,
        result=encode(result) if ended else None,
        **state,
        expected_epoch=epoch,
        at=START,
        session_id=session_id,
        stream_id="hook",
        correlation_id=f"c-{execution_id}",
        claim=claim,
        beside=beside,
        memory=None if memory is None else Payload.of(memory),
        progress=None if progress is None else Payload.of(progress),
        checkpoint=None
        if checkpoint is None
        else Checkpoint(
            checkpoint_id=checkpoint[0],
            execution_id=execution_id,
            node=f"node-{checkpoint[0]}",
            ordinal=int(number) if (number := checkpoint[0].rpartition(".")[2]).isdecimal() else 0,
            created_at=START,
            memory=Payload.of(checkpoint[1]),
        ),
        events=drafts(f"execution_{status}", events),
    )


def steps(execution_id: str, *recorded: RecordedStep, events: int = 0, **more: Any) -> RecordSteps:
    """What an execution has recorded."""
    fields: dict[str, Any] = {"expected_epoch": 1, "steps": recorded, **more}
    return RecordSteps(
        execution_id=execution_id,
        at=START,
        session_id=execution_id,
        stream_id="hook",
        correlation_id=f"c-{execution_id}",
        run=execution_id,
        events=drafts("step_completed", events),
        **fields,
    )


def recorded(execution_id: str, ordinal: int, memory: Any, *, events: int = 0, **more: Any) -> RecordSteps:
    """A checkpoint of an execution that goes on, its row as it is."""
    return steps(execution_id, events=events, ordinal=ordinal, node="n", memory=Payload.of(memory), **more)


def recovery(
    *dead: str, entry_point: str = "hook", limit: int = 500, mine: bool = False, version: str | None = None
) -> RecoverExecutions:
    """A takeover from the dead."""
    return RecoverExecutions(
        entry_point=entry_point,
        stream_id=entry_point,
        dead_owners=dead,
        limit=limit,
        at=START,
        mine=mine,
        version=version,
    )


class Client:
    """A registered runtime: commits batches, numbering them."""

    def __init__(self, store: Store, runtime_id: str = "r1") -> None:
        self.store = store
        self.runtime_id = runtime_id
        self.batch = 0
        store.register(runtime_row(runtime_id))

    def commit(self, *writes: Write) -> list[Outcome]:
        """Commit them as one batch."""
        self.batch += 1
        return self.store.commit(self.runtime_id, self.batch, writes)

    def one(self, write: Write) -> Any:
        """Commit it alone; its outcome, raised when it is an error."""
        (outcome,) = self.commit(write)
        if isinstance(outcome, PropolisError):
            raise outcome
        return outcome

    def opened(self, *writes: OpenExecution) -> list[Opened | Committed]:
        """Commit openings that must succeed."""
        outcomes = self.commit(*writes)
        assert all(isinstance(outcome, (Opened, Committed)) for outcome in outcomes), outcomes
        return outcomes  # type: ignore[return-value]
