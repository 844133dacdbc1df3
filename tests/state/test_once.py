"""A change of shared memory is made once, however often its executor is run again, and whatever dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from propolis import EntryPoint, Placement, Runtime
from propolis.actors import CrashPoint
from propolis.messages import StateConflict
from propolis.testing import check_replay

from ..processes import ROOT, unmeasured
from ..runtime.support import PATIENCE
from . import bodies
from .conftest import CONFIG, QUICK, opened


@pytest.mark.parametrize("level", ["shared", "synchronized"])
def test_an_executor_that_is_run_again_makes_no_change_twice(runtime: Runtime, level: str) -> None:
    """It gets what the change gave at first, though others have changed it since."""
    gave: list[Any] = []

    async def body(ctx: Any, data: Any) -> Any:
        memory = ctx.memory
        gave.append(await memory.update("n", lambda n: n + 1, default=0, scope="global"))
        await memory.write_batch({"a": 1, "b": 2}, scope="stream")
        gave.append(await memory.delete("a", scope="stream"))
        gave.append(await memory.update("n", lambda n: n + 1, default=0, scope="global"))
        if ctx.attempt < 3:
            raise ConnectionError
        return await memory.read("n", scope="global")

    stream = opened(runtime, body, level, restart=QUICK)
    result = stream.run().get(timeout=PATIENCE)
    assert (2, 2) == (result.restarts, result.output)
    assert [1, True, 2] * 3 == gave
    history = runtime.state_history("n").get(timeout=PATIENCE)
    assert [(2, 2), (1, 1)] == [(entry.version, entry.value) for entry in history]
    assert {result.execution_id} == {entry.execution_id for entry in history}


def test_what_was_refused_is_refused_again(runtime: Runtime) -> None:
    """Another way would not be the one that the run has gone; unless the attempt ended with it."""

    async def body(ctx: Any, caught: bool) -> str:
        refused = None
        try:
            await ctx.memory.write("owner", "me", scope="global", expected=None)
        except StateConflict as conflict:
            refused = conflict
        if ctx.attempt > 1:
            return "written" if refused is None else "refused"
        assert refused is not None
        await asyncio.to_thread(lambda: runtime.set_state({"owner": None}).get(timeout=PATIENCE))
        raise ConnectionError if caught else refused

    stream = opened(runtime, body, "synchronized", restart=QUICK)
    for caught in (True, False):
        runtime.set_state({"owner": "you"}).get(timeout=PATIENCE)
        result = stream.run(caught).get(timeout=PATIENCE)
        assert ("refused" if caught else "written", 1) == (result.output, result.restarts)


def test_changes_are_what_check_replay_takes_them_for(runtime: Runtime) -> None:
    """Crashed at each of them, an executor comes to the same."""

    async def body(ctx: Any, data: Any) -> list[Any]:
        first = await ctx.memory.update("n", lambda n: n + 1, default=0, scope="stream")
        await ctx.checkpoint("half")
        await ctx.memory.write("k", first, scope="stream")
        second = await ctx.memory.update("n", lambda n: n + 1, default=0, scope="stream")
        return [first, second]

    point = EntryPoint(id="s", isolation_level="synchronized")
    assert [1, 2] == check_replay(body, entry_point=point).output


def test_a_worker_that_is_killed_behind_each_change_repeats_none(store: str, tmp_path: Path) -> None:
    """Its runtime lives on, and runs the executor again."""
    with Runtime(store, config=CONFIG) as runtime:
        placement = Placement.process(workers=1, warm=1, start_method="forkserver")
        stream = opened(runtime, bodies.dies_between, "synchronized", placement=placement, restart=QUICK)
        result = stream.run({"folder": str(tmp_path)}).get(timeout=PATIENCE)
        assert (3, 3) == (result.output, result.restarts)
        assert 3 == len(runtime.state_history("n").get(timeout=PATIENCE))
        assert {"k0": 0, "k1": 1, "k2": 2} == runtime.state("stream", stream="s").get(timeout=PATIENCE)


PROGRAM = """
import asyncio, sys
from propolis import EntryPoint, Runtime
from propolis.testing import crash_at
from tests.processes import in_forks
from tests.state.bodies import count

async def main(store, point, skip):
    host = crash_at(point, skip=skip) if point else None
    async with Runtime(store, host=host) as runtime:
        stream = await runtime.open_stream(EntryPoint(id="s", isolation_level="synchronized"), count)
        runs = [await stream.execute(5, idempotency_key=str(n)) for n in range(4)]
        for run in runs:
            result = await stream.wait_for_completion(run)
            assert result.success, result.error
        print(await runtime.state())

store, point, skip = sys.argv[1:]
print(in_forks(lambda life: asyncio.run(main(store, "" if life else point, int(skip))), 2))
"""

POINTS: list[tuple[CrashPoint, int]] = [("state.before", 7), ("commit.after", 6), ("state.committed", 9)]


@pytest.mark.parametrize(("point", "skip"), POINTS)
def test_a_process_that_is_killed_in_a_change_loses_none_and_repeats_none(
    store: str, point: CrashPoint, skip: int
) -> None:
    """Before it is committed, when it is and nobody has heard of it, and when its actor has."""
    command = [sys.executable, "-c", PROGRAM, store, point, str(skip)]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=120, check=False)
    assert ["{'n': 20}", str([-signal.SIGKILL.value, 0])] == ran.stdout.splitlines(), ran.stderr[-2_000:]
