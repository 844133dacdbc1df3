"""What every contender script shares: its arguments, a scratch folder, the closed loop, and the line that it prints."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

CALLERS = 100
"""Callers of a closed loop: each starts its next call when its last one has been answered."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number. `package` is the distribution measured; its version is looked up in the venv at hand."""

    name: str
    value: float
    unit: str
    n: int
    package: str = ""
    note: str = ""

    def line(self) -> str:
        """The JSON line that the harness reads."""
        release = f"{self.package} {version(self.package)}" if self.package else ""
        return json.dumps({**asdict(self), "package": release})


def run(main: Callable[[int, Path], Iterable[Measurement]]) -> None:
    """Measure in a scratch folder, print the lines, and leave at once.

    `python -m benchmarks.contenders.<script> [N] [FOLDER]`. Some contenders keep threads that would hold up the exit
    for seconds; the measurement is over, so nobody waits for them.
    """
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="propolis-bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        for measurement in main(n, Path(folder)):
            print(measurement.line(), flush=True)
    os._exit(0)


async def closed_loop(n: int, call: Callable[[int, int], Awaitable[object]], callers: int = CALLERS) -> float:
    """Make `n` calls, `callers` at a time on this event loop; calls per second. `call(i, caller)`."""
    numbers = iter(range(n))

    async def caller(who: int) -> None:
        for i in numbers:
            await call(i, who)

    start = time.perf_counter()
    await asyncio.gather(*(caller(who) for who in range(callers)))
    return n / (time.perf_counter() - start)


def closed_loop_in_threads(n: int, call: Callable[[int], object], callers: int = CALLERS) -> float:
    """Make `n` calls, `callers` at a time, a thread each; calls per second."""
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(-callers, 0)))  # the threads exist, and whatever is lazy has happened
        start = time.perf_counter()
        list(pool.map(call, range(n)))
        return n / (time.perf_counter() - start)


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
