"""Which events start an execution of an entry point, and with what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from propolis.messages import Event, EventFilter, Payload, StartExecution

from .config import MAX_DEPTH

if TYPE_CHECKING:
    from ..specs import EntryPoint

__all__ = ["EventTrigger", "Loop", "choose", "event_input"]


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """The `trigger_config` of an entry point that events start."""

    entry_point: str
    filter: EventFilter
    without_graph: str | None
    without_stream: str | None
    join_session: bool
    max_depth: int
    from_seq: int | None

    @classmethod
    def of(cls, point: EntryPoint) -> EventTrigger:
        """From an entry point that was checked."""
        config = point.trigger_config
        types = config["event_types"]
        excludes = config.get("exclude_own_graph", False)
        return cls(
            entry_point=point.id,
            filter=EventFilter(
                types=(types,) if isinstance(types, str) else tuple(sorted(types)),
                stream=config.get("filter_stream"),
                node=config.get("filter_node"),
                graph=config.get("filter_graph"),
            ),
            without_graph=point.graph_id if excludes else None,
            without_stream=point.id if excludes and point.graph_id is None else None,
            join_session=config.get("join_session", False),
            max_depth=config.get("max_depth") or MAX_DEPTH,
            from_seq=config.get("from_seq"),
        )

    @property
    def shape(self) -> str:
        """Where it begins, as text: when it begins elsewhere, it begins anew."""
        return "from now" if self.from_seq is None else f"from {self.from_seq}"


@dataclass(frozen=True, slots=True)
class Loop:
    """The event was caused by this very entry point, through others or not, once too often."""

    chain: tuple[str, ...]
    """The entry points that events went through on the way, the one that was not started any more last."""


def choose(trigger: EventTrigger, event: Event, ancestry: tuple[str, ...]) -> StartExecution | Loop | None:
    """What a stored event that passes the filter starts; `ancestry` is that of the execution which it is of.

    Raises:
        MessageError: the event's data are damaged.
        InvalidInput: they nest so deep that an input with them in it cannot be encoded.
    """
    if trigger.without_graph is not None and event.graph_id == trigger.without_graph:
        return None
    if trigger.without_stream is not None and event.stream_id == trigger.without_stream:
        return None
    chain = (*ancestry, trigger.entry_point)
    if len(chain) > trigger.max_depth:
        return Loop(chain)
    return StartExecution(
        input_data=Payload.of({"event": event_input(event)}, "event"),
        correlation_id=event.correlation_id,
        session_id=event.session_id if trigger.join_session else None,
        idempotency_key=f"event:{event.seq}",
        ancestry=chain,
    )


def event_input(event: Event) -> dict[str, Any]:
    """An event as plain data."""
    return {
        "type": event.type,
        "seq": event.seq,
        "timestamp": event.timestamp,
        "stream_id": event.stream_id,
        "session_id": event.session_id,
        "execution_id": event.execution_id,
        "node_id": event.node_id,
        "graph_id": event.graph_id,
        "correlation_id": event.correlation_id,
        "data": event.data,
    }
