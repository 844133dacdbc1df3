"""Propolis: memory of an execution that waits for a signal: started, parked, its coroutine kept."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.contenders.measure import CALLERS, Measurement, closed_loop, resident_bytes, run
from propolis import Context, EntryPoint, Runtime

WARM = 1000


async def wait(ctx: Context, _job: dict[str, Any]) -> dict[str, Any]:
    return {"heard": await ctx.receive("go")}


async def measure(n: int, folder: Path) -> tuple[float, int]:
    async with Runtime(f"sqlite:///{folder / 'propolis.sqlite'}") as runtime:
        entry_point = EntryPoint(id="bench", max_concurrent=CALLERS, max_pending=CALLERS, on_full="block")
        stream = await runtime.open_stream(entry_point, wait)

        async def park(count: int, in_all: int) -> tuple[int, int]:
            await closed_loop(count, lambda i, _: stream.execute({"number": i}))
            while (await stream.get_stats()).status_counts.get("parked", 0) < in_all:  # noqa: ASYNC110 - from outside there is only the count
                await asyncio.sleep(0.05)
            gc.collect()
            return resident_bytes(), threading.active_count()

        before, threads_before = await park(WARM, WARM)
        after, threads_after = await park(n, WARM + n)
        return (after - before) / n / 1000, threads_after - threads_before


def main(n: int, folder: Path) -> Iterator[Measurement]:
    kilobytes, threads = asyncio.run(measure(n, folder))
    note = f"{threads} more threads"
    yield Measurement(name="Propolis memory", value=kilobytes, unit="KB", n=n, package="propolis", note=note)


if __name__ == "__main__":
    run(main)
