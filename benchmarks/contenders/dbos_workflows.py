"""DBOS: workflows with one step, on SQLite, for a closed loop of 100 callers.

Plain functions called from threads: tried beside `async def` workflows, these are the faster ones. The file is put
into WAL mode, which DBOS leaves alone and which makes it faster still. `synchronous` is SQLite's default, FULL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from dbos import DBOS

from benchmarks.contenders.measure import Measurement, closed_loop_in_threads, run


@DBOS.step()
def step(number: int) -> int:
    return number


@DBOS.workflow()
def workflow(number: int) -> int:
    return step(number)


def main(n: int, folder: Path) -> Iterator[Measurement]:
    file = folder / "dbos.sqlite"
    with sqlite3.connect(file) as connection:  # before DBOS comes: later, its own threads hold the file
        connection.execute("PRAGMA journal_mode=WAL")
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{file}", "log_level": "ERROR"})
    DBOS.launch()
    rate = closed_loop_in_threads(n, workflow)
    yield Measurement(name="DBOS workflows", value=rate, unit="/s", n=n, package="dbos")


if __name__ == "__main__":
    run(main)
