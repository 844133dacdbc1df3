"""Fixtures of the tests of decisions and goals: a runtime, and a stream in each placement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream

from ..runtime.support import PATIENCE
from . import bodies


@pytest.fixture
def file_store(tmp_path: Path) -> str:
    """The URL of a store in a file."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A runtime in memory."""
    with Runtime(config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        yield runtime


PLACEMENTS = {
    "asyncio": (Placement.asyncio(), ""),
    "thread": (Placement.thread(), "_plainly"),
    "process": (Placement.process(workers=1, warm=0, name="goals", start_method="forkserver"), ""),
}

Opener = Callable[..., Stream]

QUICK = RestartPolicy(max_restarts=5, backoff=Backoff(initial=0.0))


@pytest.fixture(params=list(PLACEMENTS))
def opened(request: pytest.FixtureRequest, runtime: Runtime) -> Opener:
    """Opens a stream over a body in each placement."""
    placement, suffix = PLACEMENTS[request.param]

    def open_stream(name: str, goal: Any = None, **fields: Any) -> Stream:
        fields.setdefault("restart", QUICK)
        executor = getattr(bodies, name + suffix)
        point = EntryPoint(id=name, placement=placement, **fields)
        return runtime.open_stream(point, executor, goal=goal).get(timeout=PATIENCE)

    return open_stream
