"""What a run of an executor has behind it: its recorded steps, what it waits for, and how many checkpoints it made."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from .base import Message, Request
from .failure import Failure
from .payload import Payload

__all__ = ["GetHistory", "RunHistory", "RecordedStep", "StepKey", "StepKind", "StepStatus"]

StepKind: TypeAlias = Literal["step", "sleep", "receive", "ask", "call", "state", "decision", "outcome", "problem"]
StepStatus: TypeAlias = Literal["begun", "done", "failed"]


class StepKey(NamedTuple):
    """What a step is known by within its run, however often the executor is run again (section 4)."""

    segment: int
    """Checkpoints that were behind it."""
    kind: StepKind
    name: str
    call: int
    """Which call of that name in its segment it was, counted from 0."""


class RecordedStep(Message, tag="step.v1"):
    """One step, or one wait, of a run. `begun`: its end is not recorded (yet)."""

    segment: int = 0
    kind: StepKind = "step"
    name: str
    call: int = 0
    status: StepStatus = "done"
    digest: bytes = b""
    """Of the arguments."""
    due_at: datetime | None = None
    """When a wait is over, whatever comes."""
    about: Payload | None = None
    """What a wait is for: a topic, a question, a child."""
    value: Payload | None = None
    """What a step that is `done` gave."""
    failure: Failure | None = None
    """Why it `failed`."""
    inherited: bool = False
    """Recorded by a run that this one was branched off from: with other arguments it is made anew, and no mismatch."""

    @property
    def key(self) -> StepKey:
        """What it is known by."""
        return StepKey(self.segment, self.kind, self.name, self.call)


class RunHistory(Message, tag="run.history.v1"):
    """The steps of a run, in no order, and the number of its checkpoints."""

    steps: tuple[RecordedStep, ...] = ()
    segment: int = 0


class GetHistory(Request[RunHistory], tag="run.get_history.v1"):
    """To the SessionActor: what a run has behind it."""

    run: str
