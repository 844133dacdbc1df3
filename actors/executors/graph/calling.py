"""The one place where the function of a node is called: on the event loop, or, a `def`, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from propolis.messages import NodeTimedOut

from ...core import Reply
from ...host import Host
from ..access import Access
from ..calling import start_thread
from ..context import Context, SyncContext
from ..signals import Cancelled
from .place import Place

__all__ = ["NodeContext", "SyncNodeContext", "call_function", "limited", "within"]


class NodeContext(Context):
    """The execution's context, as the function of a node gets it: events that it emits are the node's, and of memory
    it has what the node declares.
    """

    __slots__ = ("node_id",)

    def __init__(self, ctx: Context, node_id: str, access: Access | None = None) -> None:
        super().__init__(ctx._attempt, access)
        self.node_id = node_id

    async def emit(self, type: str, data: Any = None, *, node_id: str | None = None) -> None:
        """As `Context.emit`; of this node unless said."""
        await super().emit(type, data, node_id=node_id or self.node_id)

    async def checkpoint(self, node: str | None = None, memory: Mapping[str, Any] | None = None) -> str:
        """As `Context.checkpoint`; at this node unless said. The node itself is not done by it."""
        return await super().checkpoint(node or self.node_id, memory)

    async def ask_human(self, prompt: str, *, node_id: str | None = None, **options: Any) -> Any:
        """As `Context.ask_human`; of this node unless said."""
        return await super().ask_human(prompt, node_id=node_id or self.node_id, **options)

    async def pause(self, node: str | None = None) -> None:
        """As `Context.pause`; at this node unless said. A resume runs the node again, which then passes this by."""
        where = node or self.node_id
        if await self.step(f"pause {where}", self._own_id) == self.execution_id:
            await super().pause(where)

    async def _own_id(self) -> str:
        return self.execution_id


class SyncNodeContext(SyncContext):
    """The same for a `def`. Once its time is over every call raises `Cancelled`, which unwinds the function."""

    __slots__ = ("node_id", "time_is_over")

    def __init__(self, ctx: Context, node_id: str, access: Access | None = None) -> None:
        super().__init__(ctx._attempt, access)
        self.node_id = node_id
        self.time_is_over = False

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants the execution to end, or the time of this node is over."""
        return self.time_is_over or super().cancelled

    def emit(self, type: str, data: Any = None, *, node_id: str | None = None) -> None:
        """As `SyncContext.emit`; of this node unless said."""
        super().emit(type, data, node_id=node_id or self.node_id)

    def checkpoint(self, node: str | None = None, memory: Mapping[str, Any] | None = None) -> str:
        """As `NodeContext.checkpoint`."""
        return super().checkpoint(node or self.node_id, memory)

    def ask_human(self, prompt: str, *, node_id: str | None = None, **options: Any) -> Any:
        """As `NodeContext.ask_human`."""
        return super().ask_human(prompt, node_id=node_id or self.node_id, **options)

    def pause(self, node: str | None = None) -> None:
        """As `NodeContext.pause`."""
        where = node or self.node_id
        if self.step(f"pause {where}", lambda: self.execution_id) == self.execution_id:
            super().pause(where)

    def _look(self) -> None:
        if self.time_is_over:
            raise Cancelled
        super()._look()


@contextlib.asynccontextmanager
async def limited(host: Host, seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """As `asyncio.timeout`, on the host's clock."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = None if seconds is None else host.call_later(loop, seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield limit
        finally:
            if timer is not None:
                timer.cancel()


async def within(host: Host, seconds: float | None, node_id: str, work: Awaitable[Any]) -> Any:
    """Await something, for so many seconds at most. Raises NodeTimedOut."""
    if seconds is None:
        return await work
    limit: asyncio.Timeout | None = None
    try:
        async with limited(host, seconds) as limit:
            return await work
    except TimeoutError:
        if limit is not None and limit.expired():
            raise NodeTimedOut(node_id=node_id, seconds=seconds) from None
        raise


async def call_function(ctx: Context, place: Place, inputs: Any, access: Access, stalled: Callable[[], None]) -> Any:
    """Call it and await it, for the `timeout` of its node at most.

    An `async def` is cancelled when its time is over. A `def` cannot be: `stalled` is called, its context refuses
    every further call, and when it comes back it has timed out all the same. Nor does a cancel leave it behind.

    Raises:
        NodeTimedOut: it took longer.
        BaseException: whatever the function does.
    """
    host, function, timeout = ctx._attempt.host, place.node.function, place.node.timeout
    assert callable(function), "a graph is checked before it runs"
    if place.is_async:
        return await within(host, timeout, place.id, function(NodeContext(ctx, place.id, access), inputs))
    context = SyncNodeContext(ctx, place.id, access)
    reply = start_thread(host, function, (context, inputs))
    coming = asyncio.ensure_future(_settled(reply))
    try:
        await within(host, timeout, place.id, asyncio.wait([coming]))
    except NodeTimedOut:
        context.time_is_over = True
        stalled()
        await asyncio.wait([coming])
        raise
    except asyncio.CancelledError:
        context.time_is_over = True
        await asyncio.wait([coming])
        raise
    value = reply.result().get()
    return await value if isinstance(value, Awaitable) else value


async def _settled(reply: Reply[Any]) -> None:
    """Come back when the answer is there. It is an outcome, so it raises nothing here."""
    await reply
