"""The disk: what one `fsync` after appending a page costs, and so what two of them do."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders.measure import Measurement, run


def main(n: int, folder: Path) -> Iterator[Measurement]:
    page = os.urandom(4096)
    took: list[float] = []
    with (folder / "file").open("wb", buffering=0) as file:
        for _ in range(n):
            start = time.perf_counter()
            file.write(page)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - start)
    milliseconds = statistics.median(took) * 1000
    yield Measurement(name="fsync", value=milliseconds, unit="ms", n=n, note="p50")
    yield Measurement(name="two fsyncs", value=2 * milliseconds, unit="ms", n=n, note="p50")


if __name__ == "__main__":
    run(main)
