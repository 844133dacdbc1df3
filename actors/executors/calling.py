"""The two ways to call a function of the user's from an executor, and to wait: on its event loop, or on its thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, TypeVar

import pykka

from ..core import Reply
from ..host import Host
from .protocol import is_coroutine_function

__all__ = ["AsyncCalling", "PlainCalling"]

R = TypeVar("R")


def _start(host: Host, function: Callable[..., Any], args: tuple[Any, ...]) -> Reply[Any]:
    """Call a function on a thread of its own, in the context of the caller."""
    context, reply = contextvars.copy_context(), Reply[Any]()

    def run() -> None:
        try:
            reply.set(context.run(function, *args))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            reply.set_error(error)

    host.spawn_thread("propolis-step", run)
    return reply


class AsyncCalling:
    """Of one call of an `async` executor. A `def` function gets a thread, so that it does not hold up the loop.

    A cancel does not leave such a thread behind: it waits until the function comes back, and what came of that is
    recorded before the cancel goes on (`settle`). A timeout does leave it behind.
    """

    __slots__ = ("_cancel", "_host")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._cancel: asyncio.CancelledError | None = None

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
        """Await it, or its thread."""
        if is_coroutine_function(function):
            return await _bounded(function, args, timeout)
        task = asyncio.ensure_future(_await(_start(self._host, function, args)))
        try:
            done, _ = await asyncio.wait([task], timeout=timeout)
        except asyncio.CancelledError as cancel:
            self._cancel = cancel
            await asyncio.wait([task])
        else:
            if not done:
                task.cancel()
                raise TimeoutError(f"it took longer than its timeout of {timeout:g} s")
        return task.result()

    async def settle(self) -> None:
        """Go on with the cancel that had to wait."""
        if self._cancel is not None:
            raise self._cancel

    async def answer(self, reply: Reply[R]) -> R:
        """Await it."""
        return await reply

    async def pause(self, seconds: float) -> None:
        """Await it."""
        await asyncio.sleep(seconds)


async def _await(reply: Reply[Any]) -> Any:
    return await reply


class PlainCalling:
    """Of a blocking executor: on its own thread."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
        """With a `timeout`, on a thread of its own, which is left behind when the time is over."""
        if is_coroutine_function(function):
            return asyncio.run(_bounded(function, args, timeout))
        if timeout is None:
            return function(*args)
        try:
            return _start(self._host, function, args).get(timeout=timeout)
        except pykka.Timeout:
            raise TimeoutError(f"it took longer than its timeout of {timeout:g} s") from None

    async def settle(self) -> None:
        """Nothing had to wait."""

    async def answer(self, reply: Reply[R]) -> R:
        """Block until it is there."""
        return reply.get()

    async def pause(self, seconds: float) -> None:
        """Block."""
        self._host.sleep(seconds)


async def _bounded(function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
    async with asyncio.timeout(timeout):
        return await function(*args)
