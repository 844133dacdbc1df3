"""Fixtures of the tests of timers and event triggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from propolis import Runtime, RuntimeConfig
from propolis.testing import ManualHost

from ..runtime.support import PATIENCE, until


@pytest.fixture
def file_store(tmp_path: Path) -> str:
    """The URL of a store in a file."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def clock() -> ManualHost:
    """The clock of what `start` starts. It stands still until the test lets time pass."""
    return ManualHost()


@pytest.fixture
def start(clock: ManualHost) -> Iterator[Callable[..., Runtime]]:
    """Starts runtimes on the test's clock, which end with the test. No beat of theirs comes between the alarms."""
    started: list[Runtime] = []
    config = RuntimeConfig(grace_seconds=0.1, lease_seconds=3e9)

    def make(store: Any = "memory:", host: ManualHost = clock) -> Runtime:
        runtime = Runtime(store, config=config, host=host)
        runtime.start().get(timeout=PATIENCE)
        started.append(runtime)
        return runtime

    yield make
    with ExitStack():
        for runtime in started:
            stopping = runtime.stop()

            def stopped(stopping: Any = stopping) -> bool:
                clock.advance(0.05)
                return bool(stopping.done())

            until(stopped)
