"""`InlineLoop`: actors that run in the test's own thread, when it says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

from propolis.actors import ActorLoop, Host, Reply

from .clock import ManualHost

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["InlineLoop"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class _CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that knows whether anything was asked of it."""

    calls = 0

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.calls += 1
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.calls += 1
        return super().call_soon_threadsafe(callback, *args, context=context)

    def step(self) -> bool:
        """Run what is ready now. Whether that asked for more."""
        super().call_soon(self.stop)
        before = self.calls
        self.run_forever()
        return self.calls > before


class InlineLoop(ActorLoop):
    """An `ActorLoop` without a thread: nothing happens until `settle()`, which runs everything that can run.

        with InlineLoop() as loop:
            alarm = ask(loop.spawn(WakeupActor), WakeMe(after=60.0), timeout=None)
            loop.settle()
            assert not alarm.done()
            loop.host.advance(60.0)
            loop.get(alarm)

    Between two calls the test stands outside of the loop, as any other thread: a full mailbox refuses it, and it may
    look at everything. By default on a `ManualHost`, so that time passes by `loop.host.advance(seconds)` only. Not for
    use inside a running event loop.
    """

    def __init__(self, host: Host | None = None, mailbox_limit: int | None = 10_000) -> None:
        super().__init__(host if host is not None else ManualHost(), "inline", mailbox_limit)

    def start(self) -> Self:
        """Get ready; starts no thread."""
        self._open(_CountingLoop())
        if isinstance(self.host, ManualHost):
            self.host.settle_by(self.settle)
        return self

    def is_running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._loop is not None and not self._loop.is_closed()

    def settle(self) -> None:
        """Run actors, in this thread, until none has anything to do. An async handler that waits is left waiting."""
        loop = self._loop
        if self.is_here() or not isinstance(loop, _CountingLoop) or loop.is_closed():
            return
        with self.inside():
            while self._ready or loop.calls:
                loop.calls = 0
                if not loop.step() and not self._ready:
                    break

    def settle_until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Settle again and again, for what other threads have a part in. Raises TimeoutError after real seconds."""
        pause = threading.Event()
        for _ in range(max(1, int(timeout / 0.001))):
            self.settle()
            if condition():
                return
            pause.wait(0.001)
        raise TimeoutError(f"not so within {timeout:g} s: {condition!r}")

    def get(self, reply: Reply[R], timeout: float = 5.0) -> R:
        """Settle until the reply is there, and give its answer."""
        self.settle_until(reply.done, timeout)
        return reply.result()

    def stop(self) -> None:
        """Settle, cancel async handlers that wait, let go of the event loop."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        self.settle()
        with self.inside():
            self.finish()
        loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
