"""From events to the lines of a log: pure functions. There is no other record of a run than its events and rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from propolis.messages import (
    Event,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    LogEntry,
    LogKind,
    LogLevel,
    Payload,
    decode_as,
)

__all__ = ["ENDS", "Logbook", "entry_of", "summary_of"]

ENDS: Final = frozenset({"execution_completed", "execution_failed", "execution_cancelled", "execution_paused"})

_TOLD: Final[Mapping[str, tuple[LogKind, str]]] = {
    "step_completed": ("step", "completed"),
    "step_failed": ("step", "failed"),
    "step_in_doubt": ("step", "in doubt"),
    "node_loop_started": ("node", "started"),
    "node_loop_completed": ("node", "completed"),
    "node_retry": ("node", "retried"),
    "node_stalled": ("node", "stalled"),
    "node_input_blocked": ("node", "blocked"),
    "node_tool_doom_loop": ("node", "doom loop"),
    "tool_call_started": ("tool", "started"),
    "tool_call_completed": ("tool", "completed"),
    "node_internal_output": ("output", "printed"),
    "log_record": ("log", "INFO"),
}
"""By type of event: what it is about, and what happened to that."""

_LEVELS: Final[Mapping[LogKind, LogLevel]] = {"execution": 1, "node": 2, "step": 2}

_RAISED: Final[Mapping[str, LogLevel]] = {
    "executor_blocked": 1,
    "escalation_requested": 1,
    "constraint_violation": 1,
    "goal_achieved": 1,
    "client_input_requested": 2,
    "decision_made": 2,
    "edge_traversed": 2,
    "judge_verdict": 2,
    "outcome_recorded": 2,
    "problem_reported": 2,
    "state_conflict": 2,
}
"""Of other events; those that are not named here are of level 3."""

_NAMES: Final = ("name", "tool_name", "tool", "logger", "edge")
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {"log": ("text",), "output": ("line",)}
_TEXTS_OF_OTHERS: Final = ("error", "reason", "prompt", "intent", "description")
_SAID: Final[Mapping[str, frozenset[str]]] = {
    "log": frozenset({"text", "level"}),
    "output": frozenset({"line", "stream", "level", "logger"}),
    "event": frozenset({"ms"}),
}
"""By kind: what of an event's data has a field of its own in its line. Of the others: name, error and time."""


_SAID_OF_OTHERS: Final = frozenset({"name", "error", "ms"})


def entry_of(event: Event) -> LogEntry:
    """The line that tells an event."""
    data = event.data
    kind, what = _kind_of(event, data)
    name = next((str(data[key]) for key in _NAMES if data.get(key) is not None), None)
    if kind == "node":
        name = event.node_id
    elif kind == "event":
        name = event.type
    ms = data.get("ms")
    said = _SAID.get(kind, _SAID_OF_OTHERS)
    rest = {key: value for key, value in data.items() if key not in said}
    return LogEntry(
        level=_RAISED.get(event.type, 3) if kind == "event" else _LEVELS.get(kind, 3),
        kind=kind,
        what=what,
        name=name,
        at=event.timestamp,
        seq=event.seq,
        type=event.type,
        execution_id=event.execution_id,
        session_id=event.session_id,
        stream_id=event.stream_id,
        node_id=event.node_id,
        duration_ms=ms if isinstance(ms, int) else None,
        text=next((str(data[key]) for key in _TEXTS.get(kind, _TEXTS_OF_OTHERS) if isinstance(data.get(key), str)), ""),
        data_payload=Payload.of(rest) if rest else None,
    )


def _kind_of(event: Event, data: Mapping[str, Any]) -> tuple[LogKind, str]:
    if event.type.startswith("execution_"):
        return "execution", event.type.removeprefix("execution_")
    kind, what = _TOLD.get(event.type, ("event", ""))
    failed = data.get("success") is False if kind == "node" else bool(data.get("is_error") or data.get("error"))
    if failed and (kind, what) in (("node", "completed"), ("tool", "completed")):
        what = "failed"
    elif kind in ("log", "output"):
        what = str(data.get("level") or data.get("stream") or what)
    return kind, what


def summary_of(entry: LogEntry, spec: ExecutionSpec, state: ExecutionState) -> LogEntry:
    """The line of an execution's end, with what its row says of the way there, if that is of this end."""
    data = entry.data
    same = state.result is not None and entry.what == state.status and data.get("attempt") in (None, state.attempt)
    if not same or state.result is None:
        return entry
    result = decode_as(ExecutionResult, state.result)
    said: dict[str, Any] = {
        "attempts": state.attempt,
        "restarts": state.restarts,
        "lost_attempts": state.lost_attempts,
        "quality": result.execution_quality,
        "tokens": result.total_tokens,
        "retries": result.total_retries,
        "path": list(result.path),
        "nodes_with_failures": list(result.nodes_with_failures),
        "paused_at": result.paused_at,
        "stream_id": spec.stream_id,
    }
    said = {key: value for key, value in said.items() if value or key == "attempts"}
    data.pop("attempt", None)
    return entry.model_copy(
        update={
            "duration_ms": result.total_latency_ms,
            "text": entry.text or result.error or "",
            "data_payload": Payload.of(data | said),
        }
    )


class Logbook:
    """Tells events in order. What began is remembered until it ends, to say how long it took."""

    def __init__(self, level: LogLevel) -> None:
        self._level = level
        self._begun: dict[tuple[str | None, ...], Event] = {}

    def take(self, event: Event) -> LogEntry | None:
        """The line of an event; None when it is beyond the level."""
        entry = entry_of(event)
        if entry.kind == "tool":
            entry = self._timed(entry, event)
        elif entry.type in ENDS:
            gone = [key for key in self._begun if key[0] == event.execution_id]
            for key in gone:
                del self._begun[key]
        return entry if entry.level <= self._level else None

    def _timed(self, entry: LogEntry, event: Event) -> LogEntry:
        """A tool says when it began and when it ended, and not how long it took."""
        if self._level < entry.level:
            return entry
        data = event.data
        call = data.get("call_id") or data.get("tool_use_id") or data.get("tool_call_id") or entry.name
        key = (event.execution_id, event.node_id, None if call is None else str(call))
        if entry.what == "started":
            self._begun[key] = event
            return entry
        began = self._begun.pop(key, None)
        if began is None or entry.duration_ms is not None:
            return entry
        took = int((event.timestamp - began.timestamp).total_seconds() * 1000)
        return entry.model_copy(update={"duration_ms": max(0, took)})
