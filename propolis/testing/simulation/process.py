"""A simulated process: what ends with it, and the Host that everything in it is handed."""

from __future__ import annotations

import asyncio
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from propolis.actors import Fairness, Host, Reply, Worker
from propolis.messages import InvalidInput

from .lanes import LoopLane, RunQueue, SimLoop, SimQueue, ThreadLane, WorkerLane
from .world import Ticking

if TYPE_CHECKING:
    import queue
    import subprocess

    from propolis.actors import LoopOwner

    from .world import World

__all__ = ["Process", "SimHost"]

R = TypeVar("R")

START = datetime(2026, 1, 1, tzinfo=UTC)


class Process:
    """Threads, loops and a Host that live and die together. `frozen` is what SIGSTOP makes of it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.frozen = False
        self.dead = False
        self.loops: list[SimLoop] = []
        self.threads: list[ThreadLane] = []
        self.lanes: list[LoopLane | WorkerLane] = []
        self.journey = 0.0
        """Seconds that a job of a worker takes at most on the way there, and on the way back."""
        self.host = SimHost(self)
        self._client: Client | None = None

    def begin(self, coroutine: Coroutine[Any, Any, R]) -> Reply[R]:
        """Begin a coroutine on an event loop of the process's own."""
        if self._client is None:
            self._client = Client(self)
        return self._client.begin(coroutine)

    def crash(self) -> None:
        """Nothing of it happens any more. What it has in memory stays where it is until `bury`: nothing unwinds."""
        self.dead = True
        self.frozen = True
        for lane in (*self.lanes, *self.threads):
            self.world.remove(lane)

    def bury(self) -> None:
        """Let go of threads and tasks, after the verdict: now their `finally` blocks run, and reach nobody."""
        self.crash()
        for thread in self.threads:
            thread.kill()
        for loop in self.loops:
            loop.tear_down()
        if self._client is not None:
            self._client.forget()


class Client:
    """A loop for code of the scenario's."""

    name = "client"
    stopping = False

    def __init__(self, process: Process) -> None:
        self.event_loop = process.host.new_event_loop()
        self._begun: list[Coroutine[Any, Any, Any]] = []
        self._tasks: list[asyncio.Task[None]] = []
        """Held on to: asyncio does not, and one that waits for a reply which nobody has any more would be gone."""
        process.host.spawn_loop(self)

    def begin(self, coroutine: Coroutine[Any, Any, R]) -> Reply[R]:
        """Begin it; its outcome is the reply's."""
        reply: Reply[R] = Reply()

        async def run() -> None:
            try:
                reply.set(await coroutine)
            except BaseException as error:  # noqa: BLE001 - the scenario's own
                reply.offer_error(error)

        self._begun.append(coroutine)
        self.event_loop.call_soon(lambda: self._tasks.append(self.event_loop.create_task(run())))
        return reply

    def forget(self) -> None:
        """Close what never came to its first step."""
        for coroutine in self._begun:
            with suppress(RuntimeError):  # it is running, or refuses to end
                coroutine.close()

    def main(self) -> None:
        """Never called: it is stepped."""

    def inside(self) -> AbstractContextManager[None]:
        """Nothing in particular."""
        return nullcontext()

    def came_through(self, error: BaseException) -> None:
        """Nothing does."""

    def finish(self) -> None:
        """It ends with its process."""


class SimHost(Host):
    """The Host of one simulated process."""

    fairness = Fairness(messages=1, turns=1)

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self._world = process.world
        self._random = random.Random(f"{process.world.seed} {process.name}")
        self._boot = 1_000.0 * self._random.random()
        self.commits_here = self._random.random() < 0.3
        self._skew = timedelta(seconds=4.0 * self._random.random() - 2.0)

    def monotonic(self) -> float:
        return self._boot + self._world.elapsed

    def uptime(self) -> float:
        return self.monotonic()

    def now(self) -> datetime:
        return START + self._skew + timedelta(seconds=self._world.elapsed)

    def when_lost(self, thing: Any, call: Callable[..., object], *args: Any) -> weakref.finalize[..., Any]:
        finalizer = super().when_lost(thing, call, *args)
        finalizer.detach()  # it may have crashed, and when the rest is collected is no matter of the seed
        return finalizer

    def sleep(self, seconds: float) -> None:
        if isinstance(threading.current_thread(), ThreadLane):
            self._world.wait_seconds(seconds)
        else:
            self._world.elapsed += seconds

    def call_later(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> Ticking:
        def fire() -> None:
            if not loop.is_closed():
                loop.call_soon(call)

        return self._world.after(seconds, fire)

    def watch_later(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> Ticking:
        """Never: code that blocks a loop blocks the simulation."""
        return Ticking(call)

    def spawn_thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        return ThreadLane(self._process, name, target)

    def spawn_loop(self, owner: LoopOwner) -> threading.Thread:
        lane = LoopLane(self._process, owner)
        self._process.lanes.append(lane)
        return lane

    def spawn_worker(self, name: str) -> Worker:
        lane = WorkerLane(self._process, name)
        self._process.lanes.append(lane)
        return lane

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return SimLoop(self._process)

    def new_queue(self) -> queue.SimpleQueue[Any]:
        return cast("queue.SimpleQueue[Any]", SimQueue(self._process))

    def new_run_queue(self) -> deque[Any]:
        return RunQueue(self._process)

    def spawn_process(
        self,
        command: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        raise InvalidInput(
            what="placement",
            reason="a simulation has no worker processes",
            remedy="Simulate the executor in Placement.asyncio() or Placement.thread().",
        )
