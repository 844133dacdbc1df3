"""The seam: everything that is not deterministic goes through one Host.

Clock, timers, ids, random numbers, threads, processes and sleeping are read here and nowhere else, so that a test, or a
simulation of a whole runtime, can hold them still by handing down another Host.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import IO, Protocol

__all__ = ["Host", "Timer"]


class Timer(Protocol):
    """A call that waits for its time."""

    def cancel(self) -> None:
        """Never call it."""
        ...


class Host:
    """The real world. Every method may be called from any thread."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._second: tuple[datetime | None, str] = (None, "")

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

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
        """`session_YYYYMMDD_HHMMSS_` and 16 hex digits; of now, unless the time is given."""
        now = (at or self.now()).replace(microsecond=0)
        second, text = self._second
        if now != second:
            text = f"{now:session_%Y%m%d_%H%M%S}"  # formatting takes three times as long as all else here
            self._second = (now, text)
        return f"{text}_{self._random.getrandbits(64):016x}"

    def new_execution_id(self) -> str:
        """`exec_`, the time in milliseconds and 12 hex digits: new rows land at the end of the store's index."""
        return f"exec_{int(self.now().timestamp() * 1000):011x}{self._random.getrandbits(48):012x}"

    def new_id(self, prefix: str) -> str:
        """`prefix_` and 16 hex digits."""
        return f"{prefix}_{self._random.getrandbits(64):016x}"

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

    def spawn_process(
        self,
        command: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session, and so a process group, of its own. Blocks until its program is loaded."""
        return subprocess.Popen(  # noqa: S603 - a command of ours
            list(command), stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, start_new_session=True
        )
