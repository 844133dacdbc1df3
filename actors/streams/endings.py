"""How an execution's end, and its other moments, are written down: pure functions from what is known to records."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from propolis.messages import (
    AdvanceExecution,
    Encoded,
    Event,
    EventDraft,
    ExecutionReport,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    ExecutionStatus,
    Failure,
    Payload,
    encoder,
    unchecked,
)

__all__ = ["attempt_data", "draft", "ended_state", "given", "make_advance", "make_event", "make_result"]

_EMPTY: Final = Payload.of({})
_MILLISECOND: Final = timedelta(milliseconds=1)

_encode_advance: Final = encoder(AdvanceExecution)
_encode_result: Final = encoder(ExecutionResult)
_new_state: Final = unchecked(ExecutionState)


def make_event(
    type: str,
    spec: ExecutionSpec,
    now: datetime,
    data: Mapping[str, Any] | Payload | None = None,
    *,
    graph_id: str | None = None,
    node_id: str | None = None,
) -> Event:
    """An event of an execution."""
    return Event(
        type=type,
        stream_id=spec.stream_id,
        session_id=spec.session_id,
        execution_id=spec.execution_id,
        correlation_id=spec.correlation_id,
        timestamp=now,
        **given(
            graph_id=graph_id,
            node_id=node_id,
            data_payload=data if data is None or isinstance(data, Payload) else Payload.of(dict(data)),
        ),
    )


def draft(type: str, data: Mapping[str, Any] | Payload | None = None, *, node_id: str | None = None) -> EventDraft:
    """An event that goes with a write of its execution's state."""
    if data is None:
        return type, node_id, None
    return type, node_id, (data if isinstance(data, Payload) else Payload.of(dict(data))).data


def make_advance(
    spec: ExecutionSpec,
    state: ExecutionState,
    expected_epoch: int,
    now: datetime,
    events: tuple[EventDraft, ...],
    **changes: Any,
) -> Encoded:
    """The write that brings an execution to a state. What of `changes` is at its default does not travel."""
    return _encode_advance(
        **vars(state),
        expected_epoch=expected_epoch,
        at=now,
        session_id=spec.session_id,
        stream_id=spec.stream_id,
        correlation_id=spec.correlation_id,
        events=events,
        **changes,
    )


def given(**fields: Any) -> dict[str, Any]:
    """Those that have a value. A field that is left out does not travel, and is not stored, with every message."""
    return {name: value for name, value in fields.items() if value is not None}


@functools.lru_cache(maxsize=64)
def attempt_data(attempt: int) -> Payload:
    """The data of the events that say no more than which attempt it was: most of all events."""
    return Payload.of({"attempt": attempt})


def make_result(
    spec: ExecutionSpec,
    state: ExecutionState,
    status: ExecutionStatus,
    now: datetime,
    *,
    output: Payload | None = None,
    memory: Payload | None = None,
    failure: Failure | None = None,
    node: str | None = None,
    report: ExecutionReport | None = None,
) -> bytes:
    """What the waiters get and the store keeps: an encoded ExecutionResult."""
    success = status == "completed"
    retries, clean = state.restarts, state.restarts == 0
    way: dict[str, Any] = {}
    if report is not None:
        retries += sum(report.retry_details.values())
        clean = clean and report.is_clean
        way = {name: getattr(report, name) for name in report.model_fields_set}
    result = _encode_result(
        execution_id=spec.execution_id,
        session_id=spec.session_id,
        status=status,
        success=success,
        total_latency_ms=max(0, (now - spec.accepted_at) // _MILLISECOND),
        execution_quality=("clean" if clean else "degraded") if status in ("completed", "paused") else "failed",
        output_payload=output,
        memory_payload=memory if memory != _EMPTY else None,
        failure=failure,
        paused_at=node if status == "paused" else None,
        restarts=state.restarts,
        total_retries=retries,
        **way,
    )
    return result.data


def ended_state(
    state: ExecutionState, status: ExecutionStatus, now: datetime, result: bytes, *, quarantined: bool = False
) -> ExecutionState:
    """The row of an execution that has ended."""
    return _new_state(
        execution_id=state.execution_id,
        status=status,
        epoch=state.epoch,
        attempt=state.attempt,
        result=result,
        restarts=state.restarts,
        lost_attempts=state.lost_attempts,
        quarantined=quarantined,
        started_at=state.started_at,
        completed_at=None if status == "paused" else now,
        paused_at=now if status == "paused" else None,
    )
