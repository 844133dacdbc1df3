"""`propolis state`: shared memory from any terminal, while a runtime works on the store."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from propolis import Runtime
from propolis.cli.app import main


def look(url: str, *arguments: str) -> str:
    """What it prints."""
    ran = CliRunner().invoke(main, ["state", "--store", url, *arguments], standalone_mode=False)
    if ran.exception is not None:
        raise ran.exception
    return ran.output


def test_keys_and_what_they_were_are_listed(tmp_path: Path) -> None:
    """Global ones first, of one stream, or one with its versions."""
    url = f"sqlite:///{tmp_path}/store.db"
    with Runtime(url) as runtime:
        runtime.set_state({"limit": 5, "names": ["ada"]}).get()
        runtime.set_state({"limit": 6}).get()
        runtime.set_state({"limit": 1}, scope="stream", stream="mail").get()
        lines = [line.split() for line in look(url).splitlines()]
        assert [["global", "limit", "2"], ["global", "names", "1"], ["mail", "limit", "1"]] == [
            row[:3] for row in lines[1:]
        ]
        assert '["ada"]' == lines[2][-1]
        assert ["mail"] == [entry["stream_id"] for entry in json.loads(look(url, "--stream", "mail", "--json"))]
        history = json.loads(look(url, "--key", "limit", "--json"))
        assert [(2, 6), (1, 5)] == [(entry["version"], entry["value"]) for entry in history]
        assert [1] == [
            entry["value"] for entry in json.loads(look(url, "--key", "limit", "--stream", "mail", "--json"))
        ]


def test_a_key_that_never_was_is_not_found(tmp_path: Path) -> None:
    """In one line, with exit status 1."""
    url = f"sqlite:///{tmp_path}/store.db"
    with Runtime(url) as runtime:
        runtime.set_state({"limit": 5}).get()
    ran = CliRunner().invoke(main, ["state", "--store", url, "--key", "no"])
    assert (1, "no key 'no'" in ran.output) == (ran.exit_code, True)
