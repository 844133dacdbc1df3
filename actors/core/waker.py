"""Handing calls to an event loop from other threads, many of them for one wake-up."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Waker", "mark_actor_loop", "on_actor_loop", "waker_here", "waker_of", "waking_together"]

logger = logging.getLogger("propolis")

_here = threading.local()
_wakers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Waker] = weakref.WeakKeyDictionary()


class Waker:
    """Posts calls to one loop. A wake-up of a loop is a system call, so only the first of a burst pays for one."""

    __slots__ = ("_awake", "_calls", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._awake = False

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Run `call(*args)` on the loop, in order, soon. Dropped when the loop is closed: nobody is left to care."""
        self._calls.append((call, args))
        if self._awake:
            return
        self._awake = True
        together: list[Waker] | None = getattr(_here, "together", None)
        if together is not None:
            together.append(self)
        else:
            self._wake()

    def _wake(self) -> None:
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._calls.clear()
            return
        try:
            # in no context of whoever happens to be the first of a burst: it is not for the others, nor for actors
            loop.call_soon_threadsafe(self._run, context=contextvars.Context())
        except RuntimeError:
            self._calls.clear()  # closed between the look and the call

    def _run(self) -> None:
        self._awake = False  # first: a post from here on schedules again, so none is overlooked
        calls = self._calls
        while calls:
            call, args = calls.popleft()
            try:
                call(*args)
            except Exception:
                logger.exception("A call posted to an event loop failed: %r", call)
            except BaseException:
                self.post(_nothing)  # who interrupts this loop does not make it forget the rest
                raise


def _nothing() -> None:
    pass


class waking_together:  # noqa: N801 - it reads as a function, and as a generator it takes five times as long
    """Put off the wake-ups of other loops that this thread causes to the end of the block: one each, for all of it."""

    __slots__ = ("_wakers",)

    def __enter__(self) -> None:
        self._wakers: list[Waker] = []
        _here.together = self._wakers

    def __exit__(self, *_: object) -> None:
        _here.together = None
        for waker in self._wakers:
            waker._wake()


def waker_of(loop: asyncio.AbstractEventLoop) -> Waker:
    """The waker of a loop, made when first asked for."""
    waker = _wakers.get(loop)
    if waker is None:
        waker = _wakers.setdefault(loop, Waker(loop))
    return waker


def waker_here(loop: asyncio.AbstractEventLoop) -> Waker:
    """The waker of the loop that runs on this thread: the same as last time, mostly."""
    known: Waker | None = getattr(_here, "waker", None)
    if known is None or known._loop() is not loop:
        known = _here.waker = waker_of(loop)
    return known


def mark_actor_loop(owner: object | None) -> None:
    """Say that this thread is (or, with None, no longer is) that of a loop of ours, of actors or of async executors."""
    _here.loop = owner


def on_actor_loop() -> bool:
    """Whether the calling thread is that of a loop of ours, where nothing may block."""
    return getattr(_here, "loop", None) is not None
