"""The actor loop: one thread, one asyncio event loop, every AsyncioActor of a runtime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

from propolis.messages import MessageError, decode

from ..forks import stays_behind
from .cell import Cell
from .ref import Ref
from .waker import Waker, mark_actor_loop, waker_of, waking_together

if TYPE_CHECKING:
    from ..host import Host, Timer
    from .actor import AsyncioActor

__all__ = ["ActorLoop", "DeadLetterListener"]

logger = logging.getLogger("propolis.actors")

A = TypeVar("A", bound="AsyncioActor")

DeadLetterListener = Callable[[str, Any, str, str], None]


class ActorLoop:
    """Runs actors, a few messages at a time each. `spawn`, `schedule`, `post` work from any thread.

    Nothing that blocks belongs here, and no user code runs here, except that of actors which users wrote themselves.
    """

    parent_pid: int | None = None
    """In a process that was forked from its own: the pid of that."""

    def __init__(self, host: Host, name: str = "propolis-actors", mailbox_limit: int | None = 10_000) -> None:
        self.host = host
        self.name = name
        self.mailbox_limit = mailbox_limit
        self.dead_letters = 0
        self._counting = threading.Lock()
        self.on_dead_letter: DeadLetterListener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._ready: deque[Cell] = host.new_run_queue()
        self._turns = host.fairness.turns
        self.messages_per_turn = host.fairness.messages
        self._draining = False
        self.stopping = False

    # -- the thread --------------------------------------------------------------------------------------------------

    def start(self) -> ActorLoop:
        """Start the thread."""
        self._open(self.host.new_event_loop())
        self._thread = self.host.spawn_loop(self)
        stays_behind(self)
        return self

    def _open(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
        self._loop, self._waker = loop, waker_of(loop)
        self.stopping = False
        return loop

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Know the thread at hand for the loop's own."""
        self._ident = threading.get_ident()
        mark_actor_loop(self)
        try:
            yield
        finally:
            mark_actor_loop(None)
            self._ident = 0

    def main(self) -> None:
        """On the thread: run the loop until it is stopped."""
        loop = self.event_loop
        asyncio.set_event_loop(loop)
        try:
            with self.inside():
                while not self.stopping:
                    try:
                        loop.run_forever()
                    except BaseException as error:  # noqa: BLE001
                        self.came_through(error)
                self.finish()
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def came_through(self, error: BaseException) -> None:
        """Fact 3: a SystemExit in a task that a handler started."""
        logger.error("Something came through the loop of all actors, which goes on", exc_info=error)

    def finish(self) -> None:
        """Cancel what handlers have started."""
        loop = self.event_loop
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))

    def stop(self) -> None:
        """End the thread after what is scheduled now. Not from the loop itself. Actors should have stopped before."""
        if self._thread is None or self._loop is None:
            return
        self.post(self._halt)
        self._thread.join()
        self._thread = None

    def _halt(self) -> None:
        self.stopping = True
        self.event_loop.stop()

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

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Run a function on the loop, soon."""
        assert self._waker is not None, "the actor loop has not been started"
        if self.is_here():
            self.event_loop.call_soon(call, *args)
        else:
            self._waker.post(call, *args)

    def call_soon(self, call: Callable[[], object]) -> None:
        """Run a function when the actors that are ready now have had their turns. On the loop only."""
        self.event_loop.call_soon(call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run a function on the loop after a time, on the Host's clock. On the loop only."""
        return self.host.call_later(self.event_loop, seconds, call)

    def schedule(self, cell: Cell) -> None:
        """Give an actor a turn."""
        cell.scheduled = True
        self._ready.append(cell)
        if not self._draining:
            self._draining = True
            self.post(self._drain)

    def _drain(self) -> None:
        with waking_together():
            self._round()

    def _round(self) -> None:
        ready = self._ready
        for _ in range(self._turns):
            if not ready:
                self._draining = False  # then look again: whoever appended in between saw True and did not post
                if not ready:
                    return
                self._draining = True
            cell = ready.popleft()
            cell.scheduled = False  # before the turn: a message pushed from here on schedules again
            try:
                unfinished = cell.run()
            except BaseException:  # a bug of ours; it ends this turn, not everybody's
                logger.exception("The turn of %s failed", cell.path)
                continue
            if unfinished and not cell.scheduled:
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
        cell = Cell(
            self,
            actor_class,
            args,
            kwargs,
            parent=parent,
            name=name or actor_class.__name__,
            limit=self.mailbox_limit if limit is None else limit,
        )
        if parent is not None:
            if parent.stopped.on:
                raise pykka.ActorDeadError(f"{parent.path} has stopped and starts no {cell.name!r}")
            if parent.children is None:
                parent.children = {}
            if cell.name in parent.children:
                raise RuntimeError(f"{parent.path} has a child {cell.name!r} already")
        cell.actor = cell.make()
        if parent is not None and parent.children is not None:
            parent.children[cell.name] = cell
        if register:
            cell.registered = True
            pykka.ActorRegistry.register(cell.ref)
        if self.is_here():
            cell.begin()
        else:
            self.post(cell.begin)
        return cell.ref

    def dead_letter(self, path: str, message: Any, reason: str, detail: str) -> None:
        """Count and pass on a message that nobody handles. Any thread."""
        with self._counting:
            self.dead_letters += 1
        if isinstance(message, bytes):
            with contextlib.suppress(MessageError):  # bytes that are no message are shown as they are
                message = decode(message)
        logger.warning("Dead letter for %s (%s): %.200r %s", path, reason, message, detail)
        listener = self.on_dead_letter
        if listener is not None:
            try:
                listener(path, message, reason, detail)
            except Exception:
                logger.exception("The listener for dead letters failed")
