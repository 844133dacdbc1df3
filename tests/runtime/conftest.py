"""Fixtures of the runtime's tests: a placement, a store, a runtime on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from propolis import Runtime, RuntimeConfig
from propolis.testing import ManualHost

from .support import GRACE, PATIENCE, Gate, pass_time_until


@pytest.fixture(params=["asyncio", "thread"])
def placement(request: pytest.FixtureRequest) -> str:
    """Where executors run."""
    return str(request.param)


@pytest.fixture(params=["memory", "file"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store's URL, of each kind."""
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def file_store(tmp_path: Path) -> str:
    """The URL of a store in a file."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def config() -> RuntimeConfig:
    """Settings with little patience."""
    return RuntimeConfig(grace_seconds=0.3)


@pytest.fixture
def runtime(config: RuntimeConfig) -> Iterator[Runtime]:
    """A runtime in memory."""
    with Runtime(config=config) as runtime:
        yield runtime


@pytest.fixture
def any_runtime(any_store: str, config: RuntimeConfig) -> Iterator[Runtime]:
    """A runtime on each kind of store."""
    with Runtime(any_store, config=config) as runtime:
        yield runtime


@pytest.fixture
def clock() -> ManualHost:
    """The clock of `timed_runtime`. It stands still until the test lets time pass."""
    return ManualHost()


@pytest.fixture
def timed_runtime(any_store: str, clock: ManualHost) -> Iterator[Runtime]:
    """A runtime on each kind of store, on the test's own clock.

    Its lease is so long that no beat comes between the alarms that a test waits for.
    """
    runtime = Runtime(any_store, config=RuntimeConfig(grace_seconds=GRACE, lease_seconds=3_000_000.0), host=clock)
    runtime.start().get(timeout=PATIENCE)
    yield runtime
    stopping = runtime.stop()
    # What a failed test has left running is given up after the grace, for which time has to pass here.
    pass_time_until(clock, stopping.done, step=0.01)


@pytest.fixture
def new_gate(request: pytest.FixtureRequest) -> Iterator[Callable[[], Gate]]:
    """Makes gates, and opens them all in the end, so that nothing hangs in them."""
    gates: list[Gate] = []

    def make() -> Gate:
        gates.append(Gate())
        return gates[-1]

    yield make
    for gate in gates:
        gate.open()


@pytest.fixture
def gate(new_gate: Callable[[], Gate]) -> Gate:
    """A gate, opened in the end."""
    return new_gate()
