"""Iterating over what a store tells, then over what is added: `EventStream` gives events, without gap or repeat."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from propolis.actors import QueueSubscriber, Reply, StoreThreads, wait_for
from propolis.messages import Event, EventFilter, ForkedRuntime, Payload, RuntimeStopped

from .calls import Call

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["EventStream", "Following"]

T = TypeVar("T")

POLL_SECONDS = 0.25
"""How often the store is read without a hint: another process may commit to it."""

PAGE = 500


class Following(AsyncIterator[T], Iterator[T], Generic[T]):
    """Reads a page at a time, and waits when there is none. The subscription that it holds is only the hint that there
    is something to read. Ends when the runtime stops. One that is lost without a `close()`, as by a `break` or a
    cancel, is subscribed until the next event.
    """

    def __init__(
        self,
        threads: StoreThreads,
        queue: QueueSubscriber,
        subscribed: Call[str],
        unsubscribe: Callable[[str], Any],
    ) -> None:
        self._threads = threads
        self._queue = queue
        self._subscribed = subscribed
        self._unsubscribe = unsubscribe
        self._page: deque[T] = deque()
        self._more = False
        """There is a further page already."""
        self._done = False
        """There will be nothing more."""
        self._closed = False
        self._pid = os.getpid()
        self._wake = threading.Event()
        self._wake_async: Callable[[], None] | None = None
        hint = weakref.WeakMethod(self._hint)  # the subscription holds the queue, and would hold its lost reader
        queue.wake = lambda: _call(hint())
        threads.host.when_lost(self, queue.give_up).atexit = False

    def _hint(self) -> None:
        self._wake.set()
        wake = self._wake_async
        if wake is not None:
            wake()

    # -- what the kinds of it say ------------------------------------------------------------------------------------

    @abstractmethod
    def _live(self, event: Event) -> T | None:
        """What is to be given of an event that is nowhere kept."""

    @abstractmethod
    def _read(self) -> Reply[Any]:
        """Ask for the next page."""

    @abstractmethod
    def _keep(self, page: Any) -> None:
        """Take it in."""

    # -- both ways ---------------------------------------------------------------------------------------------------

    def _take(self) -> T | None:
        """What is at hand: live events first, since they are of now, then the page. Raises ForkedRuntime."""
        if os.getpid() != self._pid:  # who would read the store for it is not there
            raise ForkedRuntime(parent_pid=self._pid)
        while (event := self._queue.take()) is not None:
            if isinstance(event, Event) and event.seq is None:
                given = self._live(event)
                if given is not None:
                    return given
        return self._page.popleft() if self._page else None

    def _is_over(self) -> bool:
        return self._closed or self._queue.closed

    # -- async for ---------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            if self._closed:
                raise StopAsyncIteration
            given = self._take()
            if given is not None:
                return given
            if self._done:
                self.close()
                raise StopAsyncIteration
            over = self._is_over()
            self._wake.clear()
            try:
                await self._subscribed
                self._keep(await self._read())
            except RuntimeStopped:
                raise StopAsyncIteration from None
            if not self._page and not self._more and not self._done:
                if over:
                    raise StopAsyncIteration
                await self._wait_async()

    async def _wait_async(self) -> None:
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(_release, waiting)

        self._wake_async = wake
        try:
            if not self._wake.is_set():
                await asyncio.wait_for(waiting, POLL_SECONDS)
        except TimeoutError:
            pass
        finally:
            self._wake_async = None

    # -- for ---------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            if self._closed:
                raise StopIteration
            given = self._take()
            if given is not None:
                return given
            if self._done:
                self.close()
                raise StopIteration
            over = self._is_over()
            self._wake.clear()
            try:
                self._subscribed.get()
                self._keep(self._read().get())
            except RuntimeStopped:
                raise StopIteration from None
            if not self._page and not self._more and not self._done:
                if over:
                    raise StopIteration
                wait_for(self._wake, POLL_SECONDS)

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop following. Any thread, more than once."""
        if self._closed:
            return
        self._closed = True
        if self._subscribed.done():
            self._let_go()
        else:
            self._subscribed.on_done(self._let_go)
        self._hint()

    def _let_go(self) -> None:
        try:
            self._unsubscribe(self._subscribed.result())
        except RuntimeStopped:
            return  # there is nothing left to unsubscribe from

    async def aclose(self) -> None:
        """As `close()`."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventStream(Following[Event]):
    """`async for` and `for` both work; close it (or leave its `with`) when done.

    What is stored is read from the store, in order of `seq`; the live-only events (`seq` is None) come in between as
    they happen. Where retention has deleted some that would have come there is an event `events_pruned` in their place,
    without a `seq`: between the numbers `after` and `through` in its data some are missing. It ends when the runtime
    stops.
    """

    def __init__(
        self,
        threads: StoreThreads,
        filter: EventFilter,
        after: int | None,
        queue: QueueSubscriber,
        subscribed: Call[str],
        unsubscribe: Callable[[str], Any],
    ) -> None:
        super().__init__(threads, queue, subscribed, unsubscribe)
        self._filter = filter
        self._seq = after
        self._now = threads.last_seq() if after is None else None
        self._told = 0

    def _live(self, event: Event) -> Event | None:
        return event

    def _read(self) -> Reply[Any]:
        seq, filter = self._seq, self._filter
        if seq is None:
            assert self._now is not None
            return self._now

        def read(store: Any) -> tuple[int, tuple[Event, ...], int]:
            end = store.last_seq()  # first: whatever is committed from here on has a greater number
            events = store.events_after(seq, filter, PAGE)
            last = events[-1].seq if events else seq
            # last: what was deleted before the events were read is known by now
            return (last if len(events) == PAGE else max(end, last)), events, store.pruned_seq()

        return self._threads.read(read)

    def _keep(self, page: int | tuple[int, tuple[Event, ...], int]) -> None:
        before = self._seq
        self._more = before is None
        if isinstance(page, int):  # where it begins
            self._seq = page
            return
        self._seq, events, pruned = page
        if before is not None and before < pruned != self._told:
            self._told = pruned
            data = Payload.of({"after": before, "through": pruned})
            self._page.append(Event(type="events_pruned", timestamp=self._threads.host.now(), data_payload=data))
        self._page.extend(events)


def _call(hint: Callable[[], None] | None) -> None:
    if hint is not None:
        hint()


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
