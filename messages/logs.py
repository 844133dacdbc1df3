"""The log of a run: what is told of an execution, its nodes and steps, and its tool calls."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field

from .base import Message
from .payload import Payload

__all__ = ["LogEntry", "LogKind", "LogLevel"]

LogLevel: TypeAlias = Literal[1, 2, 3]
LogKind: TypeAlias = Literal["execution", "node", "step", "tool", "log", "output", "event"]


class LogEntry(Message, tag="log.entry.v1"):
    """One line of a log. Level 1 is about executions, 2 about their nodes and steps, 3 about all else."""

    level: LogLevel
    kind: LogKind
    what: str
    """What happened to it: `started`, `completed`, `failed`, `retried`, …; of a `log`, the record's level."""
    name: str | None = None
    """Of the node, the step, the tool, the logger; the type of another event."""
    at: datetime
    seq: int | None = None
    """Of the event that this is told by; None of one that is nowhere kept."""
    type: str
    """Of that event."""
    execution_id: str | None = None
    session_id: str | None = None
    stream_id: str | None = None
    node_id: str | None = None
    duration_ms: int | None = None
    """How long it took, where this is its end."""
    text: str = ""
    """The error of what failed; what was logged or printed."""
    data_payload: Payload | None = Field(default=None, serialization_alias="data")
    """What else there is to say: of an execution that has ended its summary, else what came with the event."""

    @property
    def data(self) -> dict[str, Any]:
        """A fresh copy of what else there is to say."""
        value: dict[str, Any] = {} if self.data_payload is None else self.data_payload.value()
        return value
