"""Propolis: durable executions of a trivial async executor, for a closed loop of 100 callers of `run()`.

The callers are on uvloop, as casty's are; the actor loop uses it where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.contenders.measure import CALLERS, Measurement, closed_loop, run
from propolis import Context, EntryPoint, Runtime


async def echo(_ctx: Context, job: dict[str, Any]) -> dict[str, Any]:
    return job


async def measure(n: int, folder: Path) -> float:
    async with Runtime(f"sqlite:///{folder / 'propolis.sqlite'}") as runtime:
        stream = await runtime.open_stream(EntryPoint(id="bench", max_concurrent=CALLERS), echo)
        await closed_loop(2 * CALLERS, lambda i, _: stream.run({"number": i}))
        rate = await closed_loop(n, lambda i, _: stream.run({"number": i}))
        completed = (await stream.get_stats()).completed_executions
        if completed != n + 2 * CALLERS:
            raise RuntimeError(f"{completed} of {n + 2 * CALLERS} executions completed")
        return rate


def main(n: int, folder: Path) -> Iterator[Measurement]:
    rate = uvloop.run(measure(n, folder))
    yield Measurement(name="Propolis executions", value=rate, unit="/s", n=n, package="propolis")


if __name__ == "__main__":
    run(main)
