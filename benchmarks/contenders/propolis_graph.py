"""Propolis: a graph of three nodes in a row, a checkpoint behind each, and the same three functions as plain steps.

Nodes per second for a closed loop of 100 callers, and the processor time of one execution either way: that is what the
graph itself costs, whatever the disk does. The two take turns, so that both meet the same machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.contenders.graph_functions import NODES, one_more
from benchmarks.contenders.measure import CALLERS, Measurement, closed_loop, run
from propolis import Context, EdgeSpec, EntryPoint, GraphExecutor, GraphSpec, NodeSpec, Runtime, Stream

TURNS = 5


async def node(_ctx: Context, inputs: dict[str, Any]) -> int:
    return one_more(inputs["number"])


async def step(number: int) -> int:
    return one_more(number)


async def steps(ctx: Context, job: dict[str, Any]) -> dict[str, Any]:
    number = job["number"]
    for name in "abc":
        number = await ctx.step(name, step, number)
    return {"number": number}


GRAPH = GraphSpec(
    id="three",
    entry_node="a",
    nodes=[NodeSpec(id=name, function=node, input_keys=["number"], output_keys=["number"]) for name in "abc"],
    edges=[EdgeSpec(source="a", target="b"), EdgeSpec(source="b", target="c")],
)


async def loop_of(stream: Stream, n: int) -> tuple[float, float]:
    """Executions per second, and microseconds of processor time for each."""
    began = time.process_time()
    rate = await closed_loop(n, lambda i, _: stream.run({"number": i}))
    return rate, (time.process_time() - began) / n * 1e6


async def measure(n: int, folder: Path) -> Iterator[Measurement]:
    async with Runtime(f"sqlite:///{folder / 'propolis.sqlite'}") as runtime:
        executors = {"graph": GraphExecutor(GRAPH), "steps": steps}
        streams = {
            name: await runtime.open_stream(EntryPoint(id=name, max_concurrent=CALLERS), executor)
            for name, executor in executors.items()
        }
        for stream in streams.values():
            result = await stream.run({"number": 1})
            if result.output != {"number": 1 + NODES}:
                raise RuntimeError(f"{stream.id}: {result.status} with {result.output}")
            await loop_of(stream, 2 * CALLERS)
        turns = [{name: await loop_of(stream, n // TURNS) for name, stream in streams.items()} for _ in range(TURNS)]
    rate = statistics.median(turn["graph"][0] for turn in turns)
    cpu = {name: statistics.median(turn[name][1] for turn in turns) for name in streams}
    of = {"n": n, "package": "propolis"}
    return iter(
        (
            Measurement(name="Propolis graph nodes", value=rate * NODES, unit="/s", **of),
            Measurement(name="Propolis graph, CPU", value=cpu["graph"], unit="µs", **of),
            Measurement(name="Propolis steps, CPU", value=cpu["steps"], unit="µs", **of),
        )
    )


def main(n: int, folder: Path) -> Iterator[Measurement]:
    yield from uvloop.run(measure(n, folder))


if __name__ == "__main__":
    run(main)
