"""The process that `propolis_recovery` kills: it says READY once all its executions are running."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from benchmarks.contenders.measure import closed_loop
from propolis import Context, EntryPoint, Runtime

READY = "ready"


def entry_point(n: int) -> EntryPoint:
    """Room for all of them to run at once."""
    return EntryPoint(id="bench", max_concurrent=n)


class Endless:
    """Executions that start and do not end; `all_started`, on the loop that made this, once `n` of them have.

    `first_at` is when the first one started, by `time.perf_counter()`; 0.0 as long as none has.
    """

    def __init__(self, n: int) -> None:
        self.left = n
        self.first_at = 0.0
        self.all_started = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def execute(self, _ctx: Context, _job: dict[str, Any]) -> None:
        self.left -= 1
        self.first_at = self.first_at or time.perf_counter()
        if self.left == 0:
            self._loop.call_soon_threadsafe(self.all_started.set)  # executors run on a loop of their own
        await asyncio.Event().wait()


async def live(n: int, store: str) -> None:
    endless = Endless(n)
    async with Runtime(store) as runtime:
        stream = await runtime.open_stream(entry_point(n), endless.execute)
        await closed_loop(n, lambda i, _: stream.execute({"number": i}))
        await endless.all_started.wait()
        print(READY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(live(int(sys.argv[1]), sys.argv[2]))
