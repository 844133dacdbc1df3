"""`ManualHost`: a world whose clock stands still until the test moves it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from propolis.actors import Host

__all__ = ["ManualHost"]

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Timer:
    """One call that waits for its time."""

    __slots__ = ("cancelled", "fire")

    def __init__(self, fire: Callable[[], None]) -> None:
        self.fire = fire
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualHost(Host):
    """A `Host` on which time passes only by `advance()`, and ids and jitter come from a seed.

    Everything in Propolis that waits for a time (backoff, deadlines, timeouts of executions, leases) waits on its
    Host. Hand one down, to `Runtime(host=...)` or to a loop, and a test of an hour takes no time:

        host = ManualHost()
        with InlineLoop(host) as loop:
            alarm = ask(loop.spawn(WakeupActor), WakeMe(after=3600.0), timeout=None)
            loop.settle()
            host.advance(3600.0)
            assert alarm.done()

    Threads are real, and so is the watch over the loops of user code (`watch_later`). What only a caller waits for
    (`reply.get(timeout=...)`) is measured in real seconds. Every method may be called from any thread.
    """

    def __init__(self, start: datetime = START, *, seed: int = 0) -> None:
        super().__init__(seed)
        self._start = start
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._settlers: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds that the test has let pass."""
        return self._elapsed

    def uptime(self) -> float:
        """The same."""
        return self._elapsed

    def now(self) -> datetime:
        """`start`, and the seconds that the test has let pass."""
        return self._start + timedelta(seconds=self._elapsed)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread until the test has let so much time pass."""
        awake = threading.Event()
        self._add(seconds, awake.set)
        awake.wait()

    def call_later(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> _Timer:
        """Run a function on an event loop when the test has let so much time pass."""

        def fire() -> None:
            with contextlib.suppress(RuntimeError):  # that loop is closed: nobody is left to care
                loop.call_soon_threadsafe(call)

        return self._add(seconds, fire)

    def _add(self, seconds: float, fire: Callable[[], None]) -> _Timer:
        timer = _Timer(fire)
        with self._changed:
            due = self._elapsed + max(0.0, seconds)
            if due > self._elapsed:
                heapq.heappush(self._timers, (due, next(self._order), timer))
                self._changed.notify_all()
                return timer
        fire()
        return timer

    # -- the test's side ---------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass. Timers fire in their order, each with the clock at its own moment.

        An `InlineLoop` on this host settles after each, so that what a timer sets off, and the timers which that sets,
        have their turn within the same call. A loop with a thread of its own is not waited for: there, see
        `wait_for_timer`.
        """
        until = self._elapsed + seconds
        self._settle()
        while (timer := self._next(until)) is not None:
            timer.fire()
            self._settle()
        with self._changed:
            self._elapsed = max(self._elapsed, until)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back, as an administrator does, or a machine's sleep: no timer notices."""
        with self._changed:
            self._start += timedelta(seconds=seconds)

    def wait_for_timer(self, within: float, timeout: float = 5.0) -> None:
        """Block until something waits for a moment at most `within` seconds away: then `advance(within)` reaches it.

        Raises TimeoutError after `timeout` real seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._first() <= self._elapsed + within, timeout):
                raise TimeoutError(f"nothing waits for the next {within:g} s, {timeout:g} real seconds long")

    @property
    def until_next(self) -> float | None:
        """Seconds from now to the next timer; None when nothing waits."""
        with self._changed:
            first = self._first()
            return None if first == float("inf") else first - self._elapsed

    def settle_by(self, settle: Callable[[], None]) -> None:
        """Have a function called between the timers of `advance()`. `InlineLoop` does this by itself."""
        self._settlers.append(settle)

    def _settle(self) -> None:
        for settle in self._settlers:
            settle()

    def _first(self) -> float:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else float("inf")

    def _next(self, until: float) -> _Timer | None:
        with self._changed:
            if self._first() > until:
                return None
            due, _, timer = heapq.heappop(self._timers)
            self._elapsed = max(self._elapsed, due)
            return timer
