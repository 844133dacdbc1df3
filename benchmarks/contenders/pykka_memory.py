"""pykka: memory of an idle ThreadingActor, its thread included."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka

from benchmarks.contenders.measure import Measurement, resident_bytes, run


class Idle(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def main(n: int, _folder: Path) -> Iterator[Measurement]:
    warm = [Idle.start() for _ in range(20)]
    pykka.get_all([ref.ask(1, block=False) for ref in warm])
    gc.collect()
    before, threads = resident_bytes(), threading.active_count()
    actors = [Idle.start() for _ in range(n)]
    pykka.get_all([ref.ask(1, block=False) for ref in actors])
    gc.collect()
    kilobytes = (resident_bytes() - before) / n / 1000
    note = f"{threading.active_count() - threads} threads"
    yield Measurement(name="pykka memory", value=kilobytes, unit="KB", n=n, package="pykka", note=note)


if __name__ == "__main__":
    run(main)
