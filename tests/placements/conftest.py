"""Fixtures of the placements' tests: each placement with the kind of function that it runs, and a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream

from ..runtime.support import PATIENCE
from . import bodies


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A runtime in memory."""
    with Runtime(config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        yield runtime


PLACEMENTS = {
    "asyncio": (Placement.asyncio(), ""),
    "thread": (Placement.thread(), "_plainly"),
    "process": (Placement.process(workers=1, warm=0, start_method="forkserver"), ""),
    "process-def": (Placement.process(workers=1, warm=0), "_plainly"),
}

Opener = Callable[..., Stream]


@pytest.fixture(params=list(PLACEMENTS))
def opened(request: pytest.FixtureRequest, runtime: Runtime) -> Opener:
    """Opens a stream over a body in each placement."""
    placement, suffix = PLACEMENTS[request.param]

    def open_stream(name: str, **fields: Any) -> Stream:
        fields.setdefault("restart", RestartPolicy(max_restarts=0))
        executor = getattr(bodies, name + suffix)
        return runtime.open_stream(EntryPoint(id=name, placement=placement, **fields), executor).get(timeout=PATIENCE)

    return open_stream


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that executors wait for."""
    return tmp_path / "gate"


@pytest.fixture
def quick() -> RestartPolicy:
    """Restarts that do not wait."""
    return RestartPolicy(max_restarts=5, backoff=Backoff(initial=0.001, maximum=0.01))
