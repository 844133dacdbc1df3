"""Events: what happened, in the past tense."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from pydantic import Field

from .base import Message, Request
from .payload import Payload

__all__ = [
    "EVENT_TYPES",
    "LIFECYCLE_EVENTS",
    "LIVE_EVENTS",
    "Event",
    "EventDraft",
    "EventFilter",
    "EventOrigin",
    "EventsMissed",
    "PublishEvents",
    "WatchEvents",
]

LIVE_EVENTS: Final = frozenset(
    {
        "llm_text_delta",
        "llm_reasoning_delta",
        "client_output_delta",
        "node_internal_output",
        "execution_progress",
        "events_pruned",
    }
)
"""Published as they happen and nowhere kept: `seq` is None, no replay."""

EVENT_TYPES: Final = LIVE_EVENTS | {
    "constraint_violation",
    "client_input_requested",
    "context_compacted",
    "custom",
    "dead_letter",
    "decision_made",
    "edge_traversed",
    "escalation_requested",
    "execution_cancelled",
    "execution_completed",
    "execution_damaged",
    "execution_failed",
    "execution_imported",
    "execution_parked",
    "execution_paused",
    "execution_quarantined",
    "execution_queued",
    "execution_recovered",
    "execution_restarted",
    "execution_resumed",
    "execution_started",
    "execution_unparked",
    "executor_blocked",
    "goal_achieved",
    "goal_check_failed",
    "goal_progress",
    "goal_verdict",
    "judge_verdict",
    "log_record",
    "node_input_blocked",
    "node_loop_completed",
    "node_loop_iteration",
    "node_loop_started",
    "node_retry",
    "node_stalled",
    "node_tool_doom_loop",
    "outcome_recorded",
    "output_key_set",
    "problem_reported",
    "state_changed",
    "state_conflict",
    "step_completed",
    "step_failed",
    "step_in_doubt",
    "store_available",
    "store_unavailable",
    "stream_recovered",
    "stream_started",
    "stream_stopped",
    "stream_tripped",
    "tool_call_completed",
    "timer_misfired",
    "tool_call_started",
    "trigger_loop",
    "trigger_missed",
    "trigger_refused",
    "webhook_received",
}
"""Every type that Propolis itself emits. `ctx.emit` takes any other name too."""


LIFECYCLE_EVENTS: Final = frozenset(
    type
    for type in EVENT_TYPES
    if type.startswith(("execution_", "goal_", "state_", "step_", "stream_", "store_", "timer_", "trigger_"))
    or type
    in {
        "constraint_violation",
        "dead_letter",
        "decision_made",
        "events_pruned",
        "executor_blocked",
        "outcome_recorded",
        "problem_reported",
    }
)
"""What only the machinery says, since it is what happened; `ctx.emit` refuses them."""


EventDraft: TypeAlias = tuple[str, str | None, bytes | None]
"""An event that goes with a write: its type, node, and encoded data. Whose it is, and when, the write says."""


class EventOrigin(NamedTuple):
    """Whose the events of a write are, and when they happened."""

    execution_id: str | None
    session_id: str | None
    stream_id: str | None
    correlation_id: str | None
    graph_id: str | None
    at: datetime


class Event(Message, tag="event.v1"):
    """Something that happened. `seq` grows by one event at a time over the whole store; None for live-only events."""

    type: str
    stream_id: str | None = None
    session_id: str | None = None
    execution_id: str | None = None
    node_id: str | None = None
    graph_id: str | None = None
    correlation_id: str | None = None
    timestamp: datetime
    data_payload: Payload | None = Field(default=None, serialization_alias="data")
    seq: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        """A fresh copy of what came with the event."""
        value: dict[str, Any] = {} if self.data_payload is None else self.data_payload.value()
        return value


class EventFilter(Message, tag="event.filter.v1"):
    """Which events: of these types (all when empty), and of this stream, node, execution, graph, session when given."""

    types: tuple[str, ...] = ()
    stream: str | None = None
    node: str | None = None
    execution: str | None = None
    graph: str | None = None
    session: str | None = None

    def matches(self, event: Event) -> bool:
        return (
            (not self.types or event.type in self.types)
            and (self.stream is None or event.stream_id == self.stream)
            and (self.execution is None or event.execution_id == self.execution)
            and (self.node is None or event.node_id == self.node)
            and (self.graph is None or event.graph_id == self.graph)
            and (self.session is None or event.session_id == self.session)
        )


class EventsMissed(Message, tag="event.missed.v1"):
    """Told to a subscriber whose own queue overflowed: so many were dropped, up to this `seq`."""

    type: ClassVar[str] = "events_missed"
    """So that a handler may look at the `type` of whatever it is given."""
    count: int
    last_seq: int | None = None


class WatchEvents(Request[None], tag="event.watch.v1"):
    """To the SessionActor: somebody (or, with `on` False, nobody any more) wants to see what is committed."""

    on: bool


class PublishEvents(Message, tag="event.publish.v1"):
    """To the EventActor: these were committed (or are live only); hand them to whoever subscribed."""

    events: tuple[Event, ...]
