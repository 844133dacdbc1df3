"""The two ways to call a function of the user's from an executor, and to wait: on its event loop, or on its thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, TypeVar

import pykka

from ..core import Reply
from ..host import Host
from .protocol import is_coroutine_function

__all__ = ["AsyncCalling", "Outcome", "PlainCalling", "start_thread"]

R = TypeVar("R")


class Outcome(NamedTuple):
    """What a call gave or raised: as a value, so that a SystemExit passes through no task, and thus through no loop,
    and nobody misses the exception of one that was left behind.
    """

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """Return the one, or raise the other."""
        if self.error is not None:
            raise self.error
        return self.value


def start_thread(host: Host, function: Callable[..., Any], args: tuple[Any, ...]) -> Reply[Outcome]:
    """Call a function on a thread of its own, in the context of the caller."""
    context, reply = contextvars.copy_context(), Reply[Outcome]()

    def run() -> None:
        try:
            outcome = Outcome(context.run(_called, function, args))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome = Outcome(error=error)
        reply.set(outcome)

    host.spawn_thread("propolis-step", run)
    return reply


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What it gives; of one that asks an actor, as `stream.run` does, the answer."""
    value = function(*args)
    return value.get() if isinstance(value, pykka.Future) else value


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
            return await _bounded(self._host, function(*args), timeout)
        task = asyncio.ensure_future(_await(start_thread(self._host, function, args)))
        try:
            await _wait(self._host, task, timeout)
        except asyncio.CancelledError as cancel:
            self._cancel = cancel
            await asyncio.wait([task])
        return task.result().get()

    async def settle(self) -> None:
        """Go on with the cancel that had to wait."""
        if self._cancel is not None:
            raise self._cancel

    async def answer(self, reply: Reply[R]) -> R:
        """Await it."""
        return await reply

    async def pause(self, seconds: float) -> None:
        """Await it, on the host's clock."""
        with _alarm(self._host, seconds) as rings:
            await rings


async def _await(reply: Reply[R]) -> R:
    return await reply


class PlainCalling:
    """Of a blocking executor: on its own thread."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
        """With a `timeout`, on a thread of its own, which is left behind when the time is over."""
        if is_coroutine_function(function):
            return asyncio.run(_bounded(self._host, function(*args), timeout))
        if timeout is None:
            return _called(function, args)
        try:
            outcome = start_thread(self._host, function, args).get(timeout=timeout)
        except pykka.Timeout:
            raise TimeoutError(f"it took longer than its timeout of {timeout:g} s") from None
        return outcome.get()

    async def settle(self) -> None:
        """Nothing had to wait."""

    async def answer(self, reply: Reply[R]) -> R:
        """Block until it is there."""
        return reply.get()

    async def pause(self, seconds: float) -> None:
        """Block."""
        self._host.sleep(seconds)


async def _bounded(host: Host, call: Coroutine[Any, Any, Any], timeout: float | None) -> Any:
    if timeout is None:
        return await call
    task = asyncio.ensure_future(_outcome_of(call))
    try:
        await _wait(host, task, timeout)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    return task.result().get()


async def _outcome_of(call: Coroutine[Any, Any, Any]) -> Outcome:
    try:
        return Outcome(await call)
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        return Outcome(error=error)


async def _wait(host: Host, task: asyncio.Future[Any], timeout: float | None) -> None:
    """Until the task is done. Raises TimeoutError when it is not in time."""
    if timeout is None:
        await asyncio.wait([task])
        return
    with _alarm(host, timeout) as rings:
        await asyncio.wait([task, rings], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        raise TimeoutError(f"it took longer than its timeout of {timeout:g} s")


@contextlib.contextmanager
def _alarm(host: Host, seconds: float) -> Iterator[asyncio.Future[None]]:
    """A future that is done after so many seconds."""
    loop = asyncio.get_running_loop()
    rings: asyncio.Future[None] = loop.create_future()
    timer = host.call_later(loop, seconds, lambda: None if rings.done() else rings.set_result(None))
    try:
        yield rings
    finally:
        timer.cancel()
