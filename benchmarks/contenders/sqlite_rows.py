"""SQLite: rows inserted per second, 100 rows a commit, WAL, synchronous=FULL. No executions/s can be above it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders.measure import Measurement, run

BATCH = 100
TABLE = """
CREATE TABLE execution (
    id TEXT PRIMARY KEY, session_id TEXT NOT NULL, entry_point TEXT NOT NULL, status TEXT NOT NULL,
    attempt INTEGER NOT NULL, epoch INTEGER NOT NULL, owner TEXT NOT NULL, accepted_at REAL NOT NULL, input BLOB
)
"""


def main(n: int, folder: Path) -> Iterator[Measurement]:
    connection = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(TABLE)
    start = time.perf_counter()
    for first in range(0, n, BATCH):
        rows = [
            (f"execution_{i:032x}", f"session_{i:032x}", "bench", "running", 1, 1, "owner", 1.0, b"x" * 64)
            for i in range(first, first + BATCH)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO execution VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    rate = n / (time.perf_counter() - start)
    note = f"{BATCH} rows a commit, SQLite {sqlite3.sqlite_version}"
    yield Measurement(name="SQLite rows", value=rate, unit="/s", n=n, note=note)


if __name__ == "__main__":
    run(main)
