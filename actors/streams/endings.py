"""How an execution's end, and its other moments, are written down: pure functions from what is known to records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from propolis.messages import (
    Event,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    ExecutionStatus,
    Failure,
    Payload,
    encode,
)

__all__ = ["ended_state", "make_event", "make_result"]


def make_event(
    type: str,
    spec: ExecutionSpec,
    now: datetime,
    data: Mapping[str, Any] | None = None,
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
        graph_id=graph_id,
        node_id=node_id,
        timestamp=now,
        data_payload=Payload.of(dict(data)) if data else None,
    )


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
) -> ExecutionResult:
    """What the waiters get and the store keeps."""
    retries = state.restarts
    success = status == "completed"
    given: dict[str, Any] = {
        "execution_id": spec.execution_id,
        "session_id": spec.session_id,
        "status": status,
        "success": success,
        "total_latency_ms": max(0, int((now - spec.accepted_at).total_seconds() * 1000)),
        "execution_quality": ("degraded" if retries else "clean") if success else "failed",
    }
    # what stands at its default is left out: it would travel, and be stored, with every result
    optional = {
        "output_payload": output,
        "memory_payload": memory,
        "failure": failure,
        "paused_at": node if status == "paused" else None,
        "restarts": retries or None,
        "total_retries": retries or None,
    }
    given.update((name, value) for name, value in optional.items() if value is not None)
    return ExecutionResult(**given)


def ended_state(
    state: ExecutionState, status: ExecutionStatus, now: datetime, result: ExecutionResult, *, quarantined: bool = False
) -> ExecutionState:
    """The row of an execution that has ended."""
    return ExecutionState(
        execution_id=state.execution_id,
        status=status,
        epoch=state.epoch,
        attempt=state.attempt,
        restarts=state.restarts,
        lost_attempts=state.lost_attempts,
        owner=None,
        quarantined=quarantined,
        started_at=state.started_at,
        completed_at=None if status == "paused" else now,
        paused_at=now if status == "paused" else None,
        result=encode(result),
    )
