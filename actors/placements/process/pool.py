"""A pool of worker processes: who is idle, who runs what, who is replaced."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from propolis.messages import (
    AttemptBegan,
    AttemptEnded,
    Failure,
    LearnExecutor,
    PrepareWorker,
    RunAttempt,
    WorkerInfo,
    encode,
)

from ...executors import Beginning
from ...specs import Placement
from .attempt import ProcessAttempt
from .deaths import death
from .forking import Template
from .frames import frame
from .io import WorkersThread
from .sizing import Count, retry_seconds, to_start
from .worker import Worker, rss_of

if TYPE_CHECKING:
    from ...core import Ref

__all__ = ["Pool"]

logger = logging.getLogger("propolis.placements")

MEGABYTE = 1024 * 1024
SLACK_BYTES = 64 * MEGABYTE
"""What a worker may have resident beyond its limit, which bounds what it allocates: libraries are shared, say."""
USED_UP = 0.75
"""The part of its memory limit that an idle worker is replaced at."""
MAX_UNREAD = 10
"""Workers that may die before they have read of the attempt that they were given, until that has failed."""
LOOK_SECONDS = 0.25
"""How often the memory of busy workers is looked at."""


class Pool:
    """What is decided here is decided under one lock, on whatever thread; processes are touched on the workers'."""

    def __init__(
        self, name: str, placement: Placement, workers: int, io: WorkersThread, payload_limit: int, fenced: float
    ) -> None:
        self.name = name
        self.placement = placement
        self.io = io
        self.fenced_seconds = fenced
        self._workers_max = workers
        self._at_once = max(2, os.cpu_count() or 1)  # asked once: it reads a file, twice for each attempt
        self._limit = payload_limit
        self._lock = threading.Lock()
        self._executors: dict[str, LearnExecutor] = {}
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._queue: deque[ProcessAttempt] = deque()
        self._numbers = itertools.count(1)
        self._shy = False
        self._stillborn = 0
        self._closed = False
        self._looking = False
        self._template: Template | None = None
        self._all_gone = threading.Event()

    # -- what it runs ------------------------------------------------------------------------------------------------

    def learn(self, message: LearnExecutor) -> None:
        """An executor that workers will be asked for; spares are started for it."""
        with self._lock:
            self._executors[message.key] = message
        self.io.post(self._replenish)

    def forget(self, key: str) -> int:
        """Its stream is closed. How many executors are left."""
        with self._lock:
            self._executors.pop(key, None)
            return len(self._executors)

    def launch(self, executor: LearnExecutor, begin: Beginning, ref: Ref[Any]) -> ProcessAttempt:
        """Give an attempt to an idle worker, or queue it until there is one. Any thread; never blocks."""
        attempt = ProcessAttempt(self, executor, begin, ref)
        with self._lock:
            worker = self._next_idle()
            if worker is not None:
                self._assign(worker, attempt)
            elif not self._closed:
                attempt.waits_for_room = True
                self._queue.append(attempt)
            missing = self._missing() > 0 or self._wants_looking()
            closed = self._closed
        if worker is not None:
            self._run(worker, attempt)
        elif closed:
            attempt.ended = True
            ref.deliver(AttemptEnded(epoch=begin.epoch, how="cancelled"))
        if missing:
            self.io.post(self._replenish)
        return attempt

    def withdraw(self, attempt: ProcessAttempt) -> bool:
        """Whether it still waited for a worker; it waits no more."""
        with self._lock:
            if attempt.worker is not None or attempt.ended:
                return False
            self._queue.remove(attempt)
            attempt.ended = True
        return True

    def kill_attempt(self, attempt: ProcessAttempt, number: signal.Signals) -> None:
        """Send a signal to the worker that runs it, if one does. Any thread."""
        with self._lock:
            worker = attempt.worker
            if worker is None or worker.attempt is not attempt:
                return
            worker.kill(number)

    def _next_idle(self) -> Worker | None:
        """Under the lock."""
        if not self._idle or sum(worker.state == "busy" for worker in self._workers) >= self._workers_max:
            return None
        return self._idle.pop()

    def _assign(self, worker: Worker, attempt: ProcessAttempt) -> None:
        """Under the lock."""
        worker.state, worker.attempt, attempt.worker = "busy", attempt, worker
        worker.heard = attempt.told = False

    def _run(self, worker: Worker, attempt: ProcessAttempt) -> None:
        begin = attempt.begin
        if attempt.waits_for_room:
            attempt.ref.deliver(AttemptBegan(epoch=begin.epoch))
        run = RunAttempt(
            key=attempt.executor.key,
            spec=begin.spec,
            epoch=begin.epoch,
            attempt=begin.attempt,
            memory=begin.memory,
            resume_from=begin.resume_from,
            announced=begin.announced,
            **({} if begin.history is None else {"history": begin.history}),
        )
        worker.send(worker.learn(attempt.executor) + frame(encode(run)))
        if attempt.cancelled:  # by somebody who came between the choice of the worker and this line
            attempt.interrupt("cancel")
        if attempt.pausing:
            attempt.interrupt("pause")

    # -- what workers say, on the workers' thread --------------------------------------------------------------------

    def is_ready(self, worker: Worker) -> None:
        """It has started."""
        self._shy, self._stillborn = False, 0
        self._free(worker)

    def has_ended(self, worker: Worker, ended: AttemptEnded) -> None:
        """The attempt that it ran has ended, and said how."""
        attempt = worker.attempt
        assert attempt is not None
        with self._lock:
            attempt.ended = True
            worker.attempt = None
            worker.done += 1
        attempt.forget_timers()
        attempt.ref.deliver(ended)

    def is_idle(self, worker: Worker, *, dirty: bool) -> None:
        """It could take another attempt; or it has done enough, and is replaced."""
        if dirty or self._is_used_up(worker):
            with self._lock:
                worker.state = "stopping"
            worker.stop()
            self._replenish()
        else:
            self._free(worker)

    def _is_used_up(self, worker: Worker) -> bool:
        placement = self.placement
        if placement.recycle_after is not None and worker.done >= placement.recycle_after:
            return True
        if placement.memory_mb is None:
            return False
        rss = rss_of(worker.pid)
        return rss is not None and rss > placement.memory_mb * MEGABYTE * USED_UP

    def _free(self, worker: Worker) -> None:
        with self._lock:
            if self._closed or worker.state not in ("starting", "busy"):
                return
            worker.state = "idle"
            self._idle.append(worker)
        self._serve_queue()

    def _serve_queue(self) -> None:
        while True:
            with self._lock:
                worker = self._next_idle() if self._queue else None
                if worker is None:
                    break
                attempt = self._queue.popleft()
                self._assign(worker, attempt)
            self._run(worker, attempt)
        self._replenish()

    def has_died(self, worker: Worker, returncode: int | None) -> None:
        """Its process is no more. What it ran has failed; or is cancelled, when that is what it was killed for."""
        with self._lock:
            starting = worker.state == "starting"
            worker.state = "dead"
            self._workers.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            attempt, worker.attempt = worker.attempt, None
            if attempt is not None and self._may_begin_elsewhere(worker, attempt):
                attempt = None
            if starting:
                self._shy = True
                self._stillborn += 1
                if attempt is None and self._queue and not self._closed:
                    attempt = self._queue.popleft()  # else the next one would be tried, and the next, for ever
            if attempt is not None:
                attempt.ended = True
        if attempt is not None:
            self._tell_death(attempt, worker.verdict or death(returncode, worker.pid, starting=starting))
        if self._closed and not self._workers:
            self._everybody_is_gone()
        elif starting and not self._closed:
            self.io.later(retry_seconds(self._stillborn), self._dare)
        self._serve_queue()

    def _dare(self) -> None:
        self._shy = False
        self._replenish()

    def _may_begin_elsewhere(self, worker: Worker, attempt: ProcessAttempt) -> bool:
        """Under the lock. Whether it goes to another worker, uncharged: this one was dead, or as good as, already."""
        if self._closed or attempt.cancelled or attempt.unread >= MAX_UNREAD or not worker.has_not_begun(attempt):
            return False
        attempt.unread += 1
        attempt.worker, attempt.waits_for_room = None, True
        self._queue.appendleft(attempt)
        return True

    @staticmethod
    def _tell_death(attempt: ProcessAttempt, failure: Failure) -> None:
        attempt.forget_timers()
        if attempt.cancelled:
            ended = AttemptEnded(epoch=attempt.begin.epoch, how="cancelled")
        else:
            ended = AttemptEnded(epoch=attempt.begin.epoch, how="failed", failure=failure)
        attempt.ref.deliver(ended)

    # -- how many ----------------------------------------------------------------------------------------------------

    def _missing(self) -> int:
        """Under the lock."""
        if self._closed or not self._executors:
            return 0
        states = [worker.state for worker in self._workers]
        count = Count(states.count("busy"), states.count("idle"), states.count("starting"), len(self._queue))
        return to_start(
            count, workers=self._workers_max, warm=self.placement.warm, at_once=self._at_once, shy=self._shy
        )

    def _replenish(self) -> None:
        """On the workers' thread."""
        with self._lock:
            started = [Worker(self, next(self._numbers)) for _ in range(self._missing())]
            self._workers.update(started)
            executors = tuple(self._executors.values())
            look = self._wants_looking()
            self._looking = self._looking or look
        if look:
            self.io.later(LOOK_SECONDS, self._look_at_memory)
        if started:
            self._start(started, executors)

    def _start(self, workers: list[Worker], executors: tuple[LearnExecutor, ...]) -> None:
        memory = self.placement.memory_mb
        prepare = PrepareWorker(
            parent_pid=os.getpid(),
            payload_limit=self._limit,
            memory_bytes=None if memory is None else memory * MEGABYTE,
            log_level=logging.getLogger().getEffectiveLevel(),
            executors=executors,
        )
        if self.placement.start_method == "forkserver":
            self._have_template(prepare)
        for worker in workers:
            worker.start(prepare, self._template)

    def _have_template(self, prepare: PrepareWorker) -> None:
        if self._template is not None and self._template.alive:
            return

        def gone() -> None:
            if self._closed and not self._workers:
                self._all_gone.set()

        try:
            self._template = Template(self.io, prepare, gone)
        except OSError as error:  # the workers are tried by themselves, and say what becomes of that
            logger.warning("No template for pool %s: %s", self.name, error)
            self._template = None

    def _everybody_is_gone(self) -> None:
        """Closed, and without workers: the template is the last to go."""
        if self._template is not None and self._template.alive:
            self._template.close()
        else:
            self._all_gone.set()

    def _wants_looking(self) -> bool:
        busy = any(worker.state == "busy" for worker in self._workers)
        return busy and self.placement.memory_mb is not None and not self._looking

    def _look_at_memory(self) -> None:
        assert self.placement.memory_mb is not None
        limit = self.placement.memory_mb * MEGABYTE + SLACK_BYTES
        with self._lock:
            busy = [worker for worker in self._workers if worker.state == "busy"]
            self._looking = bool(busy) and not self._closed
            again = self._looking
        for worker in busy:
            worker.look_at_memory(limit)
        if again:
            self.io.later(LOOK_SECONDS, self._look_at_memory)

    # -- looking and ending ------------------------------------------------------------------------------------------

    def info(self, *, measured: bool = True) -> tuple[WorkerInfo, ...]:
        """Every worker as it stands. Any thread."""
        with self._lock:
            workers = sorted(self._workers, key=lambda worker: worker.number)
            known = [(worker, worker.state, worker.attempt) for worker in workers]
        return tuple(
            WorkerInfo(
                pool=self.name,
                pid=worker.pid,
                state=state,  # pyright: ignore[reportArgumentType]
                execution_id=None if attempt is None else attempt.begin.spec.execution_id,
                executions=worker.done,
                rss_bytes=rss_of(worker.pid) if measured else None,
            )
            for worker, state, attempt in known
            if state != "dead"
        )

    def close(self) -> None:
        """Take nothing more; end every worker, idle ones in order, others at once. Any thread; `wait` for it."""
        with self._lock:
            self._closed = True
            queued, self._queue = list(self._queue), deque()
            for attempt in queued:
                attempt.ended = True
        for attempt in queued:
            attempt.ref.deliver(AttemptEnded(epoch=attempt.begin.epoch, how="cancelled"))
        self.io.post(self._end_all)

    def _end_all(self) -> None:
        with self._lock:
            workers = list(self._workers)
            for worker in workers:
                if worker.state == "idle":
                    worker.state = "stopping"
                    worker.stop()
                elif worker.state in ("starting", "busy"):
                    worker.kill()
            self._idle.clear()
        if not workers:
            self._everybody_is_gone()
        elif self._template is not None:
            self._template.forget_wanted()

    def kill_all(self) -> None:
        """End every worker at once, with their template. Any thread."""
        with self._lock:
            for worker in self._workers:
                worker.kill()
            if self._template is not None:
                self.io.post(self._template.kill)

    def wait(self, timeout: float) -> bool:
        """Whether they are all gone, after at most so many seconds."""
        return self._all_gone.wait(timeout)
