"""What the live view shows, folded from events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from propolis.demo import Board
from propolis.messages import Event, Payload


def event(type: str, execution: str = "e", **data: Any) -> Event:
    """Something that happened to an execution."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Event(type=type, execution_id=execution, timestamp=now, data_payload=Payload.of(data))


def test_a_running_execution_shows_its_last_note_until_it_ends() -> None:
    """However it ends."""
    for end in ("execution_completed", "execution_failed", "execution_cancelled"):
        board = Board()
        board.apply(event("execution_started"))
        board.apply(event("execution_progress", note="parsing"))
        assert {"e": "parsing"} == board.working
        board.apply(event(end, error="X: y"))
        assert {} == board.working


def test_progress_that_comes_after_the_end_brings_nothing_back() -> None:
    """Live events and committed ones come by different ways."""
    board = Board()
    board.apply(event("execution_progress", note="late"))
    assert {} == board.working


def test_findings_are_given_out_once_and_old_ones_are_dropped() -> None:
    """Whoever prints them asks for those after the last one that it printed."""
    board = Board()
    for number in range(250):
        board.apply(event("execution_failed", str(number), error="X: y"))
    assert list(range(151, 251)) == [finding.number for finding in board.findings_after(0)]
    assert ["249"] == [finding.execution_id for finding in board.findings_after(249)]
    assert [] == board.findings_after(250)
    assert "…" == board.name_of("249")
