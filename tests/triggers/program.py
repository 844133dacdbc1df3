"""A program that tests run in a process of its own: `python -m tests.triggers.program ROLE STORE ROUNDS`.

Each round is a fork that runs a runtime and dies by SIGKILL at a commit that matters: before it, or behind it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from propolis import EntryPoint, Runtime
from propolis.actors import Host, Store, open_store
from propolis.messages import MoveTrigger, OpenExecution, Write

from ..processes import in_forks

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
EACH_ROUND = 4
"""Seconds, and firings, from one round to the next."""

POINTS = [("open", "before"), ("open", "behind"), ("move", "before"), ("move", "behind")]


def is_open(write: Write) -> bool:
    """Whether a trigger starts something with it."""
    return isinstance(write, OpenExecution) and (write.spec.idempotency_key or "").startswith(("timer:", "event:"))


class Deadly:
    """A store before which, or behind which, this process dies at its n-th commit of a kind."""

    def __init__(self, store: Store, at: str, when: str, count: int) -> None:
        self._store = store
        self._is_it: Callable[[Write], bool] = is_open if at == "open" else lambda w: isinstance(w, MoveTrigger)
        self._when = when
        self._left = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> Any:
        """Commit, or die."""
        self._left -= any(map(self._is_it, writes))
        deadly = self._left <= 0
        if deadly and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcomes = self._store.commit(runtime_id, batch, writes)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes


class RoundHost(Host):
    """In each round it is so much later, and no time passes within one: what is due does not depend on the machine."""

    def __init__(self, round: int) -> None:
        super().__init__()
        self._now = BEGAN + timedelta(seconds=EACH_ROUND * round)

    def now(self) -> datetime:
        """The time of the round."""
        return self._now


def deadly_runtime(store: str, round: int, host: Host) -> Runtime:
    """A runtime that does not survive this round."""
    at, when = POINTS[round % len(POINTS)]

    def opened(host: Host) -> Any:
        return Deadly(open_store(store, host=host), at, when, 1 + round % 3)

    return Runtime(opened, host=host)


async def body(ctx: Any, data: Any) -> Any:
    """The executor."""
    return data


def timers(store: str, round: int) -> None:
    """Tick until death."""
    with deadly_runtime(store, round, RoundHost(round)) as runtime:
        runtime.open_stream(tick(), body).get()
        signal.pause()


def tick() -> EntryPoint:
    """The timer of this program."""
    config = {"interval_seconds": 1.0, "misfire": "all", "run_immediately": True}
    return EntryPoint(id="tick", trigger_type="timer", trigger_config=config, max_concurrent=5)


def events(store: str, round: int) -> None:
    """Emit, and react until death. The emitting is the parent's, with keys, so that it happens once."""
    with deadly_runtime(store, round, Host()) as runtime:
        runtime.open_stream(react(), body).get()
        source = runtime.open_stream(EntryPoint(id="source", max_concurrent=5), emit).get()
        for n in range(5):
            source.execute({"n": 5 * round + n}, idempotency_key=f"{round}.{n}").get()
        signal.pause()


async def emit(ctx: Any, data: Any) -> None:
    """Say one thing that somebody reacts to, and one that nobody does."""
    await ctx.emit("chatter", data)
    await ctx.emit("order", {**data, "attempt": ctx.attempt})


def react() -> EntryPoint:
    """The event trigger of this program."""
    return EntryPoint(id="react", trigger_type="event", trigger_config={"event_types": ["order"]}, max_concurrent=5)


def rounds(role: Callable[[str, int], None], store: str, count: int) -> None:
    """So many rounds, each in a process that dies; write down how each of them ended."""
    sys.stdout.write(json.dumps(in_forks(lambda round: role(store, round), count)))


if __name__ == "__main__":
    rounds({"timers": timers, "events": events}[sys.argv[1]], sys.argv[2], int(sys.argv[3]))
