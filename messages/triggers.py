"""What starts executions by itself: the row of a timer or an event trigger, and how it moves on."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from .base import Message, Request
from .events import Event

__all__ = ["MoveTrigger", "Moved", "OpenTrigger", "TriggerKind", "TriggerRow"]

TriggerKind: TypeAlias = Literal["timer", "event"]


class TriggerRow(Message, tag="trigger.row.v1"):
    """How far the trigger of an entry point is; shared by all runtimes that have it open.

    `position`: of a timer, the time of its next firing in microseconds since 1970 (UTC), None when it never fires
    again; of an event trigger, the `seq` of the last event that it has looked at.
    """

    entry_point: str
    kind: TriggerKind
    shape: str
    """The schedule, or where the events begin, as it was opened: another one begins anew."""
    began_at: datetime
    position: int | None
    updated_at: datetime


class OpenTrigger(Request[TriggerRow], tag="write.open_trigger.v1"):
    """Begin a trigger, or go on with the one that is there; the reply is its row.

    One of another `shape` begins anew, at `position`. Without a position an event trigger begins behind the last
    event; one that is there already stays where it is.
    """

    entry_point: str
    kind: TriggerKind
    shape: str
    at: datetime
    position: int | None = None


class Moved(Message, tag="write.moved.v1"):
    """The trigger stands at its new position, and the events of that are committed."""

    first_seq: int | None = None


class MoveTrigger(Request[Moved | None], tag="write.move_trigger.v1"):
    """Bring a trigger from one position to another, with events that are committed only if it moves.

    None: another runtime has moved it, or opened it with another shape; nothing was written.
    """

    entry_point: str
    shape: str
    expected: int
    position: int | None
    at: datetime
    events: tuple[Event, ...] = ()
