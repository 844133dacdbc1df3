"""A runtime on a file, and each placement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from propolis import EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream

from ..runtime.support import PATIENCE
from . import bodies

PLACEMENTS = {
    "asyncio": (Placement.asyncio(), ""),
    "thread": (Placement.thread(), "_plainly"),
    "process": (Placement.process(workers=1, warm=0, start_method="forkserver"), ""),
}

Opener = Callable[..., Stream]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a store in a file."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def runtime(url: str) -> Iterator[Runtime]:
    """On that."""
    with Runtime(url, config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        yield runtime


@pytest.fixture(params=list(PLACEMENTS))
def opened(request: pytest.FixtureRequest, runtime: Runtime) -> Opener:
    """Opens a stream over a body in each placement."""
    placement, suffix = PLACEMENTS[request.param]

    def open_stream(name: str, **fields: Any) -> Stream:
        point = EntryPoint(id=name, placement=placement, restart=RestartPolicy(max_restarts=0), **fields)
        return runtime.open_stream(point, getattr(bodies, name + suffix)).get(timeout=PATIENCE)

    return open_stream
