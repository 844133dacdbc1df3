"""Whether a copy of a session, which may come from anywhere, holds together; and how it stands once it is nobody's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

from propolis.messages import (
    ENDED,
    ExecutionCopy,
    ExecutionResult,
    ExecutionState,
    ImportRefused,
    MessageError,
    Pairs,
    Payload,
    SessionCopy,
    decode_as,
    encode,
    is_unicode,
)

__all__ = ["check_copy", "settle"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_GREATEST: Final = 2**63 - 1


def check_copy(copy: SessionCopy) -> None:
    """Refuse what no store of ours could have written. Raises ImportRefused."""
    reason = next(_faults(copy), None)
    if reason is not None:
        raise ImportRefused(session_id=copy.session_id, reason="invalid", detail=reason)


def _faults(copy: SessionCopy) -> Iterator[str]:
    if _ID.fullmatch(copy.session_id) is None:
        yield "its id is none that an execution could have"
    ids = [each.spec.execution_id for each in copy.executions]
    if not ids:
        yield "it has no execution"
    if len(set(ids)) < len(ids):
        yield "two of its executions have the same id"
    for each in copy.executions:
        yield from _faults_of(copy, each)
    owner = copy.session_id if copy.row is None else copy.row.owner_execution_id
    if owner not in ids:
        yield f"execution {owner!r}, which owns it, is not there"
    runs = {step.run for step in copy.steps} | {point.run or point.execution_id for point in copy.checkpoints}
    for run in sorted(runs - set(ids)):
        yield f"run {run!r} has recorded something, and is of no execution of it"
    for what, value in _leaves("session", copy):
        yield from _faults_in(what, value)


def _faults_of(copy: SessionCopy, each: ExecutionCopy) -> Iterator[str]:
    spec, state = each.spec, each.state
    if spec.session_id != copy.session_id or state.execution_id != spec.execution_id:
        yield f"execution {spec.execution_id!r} is of another session, or its state of another execution"
    for id in (spec.execution_id, spec.stream_id, spec.entry_point, spec.correlation_id):
        if _ID.fullmatch(id) is None:
            yield f"{id[:200]!r} is no id"
    if state.status not in ENDED:
        return
    try:
        result = None if state.result is None else decode_as(ExecutionResult, state.result)
    except MessageError as error:
        yield f"the result of execution {spec.execution_id!r} cannot be read: {error}"
        return
    if result is None or result.status != state.status:
        yield f"execution {spec.execution_id!r} is {state.status} and has no result of that"


def _leaves(what: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(f"{what}.{name}", getattr(value, name))
    elif isinstance(value, (tuple, Pairs)):
        for inner in value.values() if isinstance(value, Pairs) else value:
            yield from _leaves(what, inner)
    else:
        yield what, value


def _faults_in(what: str, value: Any) -> Iterator[str]:
    if isinstance(value, Payload):
        try:
            held = value.value()
        except MessageError as error:
            yield f"{what} cannot be read: {error}"
        else:
            if what.endswith("memory") and not isinstance(held, dict):
                yield f"{what} is a {type(held).__name__} and no dict"
    elif isinstance(value, int) and not -_GREATEST <= value <= _GREATEST:
        yield f"{what} is no number of 64 bits"
    elif isinstance(value, str) and not is_unicode(value):
        yield f"{what} is not valid Unicode"
    elif isinstance(value, datetime) and value.utcoffset() is None:
        yield f"{what} has no time zone"


def settle(copy: SessionCopy, now: datetime) -> SessionCopy:
    """The copy with nobody's executions: what had not ended is paused where it stood, and is never taken over."""
    settled = tuple(each.model_copy(update={"state": _settled(copy, each, now)}) for each in copy.executions)
    return copy.model_copy(update={"executions": settled})


def _settled(copy: SessionCopy, each: ExecutionCopy, now: datetime) -> ExecutionState:
    state, row = each.state, copy.row
    if state.status in ENDED:
        return state.model_copy(update={"owner": None})
    memory = None if row is None else row.memory or row.checkpoint_memory
    result = ExecutionResult(
        execution_id=each.spec.execution_id,
        session_id=copy.session_id,
        status="paused",
        success=False,
        memory_payload=memory,
        paused_at=None if row is None else row.checkpoint_node,
        restarts=state.restarts,
        total_retries=state.restarts,
        total_latency_ms=max(0, int((now - each.spec.accepted_at).total_seconds() * 1000)),
        execution_quality="failed",
    )
    paused = {"status": "paused", "owner": None, "epoch": state.epoch + 1, "paused_at": now, "result": encode(result)}
    return state.model_copy(update=paused)
