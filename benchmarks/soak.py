"""A long run of trivial executions: the resident set has to stay flat. `python -m benchmarks.soak [N] [STORE]`."""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.contenders.measure import closed_loop, resident_bytes
from propolis import Context, EntryPoint, Runtime

TOLERANCE = 0.05
STEPS = 20


async def echo(_ctx: Context, number: Any) -> Any:
    """The executor."""
    return number


async def soak(n: int, store: str) -> bool:
    """Run `n` executions in 20 steps; whether the resident set after each stayed within 5 % of that after the first."""
    flat = True
    async with Runtime(store) as runtime:
        stream = await runtime.open_stream(EntryPoint(id="soak", max_concurrent=200), echo)
        base = 0
        for step in range(1, STEPS + 1):
            began = time.perf_counter()
            await closed_loop(n // STEPS, lambda i, _: stream.run(i))
            gc.collect()
            size = resident_bytes()
            base = base or size
            flat = flat and size <= base * (1 + TOLERANCE)
            rate = n / STEPS / (time.perf_counter() - began)
            print(f"{step * n // STEPS:>10,} executions  {size / 1e6:7.1f} MB  {rate:7,.0f}/s", flush=True)
        stats = await stream.get_stats()
        assert stats.completed_executions == STEPS * (n // STEPS), stats
    return flat


def main() -> int:
    """0 when it stayed flat."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="propolis-soak-") as folder:
        store = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{Path(folder) / 'soak.db'}"
        flat = asyncio.run(soak(n, store))
    print("flat" if flat else "not flat")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
