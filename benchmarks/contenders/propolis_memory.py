"""Propolis: memory of an execution that waits on an `asyncio.Event`: started, its coroutine kept."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.contenders.measure import Measurement, closed_loop, resident_bytes, run
from propolis import Context, EntryPoint, Runtime

WARM = 1000


class Gate:
    """Where executions wait. The event belongs to the loop of the executors, so it is made there."""

    def __init__(self) -> None:
        self.event: asyncio.Event | None = None
        self.waiting = 0

    async def wait(self, _ctx: Context, job: dict[str, Any]) -> int:
        """The executor."""
        if self.event is None:
            self.event = asyncio.Event()
            self.loop = asyncio.get_running_loop()
        self.waiting += 1
        await self.event.wait()
        number: int = job["number"]
        return number

    def open(self) -> None:
        """Let them all go on."""
        assert self.event is not None
        self.loop.call_soon_threadsafe(self.event.set)


async def measure(n: int, folder: Path) -> tuple[float, int, float]:
    gate = Gate()
    async with Runtime(f"sqlite:///{folder / 'propolis.sqlite'}") as runtime:
        entry_point = EntryPoint(id="bench", max_concurrent=WARM + n)
        stream = await runtime.open_stream(entry_point, gate.wait)

        async def fill(count: int, in_all: int) -> tuple[int, int]:
            await closed_loop(count, lambda i, _: stream.execute({"number": i}))
            while gate.waiting < in_all:  # noqa: ASYNC110 - from outside there is only the count
                await asyncio.sleep(0.05)
            gc.collect()
            return resident_bytes(), threading.active_count()

        before, threads_before = await fill(WARM, WARM)
        after, threads_after = await fill(n, WARM + n)
        began = time.perf_counter()
        gate.open()
        await stream.drain()
        finished = (WARM + n) / (time.perf_counter() - began)
        return (after - before) / n / 1000, threads_after - threads_before, finished


def main(n: int, folder: Path) -> Iterator[Measurement]:
    kilobytes, threads, finished = asyncio.run(measure(n, folder))
    note = f"{threads} more threads; then finished {finished:,.0f}/s"
    yield Measurement(name="Propolis memory", value=kilobytes, unit="KB", n=n, package="propolis", note=note)


if __name__ == "__main__":
    run(main)
