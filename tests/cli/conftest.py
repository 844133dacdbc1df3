"""A store with a session of every kind that can be made by now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from propolis import EntryPoint, NonRetryable, Runtime, SyncContext
from propolis.cli import main


def work(ctx: SyncContext, input: Mapping[str, Any]) -> Any:
    """Do as the input says."""
    ctx.progress(0.5, "half way")
    ctx.memory.write("seen", {"at": datetime(2026, 1, 2, tzinfo=UTC), "raw": b"\0\1", "set": {2, 1}})
    if input["do"] == "fail":
        raise NonRetryable("this cannot\nwork")
    if input["do"] == "pause":
        ctx.pause("approval")
    return input["give"]


@dataclass(frozen=True)
class Recorded:
    """A store and the sessions in it."""

    url: str
    completed: str
    failed: str
    paused: str


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Made once: the tests only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/test.db"
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), work).get()
        inputs = [{"do": "give", "give": [1, 2.5, None]}, {"do": "fail"}, {"do": "pause"}]
        completed, failed, paused = (stream.run(given).get().session_id for given in inputs)
    return Recorded(url, completed, failed, paused)


@pytest.fixture
def propolis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run the command line inside this process, in a folder of its own."""
    monkeypatch.delenv("PROPOLIS_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args], prog_name="propolis")
