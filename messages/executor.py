"""What passes between an executor, in its placement, and the ExecutionActor that wraps it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from .base import Message, Request
from .codec import upcaster
from .events import Event, EventDraft
from .failure import Failure
from .history import RecordedStep
from .payload import Payload
from .records import ExecutionReport

__all__ = [
    "AttemptBegan",
    "AttemptEnded",
    "AttemptGivenUp",
    "Checkpointed",
    "EmitEvents",
    "OpenWait",
    "RecordStep",
    "ReportOutput",
    "ReportProgress",
    "SaveCheckpoint",
]


class AttemptBegan(Message, tag="executor.began.v1"):
    """From a placement, of an attempt that had to wait for a place to run: now it runs, and its `timeout` with it."""

    epoch: int


class AttemptEnded(Message, tag="executor.ended.v1"):
    """From a placement, once an attempt: how it ended. Exactly one of output and failure for returned and failed."""

    epoch: int
    how: Literal["returned", "failed", "cancelled", "paused", "parked"]
    output: Payload | None = None
    failure: Failure | None = None
    memory: Payload | None = None
    node: str | None = None
    progress: Payload | None = None
    report: ExecutionReport | None = None
    ordinal: int = 0
    """paused: which checkpoint of the run this is."""
    waits: tuple[RecordedStep, ...] = ()
    """parked: what it waits for; it is to run again when one of them is over."""
    forget: tuple[tuple[int, str, str, int], ...] = ()
    """failed: keys of the recorded steps whose failure this is. They are to run again with it."""
    events: tuple[EventDraft, ...] = ()
    """What led to it, for the commit of what comes of it."""


class AttemptGivenUp(Message, tag="executor.given_up.v1"):
    """From a placement: the event loop under this attempt was blocked and has been given up; the attempt is fenced off.

    `failure`: it was this one that blocked it. Else it is to run again, at nobody's charge, or, with `counted`, as an
    attempt that was lost with its surroundings: there is no execution to charge for it.
    """

    epoch: int
    failure: Failure | None = None
    counted: bool = False


class Checkpointed(Message, tag="executor.checkpointed.v1"):
    """The checkpoint is committed. `pause_requested`: somebody wants the execution to pause here."""

    checkpoint_id: str
    pause_requested: bool = False


class SaveCheckpoint(Request[Checkpointed], tag="executor.checkpoint.v2"):
    """From an executor: commit this checkpoint before I go on. Errors: StaleWriter."""

    epoch: int
    ordinal: int
    """Which checkpoint of the run this is."""
    memory: Payload
    node: str | None = None
    progress: Payload | None = None
    events: tuple[EventDraft, ...] = ()
    """What led to it, for the same commit."""
    report: ExecutionReport | None = None


@upcaster("executor.checkpoint.v1", "executor.checkpoint.v2")
def _flattened(fields: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint was a message of its own, which had to be put together on its way."""
    checkpoint = fields.pop("checkpoint")
    return {**fields, "ordinal": checkpoint.get("ordinal", 0), "memory": checkpoint["memory"]} | (
        {"node": checkpoint["node"]} if "node" in checkpoint else {}
    )


class EmitEvents(Request[None], tag="executor.emit.v1"):
    """From an executor: commit these events (or publish them, the live ones). Errors: StaleWriter."""

    epoch: int
    events: tuple[Event, ...]


class ReportProgress(Message, tag="executor.progress.v1"):
    """From an executor: how far it is. Published live, kept with the next commit."""

    epoch: int
    fraction: float | None = None
    note: str = ""
    at: datetime


class ReportOutput(Message, tag="executor.output.v1"):
    """From a placement that can tell: what the executor printed or logged, a line each. Published live, nowhere kept.

    `level` and `logger` are of a logging record, whose stream is "log".
    """

    epoch: int
    stream: Literal["stdout", "stderr", "log"]
    lines: tuple[str, ...]
    level: str | None = None
    logger: str | None = None


class RecordStep(Request[None], tag="executor.step.v1"):
    """From an executor: commit this step before I go on (D4). Errors: StaleWriter."""

    epoch: int
    step: RecordedStep
    ms: int | None = None
    """How long its function took, all tries together; and which node of a graph called it, on which visit."""
    tries: int = 1
    node_id: str | None = None
    visit: int = 0


class OpenWait(Request[RecordedStep], tag="executor.wait.v1"):
    """From an executor that keeps its stack: commit that I wait for this, reply with how it ended.

    Errors: StaleWriter.
    """

    epoch: int
    step: RecordedStep
