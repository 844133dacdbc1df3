"""Fixtures of the tests of shared memory: every placement, and a runtime of which nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream

from ..runtime.support import PATIENCE
from . import bodies

ONCE = RestartPolicy(max_restarts=0)
QUICK = RestartPolicy(max_restarts=3, backoff=Backoff(initial=0.0))
CONFIG = RuntimeConfig(grace_seconds=0.5, lease_seconds=6.0)

PLACEMENTS = {
    "asyncio": (Placement.asyncio(), ""),
    "thread": (Placement.thread(), "_plainly"),
    "process": (Placement.process(workers=2, warm=0, start_method="forkserver"), ""),
}

Opener = Callable[..., Stream]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The URL of a store in a file."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def runtime(store: str) -> Iterator[Runtime]:
    """A runtime on it."""
    with Runtime(store, config=CONFIG) as runtime:
        yield runtime


@pytest.fixture(params=list(PLACEMENTS))
def placed(request: pytest.FixtureRequest, runtime: Runtime) -> Opener:
    """Opens a stream over a body of `bodies` in each placement."""
    placement, suffix = PLACEMENTS[request.param]

    def open_stream(name: str, level: str, **fields: Any) -> Stream:
        fields = {"restart": ONCE, "max_concurrent": 20} | fields
        point = EntryPoint(id=name, placement=placement, isolation_level=level, **fields)
        return runtime.open_stream(point, getattr(bodies, name + suffix)).get(timeout=PATIENCE)

    return open_stream


def opened(runtime: Runtime, executor: Any, level: str, id: str = "s", **fields: Any) -> Stream:
    """A stream whose executions are at this level."""
    fields = {"restart": ONCE, "max_concurrent": 50} | fields
    point = EntryPoint(id=id, isolation_level=level, **fields)
    return runtime.open_stream(point, executor).get(timeout=PATIENCE)
