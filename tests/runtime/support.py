"""What the tests of the runtime share: one body of code for every placement, gates to hold it, waiting with an end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from propolis import Cancelled, EntryPoint, Placement, SyncContext
from propolis.messages import Event
from propolis.testing import ManualHost

__all__ = [
    "GRACE",
    "PATIENCE",
    "Gate",
    "Plain",
    "Recorder",
    "executor_for",
    "pass_time",
    "pass_time_until",
    "point",
    "until",
]

PATIENCE = 30.0
"""Seconds after which a test gives up waiting. Nothing here takes that long, on a slow and busy machine either."""

GRACE = 5.0
"""Seconds that `timed_runtime` gives to what it has interrupted, on the clock of the test."""

R = TypeVar("R")


def until(condition: Callable[[], R], what: str = "", patience: float = PATIENCE) -> R:
    """Wait for a condition; what it returned when it became true."""
    end = time.monotonic() + patience
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {patience} s for {what or condition}"
        pause.wait(0.002)
    return value


def pass_time(clock: ManualHost, seconds: float) -> None:
    """Let an alarm ring that is due in so many seconds: wait until it is set, then let a little more time pass.

    There must be no other alarm that is due by then, or this may wait for the wrong one.
    """
    clock.wait_for_timer(within=seconds, timeout=PATIENCE)
    clock.advance(seconds + 0.001)


def pass_time_until(clock: ManualHost, condition: Callable[[], object], step: float) -> None:
    """Let time pass, `step` seconds at a time, until the condition is true: where it does not matter how much it is."""

    def stepped() -> object:
        clock.advance(step)
        return condition()

    until(stepped)


class Gate:
    """A latch that holds executors of both placements, and counts who has come to it. Any thread opens it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self.arrived = 0

    def open(self) -> None:
        """Let everybody through."""
        with self._lock:
            self._open.set()
            for loop, event in self._loops:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Hold again whoever comes to it."""
        self._open.clear()

    def is_open(self) -> bool:
        """Whether it is."""
        return self._open.is_set()

    def wait_for(self, count: int = 1) -> None:
        """Wait until so many have come to it."""
        until(lambda: self.arrived >= count, f"{count} at the gate, {self.arrived} are")

    async def passed(self, ctx: Any) -> None:
        """Wait here. A cancel gets through, in both placements."""
        with self._lock:
            self.arrived += 1
        if isinstance(ctx, Plain):
            while not self._open.wait(0.002):
                if ctx.cancelled:
                    raise Cancelled
            return
        event = asyncio.Event()
        with self._lock:
            self._loops.append((asyncio.get_running_loop(), event))
            if self._open.is_set():
                return
        await event.wait()

    def block(self) -> None:
        """Wait here and look at nothing."""
        with self._lock:
            self.arrived += 1
        self._open.wait(PATIENCE * 3)


class _PlainMemory:
    def __init__(self, ctx: SyncContext) -> None:
        self._memory = ctx.memory

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._memory, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


class Plain:
    """A SyncContext with the methods of a Context, none of which ever waits: so one body fits both."""

    def __init__(self, ctx: SyncContext) -> None:
        self.ctx = ctx
        self.memory = _PlainMemory(ctx)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.ctx, name)
        if not callable(value) or name == "log":
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            return value(*args, **kwargs)

        return call


Body = Callable[[Any, Any], Awaitable[Any]]


def executor_for(placement: str, body: Body) -> Callable[[Any, Any], Any]:
    """`body` as an executor: itself for asyncio, a plain function that runs it to its end for thread."""
    if placement == "asyncio":

        async def execute(ctx: Any, data: Any) -> Any:
            return await body(ctx, data)

        return execute

    return lambda ctx, data: run_plainly(body, ctx, data)


def run_plainly(body: Body, ctx: SyncContext, data: Any) -> Any:
    """Run a body to its end without an event loop."""
    coroutine: Any = body(Plain(ctx), data)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    raise AssertionError("the body waited for something that a thread cannot wait for")


def point(placement: str, id: str = "work", **fields: Any) -> EntryPoint:
    """An entry point in a placement."""
    return EntryPoint(id=id, placement=getattr(Placement, placement)(), **fields)


class Recorder:
    """An event handler that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)

    def types(self) -> list[str]:
        """The types of the events so far."""
        return [event.type for event in self.events if isinstance(event, Event)]

    def wait_for(self, type: str, count: int = 1) -> Any:
        """The last event of a type, once so many have come."""
        until(lambda: self.types().count(type) >= count, f"{count} {type}")
        return [event for event in self.events if isinstance(event, Event) and event.type == type][-1]
