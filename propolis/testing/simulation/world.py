"""The world of a simulation: one clock, and a draw of who runs next. One thread runs at any moment."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Lane", "Stuck", "Ticking", "World"]

TICK: float = 0.00001
"""Seconds that a step takes."""


class Stuck(AssertionError):
    """Somebody waits, and nothing that can still happen would end that."""


class Lane(Protocol):
    """What in reality is a thread: it goes on by itself, in an order of its own, at a speed of its own."""

    name: str
    weight: float
    """How often it is drawn, beside the others."""

    def is_ready(self) -> bool:
        """Whether it could go on now."""
        ...

    def step(self) -> str:
        """Go on to where another could have its turn; what was done, for the trace."""
        ...


class Ticking:
    """One call that waits for its time."""

    __slots__ = ("cancelled", "fire")

    def __init__(self, fire: Callable[[], object]) -> None:
        self.fire = fire
        self.cancelled = False

    def cancel(self) -> None:
        """Never call it."""
        self.cancelled = True


class World:
    """Draws, from one seed, which lane takes its next step, and when time passes instead.

    Time passes when nobody is ready, and now and then when somebody is: then he was slow. A lane gets a weight when it
    begins, so in some worlds the thread that commits hardly ever has its turn, and in others it is always first.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.elapsed = 0.0
        self.steps = 0
        self.lanes: list[Lane] = []
        self.haste = self.random.choice((0.0, 0.0, 0.002, 0.02))
        """How likely it is, at each step, that the clock goes on to the next timer though somebody is ready."""
        self.failure: BaseException | None = None
        """What `fail` was called with."""
        self.on_step: list[Callable[[], object]] = []
        """Called after every step: faults that happen by themselves, and checks."""
        self.recent: deque[str] = deque(maxlen=200)
        self._timers: list[tuple[float, int, Ticking]] = []
        self._order = itertools.count()
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """A digest of everything that has happened, in its order."""
        return self._digest.hexdigest()

    def note(self, what: str) -> None:
        """Put something into the trace."""
        self._digest.update(what.encode())
        self.recent.append(f"{self.elapsed:.6f} {what}")

    def fail(self, error: BaseException) -> None:
        """Have this leave the simulation after the step at hand, whoever would catch it if it were raised here."""
        self.failure = self.failure or error

    def add(self, lane: Lane) -> None:
        """Another lane begins."""
        lane.weight = self.random.choice((1.0, 1.0, 1.0, 0.1, 0.01))
        self.lanes.append(lane)

    def remove(self, lane: Lane) -> None:
        """It has ended."""
        if lane in self.lanes:
            self.lanes.remove(lane)

    def after(self, seconds: float, fire: Callable[[], object]) -> Ticking:
        """Call a function when so much time has passed; or a little more."""
        return self.at(self.elapsed + max(0.0, seconds) + 0.001 * self.random.random(), fire)

    def at(self, when: float, fire: Callable[[], object]) -> Ticking:
        """Call a function at a time."""
        timer = Ticking(fire)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    # -- running -----------------------------------------------------------------------------------------------------

    def run_until(self, is_over: Callable[[], bool], timeout: float | None = None) -> bool:
        """Take steps until the function says True, or `timeout` simulated seconds have passed: whether it did.

        Raises Stuck when there is no timeout and nothing will ever happen again.
        """
        until = None if timeout is None else self.elapsed + timeout
        while not is_over():
            if until is not None and self.elapsed >= until:
                return False
            self._step(until)
        return True

    def _step(self, until: float | None) -> None:
        ready = [lane for lane in self.lanes if lane.is_ready()]
        if not ready or (self.haste and self.random.random() < self.haste):
            self._pass_time(until, needed=not ready)
            if not ready:
                return
        lane = self._draw(ready)
        self.steps += 1
        self.elapsed += TICK
        what = lane.step()
        self.note(f"{lane.name} {what}")
        for call in self.on_step:
            call()
        if self.failure is not None:
            raise self.failure

    def _draw(self, ready: list[Lane]) -> Lane:
        if len(ready) == 1:
            return ready[0]
        left = self.random.random() * sum(lane.weight for lane in ready)
        for lane in ready:
            left -= lane.weight
            if left <= 0.0:
                return lane
        return ready[-1]

    def _pass_time(self, until: float | None, *, needed: bool) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled:
            heapq.heappop(timers)
        if timers and (until is None or timers[0][0] <= until):
            when, _, timer = heapq.heappop(timers)
            self.elapsed = max(self.elapsed, when)
            timer.fire()
        elif until is not None and needed:
            self.elapsed = max(self.elapsed, until)
        elif needed:
            raise Stuck(f"somebody waits for ever; there are {', '.join(lane.name for lane in self.lanes)}")

    # -- waiting -----------------------------------------------------------------------------------------------------

    def wait(self, is_over: Callable[[], bool], timeout: float | None = None) -> bool:
        """Have the calling thread wait, whichever it is."""
        me = threading.current_thread()
        waits: Callable[[Callable[[], bool], float | None], bool] = getattr(me, "wait_here", self.run_until)
        return waits(is_over, timeout)

    def wait_seconds(self, seconds: float) -> None:
        """Have the calling thread let the others run for so long."""
        self.wait(lambda: False, seconds)
