"""The asyncio placement: one thread with one event loop for the `async def` code of users."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ..core import Ref, Waker, mark_actor_loop, new_event_loop, waker_of
from ..executors import Attempt, Beginning, Context, ExecutorPlan
from ..host import Host
from ..specs import EntryPoint

__all__ = ["AsyncioPlacement"]

logger = logging.getLogger("propolis.placements")


class _AsyncioAttempt:
    """One task on the user loop."""

    __slots__ = ("_attempt", "_placement", "_running", "_task")

    can_be_stopped = True
    ends_by_force = False
    waits_for_room = False

    def __init__(self, placement: AsyncioPlacement, attempt: Attempt) -> None:
        self._placement = placement
        self._attempt = attempt
        self._task: asyncio.Task[None] | None = None
        self._running = False

    def begin(self, plan: ExecutorPlan) -> None:
        self._task = self._placement.keep(asyncio.get_running_loop().create_task(self._run(plan)))

    async def _run(self, plan: ExecutorPlan) -> None:
        self._running = True
        attempt = self._attempt
        try:
            if attempt.cancelled:
                raise asyncio.CancelledError
            execute = plan.make()
            attempt.input = plan.bind(attempt.begin.spec.input_data)
            ended = attempt.returned(await execute(Context(attempt), attempt.input))
        except BaseException as error:  # noqa: BLE001 - isolation: what it raises ends this attempt, and nothing else
            ended = attempt.ended_by(error, asyncio.CancelledError)
        attempt.report(ended)

    def cancel(self, grace: float) -> None:
        self._attempt.cancelled = True
        self._placement.post(self._cancel_task)

    def pause(self) -> None:
        self._attempt.pause_requested = True

    def fence(self) -> None:
        self._attempt.superseded = True

    def supersede(self) -> None:
        self._attempt.superseded = True
        self.cancel(0.0)

    def _cancel_task(self) -> None:
        # A task that is cancelled before its first step never runs at all, and would report nothing; one that has yet
        # to begin looks at the flag.
        if self._task is not None and self._running:
            self._task.cancel()


class AsyncioPlacement:
    """Runs attempts as tasks. The thread starts with the first one.

    A BaseException that escapes a task of the user's (a `SystemExit` in a child task, say) ends that task; asyncio
    would end the loop with it, which is entered again.
    """

    def __init__(self, host: Host, payload_limit: int) -> None:
        self._host = host
        self._limit = payload_limit
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waker: Waker | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._forget = self._tasks.discard
        self._stopping = False

    def launch(self, plan: ExecutorPlan, entry_point: EntryPoint, begin: Beginning, ref: Ref[Any]) -> _AsyncioAttempt:
        """Begin an attempt as a task."""
        launched = _AsyncioAttempt(self, Attempt(begin, ref, entry_point, self._host, self._limit))
        self.post(launched.begin, plan)
        return launched

    def stream_opened(self) -> None:
        """Nothing to do."""

    def stream_closed(self) -> None:
        """Nothing to do."""

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine function of our own next to the users' (an event handler's pump)."""

        def begin() -> None:
            async def main() -> None:
                await work()

            self.keep(asyncio.get_running_loop().create_task(main()))

        self.post(begin)

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """Run a function on the user loop. Any thread."""
        waker = self._waker
        if waker is None:
            waker = self._waker = waker_of(self._running_loop())
        waker.post(call, *args)

    def keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """Hold on to a task until it is done; asyncio itself does not."""
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._starting:
                if self._loop is None:
                    loop = new_event_loop()
                    self._thread = self._host.spawn_thread("propolis-user-loop", lambda: self._run(loop))
                    self._loop = loop
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        mark_actor_loop(self)  # one executor that blocks here on an answer would hang them all, and maybe for ever
        while not self._stopping:
            try:
                loop.run_forever()
            except BaseException as error:
                logger.error("A task of user code raised %r through the event loop; it goes on", error, exc_info=error)
        try:
            self._cancel_what_is_left(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException as error:  # noqa: BLE001
            logger.error("The loop of user code did not end cleanly: %r", error)
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    @staticmethod
    def _cancel_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))

    def close(self, timeout: float) -> bool:
        """End the thread. False when user code still blocks the loop after `timeout` seconds; it is a daemon."""
        if self._thread is None or self._loop is None:
            return True

        def stop() -> None:
            self._stopping = True
            asyncio.get_running_loop().stop()

        self.post(stop)
        self._thread.join(timeout)
        return not self._thread.is_alive()
