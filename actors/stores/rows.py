"""Rows of the tables to messages, and messages to rows."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from sqlalchemy import RowMapping

from propolis.messages import (
    ENDED,
    AdvanceExecution,
    ChangeState,
    Event,
    EventDraft,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    InboxRow,
    InvalidInput,
    MessageError,
    OpenExecution,
    Payload,
    RecordSteps,
    RuntimeRow,
    SessionRecord,
    Standing,
    Timestamps,
    decode_as,
    encode,
    session_status,
)

from .findings import SHOWN
from .moments import from_micros, to_micros

__all__ = [
    "EMPTY",
    "EVENT_COLUMNS",
    "EXECUTION_COLUMNS",
    "OFTEN",
    "STATE_COLUMNS",
    "as_bytes",
    "as_payload",
    "checked",
    "draft_rows",
    "event_of",
    "event_row",
    "execution_row",
    "inbox_row_of",
    "memory_in",
    "overlaid",
    "readable",
    "runtime_of",
    "session_of",
    "spec_of",
    "state_of",
    "state_row",
]

logger = logging.getLogger("propolis.stores")

T = TypeVar("T")

OFTEN: Final = logging.DEBUG
"""The level of what a runtime would say four times a second: `propolis doctor` says it once."""

EMPTY: Final = Payload.of({})
"""The memory of a session that was given none."""

STATE_COLUMNS: Final = (
    "status",
    "ended",
    "epoch",
    "attempt",
    "restarts",
    "lost_attempts",
    "owner",
    "quarantined",
    "started_at",
    "completed_at",
    "paused_at",
    "result",
)
EXECUTION_COLUMNS: Final = (
    "execution_id",
    "session_id",
    "stream_id",
    "entry_point",
    "idempotency_key",
    "spec",
    "overlay",
    "accepted_at",
    "first_seq",
    *STATE_COLUMNS,
)
EVENT_COLUMNS: Final = (
    "seq",
    "type",
    "stream_id",
    "session_id",
    "execution_id",
    "node_id",
    "graph_id",
    "correlation_id",
    "timestamp",
    "data",
)


def state_row(state: Standing) -> tuple[Any, ...]:
    """The values of STATE_COLUMNS."""
    return (
        state.status,
        1 if state.status in ENDED else 0,
        state.epoch,
        state.attempt,
        state.restarts,
        state.lost_attempts,
        state.owner,
        1 if state.quarantined else 0,
        to_micros(state.started_at),
        to_micros(state.completed_at),
        to_micros(state.paused_at),
        state.result,
    )


def execution_row(
    spec: ExecutionSpec, state: ExecutionState, first_seq: int, overlay: bytes | None = None
) -> tuple[Any, ...]:
    """The values of EXECUTION_COLUMNS."""
    return (
        spec.execution_id,
        spec.session_id,
        spec.stream_id,
        spec.entry_point,
        spec.idempotency_key,
        encode(spec),
        overlay,
        to_micros(spec.accepted_at),
        first_seq,
        *state_row(state),
    )


def event_row(seq: int, event: Event) -> tuple[Any, ...]:
    """The values of EVENT_COLUMNS."""
    return (
        seq,
        event.type,
        event.stream_id,
        event.session_id,
        event.execution_id,
        event.node_id,
        event.graph_id,
        event.correlation_id,
        to_micros(event.timestamp),
        None if event.data_payload is None else event.data_payload.data,
    )


def draft_rows(
    seq: int, write: OpenExecution | AdvanceExecution | RecordSteps | ChangeState, drafts: Sequence[EventDraft]
) -> list[tuple[Any, ...]]:
    """The rows of the events that go with a write, from this number on."""
    execution_id, session_id, stream_id, correlation_id, graph_id, at = write.event_origin
    moment = to_micros(at)
    return [
        (number, type, stream_id, session_id, execution_id, node_id, graph_id, correlation_id, moment, data)
        for number, (type, node_id, data) in enumerate(drafts, seq)
    ]


def checked(read: Callable[[RowMapping], T]) -> Callable[[RowMapping], T]:
    """A function that reads a row, with one error for all that may be wrong in it: MessageError.

    A column says what it holds, and SQLite keeps in it whatever somebody has written there by hand.
    """

    @functools.wraps(read)
    def read_checked(row: RowMapping) -> T:
        try:
            return read(row)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            detail = str(error)
        raise MessageError(reason="damaged_row", detail=detail)

    return read_checked


def readable(
    rows: Iterable[RowMapping], read: Callable[[RowMapping], T], key: str, level: int = logging.WARNING
) -> Iterator[T]:
    """What these rows hold. Those that are damaged are left out, and named in the log by this column."""
    damaged = []
    for row in rows:
        try:
            yield read(row)
        except MessageError as error:
            damaged.append(f"{row[key]!r} ({error.detail})")
    if damaged:
        logger.log(
            level,
            "%d rows cannot be read and are left out: %s. `propolis doctor` names what is damaged.",
            len(damaged),
            ", ".join(damaged[:SHOWN]) + (", …" if damaged[SHOWN:] else ""),
        )


def as_payload(data: bytes | None) -> Payload | None:
    """The payload that was stored. Raises MessageError when it is no bytes."""
    return None if data is None else Payload(as_bytes(data))


def as_bytes(data: Any) -> bytes:
    """The bytes that were stored. Raises MessageError when it is something else."""
    if not isinstance(data, bytes):
        raise MessageError(reason="damaged_row", detail=f"a {type(data).__name__} stands where bytes should")
    return data


def spec_of(data: bytes) -> ExecutionSpec:
    """The spec that was stored. Raises MessageError when it is damaged."""
    return decode_as(ExecutionSpec, as_bytes(data))


@checked
def state_of(row: RowMapping) -> ExecutionState:
    """The state in a row of executions."""
    return ExecutionState(
        execution_id=row["execution_id"],
        status=row["status"],
        epoch=row["epoch"],
        attempt=row["attempt"],
        restarts=row["restarts"],
        lost_attempts=row["lost_attempts"],
        owner=row["owner"],
        quarantined=bool(row["quarantined"]),
        started_at=from_micros(row["started_at"]),
        completed_at=from_micros(row["completed_at"]),
        paused_at=from_micros(row["paused_at"]),
        result=row["result"],
    )


@checked
def event_of(row: RowMapping) -> Event:
    """A stored event."""
    return Event(
        type=row["type"],
        stream_id=row["stream_id"],
        session_id=row["session_id"],
        execution_id=row["execution_id"],
        node_id=row["node_id"],
        graph_id=row["graph_id"],
        correlation_id=row["correlation_id"],
        timestamp=from_micros(int(row["timestamp"])),
        data_payload=as_payload(row["data"]),
        seq=row["seq"],
    )


@checked
def inbox_row_of(row: RowMapping) -> InboxRow:
    """A row of the inbox."""
    return InboxRow(
        id=row["id"],
        execution_id=row["execution_id"],
        kind=row["kind"],
        body=as_payload(row["body"]),
        created_at=from_micros(int(row["created_at"])),
        entry_point=row["entry_point"],
    )


@checked
def runtime_of(row: RowMapping) -> RuntimeRow:
    """A registered runtime."""
    return RuntimeRow(
        runtime_id=row["runtime_id"],
        host=row["host"],
        pid=row["pid"],
        pid_started=row["pid_started"],
        started_at=from_micros(int(row["started_at"])),
        beat=row["beat"],
    )


@checked
def session_of(row: RowMapping) -> SessionRecord:
    """The record of a session, from the row of the execution that owns it and its own, where it has one."""
    spec, state = spec_of(row["spec"]), state_of(row)
    opened = row["accepted_at"] if row["created_at"] is None else row["created_at"]
    updated = max(filter(None, (opened, row["updated_at"], row["started_at"], row["completed_at"], row["paused_at"])))
    return SessionRecord(
        session_id=spec.session_id,
        status=session_status(state.status),
        entry_point=spec.entry_point,
        stream_id=spec.stream_id,
        correlation_id=spec.correlation_id,
        execution_id=spec.execution_id,
        input_payload=spec.input_data,
        isolation_level=spec.isolation_level,
        attempt=state.attempt,
        restarts=state.restarts,
        lost_attempts=state.lost_attempts,
        revision=row["revision"] or 0,
        epoch=state.epoch,
        owner=state.owner,
        quarantined=state.quarantined,
        timestamps=Timestamps(
            started_at=from_micros(int(opened)),
            updated_at=from_micros(int(updated)),
            completed_at=state.completed_at,
            paused_at=state.paused_at,
        ),
        progress_payload=as_payload(row["progress"]),
        memory_payload=Payload(memory_in(row)),
        result=None if state.result is None else decode_as(ExecutionResult, state.result),
        checkpoint_id=row["checkpoint_id"],
        checkpoint_node=row["checkpoint_node"],
        version=spec.version,
        run=spec.run_id,
    )


def memory_in(row: RowMapping) -> bytes:
    """The memory in a session's row: what was written last, else that of its checkpoint. Empty where it has no row."""
    memory: bytes | None = row["checkpoint_memory"] if row["memory"] is None else row["memory"]
    return EMPTY.data if memory is None else as_bytes(memory)


def overlaid(base: bytes, pairs: Payload | bytes | None) -> bytes:
    """Memory with these pairs on top."""
    if pairs is None:
        return base
    below = Payload(base).value()
    above = (pairs if isinstance(pairs, Payload) else Payload(pairs)).value()
    for value in (below, above):
        if not isinstance(value, dict):
            raise InvalidInput(what="memory", reason=f"it is a {type(value).__name__} and not a dict")
    return Payload.of({**below, **above}, "memory").data
