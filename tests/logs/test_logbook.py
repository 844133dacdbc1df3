"""From events to lines: which level, which name, how long it took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from propolis.logbook import Logbook, entry_of
from propolis.messages import EVENT_TYPES, Event, LogEntry, Payload

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def event(type: str, data: dict[str, Any] | None = None, after: float = 0.0, node: str | None = None) -> Event:
    """Of one execution, so many seconds after noon."""
    payload = None if data is None else Payload.of(data)
    return Event(
        type=type, execution_id="e", node_id=node, timestamp=NOON + timedelta(seconds=after), data_payload=payload
    )


@pytest.mark.parametrize(
    ("type", "data", "node", "expected"),
    [
        ("execution_restarted", {"error": "E: no", "restart": 1}, None, (1, "execution", None, "restarted", "E: no")),
        ("node_loop_completed", {"visit": 1, "success": True}, "a", (2, "node", "a", "completed", "")),
        ("node_loop_completed", {"success": False, "error": "no"}, "a", (2, "node", "a", "failed", "no")),
        ("node_retry", {"retry": 1}, "a", (2, "node", "a", "retried", "")),
        ("step_failed", {"name": "s", "error": "no"}, None, (2, "step", "s", "failed", "no")),
        ("tool_call_completed", {"tool_name": "t"}, None, (3, "tool", "t", "completed", "")),
        ("tool_call_completed", {"tool_name": "t", "is_error": True}, None, (3, "tool", "t", "failed", "")),
        ("log_record", {"level": "ERROR", "text": "bad"}, None, (3, "log", None, "ERROR", "bad")),
        ("client_input_requested", {"prompt": "Well?"}, None, (2, "event", "client_input_requested", "", "Well?")),
        ("goal_achieved", None, None, (1, "event", "goal_achieved", "", "")),
        ("of_the_users_own", {"name": "x"}, None, (3, "event", "of_the_users_own", "", "")),
    ],
)
def test_an_event_is_told_in_its_level(
    type: str, data: dict[str, Any] | None, node: str | None, expected: tuple[int, str, str | None, str, str]
) -> None:
    """By what it is about."""
    entry = entry_of(event(type, data, node=node))
    assert expected == (entry.level, entry.kind, entry.name, entry.what, entry.text)


@pytest.mark.parametrize("type", sorted(EVENT_TYPES))
@pytest.mark.parametrize("data", [None, {"name": 1, "ms": "x", "error": None, "success": 0, "level": []}])
def test_whatever_an_event_holds_it_can_be_told(type: str, data: dict[str, Any] | None) -> None:
    """Data is whatever a user has emitted, under a name of ours too."""
    assert isinstance(entry_of(event(type, data)), LogEntry)


def test_a_tool_call_took_the_time_between_its_two_events() -> None:
    """Of several under way at once, each its own; of one that began before the log is read nobody knows."""
    book = Logbook(3)
    told = [
        book.take(event("tool_call_started", {"tool_name": "t", "tool_use_id": "1"})),
        book.take(event("tool_call_started", {"tool_name": "t", "tool_use_id": "2"}, 1)),
        book.take(event("tool_call_completed", {"tool_name": "t", "tool_use_id": "2"}, 1.5)),
        book.take(event("tool_call_completed", {"tool_name": "t", "tool_use_id": "1"}, 3)),
        book.take(event("tool_call_completed", {"tool_name": "t", "tool_use_id": "0"}, 3)),
    ]
    assert [None, None, 500, 3000, None] == [entry.duration_ms for entry in told if entry is not None]


def test_what_has_begun_is_forgotten_when_its_execution_has_ended() -> None:
    """A log of months has nothing in memory of what never came to an end."""
    book = Logbook(3)
    book.take(event("tool_call_started", {"tool_name": "t"}))
    assert 1 == len(book._begun)
    book.take(event("execution_failed"))
    assert 0 == len(book._begun)


def test_what_is_beyond_the_level_is_left_out() -> None:
    """One is the least, three is all."""
    types = ("execution_started", "step_completed", "custom")
    assert [1, 2, 3] == [sum(Logbook(level).take(event(type)) is not None for type in types) for level in (1, 2, 3)]
