"""A runtime that is stopped in the middle of something stops: at whatever step of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propolis import EntryPoint, Runtime
from propolis.testing import Faults, Simulation

from .workload import CONFIG

POINT = EntryPoint(id="work", max_concurrent=2)
WITHIN = 30.0
"""Simulated seconds that a stop may take; the grace is one."""

STEPS = range(0, 120, 10)


async def hold(ctx: Any, data: Any) -> None:
    """An execution that ends with its process."""
    await asyncio.Event().wait()


def left_by_a_dead_runtime(simulation: Simulation) -> None:
    """Five executions, two of which ran."""
    runtime = simulation.start(CONFIG)
    stream = runtime.open_stream(POINT, hold).get()
    for n in range(5):
        stream.execute(n).get()
    simulation.crash(runtime)


def stops(simulation: Simulation, runtime: Runtime, **how: Any) -> None:
    """It does, and leaves nothing to itself."""
    simulation.set_faults(Faults())
    stopped: Any = runtime.stop(**how)
    simulation.run(stopped, within=WITHIN)
    owned = [row for row in simulation.rows().values() if row.owner is not None]
    assert [] == owned


@pytest.mark.parametrize("how", [{}, {"cancel": True}], ids=["stop", "cancel"])
@pytest.mark.parametrize("faults", [Faults(), Faults(store_seconds=0.2)], ids=["quick", "slow"])
def test_a_stop_in_the_middle_of_a_takeover_ends(how: dict[str, Any], faults: Faults) -> None:
    """Whether the stream is being opened, or has been open for long: what comes to it now it leaves to others."""
    for steps in STEPS:
        with Simulation(steps, faults=faults) as simulation:
            left_by_a_dead_runtime(simulation)
            runtime = simulation.start(CONFIG)
            opening = runtime.open_stream(POINT, hold)
            simulation.run_until(opening.done)
            simulation.run_until(lambda: any(row.owner is None for row in simulation.rows().values()))
            simulation.run_steps(steps)
            stops(simulation, runtime, **how)


@pytest.mark.parametrize("how", [{}, {"cancel": True}], ids=["stop", "cancel"])
def test_a_stop_in_the_middle_of_an_opening_ends(how: dict[str, Any]) -> None:
    """With what was left there."""
    for steps in STEPS:
        with Simulation(steps) as simulation:
            left_by_a_dead_runtime(simulation)
            onlooker = simulation.start(CONFIG)
            simulation.run_until(lambda: all(row.owner is None for row in simulation.rows().values()))
            simulation.run(onlooker.stop())
            runtime = simulation.start(CONFIG)
            runtime.open_stream(POINT, hold)
            simulation.run_steps(steps)
            stops(simulation, runtime, **how)
