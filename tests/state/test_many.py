"""A thousand executions increment one counter, each a hundred times."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import Runtime
from propolis.messages import EventFilter

from . import bodies
from .conftest import opened

PATIENCE = 3_000.0

SIZES = [(50, 4), pytest.param((1_000, 100), marks=pytest.mark.chaos)]


def counted(runtime: Runtime, size: Any, level: str) -> tuple[int, int, int]:
    """The counter in the end, and how many changes and conflicts were told."""
    executions, times = size
    stream = opened(runtime, bodies.count, level, max_concurrent=executions)
    runs = [stream.run(times) for _ in range(executions)]
    for run in runs:
        result = run.get(timeout=PATIENCE)
        assert result.success, result.error

    def told(store: Any) -> list[int]:
        counts, after = {"state_changed": 0, "state_conflict": 0}, 0
        while events := store.events_after(after, EventFilter(types=tuple(counts)), 10_000):
            after = events[-1].seq
            for event in events:
                counts[event.type] += 1
        return list(counts.values())

    changes, conflicts = runtime.read(told).get(timeout=PATIENCE)
    return runtime.state().get(timeout=PATIENCE)["n"], changes, conflicts


@pytest.mark.parametrize("size", SIZES)
def test_synchronized_updates_all_count(runtime: Runtime, size: Any) -> None:
    """None is lost, and there is no conflict."""
    every = size[0] * size[1]
    assert (every, every, 0) == counted(runtime, size, "synchronized")


@pytest.mark.parametrize("size", SIZES)
def test_shared_updates_are_lost_and_their_conflicts_told(runtime: Runtime, size: Any) -> None:
    """Each change is there, and the last one won; where one was not based on the one before it, that is told."""
    value, changes, conflicts = counted(runtime, size, "shared")
    every = size[0] * size[1]
    assert every == changes
    assert value < every
    assert 0 < conflicts < every
