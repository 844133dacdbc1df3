"""The seam: everything that is not deterministic goes through one Host.

Clock, timers, ids, random numbers, threads, event loops, processes and sleeping are read here and nowhere else, so that
a test, or a simulation of a whole runtime, can hold them still by handing down another Host.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import subprocess
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Final, NamedTuple, Protocol, TypeAlias

from .crash_points import CrashPoint

__all__ = ["Fairness", "Host", "Job", "LoopOwner", "Timer", "Worker"]


class Timer(Protocol):
    """A call that waits for its time."""

    def cancel(self) -> None:
        """Never call it."""
        ...


class LoopOwner(Protocol):
    """Whose thread runs an event loop. The real thread runs `main`; a simulated one takes a step at a time."""

    name: str
    stopping: bool
    """The next stop of the loop is its last."""

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        """The loop."""
        ...

    def main(self) -> None:
        """Run the loop until it is stopped, `inside()`, then `finish()`."""
        ...

    def inside(self) -> AbstractContextManager[None]:
        """What holds while the loop's thread runs."""
        ...

    def came_through(self, error: BaseException) -> None:
        """A task or callback raised what ends an event loop; this one goes on."""
        ...

    def finish(self) -> None:
        """On the thread, inside, when the loop was stopped for good: cancel what is left."""
        ...


class Fairness(NamedTuple):
    """How long one goes on before another has its turn."""

    messages: int = 64
    """That one actor handles in a turn."""
    turns: int = 128
    """Of actors, before their event loop may look at its timers and sockets."""


_NO_TIME: Final = timedelta()
_SECOND: Final = timedelta(seconds=1)

Job: TypeAlias = Callable[[], Callable[[], None]]
"""Something to do; it gives back what is called when it is done, to tell whom it is for."""


def occupy_standard() -> None:
    """Give the numbers of the standard streams that are closed (`program <&-`) to /dev/null, for good, as SQLite does.

    Else something of ours would get one, and what writes to or closes a standard stream would meet that.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


class Worker:
    """A thread that does one job after another, in the order in which they came."""

    def __init__(self, host: Host, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = host.spawn_thread(name, self._run)

    def submit(self, job: Job) -> bool:
        """Queue a job. Any thread. False after `close()`."""
        with self._closing:  # so that nothing is queued behind the end mark
            if not self._closed:
                self._jobs.put(job)
            return not self._closed

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()()
            del job  # or what it holds would live until the next one

    def close(self) -> None:
        """End the thread after the jobs that are queued. Not from the thread itself."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()


class Host:
    """The real world. Every method may be called from any thread."""

    fairness = Fairness()
    commits_here = True
    """Whether a small commit to a store in memory is made on the actor loop, and not on the commit thread."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._second: tuple[datetime, str] = (datetime.fromtimestamp(0, UTC), "")

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def uptime(self) -> float:
        """Seconds on a clock that never goes back and, where the system has one, goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)

    def draw(self) -> float:
        """A random number in [0, 1)."""
        return self._random.random()

    def new_urn(self) -> str:
        """A name for an actor, unique in the world."""
        return uuid.UUID(int=self._random.getrandbits(128), version=4).urn

    def new_session_id(self, at: datetime | None = None) -> str:
        """`session_YYYYMMDD_HHMMSS_` and 16 hex digits; of now, unless the time is given.

        The first five digits are the microsecond, so that new rows land at the end of the store's index.
        """
        now = at or self.now()
        second, text = self._second
        if not _NO_TIME <= now - second < _SECOND:
            text = f"{now:session_%Y%m%d_%H%M%S}"  # formatting takes three times as long as all else here
            self._second = (now.replace(microsecond=0), text)
        return f"{text}_{now.microsecond:05x}{self._random.getrandbits(44):011x}"

    def new_execution_id(self) -> str:
        """`exec_`, the time in milliseconds and 12 hex digits: new rows land at the end of the store's index."""
        return f"exec_{int(self.now().timestamp() * 1000):011x}{self._random.getrandbits(48):012x}"

    def new_id(self, prefix: str) -> str:
        """`prefix_` and 16 hex digits."""
        return f"{prefix}_{self._random.getrandbits(64):016x}"

    def reach(self, point: CrashPoint) -> None:
        """The code is at a moment at which a test may end the process. Nothing, here."""

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)

    def call_later(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> Timer:
        """Run a function on an event loop after a time. On that loop only."""
        return loop.call_later(seconds, call)

    def watch_later(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> Timer:
        """As `call_later`, for a look at how a thread gets on. On that loop only.

        Threads are real on every host, so this is in real seconds even where the clock stands still.
        """
        return loop.call_later(seconds, call)

    def spawn_thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Start a daemon thread."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def when_lost(self, thing: Any, call: Callable[..., object], *args: Any) -> weakref.finalize[..., Any]:
        """Call it once nobody holds the thing any more, or when the program ends; on whichever thread finds that out.
        `detach()` of what it gives takes it back.
        """
        return weakref.finalize(thing, call, *args)

    def spawn_loop(self, owner: LoopOwner) -> threading.Thread:
        """Start a daemon thread that runs an event loop, one of `new_event_loop`."""
        return self.spawn_thread(owner.name, owner.main)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """One of uvloop's where that is installed, else one of asyncio's."""
        occupy_standard()  # uvloop aborts the process when it closes one of them
        try:
            import uvloop  # noqa: PLC0415 - an extra
        except ImportError:
            return asyncio.new_event_loop()
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop

    def spawn_worker(self, name: str) -> Worker:
        """Start a daemon thread that does one job after another."""
        return Worker(self, name)

    def new_queue(self) -> queue.SimpleQueue[Any]:
        """What a thread waits at for its work."""
        return queue.SimpleQueue()

    def new_run_queue(self) -> deque[Any]:
        """The actors that wait for a turn: `popleft` takes who is next."""
        return deque()

    def spawn_process(
        self,
        command: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session, and so a process group, of its own. Blocks until its program is loaded."""
        return subprocess.Popen(  # noqa: S603 - a command of ours
            list(command), stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, env=env, start_new_session=True
        )
