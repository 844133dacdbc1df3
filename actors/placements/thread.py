"""The thread placement: blocking executors, a thread each while they run."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ..core import Ref
from ..executors import Attempt, Beginning, BlockingRun, Cancelled, ExecutorPlan
from ..host import Host
from ..specs import EntryPoint

__all__ = ["ThreadPlacement"]

IDLE_SECONDS = 10.0
"""How long a thread without work stays."""


class _ThreadAttempt:
    """One executor on one thread."""

    __slots__ = ("_attempt", "_run")

    can_be_stopped = False
    ends_by_force = False
    waits_for_room = False

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._run = BlockingRun(attempt)

    def run(self, plan: ExecutorPlan) -> None:
        """On the thread: the executor, from its making to the report of its end."""
        attempt = self._attempt
        try:
            ended = attempt.returned(self._run.output(plan))
        except BaseException as error:  # noqa: BLE001 - isolation: whatever it raises ends this attempt, and no more
            ended = attempt.ended_by(error, Cancelled, asyncio.CancelledError)
        attempt.report(ended)

    def cancel(self, grace: float) -> None:
        self._run.cancel()

    def pause(self) -> None:
        self._attempt.pause_requested = True

    def fence(self) -> None:
        self._attempt.superseded = True

    def supersede(self) -> None:
        self._attempt.superseded = True
        self.cancel(0.0)


class ThreadPlacement:
    """Runs each attempt on a daemon thread of its own; a thread that is done takes the next one.

    How many there are is bounded by the streams' `max_concurrent`. Daemons, so that code which never comes back does
    not keep the process from ending.
    """

    def __init__(self, host: Host, payload_limit: int) -> None:
        self._host = host
        self._limit = payload_limit
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = host.new_queue()
        self._counting = threading.Lock()
        self._idle = 0
        self._threads: set[threading.Thread] = set()
        self._started = 0
        self._closed = False

    def launch(self, plan: ExecutorPlan, entry_point: EntryPoint, begin: Beginning, ref: Ref[Any]) -> _ThreadAttempt:
        """Begin an attempt on a thread."""
        launched = _ThreadAttempt(Attempt(begin, ref, entry_point, self._host, self._limit))
        self.submit(lambda: launched.run(plan))
        return launched

    def stream_opened(self) -> None:
        """Nothing to do."""

    def stream_closed(self) -> None:
        """Nothing to do."""

    def run(self, work: Callable[[], Awaitable[None]], lost: Callable[[], None]) -> None:
        """Run a coroutine function of our own on a thread (the pump of a blocking event handler). It is never lost."""

        async def main() -> None:
            await work()

        self.submit(lambda: asyncio.run(main()))

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job on an idle thread, or a new one. Any thread."""
        with self._counting:
            self._jobs.put(job)
            if self._idle > 0:
                self._idle -= 1
                return
            self._started += 1
            name = f"propolis-worker-{self._started}"
        thread = self._host.spawn_thread(name, self._work)
        with self._counting:
            if thread.is_alive():
                self._threads.add(thread)

    def _work(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                job()
                del job
                with self._counting:
                    if self._closed:
                        return
                    self._idle += 1
        finally:
            with self._counting:
                self._threads.discard(threading.current_thread())

    def _next_job(self) -> Callable[[], None] | None:
        while True:
            try:
                return self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._counting:
                    if self._idle > 0 and self._jobs.empty():
                        self._idle -= 1
                        return None

    def close(self, timeout: float) -> bool:
        """Let the threads end. False when some still run after `timeout` seconds: their code has not come back."""
        with self._counting:
            self._closed = True
            threads = list(self._threads)
            for _ in threads:
                self._jobs.put(None)
        end = self._host.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, end - self._host.monotonic()))
        return not any(thread.is_alive() for thread in threads)
