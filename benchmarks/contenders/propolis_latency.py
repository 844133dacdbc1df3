"""Propolis: how long one durable execution takes when nothing else is going on, from `run()` to its result."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders.measure import Measurement, run
from benchmarks.contenders.propolis_executions import echo
from propolis import EntryPoint, Runtime


async def measure(n: int, folder: Path) -> list[float]:
    took: list[float] = []
    async with Runtime(f"sqlite:///{folder / 'propolis.sqlite'}") as runtime:
        stream = await runtime.open_stream(EntryPoint(id="bench"), echo)
        for i in range(50 + n):
            start = time.perf_counter()
            await stream.run({"number": i})
            took.append(time.perf_counter() - start)
    return took[50:]


def main(n: int, folder: Path) -> Iterator[Measurement]:
    cuts = statistics.quantiles(asyncio.run(measure(n, folder)), n=100)
    note = f"p50; p99 {cuts[98] * 1000:.2f} ms"
    yield Measurement(name="Propolis latency", value=cuts[49] * 1000, unit="ms", n=n, package="propolis", note=note)


if __name__ == "__main__":
    run(main)
