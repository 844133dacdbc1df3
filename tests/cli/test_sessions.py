"""`propolis sessions list` and `show`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from propolis import EntryPoint, Runtime

from .conftest import Recorded, work

Run = Callable[..., Result]


def test_list_shows_every_session_the_last_one_first(propolis: Run, recorded: Recorded) -> None:
    """One line each under a header, whole ids, the error on the line of what failed."""
    result = propolis("sessions", "list", "--store", recorded.url)
    header, *lines = result.stdout.splitlines()
    assert 0 == result.exit_code
    assert header.startswith("SESSION")
    expected = [(recorded.paused, "paused"), (recorded.failed, "failed"), (recorded.completed, "completed")]
    assert expected == [tuple(line.split()[:2]) for line in lines]
    assert "NonRetryable: this cannot work" in lines[1]


def test_list_can_be_narrowed(propolis: Run, recorded: Recorded) -> None:
    """By status, by stream, by number."""

    def listed(*options: str) -> list[str]:
        result = propolis("sessions", "list", "--store", recorded.url, "--json", *options)
        assert 0 == result.exit_code
        return [session["session_id"] for session in json.loads(result.stdout)]

    assert [recorded.failed] == listed("--status", "failed")
    assert [] == listed("--status", "active")
    assert [recorded.paused, recorded.failed, recorded.completed] == listed("--stream", "jobs")
    assert [] == listed("--stream", "other")
    assert [recorded.paused, recorded.failed] == listed("--limit", "2")


def test_list_says_when_there_is_more(propolis: Run, recorded: Recorded) -> None:
    """On stderr, so that what is piped on holds sessions only."""
    assert "--limit" in propolis("sessions", "list", "--store", recorded.url, "--limit", "2").stderr
    assert "" == propolis("sessions", "list", "--store", recorded.url, "--limit", "3").stderr


def test_the_store_comes_from_the_environment(
    propolis: Run, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROPOLIS_STORE, unless --store says otherwise."""
    monkeypatch.setenv("PROPOLIS_STORE", recorded.url)
    assert recorded.failed in propolis("sessions", "list").stdout
    assert 1 == propolis("sessions", "list", "--store", "sqlite:///none.db").exit_code


def test_show_tells_everything_of_one_session(propolis: Run, recorded: Recorded) -> None:
    """Its record, its executions, its events."""
    shown = propolis("sessions", "show", recorded.failed, "--store", recorded.url).stdout
    for expected in (recorded.failed, "NonRetryable", '"do": "fail"', "EXECUTION", "execution_failed"):
        assert expected in shown
    assert "50% half way" in propolis("sessions", "show", recorded.paused, "--store", recorded.url).stdout


def test_show_as_json_is_the_state_with_executions_and_events(propolis: Run, recorded: Recorded) -> None:
    """Whatever memory can hold is said in what JSON has."""
    shown = json.loads(propolis("sessions", "show", recorded.completed, "--store", recorded.url, "--json").stdout)
    assert {"at": "2026-01-02T00:00:00+00:00", "raw": "AAE=", "set": [1, 2]} == shown["memory"]["seen"]
    assert ["completed"] == [execution["status"] for execution in shown["executions"]]
    assert "execution_completed" == shown["events"][-1]["type"]
    seqs = [event["seq"] for event in shown["events"]]
    assert sorted(seqs) == seqs


def test_show_keeps_to_its_limit_and_takes_the_last_events(propolis: Run, recorded: Recorded) -> None:
    """The end of the story is what somebody looks for."""
    args = ("sessions", "show", recorded.completed, "--store", recorded.url, "--json", "--limit", "1")
    shown = json.loads(propolis(*args).stdout)
    assert ["execution_completed"] == [event["type"] for event in shown["events"]]


def test_a_store_is_read_while_a_runtime_works_on_it(propolis: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """And sees what that has committed so far."""
    url = f"sqlite:///{tmp_path_factory.mktemp('busy')}/busy.db"
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), work).get()
        session_id = stream.run({"do": "fail"}).get().session_id
        assert session_id in propolis("sessions", "list", "--store", url).stdout


def test_an_empty_store_is_no_error(propolis: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    """There is just nothing to list."""
    url = f"sqlite:///{tmp_path_factory.mktemp('empty')}/empty.db"
    with Runtime(url):
        pass
    assert (0, "") == ((result := propolis("sessions", "list", "--store", url)).exit_code, result.stdout)
    assert [] == json.loads(propolis("sessions", "list", "--store", url, "--json").stdout)
