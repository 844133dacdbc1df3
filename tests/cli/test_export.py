"""`propolis sessions export`: the layout that other tools read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from propolis import PropolisError
from propolis.cli.state import write_state
from propolis.messages import Payload, SessionRecord, Timestamps

from .conftest import Recorded

Run = Callable[..., Result]

FIELDS = """schema_version session_id stream_id correlation_id status goal_id agent_id entry_point timestamps progress
    result memory metrics problems decisions input_data isolation_level checkpoint_enabled latest_checkpoint_id"""
PROGRESS = """current_node paused_at resume_from steps_executed total_tokens total_latency_ms path total_retries
    nodes_with_failures retry_details had_partial_failures execution_quality node_visit_counts"""


def exported(session_id: str) -> dict[str, Any]:
    """The document of a session, below the current folder."""
    document: dict[str, Any] = json.loads(Path("out", "sessions", session_id, "state.json").read_text("utf-8"))
    return document


def record(session_id: str) -> SessionRecord:
    """A session that has just been accepted."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return SessionRecord(
        session_id=session_id,
        status="active",
        entry_point="jobs",
        stream_id="jobs",
        correlation_id="c",
        execution_id="e",
        input_payload=Payload.of(None),
        timestamps=Timestamps(started_at=now, updated_at=now),
    )


def test_every_session_gets_its_document_with_exactly_these_fields(propolis: Run, recorded: Recorded) -> None:
    """Tools which read the layout look for them; one that is missing breaks some, one that is new may too."""
    result = propolis("sessions", "export", "--to", "out", "--store", recorded.url)
    assert (0, "3 sessions written below out.\n") == (result.exit_code, result.stdout)
    for session_id in (recorded.completed, recorded.failed, recorded.paused):
        document = exported(session_id)
        assert set(FIELDS.split()) == document.keys()
        assert set(PROGRESS.split()) == document["progress"].keys()
        assert {"started_at", "updated_at", "completed_at", "paused_at_time"} == document["timestamps"].keys()
        assert {"success", "error", "output"} == document["result"].keys()
        assert "1.1" == document["schema_version"]
        assert session_id == document["session_id"]


def test_the_documents_say_what_became_of_each(propolis: Run, recorded: Recorded) -> None:
    """Output that is no mapping stands under "value", since readers expect one."""
    propolis("sessions", "export", "--to", "out", "--store", recorded.url)
    completed, failed, paused = (exported(name) for name in (recorded.completed, recorded.failed, recorded.paused))
    assert ["completed", "failed", "paused"] == [document["status"] for document in (completed, failed, paused)]
    assert {"success": True, "error": None, "output": {"value": [1, 2.5, None]}} == completed["result"]
    assert (False, "NonRetryable: this cannot\nwork") == (failed["result"]["success"], failed["result"]["error"])
    assert ("approval", "approval") == (paused["progress"]["paused_at"], paused["progress"]["resume_from"])
    assert {"do": "pause"} == paused["input_data"]


def test_times_are_iso_8601_with_a_zone(propolis: Run, recorded: Recorded) -> None:
    """And absent ones are null."""
    propolis("sessions", "export", "--to", "out", "--store", recorded.url, recorded.paused)
    times = exported(recorded.paused)["timestamps"]
    for name in ("started_at", "updated_at", "paused_at_time"):
        assert datetime.fromisoformat(times[name]).tzinfo is not None
    assert times["completed_at"] is None


def test_only_named_sessions_are_written(propolis: Run, recorded: Recorded) -> None:
    """Each once, however often it was named."""
    args = ("sessions", "export", "--to", "out", "--store", recorded.url, recorded.failed, recorded.failed, "--json")
    assert [str(Path("out", "sessions", recorded.failed, "state.json"))] == json.loads(propolis(*args).stdout)
    assert [recorded.failed] == os.listdir(Path("out", "sessions"))  # noqa: PTH208 - names are what is asked for


def test_one_unknown_name_and_nothing_is_written(propolis: Run, recorded: Recorded) -> None:
    """A half-done export would have to be found out and finished by hand."""
    result = propolis("sessions", "export", "--to", "out", "--store", recorded.url, recorded.failed, "nope")
    assert 1 == result.exit_code
    assert not Path("out").exists()


def test_a_document_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails half way, the old one is still there, and nothing beside it."""
    path = write_state(tmp_path, record("s"))
    before = path.read_text("utf-8")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_state(tmp_path, record("s"))
    assert before == path.read_text("utf-8")
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize("session_id", ["../x", "a/b", "..", "", ".hidden", "x" * 129, "a\n", "C:\\x"])
def test_an_id_that_is_no_safe_name_is_refused(tmp_path: Path, session_id: str) -> None:
    """Ours are safe; a store that somebody prepared may hold others."""
    folder = tmp_path / "to"
    with pytest.raises(PropolisError, match="safe"):
        write_state(folder, record(session_id))
    assert [] == list(tmp_path.iterdir())


def test_a_session_that_has_nothing_yet_is_a_whole_document(tmp_path: Path) -> None:
    """Zeros, nulls and empty things where nothing is known."""
    document = json.loads(write_state(tmp_path, record("s")).read_text("utf-8"))
    assert {"success": None, "error": None, "output": {}} == document["result"]
    assert ("active", {}, {}, 0) == (
        document["status"],
        document["memory"],
        document["input_data"],
        document["progress"]["steps_executed"],
    )
