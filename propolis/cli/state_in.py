"""From `state.json` to a session: pure functions. The document may come from anywhere, also from another tool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, get_args

from propolis.messages import (
    ENDED,
    ExecutionCopy,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    Failure,
    ImportRefused,
    InvalidInput,
    IsolationLevel,
    MessageError,
    Pairs,
    Payload,
    PayloadTooLarge,
    SessionCopy,
    SessionRow,
    SessionStatus,
    decode_as,
    encode,
)

from .folder import Found
from .state import SAFE_ID

__all__ = ["copy_of"]

_MISSING: Final = object()
_NEEDED: Final = ("session_id", "stream_id", "entry_point", "status", "timestamps.started_at", "memory", "input_data")


def copy_of(found: Found, limit: int) -> SessionCopy:
    """The session in these files: to the byte where the copy of an export is there, else as the document says.

    `limit`: bytes of one piece of user data. Raises ImportRefused.
    """
    document = Document(found.session_id, _parsed(found))
    document.check(found.session_id)
    if found.copy is None:
        return _from_document(document, limit)
    try:
        copy = decode_as(SessionCopy, found.copy)
    except MessageError as error:
        raise document.refused("bad_file", f"session.msgpack cannot be read: {error}") from None
    if copy.session_id != found.session_id:
        raise document.refused("changed", f"session.msgpack is of session {copy.session_id[:200]!r}")
    if copy.digest != hashlib.sha256(found.state).digest():
        detail = (
            "state.json is not the one that was exported with session.msgpack. Restore it; or delete session.msgpack, "
            "to import what state.json says, without recorded steps and older checkpoints"
        )
        raise document.refused("changed", detail)
    return copy


def _parsed(found: Found) -> Mapping[str, Any]:
    try:
        parsed = json.loads(found.state, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        detail = f"state.json is no JSON: {error}"
        raise ImportRefused(session_id=found.session_id, reason="bad_json", detail=detail) from None
    if not isinstance(parsed, dict):
        raise ImportRefused(session_id=found.session_id, reason="bad_json", detail="state.json holds no object")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class Document:
    """The document of one session, read field by field; what is not as it should be is said by its path."""

    def __init__(self, session_id: str, fields: Mapping[str, Any]) -> None:
        self._session_id = session_id
        self._fields = fields

    def refused(self, reason: Any, detail: str) -> ImportRefused:
        return ImportRefused(session_id=self._session_id, reason=reason, detail=detail)

    def check(self, session_id: str) -> None:
        """Refuse what cannot be of this layout, or of this session."""
        version = self.get("schema_version", "1")
        if str(version).split(".")[0] != "1":
            raise self.refused("invalid", f"schema_version: {version!r:.100} is not known here")
        for path in _NEEDED:
            if self.get(path, _MISSING) is _MISSING:
                raise self.refused("missing", f"{path} is missing")
        for path in ("session_id", "stream_id", "entry_point"):
            if SAFE_ID.fullmatch(self.text(path)) is None:
                raise self.refused("bad_id", f"{path}: {self.text(path)[:200]!r} is no id")
        if self.text("session_id") != session_id:
            raise self.refused("bad_id", f"session_id: {self.text('session_id')!r} is not the name of its folder")
        self.word("status", get_args(SessionStatus))

    def get(self, path: str, default: Any = None) -> Any:
        """What stands there."""
        value: Any = self._fields
        for name in path.split("."):
            if not isinstance(value, dict) or name not in value:
                return default
            value = value[name]
        return value

    def _of(self, path: str, kind: type | tuple[type, ...], called: str, default: Any) -> Any:
        value = self.get(path, default)
        if value is None or value is default:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refused("invalid", f"{path}: {value!r:.100} is no {called}")
        return value

    def text(self, path: str, default: Any = "") -> Any:
        return self._of(path, str, "text", default)

    def word(self, path: str, words: tuple[str, ...], default: Any = "") -> Any:
        value = self.text(path, default)
        if value not in words:
            raise self.refused("invalid", f"{path}: {value!r:.100} is none of {', '.join(words)}")
        return value

    def whole(self, path: str) -> int:
        value: int = self._of(path, int, "whole number", 0)
        if not 0 <= value < 2**63:
            raise self.refused("invalid", f"{path}: {value!r:.100} is out of range")
        return value

    def mapping(self, path: str) -> dict[str, Any]:
        value: dict[str, Any] = self._of(path, dict, "object", {})
        return value

    def names(self, path: str) -> tuple[str, ...]:
        value = self._of(path, list, "list", [])
        if not all(isinstance(each, str) for each in value):
            raise self.refused("invalid", f"{path} is no list of texts")
        return tuple(value)

    def counts(self, path: str) -> Pairs[int]:
        value = self.mapping(path)
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in value.values()):
            raise self.refused("invalid", f"{path} is no object of whole numbers")
        return Pairs(value)

    def moment(self, path: str) -> datetime | None:
        text = self.text(path, None)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.refused("invalid", f"{path}: {text[:100]!r} is no time in ISO 8601") from None

    def payload(self, path: str, limit: int) -> Payload:
        try:
            return Payload.of(self.get(path), path, limit)
        except PayloadTooLarge as error:
            raise self.refused("too_large", str(error)) from None
        except InvalidInput as error:
            raise self.refused("invalid", str(error)) from None


def _from_document(document: Document, limit: int) -> SessionCopy:
    session_id, status = document.text("session_id"), document.text("status")
    started_at = document.moment("timestamps.started_at")
    assert started_at is not None
    spec = ExecutionSpec(
        execution_id=session_id,
        session_id=session_id,
        stream_id=document.text("stream_id"),
        entry_point=document.text("entry_point"),
        correlation_id=document.text("correlation_id", session_id) or session_id,
        isolation_level=document.word("isolation_level", get_args(IsolationLevel), "isolated"),
        accepted_at=started_at,
        input_data=document.payload("input_data", limit),
    )
    document.mapping("memory")
    memory = document.payload("memory", limit)
    state = ExecutionState(
        execution_id=session_id,
        status="running" if status == "active" else status,
        attempt=document.whole("metrics.attempts"),
        restarts=document.whole("metrics.restarts"),
        lost_attempts=document.whole("metrics.lost_attempts"),
        started_at=started_at,
        completed_at=document.moment("timestamps.completed_at"),
        paused_at=document.moment("timestamps.paused_at_time"),
    )
    if state.status in ENDED:
        state = state.model_copy(update={"result": encode(_result(document, spec, state, memory, limit))})
    return SessionCopy(
        session_id=session_id,
        executions=(ExecutionCopy(spec=spec, state=state),),
        row=_row(document, spec, memory),
    )


def _result(
    document: Document, spec: ExecutionSpec, state: ExecutionState, memory: Payload, limit: int
) -> ExecutionResult:
    error = document.text("result.error", None)
    kind, _, message = (error or "").partition(": ")
    return ExecutionResult(
        execution_id=spec.execution_id,
        session_id=spec.session_id,
        status=state.status,
        success=state.status == "completed",
        output_payload=document.payload("result.output", limit) if document.mapping("result.output") else None,
        memory_payload=memory,
        failure=None if error is None else Failure(kind=kind if message else "Error", message=message or error),
        paused_at=document.text("progress.paused_at", None) if state.status == "paused" else None,
        path=document.names("progress.path"),
        steps_executed=document.whole("progress.steps_executed"),
        restarts=state.restarts,
        total_tokens=document.whole("progress.total_tokens"),
        total_latency_ms=document.whole("progress.total_latency_ms"),
        total_retries=document.whole("progress.total_retries"),
        nodes_with_failures=document.names("progress.nodes_with_failures"),
        retry_details=document.counts("progress.retry_details"),
        had_partial_failures=bool(document.get("progress.had_partial_failures")),
        execution_quality=document.word("progress.execution_quality", ("clean", "degraded", "failed"), "clean"),
        node_visit_counts=document.counts("progress.node_visit_counts"),
    )


def _row(document: Document, spec: ExecutionSpec, memory: Payload) -> SessionRow:
    updated_at = document.moment("timestamps.updated_at") or spec.accepted_at
    node = document.text("progress.current_node", None)
    progress = None if node is None else Payload.of({"fraction": None, "note": "", "current_node": node})
    own = spec.execution_id
    return SessionRow(
        owner_execution_id=own,
        holder=own,
        created_at=spec.accepted_at,
        updated_at=updated_at,
        memory=memory,
        progress=progress,
        checkpoint_execution_id=own,
        checkpoint_id=document.text("latest_checkpoint_id", None),
        checkpoint_node=document.text("progress.resume_from", None),
        checkpoint_at=updated_at,
        checkpoint_memory=memory,
    )
