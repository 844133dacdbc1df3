"""`Reply`: a pykka future that is also awaitable, from any event loop, without blocking it."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pykka

from propolis.messages import Failure, InvalidInput, WouldBlock, decode, rebuild

from .blocking import wait_for
from .waker import Waker, on_actor_loop, waker_here

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Reply"]

T = TypeVar("T")
M = TypeVar("M")
J = TypeVar("J")
R = TypeVar("R")

_VALUE, _BYTES, _FOREIGN, _ERROR = 0, 1, 2, 3
_PENDING: Final = object()


class Reply(pykka.Future[T], Coroutine[Any, Any, T]):
    """What a call will answer: `await reply`, or `reply.get(timeout=seconds)` in a thread.

    The call is under way, whether anybody waits or not; waiting may be done any number of times. A reply is taken where
    asyncio wants a coroutine, too (`asyncio.create_task`, `TaskGroup.create_task`): that task waits.

    Set once, by whoever answers; a second `set` raises `asyncio.InvalidStateError`. An answer that travelled as bytes
    is decoded by the first reader, in the reader's thread. `get()` on an actor loop raises `WouldBlock` unless the
    answer is there.
    """

    def __init__(self) -> None:
        """Nothing: what is at its default is at the class, so that a message has few objects of its own."""

    _get_hook: Callable[[float | None], Any] | None = None
    _get_hook_result = cast(Any, _PENDING)
    _decoded: Any = _PENDING
    _callbacks: list[Callable[[], object]] | None = None
    abandoned = False
    """Nobody waits for this any more; whoever would answer may save the work."""
    on_abandoned: Callable[[], object] | None = None
    """Called when whoever awaited this was cancelled and nobody else waits, in their thread. It must not block."""
    default_timeout: float | None = None

    # -- the answering side, any thread -----------------------------------------------------------------------------

    def set(self, value: Any = None) -> None:
        """Answer with a value, as it is."""
        self._settle((_VALUE, value))

    def set_bytes(self, data: bytes, *, foreign: bool = False) -> None:
        """Answer with an encoded message; the reader decodes. `foreign`: this process did not encode it just now."""
        self._settle((_FOREIGN if foreign else _BYTES, data))

    def set_error(self, error: BaseException) -> None:
        """Answer with an exception."""
        self._settle((_ERROR, error))

    def set_exception(
        self,
        exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None] | None = None,
    ) -> None:
        """As pykka: answer with `exc_info`, by default the exception being handled."""
        kind, error, trace = exc_info or sys.exc_info()
        if error is None:
            error = RuntimeError("set_exception() without an exception") if kind is None else kind()
        self._settle((_ERROR, error.with_traceback(trace) if trace else error))

    def _settle(self, outcome: tuple[int, Any]) -> None:
        # setdefault on an instance's dict is atomic: of two that race to answer, one wins
        if self._get_hook is not None or self.__dict__.setdefault("_outcome", outcome) is not outcome:
            raise asyncio.InvalidStateError("this reply has been set already")
        self._settled()

    def offer_error(self, error: BaseException) -> None:
        """Answer with an exception unless there is an answer already."""
        outcome = (_ERROR, error)
        if self.__dict__.setdefault("_outcome", outcome) is outcome:
            self._settled()

    def _settled(self) -> None:
        """The answer is there, just now."""
        self._run_callbacks()

    def _run_callbacks(self) -> None:
        callbacks = self._callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:
                return
            callback()

    # -- the reading side, any thread --------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether the answer is there."""
        return "_outcome" in self.__dict__

    def on_done(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the answer is there: at once, or in the thread that answers. It must not block."""
        self.__dict__.setdefault("_callbacks", []).append(callback)  # atomic, as above
        if self.done():
            self._run_callbacks()

    def abandon(self) -> None:
        """Nobody waits for this any more. Any thread."""
        self.abandoned = True
        if self.on_abandoned is not None:
            self.on_abandoned()

    @property
    def unattended(self) -> bool:
        """Whether who awaited this was cancelled, and nobody has come back to it. Any thread."""
        return self.abandoned and not self._callbacks

    def relay_to(self, target: Reply[Any]) -> None:
        """Pass the outcome on to another reply, which somebody else may have set by then."""

        def pass_on() -> None:
            try:
                value = self.result()
            except BaseException as error:  # noqa: BLE001 - passed on, whatever it is
                target.offer_error(error)
            else:
                target.set(value)

        self.on_done(pass_on)

    def result(self) -> T:
        """The answer, which must be there, or the exception."""
        kind: int
        value: Any
        kind, value = self.__dict__["_outcome"]
        if kind == _VALUE:
            return value  # type: ignore[no-any-return] # the one that answers knows of which type it is
        if kind == _ERROR:
            raise value
        if self._decoded is _PENDING:
            self._decoded = rebuild(value) if kind == _BYTES else decode(value)
        if isinstance(self._decoded, Failure):
            raise self._decoded.to_error()
        return self._decoded  # type: ignore[no-any-return]

    def get(self, *, timeout: float | None = None) -> T:
        """The answer; blocks the calling thread until it is there.

        Raises:
            pykka.Timeout: not there within `timeout` seconds.
            WouldBlock: called on a loop of actors or of async executors, and the answer is not there.
        """
        if self._get_hook is not None:
            if on_actor_loop() and self._get_hook_result is _PENDING:
                raise WouldBlock(call="Reply.get()")
            return self._get_by_hook(timeout)
        if not self.done():
            if on_actor_loop():
                raise WouldBlock(call="Reply.get()")
            ready = threading.Event()
            self.on_done(ready.set)
            if not wait_for(ready, self.default_timeout if timeout is None else timeout):
                self._forget(ready.set)
                self._timed_out(timeout)
        return self.result()

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """As pykka: have `get()` call `func(timeout)`, once, for the answer."""
        if self.done():
            raise asyncio.InvalidStateError("this reply has been set already")
        self._get_hook = func

    def _get_by_hook(self, timeout: float | None) -> T:
        assert self._get_hook is not None
        if self._get_hook_result is _PENDING:
            self._get_hook_result = self._get_hook(timeout)
        return cast(T, self._get_hook_result)

    def _timed_out(self, timeout: float | None) -> None:
        raise pykka.Timeout(f"{timeout} seconds")

    def _forget(self, callback: Callable[[], object]) -> None:
        try:
            self.__dict__.setdefault("_callbacks", []).remove(callback)
        except ValueError:
            return  # it is being called right now

    def __await__(self) -> Generator[Any, None, T]:
        if self._get_hook is not None:
            return (yield from asyncio.get_running_loop().run_in_executor(None, self.get).__await__())
        if not self.done():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # of trio, say
                raise InvalidInput(what="await", reason=_NO_LOOP, remedy="Call .get() in a thread.") from None
            waiting = loop.create_future()
            callback = functools.partial(_release, loop, waker_here(loop), waiting)
            self.on_done(callback)
            if self.default_timeout is None:
                try:
                    yield from waiting
                except BaseException:  # cancelled, or closed: nobody waits here any more
                    self._forget(callback)
                    if not self._callbacks:
                        self.abandon()
                    raise
            else:
                yield from self._wait_on(loop, waiting, callback).__await__()
        return self.result()

    __iter__ = __await__

    # As a coroutine it is stepped by the tasks that were made of it, each of which waits for itself.

    def send(self, value: Any, /) -> Any:
        """Of a task: go on waiting."""
        return self._step(lambda waiting: waiting.send(value))

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        """Of a task: stop waiting, with this exception."""
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        return self._step(lambda waiting: waiting.throw(error.with_traceback(tb) if tb else error))

    def close(self) -> None:
        """Of a task that never began: nothing, for the call is under way all the same."""

    def _step(self, go_on: Callable[[Generator[Any, None, T]], Any]) -> Any:
        task, waits = asyncio.current_task(), self.__dict__.setdefault("_waits", {})
        if task not in waits:
            waits[task] = self.__await__()
        try:
            return go_on(waits[task])
        except BaseException:  # over, with the answer (StopIteration) or without
            del waits[task]
            raise

    def __repr__(self) -> str:
        kind = self.__dict__.get("_outcome", (None,))[0]
        return f"<{type(self).__name__}, {'waiting' if kind is None else 'failed' if kind == _ERROR else 'answered'}>"

    async def _wait_on(
        self, loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None], callback: Callable[[], object]
    ) -> None:
        assert self.default_timeout is not None
        timer = loop.call_later(self.default_timeout, waiting.cancel, _TIMED_OUT)
        try:
            await waiting
        except asyncio.CancelledError as error:
            self._forget(callback)
            if error.args != (_TIMED_OUT,):
                raise
            self._timed_out(self.default_timeout)
        finally:
            timer.cancel()

    # -- pykka's combinators, without a blocked thread in them -------------------------------------------------------

    def map(self, func: Callable[[T], M]) -> Reply[M]:
        """A reply whose answer is `func` of this one's. `func` runs with the first reader, in its thread."""
        return _Mapped(self, func)

    def filter(self: Reply[Iterable[J]], func: Callable[[J], bool]) -> Reply[Iterable[J]]:
        """As pykka's."""
        return self.map(lambda items: [item for item in items if func(item)])

    def reduce(self: Reply[Iterable[J]], func: Callable[[R, J], R], *args: R) -> Reply[R]:
        """As pykka's."""
        return self.map(lambda items: functools.reduce(func, items, *args))

    def join(self: Reply[Any], *futures: pykka.Future[Any]) -> Reply[list[Any]]:  # type: ignore[override]
        """As pykka's: a reply with the list of the answers of all."""
        return _Joined((self, *futures))


_TIMED_OUT: Final = "propolis: no reply in time"
_NO_LOOP: Final = "no event loop of asyncio runs here"


def _release(loop: asyncio.AbstractEventLoop, waker: Waker, waiting: asyncio.Future[None]) -> None:
    if asyncio._get_running_loop() is loop:
        _finish(waiting)
    else:
        waker.post(_finish, waiting)


def _finish(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class _Derived(Reply[M]):
    """A reply computed from others, by its first reader; readers that race may each compute, and get one answer."""

    def __init__(self, sources: tuple[pykka.Future[Any], ...]) -> None:
        super().__init__()
        self._sources = sources

    def _compute(self, values: list[Any]) -> M:
        raise AssertionError("each kind of derived reply computes")

    def done(self) -> bool:
        return super().done() or all(isinstance(source, Reply) and source.done() for source in self._sources)

    def on_done(self, callback: Callable[[], object]) -> None:
        """Call `callback` when every source has its answer. Raises TypeError for a source that cannot say so."""
        left = list(self._sources)

        def one_more() -> None:
            left.pop()  # atomic: the threads that answer may be several
            if not left:
                callback()

        for source in self._sources:
            if not isinstance(source, Reply):
                raise TypeError(f"{source!r} can be waited for, but does not call back")
            source.on_done(one_more)

    def result(self) -> M:
        if not super().done():
            self._settle_with([source.get() for source in self._sources])
        return super().result()

    def get(self, *, timeout: float | None = None) -> M:
        if not self.done():
            self._settle_with([source.get(timeout=timeout) for source in self._sources])
        return self.result()

    def __await__(self) -> Generator[Any, None, M]:
        if not self.done():
            values = []
            for source in self._sources:
                values.append((yield from _without_blocking(source).__await__()))  # noqa: PERF401 - there is a yield
            self._settle_with(values)
        return self.result()

    __iter__ = __await__

    def _settle_with(self, values: list[Any]) -> None:
        try:
            outcome: tuple[int, Any] = (_VALUE, self._compute(values))
        except Exception as error:  # noqa: BLE001 - it is the reader's own function: the reader gets its error
            outcome = (_ERROR, error)
        self.__dict__.setdefault("_outcome", outcome)


def _without_blocking(future: pykka.Future[Any]) -> Awaitable[Any]:
    # fact 6: to await a future of pykka's own is to block the loop
    return future if isinstance(future, Reply) else asyncio.get_running_loop().run_in_executor(None, future.get)


class _Mapped(_Derived[M]):
    def __init__(self, source: Reply[Any], func: Callable[[Any], M]) -> None:
        super().__init__((source,))
        self._func = func

    def _compute(self, values: list[Any]) -> M:
        return self._func(values[0])


class _Joined(_Derived[list[Any]]):
    def _compute(self, values: list[Any]) -> list[Any]:
        return values
