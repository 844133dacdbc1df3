"""Fixtures of the placements' tests: each placement with the kind of function that it runs, and a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime, RuntimeConfig, Stream
from propolis.testing import Leaked, no_leaks

from ..runtime.support import PATIENCE
from . import bodies


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A runtime in memory."""
    with Runtime(config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        yield runtime


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """As everywhere; those that share a runtime are looked at when that has ended, all of them together."""
    if "shared" in request.fixturenames:
        yield
        return
    try:
        with no_leaks(grace=10.0):
            yield
    except Leaked as leaked:
        pytest.fail(str(leaked), pytrace=False)


NEVER = RestartPolicy(max_restarts=0)

SHARED = Placement.process(workers=1, warm=0, start_method="forkserver", name="shared")
"""A pool of one worker, forked from a template, which takes nearly all the time that such a test takes."""


@pytest.fixture(scope="module")
def shared() -> Iterator[Runtime]:
    """A runtime in memory with that pool, for tests that may end their worker, but nothing else."""
    with no_leaks(grace=10.0), Runtime(config=RuntimeConfig(grace_seconds=0.5)) as runtime:
        runtime.open_stream(EntryPoint(id="keeps", placement=SHARED), bodies.echo).get(timeout=PATIENCE)
        yield runtime


def joined(shared: Runtime, executor: Any, restart: RestartPolicy = NEVER) -> Stream:
    """One in the pool that tests share, for this test."""
    if shared.stream(executor.__name__) is not None:
        shared.close_stream(executor.__name__).get(timeout=PATIENCE)
    point = EntryPoint(id=executor.__name__, placement=SHARED, restart=restart)
    return shared.open_stream(point, executor).get(timeout=PATIENCE)


PLACEMENTS = {
    "asyncio": (Placement.asyncio(), ""),
    "thread": (Placement.thread(), "_plainly"),
    "process": (Placement.process(workers=1, warm=0, start_method="forkserver", name="forked"), ""),
    "process-def": (Placement.process(workers=1, warm=0, name="spawned"), "_plainly"),
}

Opener = Callable[..., Stream]


@pytest.fixture(scope="module")
def workers() -> Iterator[Runtime]:
    """A runtime with two pools, each with a worker that has run something: for tests that leave it as it was.

    Starting one is nearly all that such a test would take. The grace is long: none is to be killed by a busy machine.
    """
    with Runtime(config=RuntimeConfig(grace_seconds=PATIENCE)) as runtime:
        for placement, suffix in (PLACEMENTS["process"], PLACEMENTS["process-def"]):
            point = EntryPoint(id=f"keeps-{placement.name}", placement=placement)
            stream = runtime.open_stream(point, getattr(bodies, f"echo{suffix}")).get(timeout=PATIENCE)
            session_id = stream.run(0).get(timeout=PATIENCE).session_id
            runtime.session(session_id).get(timeout=PATIENCE)
        yield runtime


def _opener(runtime: Runtime, placement: Placement, suffix: str, names: list[str]) -> Opener:
    def open_stream(name: str, **fields: Any) -> Stream:
        fields.setdefault("restart", RestartPolicy(max_restarts=0))
        executor = getattr(bodies, name + suffix)
        names.append(name)
        return runtime.open_stream(EntryPoint(id=name, placement=placement, **fields), executor).get(timeout=PATIENCE)

    return open_stream


@pytest.fixture(params=list(PLACEMENTS))
def opened(request: pytest.FixtureRequest, runtime: Runtime, workers: Runtime) -> Iterator[Opener]:
    """Opens a stream over a body in each placement; in a process, with the workers that all tests share."""
    placement, suffix = PLACEMENTS[request.param]
    names: list[str] = []
    shared = workers if placement.kind == "process" else runtime
    yield _opener(shared, placement, suffix, names)
    for name in names:
        shared.close_stream(name).get(timeout=PATIENCE)


@pytest.fixture(params=list(PLACEMENTS))
def opened_here(request: pytest.FixtureRequest, runtime: Runtime) -> Opener:
    """The same in the runtime of the test."""
    return _opener(runtime, *PLACEMENTS[request.param], [])


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that executors wait for."""
    return tmp_path / "gate"


@pytest.fixture
def quick() -> RestartPolicy:
    """Restarts that do not wait."""
    return RestartPolicy(max_restarts=5, backoff=Backoff(initial=0.001, maximum=0.01))
