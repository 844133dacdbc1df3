"""One event loop of user code, on a thread of its own, and what the watch knows of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
from collections.abc import Callable, Coroutine, Generator, Iterator
from types import FrameType
from typing import Any, NamedTuple, Protocol, cast

from propolis.messages import Event

from ..core import mark_actor_loop, waker_of
from ..host import Host
from .blockage import Frame, Place, place_of

__all__ = ["OWNER", "Sample", "UserLoop", "Work"]

logger = logging.getLogger("propolis.placements")

ENDING_SECONDS = 1.0
"""How long the tasks that are left have to end, once they are cancelled."""


class Work(Protocol):
    """Something that runs on a user loop: an attempt, or the pump of an event handler."""

    charged: bool
    """Whether it answers itself for a loop that it blocks: the others then lose nothing but time."""

    def begin(self, home: UserLoop) -> None:
        """Start the task, whose first step has to claim it. On that loop."""
        ...

    def blocks(self, place: Place, seconds: float, *, replaced: bool) -> Event:
        """The event that names it as the one who blocks its loop. On the actor loop."""
        ...

    def give_up(self, culprit: Place | None, seconds: float, *, counted: bool) -> None:
        """Its loop has been given up. `culprit` when it was the one who blocked it. On the actor loop.

        `counted`: nobody is charged for it, so whoever was lost with it counts that.
        """
        ...


OWNER: contextvars.ContextVar[Work | None] = contextvars.ContextVar("propolis_owner", default=None)
"""Whose code runs, tasks and callbacks that it starts included."""


class Sample(NamedTuple):
    """What a loop was found at."""

    owner: Work | None
    step: object
    """The same in two samples: the same code has run in between, without coming back to the loop."""
    place: Place


class UserLoop:
    """A thread that runs an event loop. The thread is a daemon: code that never comes back keeps no process alive.

    A BaseException that escapes a task of the user's (a `SystemExit` in a child task, say) ends that task; asyncio
    would end the loop with it, which is entered again.
    """

    def __init__(self, host: Host, name: str) -> None:
        self.name = name
        self.work: set[Work] = set()
        self._arriving: set[Work] = set()
        """Of those the ones that have yet to begin. Whoever claims one has it."""
        self.given_up = False
        self.answered = True
        """The watch's last call has been heard."""
        self.blocked = False
        self.reported = False
        self.step: object = None
        self.looks = 0
        """So many times in a row the loop was found at this step."""
        self.stopping = False
        self.event_loop = self._loop = host.new_event_loop()
        if sys.version_info < (3, 12):  # where a task does not tell its context
            self._loop.set_task_factory(_remember_owner)
        self._waker = waker_of(self._loop)
        self.thread = host.spawn_loop(self)

    # -- any thread --------------------------------------------------------------------------------------------------

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """Run a function on the loop."""
        self._waker.post(call, *args)

    def take(self, work: Work) -> None:
        """Have it begin."""
        self.work.add(work)
        self._arriving.add(work)
        self.post(self._begin, work)

    def give_back(self) -> list[Work]:
        """What has not begun, and now does not begin here."""
        given = [work for work in list(self._arriving) if self.claim(work)]
        self.work.difference_update(given)
        return given

    def stop(self) -> None:
        """Cancel what is left and end, when the code that runs there now has come back."""
        self.post(self._stop)

    def claim(self, work: Work) -> bool:
        """Whether it is for the caller: to begin it here, or to take it elsewhere. True for one of them."""
        try:
            self._arriving.remove(work)  # one step of the interpreter
        except KeyError:
            return False
        return True

    # -- the watch's, on the actor loop ------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self.work) or not self.answered

    def call(self) -> None:
        """Ask for a sign of life."""
        self.answered = False
        self.post(self._answer)

    def sample(self) -> Sample | None:
        """What it is at just now. None when that is nothing of a user's."""
        ident, task = self.thread.ident, asyncio.current_task(self._loop)
        innermost = sys._current_frames().get(ident) if ident is not None else None
        frames: list[Frame] = []
        frame, outermost = innermost, 0
        owner: Work | None = None
        while frame is not None and frame.f_globals.get("__name__") != __name__:
            frames.append(_as_frame(frame))
            outermost = id(frame)
            owner = owner or _owner_of_handle(frame)
            frame = frame.f_back
        del frame, innermost
        place = place_of(frames, __name__)
        if place is None or task is not asyncio.current_task(self._loop):
            return None
        if task is not None:
            owner = _owner_of(task)
        return Sample(owner, owner if owner is not None else outermost, place)

    # -- on its own thread -------------------------------------------------------------------------------------------

    def _begin(self, work: Work) -> None:
        if work in self._arriving:
            work.begin(self)

    def _answer(self) -> None:
        self.answered = True

    def _stop(self) -> None:
        self.stopping = True
        self._loop.stop()

    def main(self) -> None:
        """Run the loop until it is stopped."""
        loop = self._loop
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

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Refuse to block: one executor that waits here for an answer would hang them all, and maybe for ever."""
        mark_actor_loop(self)
        try:
            yield
        finally:
            mark_actor_loop(None)

    def came_through(self, error: BaseException) -> None:
        """A SystemExit in a child task, say."""
        logger.error("A task of user code raised %r through the event loop; it goes on", error, exc_info=error)

    def finish(self) -> None:
        """Cancel what is left, and give it a moment."""
        loop = self._loop
        try:
            self._cancel_what_is_left(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException as error:  # noqa: BLE001
            logger.error("The loop of user code did not end cleanly: %r", error)

    @staticmethod
    def _cancel_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=ENDING_SECONDS))


def _remember_owner(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    task: Any = asyncio.Task(coro, loop=loop, context=context)
    task.propolis_owner = OWNER.get() if context is None else context.get(OWNER)
    return cast("asyncio.Task[Any]", task)


def _owner_of(task: asyncio.Task[Any]) -> Work | None:
    if sys.version_info >= (3, 12):
        return task.get_context().get(OWNER)
    return getattr(task, "propolis_owner", None)


def _owner_of_handle(frame: FrameType) -> Work | None:
    """Of a callback: asyncio's own loop runs it from a Handle, which holds the context. Others let nobody look."""
    if frame.f_code is not asyncio.Handle._run.__code__:
        return None
    context: contextvars.Context | None = getattr(frame.f_locals.get("self"), "_context", None)
    return context.get(OWNER) if context is not None else None


def _as_frame(frame: FrameType) -> Frame:
    code = frame.f_code
    return Frame(code.co_qualname, code.co_filename, frame.f_lineno or 0, str(frame.f_globals.get("__name__", "")))
