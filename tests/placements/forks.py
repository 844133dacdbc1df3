"""A program whose templates are ended while they fork: killed, stopped, or closed in order, at random moments.

    python -m tests.placements.forks SEED ROUNDS

Some of what they fork hangs from its first moment, as does a template now and then. After each round nothing may be
left of it; after the last one it prints how many forks there were, and what was left.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time

from propolis.actors.placements.process import forking, pool
from propolis.actors.placements.process.importing import file_of, name_of_import
from propolis.actors.placements.process.io import WorkersThread

from propolis import Placement
from propolis.actors import Host
from propolis.messages import LearnExecutor

from ..processes import marked
from . import held_lock

AT_ONCE = 16
LIMIT = 3.0


def storm(seed: str, rounds: int) -> None:
    """Round after round."""
    os.cpu_count = lambda: AT_ONCE  # type: ignore[assignment] - so many are forked at once
    draw, forked = random.Random(seed), []
    take = forking.Template._take
    forking.Template._take = lambda template, message: (forked.append(message), take(template, message))[1]  # type: ignore[method-assign]
    io = WorkersThread(Host())
    name = name_of_import(held_lock.work)
    learn = LearnExecutor(key="work", executor=name, file=file_of(name), entry_point="work")
    placement = Placement.process(workers=AT_ONCE, warm=AT_ONCE, start_method="forkserver")
    left: list[str] = []
    for number in range(rounds):
        one = pool.Pool("storm", placement, AT_ONCE, io, 1_000_000, 1.0)
        one.learn(learn)
        sys.stdout.write(f"round {number}\n")
        sys.stdout.flush()
        _end(one, draw)
        own = {os.getpid(), io._keeper.pid if io._keeper is not None else 0}
        end = time.monotonic() + LIMIT
        while (alive := marked(os.environ["PROPOLIS_TEST_MARK"]) - own) and time.monotonic() < end:
            threading.Event().wait(0.01)
        left += [f"round {number}: {pid}" for pid in alive]
    io.close(5.0)
    forks = sum(type(message).__name__ == "WorkerForked" for message in forked)
    sys.stdout.write(f"{forks} forks, {len(left)} left {left}\n")


def _end(one: pool.Pool, draw: random.Random) -> None:
    """At a moment of its first forks, or of those that follow when its workers are killed."""
    while one._template is None or not one._template._ready:
        threading.Event().wait(0.001)
    template = one._template._process.pid
    for _ in range(draw.choice((0, 1, 2, 4))):
        threading.Event().wait(draw.uniform(0.05, 0.15))
        for worker in one.info(measured=False):
            if worker.pid is not None and worker.state == "idle":
                _kill(worker.pid, signal.SIGKILL)
    threading.Event().wait(draw.uniform(0.0, 0.1))
    how = draw.choice(("kill", "kill", "stop", "close"))
    if how in ("kill", "stop"):
        _kill(template, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    one.close()
    if not one.wait(0.3):
        one.kill_all()
        assert one.wait(10.0)


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    storm(sys.argv[1], int(sys.argv[2]))
