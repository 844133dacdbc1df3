"""Propolis: an execution on a warm worker against a bare pipe, and a restart when its worker has been killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.contenders.measure import Measurement, run
from benchmarks.contenders.worker_bodies import be_killed, echo
from propolis import Backoff, EntryPoint, Placement, RestartPolicy, Runtime

RESTARTS = 50


def answer(line: Connection) -> None:
    while True:
        line.send_bytes(line.recv_bytes())


def round_trips(n: int, call: Callable[[int], object]) -> float:
    """Median microseconds."""
    took = []
    for i in range(50 + n):
        start = time.perf_counter()
        call(i)
        took.append(time.perf_counter() - start)
    return statistics.median(took[50:]) * 1e6


def over_a_pipe(n: int) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=answer, args=(theirs,), daemon=True)
    process.start()
    data = b"x" * 200

    def call(_: int) -> None:
        ours.send_bytes(data)
        ours.recv_bytes()

    took = round_trips(n, call)
    process.kill()
    process.join()
    return took


def in_a_placement(placement: Placement, n: int) -> float:
    with Runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="bench", placement=placement), echo).get()
        return round_trips(n, lambda i: stream.run({"number": i}).get())


def restarts(folder: Path, n: int, warm: int) -> list[float]:
    """Milliseconds from SIGKILL to the first line of the restarted executor."""
    took = []
    restart = RestartPolicy(max_restarts=1, backoff=Backoff(initial=0.001))
    point = EntryPoint(id="killed", placement=Placement.process(workers=1, warm=warm), restart=restart)
    with Runtime() as runtime:
        stream = runtime.open_stream(point, be_killed).get()
        for i in range(n):
            path = folder / f"{warm}-{i}"
            ended = stream.run(str(path))
            while not path.exists():
                threading.Event().wait(0.005)
            while warm and "idle" not in [worker.state for worker in runtime.workers()]:
                threading.Event().wait(0.005)
            threading.Event().wait(0.05)  # the spare has just been started: let the processors come to rest
            killed = time.clock_gettime(time.CLOCK_MONOTONIC)
            os.kill(int(path.read_text(encoding="ascii")), signal.SIGKILL)
            took.append((ended.get().output - killed) * 1000)
    return took


def main(n: int, folder: Path) -> Iterator[Measurement]:
    pipe = over_a_pipe(n)
    yield Measurement(name="multiprocessing.Pipe", value=pipe, unit="µs", n=n, note="p50")
    thread = in_a_placement(Placement.thread(), n)
    worker = in_a_placement(Placement.process(workers=1), n)
    note = f"p50; {thread:.0f} µs in a thread"
    yield Measurement(name="Propolis warm worker", value=worker, unit="µs", n=n, package="propolis", note=note)
    count = min(RESTARTS, n)
    warm, cold = restarts(folder, count, 1), restarts(folder, max(3, count // 10), 0)
    for name, took in (("Propolis restart, warm spare", warm), ("Propolis restart, no spare", cold)):
        note = f"p50; slowest {max(took):.1f} ms"
        yield Measurement(
            name=name, value=statistics.median(took), unit="ms", n=len(took), package="propolis", note=note
        )


if __name__ == "__main__":
    run(main)
