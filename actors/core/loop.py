"""The actor loop: one thread, one asyncio event loop, every AsyncioActor of a runtime."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

from .cell import Cell
from .ref import Ref
from .waker import Waker, mark_actor_loop, waker_of

if TYPE_CHECKING:
    from ..host import Host
    from .actor import AsyncioActor

__all__ = ["ActorLoop", "DeadLetterListener", "new_event_loop"]

logger = logging.getLogger("propolis.actors")

A = TypeVar("A", bound="AsyncioActor")

ROUND = 256
"""Turns given out before the event loop may look at its timers and sockets."""

DeadLetterListener = Callable[[str, Any, str, str], None]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, else asyncio's."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class ActorLoop:
    """Runs actors, a few messages at a time each. `spawn`, `schedule`, `post` work from any thread.

    Nothing that blocks belongs here, and no user code runs here, except that of actors which users wrote themselves.
    """

    def __init__(self, host: Host, name: str = "propolis-actors", mailbox_limit: int | None = 10_000) -> None:
        self.host = host
        self.name = name
        self.mailbox_limit = mailbox_limit
        self.dead_letters = 0
        self.on_dead_letter: DeadLetterListener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._ready: deque[Cell] = deque()
        self._draining = False
        self._registered: weakref.WeakSet[Ref[Any]] = weakref.WeakSet()

    # -- the thread --------------------------------------------------------------------------------------------------

    def start(self) -> ActorLoop:
        """Start the thread; returns when the loop runs."""
        loop = new_event_loop()
        self._loop, self._waker = loop, waker_of(loop)
        running = threading.Event()
        loop.call_soon(running.set)
        self._thread = self.host.spawn_thread(self.name, self._run)
        running.wait()
        return self

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        self._ident = threading.get_ident()
        mark_actor_loop(self)
        try:
            loop.run_forever()
            pending = asyncio.all_tasks(loop)
            for task in pending:
                task.cancel()
            if pending:
                loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        finally:
            mark_actor_loop(None)
            asyncio.set_event_loop(None)
            loop.close()

    def stop(self) -> None:
        """End the thread after what is scheduled now. Not from the loop itself. Actors should have stopped before."""
        if self._thread is None or self._loop is None:
            return
        self.post(self._loop.stop)
        self._thread.join()
        self._thread = None

    def is_here(self) -> bool:
        """Whether the calling thread is this loop's."""
        return threading.get_ident() == self._ident

    def is_running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio loop underneath."""
        assert self._loop is not None, "the actor loop has not been started"
        return self._loop

    # -- turns -------------------------------------------------------------------------------------------------------

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """Run a function on the loop, soon."""
        assert self._waker is not None, "the actor loop has not been started"
        self._waker.post(call, *args)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Run a function when the actors that are ready now have had their turns. On the loop only."""
        self.event_loop.call_soon(call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Run a function on the loop after a time. On the loop only."""
        return self.event_loop.call_later(seconds, call)

    def schedule(self, cell: Cell) -> None:
        """Give an actor a turn."""
        cell.scheduled = True
        self._ready.append(cell)
        if not self._draining:
            self._draining = True
            self.post(self._drain)

    def _drain(self) -> None:
        ready = self._ready
        for _ in range(ROUND):
            if not ready:
                self._draining = False  # then look again: whoever appended in between saw True and did not post
                if not ready:
                    return
                self._draining = True
            cell = ready.popleft()
            cell.scheduled = False  # before the turn: a message pushed from here on schedules again
            if cell.run() and not cell.scheduled:
                cell.scheduled = True
                ready.append(cell)
        self.post(self._drain)

    # -- actors ------------------------------------------------------------------------------------------------------

    def spawn(
        self,
        actor_class: type[A],
        *args: Any,
        parent: Cell | None = None,
        name: str | None = None,
        register: bool = False,
        limit: int | None = None,
        **kwargs: Any,
    ) -> Ref[A]:
        """Start an actor. `__init__` runs in the calling thread, `on_start` on the loop.

        `register` puts it into pykka's registry, a list whose removal is O(n): for the few that a host program would
        look up or `stop_all()`.
        """

        def make(cell: Cell) -> AsyncioActor:
            actor = actor_class.__new__(actor_class)
            actor.bind(cell)
            actor.__init__(*args, **kwargs)  # type: ignore[misc] # bind() first: __init__ may use the reference
            return actor

        cell = Cell(
            self,
            actor_class,
            make,
            parent=parent,
            name=name or actor_class.__name__,
            limit=self.mailbox_limit if limit is None else limit,
        )
        cell.actor = make(cell)
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            if cell.name in parent.children:
                raise RuntimeError(f"{parent.path} has a child {cell.name!r} already")
            parent.children[cell.name] = cell
        if register:
            self._registered.add(cell.ref)
            pykka.ActorRegistry.register(cell.ref)
        if self.is_here():
            cell.begin()
        else:
            self.post(cell.begin)
        return cell.ref

    def is_registered(self, cell: Cell) -> bool:
        """Whether the actor is in pykka's registry."""
        return cell.ref in self._registered

    def dead_letter(self, path: str, message: Any, reason: str, detail: str) -> None:
        """Count and pass on a message that nobody handles."""
        self.dead_letters += 1
        logger.warning("Dead letter for %s (%s): %.200r %s", path, reason, message, detail)
        if self.on_dead_letter is not None:
            self.on_dead_letter(path, message, reason, detail)
