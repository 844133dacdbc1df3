"""Fixtures of the graphs' tests: placements that take async code, a runtime, a quick policy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, GraphExecutor, GraphSpec, Placement, RestartPolicy, Runtime, RuntimeConfig
from propolis.messages import ExecutionResult

from ..runtime.support import PATIENCE, Gate

NEVER = RestartPolicy(max_restarts=0)
QUICK = RestartPolicy(max_restarts=3, backoff=Backoff(initial=0.001, maximum=0.01))

PLACEMENTS = {
    "asyncio": Placement.asyncio(),
    "thread": Placement.thread(),
    "process": Placement.process(workers=1, warm=0, start_method="forkserver"),
}


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A runtime in memory."""
    with Runtime(config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        yield runtime


@pytest.fixture(params=list(PLACEMENTS))
def placement(request: pytest.FixtureRequest) -> Placement:
    """Every placement that takes async code."""
    return PLACEMENTS[request.param]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate, opened in the end, so that nothing hangs in it."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def never() -> Callable[[], Awaitable[None]]:
    """Waits on an event loop for what never comes."""

    async def wait() -> None:
        await asyncio.Event().wait()

    return wait


Ran = Callable[..., ExecutionResult]


@pytest.fixture
def ran(runtime: Runtime) -> Ran:
    """Runs a graph once, on an event loop: its result."""

    def run(graph: GraphSpec, data: Any = None, **fields: Any) -> ExecutionResult:
        runners = fields.pop("runners", None)
        fields.setdefault("restart", NEVER)
        executor = GraphExecutor(graph, runners=runners)
        fields.setdefault("id", graph.id)
        stream = runtime.open_stream(EntryPoint(**fields), executor).get(timeout=PATIENCE)
        return stream.run(data).get(timeout=PATIENCE)

    return run
