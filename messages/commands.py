"""What a stream, an execution, a clock can be told or asked to do. Imperative, every one."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from .base import Message, Request
from .payload import Payload
from .records import ExecutionResult

__all__ = [
    "Accepted",
    "CancelExecution",
    "CancelOutcome",
    "CloseStream",
    "DrainStream",
    "NewExecution",
    "PauseExecution",
    "ReplayExecution",
    "ResumeExecution",
    "RunExecution",
    "StartExecution",
    "StartStream",
    "StopStream",
    "StreamEnded",
    "WaitForCompletion",
    "WakeAt",
    "WakeMe",
    "Woken",
]


class Accepted(Message, tag="execution.accepted.v1"):
    """The execution is durable (D1). `duplicate`: its idempotency key was known, this is the earlier one."""

    execution_id: str
    session_id: str
    duplicate: bool = False


class NewExecution(Message):
    """What a new execution is asked for with. `deadline` is aware; it includes the time spent queueing."""

    input_data: Payload
    correlation_id: str | None = None
    session_id: str | None = None
    memory: Payload | None = None
    priority: int | None = None
    idempotency_key: str | None = None
    deadline: datetime | None = None
    ancestry: tuple[str, ...] = ()
    """Of one that an event started: the entry points that events went through on the way, its own the last."""
    parent: str | None = None
    """The execution that calls it."""
    traceparent: str | None = None
    """The span that asks for it, as W3C writes it."""


class StartExecution(NewExecution, Request[Accepted], tag="execution.start.v1"):
    """To a stream: accept an execution.

    Errors: InvalidInput, StreamNotRunning, StreamSaturated, StreamTripped, SessionNotFound, SessionBusy,
    IdempotencyConflict, StoreUnavailable.
    """


class RunExecution(NewExecution, Request[ExecutionResult], tag="execution.run.v1"):
    """To a stream: accept an execution and reply with its result."""


class ResumeExecution(Request[Accepted], tag="execution.resume.v1"):
    """To the stream that opened a session: take it over with a new execution, from its last or a named checkpoint.

    With `fork` leave it alone, and open a new session that begins there.
    """

    session_id: str
    input_data: Payload | None = None
    memory: Payload | None = None
    checkpoint_id: str | None = None
    fork: bool = False
    traceparent: str | None = None
    """The span that asks for it, as W3C writes it."""


class ReplayExecution(Request[Accepted], tag="execution.replay.v1"):
    """To the stream of a failed execution: give it a new budget of restarts and run it again, under its own id."""

    session_id: str


class CancelOutcome(Message, tag="execution.cancel_outcome.v1"):
    """What became of a cancel. Falsy when there was nothing to cancel.

    `cancelled`: it is gone. `cancelling`: asked, still at work when the grace was over. `detached`: it cannot be
    stopped here; its result is fenced off. `ended`: it had ended before. `not_found`: no such execution.
    """

    execution_id: str
    outcome: Literal["cancelled", "cancelling", "detached", "ended", "not_found"]

    def __bool__(self) -> bool:
        return self.outcome in ("cancelled", "cancelling", "detached")


class CancelExecution(Request[CancelOutcome], tag="execution.cancel.v1"):
    """End an execution, pending, running or restarting; wait up to `grace` seconds for it to be gone."""

    control: ClassVar[bool] = True
    execution_id: str
    grace: float = 5.0
    reason: str = "cancelled"


class PauseExecution(Request[bool], tag="execution.pause.v1"):
    """Ask an execution to pause: a pending one at once, a running one at its next pause point or checkpoint."""

    control: ClassVar[bool] = True
    execution_id: str


class WaitForCompletion(Request[ExecutionResult | None], tag="execution.wait.v1"):
    """Reply with the result once it has ended; None for an unknown id, and when `timeout` seconds have passed."""

    execution_id: str
    timeout: float | None = None


class StreamEnded(Message, tag="stream.ended.v1"):
    """The stream has stopped or drained; `stragglers` are executions that did not end within the grace."""

    stream_id: str
    stragglers: tuple[str, ...] = ()


class StartStream(Request[None], tag="stream.start.v1"):
    """Admit work again after a stop."""


class StopStream(Request[StreamEnded], tag="stream.stop.v1"):
    """Admit nothing, interrupt what runs, wait `grace` seconds. With `cancel`, end it all as cancelled."""

    control: ClassVar[bool] = True
    cancel: bool = False
    grace: float = 5.0


class CloseStream(Request[StreamEnded], tag="stream.close.v1"):
    """As StopStream, and the actor itself ends too."""

    control: ClassVar[bool] = True
    cancel: bool = False
    grace: float = 5.0


class DrainStream(Request[StreamEnded], tag="stream.drain.v1"):
    """Admit nothing new, finish what was admitted, for at most `timeout` seconds (None: however long it takes)."""

    timeout: float | None = None


class Woken(Message, tag="wakeup.woken.v1"):
    """The time has come."""


class WakeMe(Request[Woken], tag="wakeup.wake_me.v1"):
    """To the WakeupActor: reply in `after` seconds. Cancelling the reply forgets it."""

    after: float


class WakeAt(Request[Woken], tag="wakeup.wake_at.v1"):
    """To the WakeupActor: reply when the wall clock says so, though it be set anew or the machine sleep meanwhile."""

    at: datetime
