"""A session as one JSON document, in the layout `sessions/<id>/state.json` that other tools read."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from propolis.messages import ExecutionResult, InvalidInput, SessionCopy, SessionRecord, encode

from .plain import iso, json_text, plain

__all__ = ["COPY_FILE", "SAFE_ID", "SCHEMA_VERSION", "STATE_FILE", "state_of", "write_state"]

SCHEMA_VERSION = "1.1"
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
STATE_FILE = "state.json"
COPY_FILE = "session.msgpack"


def state_of(record: SessionRecord) -> dict[str, Any]:
    """The document. Where the layout has a mapping and the user's value is none, it is under the key "value"."""
    result = record.result
    progress = record.progress
    paused_at = result.paused_at if result is not None else None
    return {
        "schema_version": SCHEMA_VERSION,
        "session_id": record.session_id,
        "stream_id": record.stream_id,
        "correlation_id": record.correlation_id,
        "status": record.status,
        "goal_id": "",
        "agent_id": "",
        "entry_point": record.entry_point,
        "timestamps": {
            "started_at": iso(record.timestamps.started_at),
            "updated_at": iso(record.timestamps.updated_at),
            "completed_at": iso(record.timestamps.completed_at),
            "paused_at_time": iso(record.timestamps.paused_at),
        },
        "progress": {
            "current_node": progress.get("current_node"),
            "paused_at": paused_at,
            "resume_from": None if record.status == "completed" else paused_at or record.checkpoint_node,
            **_figures(result),
        },
        "result": {
            "success": None if result is None else result.success,
            "error": None if result is None else result.error,
            "output": _mapping(None if result is None else result.output),
        },
        "memory": plain(record.memory),
        "metrics": {"attempts": record.attempt, "restarts": record.restarts, "lost_attempts": record.lost_attempts},
        "problems": [],
        "decisions": [],
        "input_data": _mapping(record.input_data),
        "isolation_level": record.isolation_level,
        "checkpoint_enabled": record.checkpoint_id is not None,
        "latest_checkpoint_id": record.checkpoint_id,
    }


def _figures(result: ExecutionResult | None) -> dict[str, Any]:
    """What a result says of the way to it; zeros and nothings before there is one."""
    if result is None:
        return {
            "steps_executed": 0,
            "total_tokens": 0,
            "total_latency_ms": 0,
            "path": [],
            "total_retries": 0,
            "nodes_with_failures": [],
            "retry_details": {},
            "had_partial_failures": False,
            "execution_quality": "clean",
            "node_visit_counts": {},
        }
    return {
        "steps_executed": result.steps_executed,
        "total_tokens": result.total_tokens,
        "total_latency_ms": result.total_latency_ms,
        "path": list(result.path),
        "total_retries": result.total_retries,
        "nodes_with_failures": list(result.nodes_with_failures),
        "retry_details": dict(result.retry_details),
        "had_partial_failures": result.had_partial_failures,
        "execution_quality": result.execution_quality,
        "node_visit_counts": dict(result.node_visit_counts),
    }


def _mapping(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    shown = plain(value)
    return shown if isinstance(shown, dict) else {"value": shown}


def write_state(folder: Path, record: SessionRecord, copy: SessionCopy | None = None) -> Path:
    """Write `folder/sessions/<id>/state.json`, and return its path. A reader sees the old document or the new one.

    With a `copy` that goes beside it, for an import that is to miss nothing: steps, checkpoints, values which JSON
    cannot say.

    Raises:
        InvalidInput: the id, as the store has it, is no safe name for a folder.
        OSError: it cannot be written there.
    """
    if SAFE_ID.fullmatch(record.session_id) is None:
        raise InvalidInput(
            what=f"session {record.session_id!r}",
            reason="its id is no safe name for a folder",
            remedy="Something else than Propolis wrote it; look at the store.",
        )
    target = folder / "sessions" / record.session_id / STATE_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    text = (json_text(state_of(record)) + "\n").encode()
    if copy is not None:
        digest = hashlib.sha256(text).digest()
        _write(target.with_name(COPY_FILE), encode(copy.model_copy(update={"digest": digest})))
    _write(target, text)
    return target


def _write(target: Path, data: bytes) -> None:
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
