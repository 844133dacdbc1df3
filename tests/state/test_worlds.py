"""Updates of shared memory in drawn worlds: processes die and freeze, actors crash, the store fails; none is lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from propolis import Backoff, EntryPoint, RestartPolicy, Runtime, RuntimeConfig
from propolis.messages import ENDED, GetState, PropolisError
from propolis.testing import Faults, Simulation
from propolis.testing.simulation import CALM

from ..runtime.support import run_plainly

SEEDS, BATCHES, FULL = 3, 2, 1_000
"""Of each batch, in `make test`; and in `make chaos`."""

POINT = EntryPoint(
    id="s",
    isolation_level="synchronized",
    restart=RestartPolicy(max_restarts=1_000, backoff=Backoff(initial=0.0)),
)
CONFIG = RuntimeConfig(lease_seconds=2.0, grace_seconds=1.0)
EXECUTIONS, UPDATES = 5, 3


def one_more(value: int) -> int:
    return value + 1


async def count(ctx: Any, data: Any) -> list[int]:
    """What each update gave."""
    gave = []
    for number in range(UPDATES):
        gave.append(await ctx.memory.update("n", one_more, default=0, scope="global"))
        if number == data % UPDATES:
            await ctx.checkpoint("somewhere")
    return gave


def count_plainly(ctx: Any, data: Any) -> list[int]:
    """The same, so that it may be taken over from the other."""
    result: list[int] = run_plainly(count, ctx, data)
    return result


class World:
    """One run."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.random = simulation.random
        self.members: list[Runtime] = []
        self.accepted: set[str] = set()
        self.clients: dict[Runtime, Any] = {}
        self.seen: Counter[str] = Counter()

    def join(self) -> None:
        """Another process, which may have to wait for the store, and starts some."""
        try:
            runtime = self.simulation.start(CONFIG)
        except PropolisError:
            return
        self.members.append(runtime)
        self.clients[runtime] = self.simulation.begin(self._client(runtime), runtime)

    async def _client(self, runtime: Runtime) -> None:
        body = count if self.random.random() < 0.7 else count_plainly
        try:
            stream = await runtime.open_stream(POINT, body)
            for n in range(EXECUTIONS):
                self.accepted.add(await stream.execute(n))
        except PropolisError as error:
            self.seen[type(error).__name__] += 1

    def disturb(self) -> None:
        """A process dies, or sleeps for longer than its lease."""
        what = self.random.choice(("crash", "freeze", "join"))
        self.seen[what] += 1
        if what == "join" or not self.members:
            self.join()
            return
        member = self.random.choice(self.members)
        if what == "crash":
            self.members.remove(member)
            self.simulation.crash(member)
            self.join()
        else:
            self.simulation.freeze(member)
            self.simulation.run_for(3 * CONFIG.lease_seconds)
            self.simulation.thaw(member)

    def settle(self) -> None:
        """Faults stop, and everything ends; then every update was made, and gave what nobody else was given."""
        simulation = self.simulation
        simulation.set_faults(CALM)
        self.join()
        simulation.run_until(self._is_over, within=120.0)
        rows = simulation.disk.rows
        reader = simulation.start(CONFIG)
        results = [reader.session(execution_id).get() for execution_id in rows]
        gave = [value for record in results if record is not None and record.result for value in record.result.output]
        assert all(record is not None and record.status == "completed" for record in results)
        assert sorted(gave) == list(range(1, UPDATES * len(rows) + 1))
        state = reader.read(lambda store: store.read_state((GetState(scopes=("global",), key="n"),))).get()
        (entry,) = state[0].entries
        assert (len(gave), len(gave)) == (entry.value, entry.version)
        self.seen["updates"] += len(gave)

    def _is_over(self) -> bool:
        rows = self.simulation.disk.rows
        begun = all(self.clients[member].done() for member in self.members)
        return bool(rows) and begun and all(row.status in ENDED for row in rows.values())


def explore(seed: int) -> Counter[str]:
    """A whole run from a seed."""
    with Simulation(seed) as simulation:
        world = World(simulation)
        world.join()
        simulation.set_faults(Faults.drawn(simulation.random))
        for _ in range(simulation.random.randrange(1, 4)):
            simulation.run_steps(simulation.random.randrange(10, 400))
            world.disturb()
        world.settle()
        return world.seen


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_update_is_lost_or_made_twice_in_any_order(batch: int) -> None:
    """A failure has its seed in its notes."""
    seen = sum((explore(seed) for seed in range(batch * SEEDS, (batch + 1) * SEEDS)), Counter())
    assert seen["updates"] > SEEDS * UPDATES
    assert seen["crash"] + seen["freeze"]


@pytest.mark.chaos
@pytest.mark.parametrize("batch", range(10))
def test_no_update_is_lost_or_made_twice_in_many_worlds(batch: int) -> None:
    """As many as some minutes hold."""
    size = FULL // 10
    for seed in range(1_000 + batch * size, 1_000 + (batch + 1) * size):
        explore(seed)
