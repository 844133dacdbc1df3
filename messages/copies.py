"""A session as it leaves one store for another: all that a resume of it needs, to the byte."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .base import Message
from .errors import PropolisError
from .history import RecordedStep
from .payload import Payload
from .records import Checkpoint, ExecutionSpec, ExecutionState

__all__ = ["ExecutionCopy", "ImportRefused", "SessionCopy", "SessionRow", "StepCopy"]


class ExecutionCopy(Message, tag="copy.execution.v1"):
    """One execution of a session."""

    spec: ExecutionSpec
    state: ExecutionState


class SessionRow(Message, tag="copy.session_row.v1"):
    """What there is to say of a session besides its executions. One that has no memory and no progress has none."""

    owner_execution_id: str
    holder: str
    created_at: datetime
    updated_at: datetime
    revision: int = 0
    memory: Payload | None = None
    progress: Payload | None = None
    start_execution_id: str | None = None
    start_memory: Payload | None = None
    checkpoint_execution_id: str
    checkpoint_id: str | None = None
    checkpoint_node: str | None = None
    checkpoint_at: datetime | None = None
    checkpoint_memory: Payload


class StepCopy(Message, tag="copy.step.v1"):
    """A recorded step, a wait or a question, and of which run it is."""

    run: str
    at: datetime
    step: RecordedStep


class SessionCopy(Message, tag="copy.session.v1"):
    """A session: its executions in the order in which they were accepted, and what they have recorded. No events."""

    session_id: str
    executions: tuple[ExecutionCopy, ...]
    row: SessionRow | None = None
    steps: tuple[StepCopy, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    digest: bytes = b""
    """SHA-256 of the document beside it."""


@dataclass(eq=False, kw_only=True)
class ImportRefused(PropolisError):
    """A session does not fit into a store. Nothing of it is written."""

    sentence = "Session {session_id!r} was not imported ({reason}): {detail}"
    session_id: str
    reason: Literal["exists", "bad_id", "bad_file", "bad_json", "missing", "invalid", "too_large", "changed"]
    detail: str
