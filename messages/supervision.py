"""What passes between a stream and the executions that it supervises."""

from __future__ import annotations

from typing import ClassVar

from .base import Message
from .records import ExecutionStatus

__all__ = [
    "ExecutionDetached",
    "ExecutionEnded",
    "GiveUp",
    "RecoverNow",
    "SlotGranted",
    "SlotReturned",
    "SlotWanted",
    "StreamRestarted",
]


class ExecutionEnded(Message, tag="supervision.ended.v1"):
    """From an execution, once, last: its end is committed. Without `status` it leaves unfinished."""

    execution_id: str
    status: ExecutionStatus | None = None
    result: bytes | None = None
    """An encoded ExecutionResult."""
    restarts: int = 0
    quarantined: bool = False


class ExecutionDetached(Message, tag="supervision.detached.v1"):
    """From an execution: it was to be cancelled, still runs, and cannot be stopped."""

    execution_id: str


class SlotReturned(Message, tag="supervision.slot_returned.v1"):
    """From an execution: I wait for something else and need no slot.

    `parked`: for as long as that may take; `asks`: for a person.
    """

    execution_id: str
    parked: bool = False
    asks: bool = False


class SlotWanted(Message, tag="supervision.slot_wanted.v1"):
    """From an execution: I can go on as soon as there is a slot. The grant has the number of the last request."""

    execution_id: str
    request: int = 0


class SlotGranted(Message, tag="supervision.slot_granted.v1"):
    """To an execution: it has a slot. One of an earlier request counts for nothing: it was given back since."""

    request: int = 0


class GiveUp(Message, tag="supervision.give_up.v1"):
    """To an execution: interrupt what runs and leave, unfinished as you are. The next owner goes on from the store.

    With `now` do not wait for what runs: fence it off and leave.
    """

    control: ClassVar[bool] = True
    now: bool = False


class StreamRestarted(Message, tag="supervision.stream_restarted.v1"):
    """To an execution: its stream is a new instance that does not know what it waits for."""


class RecoverNow(Message, tag="supervision.recover_now.v1"):
    """To a stream: a peer is gone; look for what it left."""

    control: ClassVar[bool] = True
