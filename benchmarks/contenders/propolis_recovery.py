"""Propolis: a process dies by SIGKILL with executions running; how fast the next one takes them over.

Measured from creating the Runtime to the reply of `open_stream`, which comes when all of them are this runtime's, under
a new epoch; so it includes noticing the death and opening the store. The note says how long after the call of
`open_stream` the first one ran again, and how fast all did, each after the commit that counts its new attempt. Beside
it: reading the same rows with a bare SELECT.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders.measure import Measurement, run
from benchmarks.contenders.recovery_victim import READY, Endless, entry_point
from propolis import Runtime


def leave_behind(n: int, store: str) -> None:
    """Run the victim until all its executions run, then kill it."""
    command = [sys.executable, "-m", "benchmarks.contenders.recovery_victim", str(n), store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        said = victim.stdout.readline().strip()
        victim.kill()
    if said != READY:
        raise RuntimeError(f"the victim said {said!r}")


def select(file: Path, n: int) -> float:
    """Rows per second of reading every interrupted execution, whatever the table is called."""
    with sqlite3.connect(file) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = next(name for name in names if name in {"execution", "executions"})
        start = time.perf_counter()
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        took = time.perf_counter() - start
    if len(rows) != n:
        raise RuntimeError(f"{len(rows)} rows in {table}, {n} expected")
    return n / took


async def take_over(n: int, store: str) -> tuple[float, float, float]:
    """Executions per second: taken over, and running again, both from nothing on; and the seconds to the first one."""
    endless = Endless(n)
    start = time.perf_counter()
    async with Runtime(store) as runtime:
        called = time.perf_counter()
        await runtime.open_stream(entry_point(n), endless.execute)
        taken = n / (time.perf_counter() - start)
        await endless.all_started.wait()
        return taken, n / (time.perf_counter() - start), endless.first_at - called


def main(n: int, folder: Path) -> Iterator[Measurement]:
    file = folder / "propolis.sqlite"
    store = f"sqlite:///{file}"
    leave_behind(n, store)
    yield Measurement(name="SQLite SELECT", value=select(file, n), unit="/s", n=n)
    taken, again, first = asyncio.run(take_over(n, store))
    note = f"the first runs after {first * 1000:.0f} ms, all at {again:,.0f}/s"
    yield Measurement(name="Propolis recovery", value=taken, unit="/s", n=n, package="propolis", note=note)


if __name__ == "__main__":
    run(main)
