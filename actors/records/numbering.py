"""The events of a committed write, with their numbers, as subscribers see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from propolis.messages import (
    AdvanceExecution,
    AppendEvents,
    ChangeState,
    Event,
    EventDraft,
    MoveGoal,
    MoveTrigger,
    OpenExecution,
    Payload,
    RecordSteps,
    Write,
)

__all__ = ["numbered_events"]


def numbered_events(write: Write, first: int, outcome: Any) -> list[Event]:
    """The events that a write brought, numbered from `first` on."""
    match write:
        case AppendEvents() | MoveGoal() | MoveTrigger():
            return [event.model_copy(update={"seq": seq}) for seq, event in enumerate(write.events, first)]
        case OpenExecution() | AdvanceExecution() | RecordSteps():
            return _written_out(write, first, write.events)
        case ChangeState():
            return _written_out(write, first, outcome.events)
        case _:
            return []


def _written_out(
    write: OpenExecution | AdvanceExecution | RecordSteps | ChangeState, first: int, drafts: Sequence[EventDraft]
) -> list[Event]:
    of = write.event_origin
    return [
        Event(
            type=type,
            stream_id=of.stream_id,
            session_id=of.session_id,
            execution_id=of.execution_id,
            node_id=node_id,
            graph_id=of.graph_id,
            correlation_id=of.correlation_id,
            timestamp=of.at,
            data_payload=None if data is None else Payload(data),
            seq=seq,
        )
        for seq, (type, node_id, data) in enumerate(drafts, first)
    ]
