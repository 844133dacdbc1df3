"""The main program of a worker process: one attempt at a time on its main thread, which reads the line in between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from propolis.messages import (
    AttemptEnded,
    Encoded,
    Failure,
    InterruptAttempt,
    LearnExecutor,
    Message,
    PrepareWorker,
    RunAttempt,
    StopWorker,
    WorkerIdle,
    WorkerReady,
    WorkerUnfit,
)

from ...executors import Attempt, Beginning, BlockingRun, Cancelled, ExecutorPlan, plan_executor
from ...host import Host
from ...specs import EntryPoint, RestartPolicy
from .deaths import imports_failure
from .family import adopt_orphans, end_children, end_with_children, has_children
from .importing import import_name
from .line import Line, LineRef
from .logs import LineHandler
from .traces import ProcessState

__all__ = ["Known", "learn", "main", "serve"]


EXIT_FORKED = 71
"""Exit status of a process that an executor has forked and let come back (EX_OSERR)."""

WORKING_BYTES = 16 * 1024 * 1024
"""What a worker needs beyond its imports: the stack of a second thread, and a little to run anything with."""


class Known:
    """An executor that the worker can run, or why it cannot."""

    def __init__(self, entry_point: EntryPoint, plan: ExecutorPlan | None, failure: Failure | None = None) -> None:
        self.entry_point = entry_point
        self.plan = plan
        self.failure = failure


def learn(message: LearnExecutor) -> Known:
    """Import an executor and the exceptions that its restart policy names. Never raises."""
    bare = EntryPoint(id=message.entry_point, graph_id=message.graph_id, entry_node=message.entry_node)
    try:
        policy = RestartPolicy(
            retry_on=tuple(import_name(name) for name in message.retry_on),
            never_on=tuple(import_name(name) for name in message.never_on),
        )
        plan = plan_executor(import_name(message.executor, message.file))
    except BaseException as error:  # noqa: BLE001 - a module may raise anything while it is imported, SystemExit too
        code = "out_of_memory" if isinstance(error, MemoryError) else "import_failed"
        return Known(bare, None, Failure.of(error, code=code, retryable=False))
    return Known(bare.model_copy(update={"restart": policy}), plan)


class _Child:
    def __init__(self, line: Line, prepare: PrepareWorker, known: dict[str, Known]) -> None:
        self._line = line
        self._prepare = prepare
        self._known = known
        self._host = Host()
        self._ref = LineRef(line)
        self._nobody = EntryPoint(id="worker")
        self._jobs: deque[tuple[str, BlockingRun] | LearnExecutor | None] = deque()
        self._running: BlockingRun | None = None
        self._logs = LineHandler(line)
        self._threads = 0
        self._state = ProcessState()
        self._pid = os.getpid()

    def serve(self) -> None:
        """On the main thread, until the runtime says stop."""
        if not self._limit_memory():
            return
        adopt_orphans()
        signal.signal(signal.SIGTERM, end_with_children)
        self._logs.belong_to(None)
        logging.getLogger().setLevel(min(self._prepare.log_level, logging.INFO))
        threading.Thread(target=self._listen, name="propolis-line", daemon=True).start()
        self._note_state()
        self._line.send(WorkerReady(pid=os.getpid()))
        while (job := self._next_job()) is not None:
            if isinstance(job, LearnExecutor):
                self._known[job.key] = learn(job)
                self._note_state()
            else:
                self._run(*job)

    def _note_state(self) -> None:
        """What is imported may start threads and change what it likes: that is not an execution's doing."""
        self._threads, self._state = threading.active_count(), ProcessState()

    def _next_job(self) -> tuple[str, BlockingRun] | LearnExecutor | None:
        with _ending_with_the_line():
            while not self._jobs:
                if not self._line.read(self._take):
                    raise EOFError
        return self._jobs.popleft()

    def _listen(self) -> None:
        with _ending_with_the_line():
            self._line.watch(self._take)
            raise EOFError

    def _take(self, message: Message) -> None:
        if isinstance(message, InterruptAttempt):
            running = self._running
            if running is not None:
                begin = running.attempt.begin
                if (begin.spec.execution_id, begin.epoch) == (message.execution_id, message.epoch):
                    _interrupt(running, message.how)
        elif isinstance(message, RunAttempt):
            begin = Beginning(
                message.spec,
                message.epoch,
                message.attempt,
                message.memory,
                message.resume_from,
                history=message.history,
                announced=message.announced,
            )
            # made here, so that an interrupt right behind finds it, also while the executor is still being imported
            attempt = Attempt(begin, self._ref, self._nobody, self._host, self._prepare.payload_limit)
            running = self._running = BlockingRun(attempt)
            self._jobs.append((message.key, running))
        elif isinstance(message, LearnExecutor):
            self._jobs.append(message)
        elif isinstance(message, StopWorker):
            self._jobs.append(None)

    def _run(self, key: str, running: BlockingRun) -> None:
        self._line.watched()
        known, attempt = self._known[key], running.attempt
        attempt.entry_point = known.entry_point
        self._logs.belong_to(attempt)
        short = False
        ended: AttemptEnded | Encoded
        try:
            if known.plan is None:
                ended = AttemptEnded(epoch=attempt.begin.epoch, how="failed", failure=known.failure)
            else:
                ended, short = self._execute(running, known.plan)
        finally:
            self._logs.belong_to(None)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):  # closed, or replaced by whatever
                stream.flush()
        if os.getpid() != self._pid:
            os._exit(EXIT_FORKED)  # forked by the executor, and come back out of it: there is one end to be told
        in_step = self._is_in_step()
        self._running = None
        attempt.finished = True
        if has_children():
            self._line.send(ended)  # first: its end does not wait for theirs
            end_children()
            self._line.send(WorkerIdle(dirty=True))
        else:
            self._line.send(ended, WorkerIdle(dirty=short or not in_step or self._is_changed()))

    def _is_in_step(self) -> bool:
        """Whether the line is as it should be: who has read from it has ended itself, and not the next execution."""
        with _ending_with_the_line():
            self._line.unwatched()
            if not self._line.pull(self._take):
                raise EOFError
        return self._line.is_between_frames

    def _is_changed(self) -> bool:
        """Whether the next execution would feel something of the last one."""
        return threading.active_count() > self._threads or not self._state.is_unchanged()

    def _execute(self, running: BlockingRun, plan: ExecutorPlan) -> tuple[AttemptEnded | Encoded, bool]:
        """How it ended, and whether it was for memory."""
        attempt = running.attempt
        try:
            return attempt.returned(running.output(plan)), False
        except MemoryError as error:
            self._unlimit_memory()
            ended = attempt.failed(error)
            assert ended.failure is not None
            failure = ended.failure.model_copy(update={"code": "out_of_memory"})
            return ended.model_copy(update={"failure": failure}), True
        except BaseException as error:  # noqa: BLE001 - isolation: whatever it raises ends this attempt, and no more
            return attempt.ended_by(error, Cancelled, asyncio.CancelledError), False

    def _limit_memory(self) -> bool:
        """Whether there is room to work within the limit."""
        limit = self._prepare.memory_bytes
        if limit is None:
            return True
        taken = allocated_bytes()
        if taken is not None and taken + WORKING_BYTES > limit:
            self._line.send(WorkerUnfit(failure=imports_failure(taken + WORKING_BYTES, limit)))
            return False
        _set_soft_limit(limit)
        return True

    def _unlimit_memory(self) -> None:
        _set_soft_limit(None)  # the report of it needs some; this worker runs nothing more


@contextlib.contextmanager
def _ending_with_the_line() -> Iterator[None]:
    """The runtime is gone, or talks nonsense: end, with everything that was started here."""
    try:
        yield
    except BaseException:
        os.killpg(0, signal.SIGKILL)
        raise


def _interrupt(running: BlockingRun, how: str) -> None:
    """On the line's thread."""
    match how:
        case "pause":
            running.attempt.pause_requested = True
        case "fence":
            running.attempt.superseded = True
        case _:
            running.cancel()


def _set_soft_limit(number: int | None) -> None:
    """Bound what this process may allocate (private writable memory, Linux 4.7 and newer); None lifts the bound."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if number is None else number if hard == resource.RLIM_INFINITY else min(number, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def allocated_bytes() -> int | None:
    """What counts against that bound, where the system says (Linux; proc(5), /proc/pid/statm, field 6)."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def serve(line: Line, prepare: PrepareWorker, known: dict[str, Known]) -> None:
    """Be a worker: of a fresh interpreter or forked from a template."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        _Child(line, prepare, known).serve()
    except Exception as error:  # no thread can be started, say; the trace goes to stderr besides
        line.send(WorkerUnfit(failure=Failure.of(error, code="worker_exit", retryable=True)))
        raise


def main(fd: int) -> None:
    """Of a fresh interpreter, with its line at `fd`. Returns when the runtime says stop."""
    line = Line(fd)
    try:
        prepare = line.read_one()
    except EOFError:
        return
    assert isinstance(prepare, PrepareWorker)
    known = {message.key: learn(message) for message in prepare.executors}
    if prepare.template:
        from .template import run_template  # noqa: PLC0415 - only one of many

        run_template(line, prepare, known)
    else:
        serve(line, prepare, known)
