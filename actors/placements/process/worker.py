"""One worker process, as its pool holds it: its life from start to burial, and what passes over its line."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from propolis.messages import (
    AttemptEnded,
    Failure,
    LearnExecutor,
    Message,
    MessageError,
    PrepareWorker,
    ReportOutput,
    ReportProgress,
    Request,
    StopWorker,
    WorkerIdle,
    WorkerReady,
    WorkerUnfit,
    decode,
    encode,
)

from ...core import Reply, waking_together
from ...host import Timer
from .channel import Channel, open_ends
from .deaths import memory_failure, overdue_failure
from .family import end_marked, kill_family
from .frames import encoded, frame
from .output import Lines
from .starting import boot_line

if TYPE_CHECKING:
    from .attempt import ProcessAttempt
    from .forking import Template
    from .pool import Pool

__all__ = ["State", "Worker", "rss_of"]

State: TypeAlias = Literal["starting", "idle", "busy", "stopping", "dead"]

logger = logging.getLogger("propolis.placements")

LOST_SECONDS = 1.0
"""What a worker that has closed its line is given to end by itself, and so to say why."""
STOP_SECONDS = 2.0
"""What a worker that was told to stop is given."""
FORK_SECONDS = 30.0
"""What a template is given to fork a worker, and that to be ready: all is imported, so it takes milliseconds."""
DRAIN_BYTES = 1024 * 1024


class Worker:
    """`state`, `attempt` and `done` change under the pool's lock; the process is touched on the workers' thread.

    `send` and `kill` may be called from any thread.
    """

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool = pool
        self.number = number
        self.state: State = "starting"
        self.attempt: ProcessAttempt | None = None
        self.done = 0
        self.pid: int | None = None
        self.verdict: Failure | None = None
        """Why the runtime has killed it, or why it cannot work."""
        self.heard = False
        """Whether it has said anything since it was given its attempt."""
        self.known: set[str] = set()
        self._io = pool.io
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._pipes: dict[int, Lines] = {}
        self._killing = threading.Lock()
        self._doomed = self._ending = self._buried = False
        self._mark = b""
        self._template: Template | None = None
        self._hello: Timer | None = None

    # -- beginning ---------------------------------------------------------------------------------------------------

    def start(self, prepare: PrepareWorker, template: Template | None) -> None:
        """Start the process, or have it forked. On the workers' thread, whose end it would not survive."""
        try:
            line, out, err, ends = open_ends()
        except OSError as error:  # no more descriptors, say
            self._not_started(error)
            return
        self._channel = Channel(self._io, line)
        self._pipes = {out: Lines("stdout"), err: Lines("stderr")}
        self._io.watch(self._channel.fileno(), self._read_line)
        for fd in self._pipes:
            self._io.watch(fd, partial(self._read_output, fd))
        if template is not None:
            self.known.update(template.known)
            self._template = template
            template.fork(self, ends)
            return
        try:
            self._process, self._mark = self._io.start(ends.line.fileno(), ends.stdout, ends.stderr)
        except OSError as error:
            self._not_started(error)
            return
        finally:
            ends.close()
        self.known.update(known.key for known in prepare.executors)
        self._channel.send(boot_line() + encoded(prepare))
        self.has_forked(self._process.pid)
        self._io.watch_end(self._process, lambda: self.has_exited(None))

    def _not_started(self, error: OSError) -> None:
        self.verdict = Failure.of(error, code="worker_not_started", retryable=True)
        self._bury(None)

    def is_being_forked(self) -> None:
        """The template was asked for it. It may hang from its first moment, at a lock that was held at the fork."""
        self._hello = self._io.later_in_truth(FORK_SECONDS, self._is_overdue)

    def _is_overdue(self) -> None:
        failure = overdue_failure(FORK_SECONDS)
        if self.pid is None and self._template is not None:  # which hangs, or is stopped
            self.verdict = self.verdict or failure
            self._template.kill()
        else:
            self.kill(verdict=failure)

    def _has_said_hello(self) -> None:
        if self._hello is not None:
            self._hello.cancel()

    def has_not_forked(self) -> None:
        """The system had no room for it."""
        self._not_started(OSError("its template could not fork it: there is no room for another process"))

    def has_forked(self, pid: int) -> None:
        """Its process is there."""
        with self._killing:
            self.pid = pid
        self._io.keep(pid)
        if self._doomed:
            self.kill()

    # -- what the runtime does with it -------------------------------------------------------------------------------

    def tell(self, message: Message) -> None:
        """Send a message. Any thread."""
        self.send(encoded(message))

    def send(self, data: bytes) -> None:
        """Send frames. Any thread."""
        if self._channel is not None:
            self._channel.send(data)

    def has_not_begun(self, attempt: ProcessAttempt) -> bool:
        """Whether it, which is dead, has surely not read of the attempt that it was given."""
        return not (self.heard or attempt.told) and self._channel is not None and self._channel.has_unread

    def learn(self, message: LearnExecutor) -> bytes:
        """The frame that makes it know an executor; nothing when it does."""
        if message.key in self.known:
            return b""
        self.known.add(message.key)
        return encoded(message)

    def kill(self, number: signal.Signals = signal.SIGKILL, verdict: Failure | None = None) -> None:
        """Send a signal to it; SIGKILL, to everything that it has started, too. Any thread."""
        with self._killing:
            if self._buried:  # the number may be somebody else's by now
                return
            self.verdict = self.verdict or verdict
            if self.pid is None:
                self._doomed = True
                return
            if number == signal.SIGKILL:
                kill_family(self.pid)
            else:
                with contextlib.suppress(OSError):
                    os.kill(self.pid, number)

    def stop(self) -> None:
        """Have it exit in order, and end it if it does not. On the workers' thread."""
        self.tell(StopWorker())
        self._io.later(STOP_SECONDS, self.kill)

    # -- what comes from it ------------------------------------------------------------------------------------------

    def _read_line(self) -> None:
        assert self._channel is not None
        try:
            # An end comes with the word that the worker is idle: both are dealt with before anybody else is woken, who
            # would want the interpreter's lock at once.
            with waking_together():
                for number, body in self._channel.read():
                    self._take(decode(body), number)
        except EOFError:
            self._io.unwatch(self._channel.fileno())
            failure = Failure(kind="WorkerDied", message="the worker closed its line", code="worker_exit")
            self._io.later(LOST_SECONDS, lambda: self.kill(verdict=failure))
        except MessageError as error:
            self.kill(verdict=Failure.of(error, code="worker_protocol", retryable=True))
            self._channel.close()  # whatever else it says is not heard

    def _take(self, message: Message, number: int) -> None:
        self.heard = True
        match message:
            case WorkerReady() | WorkerIdle() if self._ending:
                return
            case WorkerReady() if self.state == "starting":
                self._has_said_hello()
                self.pool.is_ready(self)
            case WorkerIdle() if self.state == "busy" and self.attempt is None:
                self.pool.is_idle(self, dirty=message.dirty)
            case WorkerReady() | WorkerIdle():
                raise MessageError(reason="not_a_message", tag=message.tag, detail="a worker does not say this now")
            case WorkerUnfit():
                self.verdict = self.verdict or message.failure
            case _ if self.attempt is not None:
                self._take_of(self.attempt, message, number)
            case _:
                return  # of an attempt that has ended

    def _take_of(self, attempt: ProcessAttempt, message: Message, number: int) -> None:
        match message:
            case Request() if number:
                self._pass_on(attempt, message, number)
            case ReportOutput():
                attempt.show(message)
            case ReportProgress():
                attempt.ref.deliver(message)
            case AttemptEnded():
                self.read_what_is_printed()
                self.pool.has_ended(self, message)
            case _:
                raise MessageError(reason="not_a_message", tag=message.tag, detail="a worker does not say this")

    def _pass_on(self, attempt: ProcessAttempt, message: Message, number: int) -> None:
        reply: Reply[Any] = Reply()
        attempt.ref.send_request(message, reply, ())

        def answer() -> None:
            try:
                value = reply.result()
                body = b"" if value is None else encode(value)
            except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
                body = encode(Failure.of(error))
            self.send(frame(body, number))

        reply.on_done(answer)

    def _read_output(self, fd: int) -> None:
        self._read_some(fd)

    def _read_some(self, fd: int) -> int:
        try:
            data = os.read(fd, 64 * 1024)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._io.unwatch(fd)
            return 0
        lines, attempt = self._pipes[fd], self.attempt
        whole = lines.feed(data)
        if attempt is None:
            for text in whole:
                logger.debug("worker %s, between attempts: %s", self.pid, text)
        elif whole:
            attempt.show(ReportOutput(epoch=attempt.begin.epoch, stream=lines.stream, lines=whole))
        return len(data)

    def read_what_is_printed(self) -> None:
        """Before the end is told: what was printed before it, also behind the last end of a line."""
        attempt = self.attempt
        for fd, lines in self._pipes.items():
            left = DRAIN_BYTES
            while left > 0 and (size := self._read_some(fd)):
                left -= size
            rest = lines.rest()
            if attempt is not None and rest:
                attempt.show(ReportOutput(epoch=attempt.begin.epoch, stream=lines.stream, lines=rest))

    # -- its end -----------------------------------------------------------------------------------------------------

    def has_exited(self, returncode: int | None) -> None:
        """The process is no more: hear its last words, end what it has left, and tell the pool."""
        if self._buried:
            return
        self._ending = True
        if self._process is not None:  # else its template has done so
            self.kill()  # its group: while nobody has waited for it, the number is its own
        assert self._channel is not None
        with contextlib.suppress(MessageError):
            for number, body in self._channel.rest():
                self._take(decode(body), number)
        self.read_what_is_printed()
        if self._process is None:
            self._bury(returncode)
            return
        returncode, stopped = self._process.wait(), self.state == "stopping"
        self._bury(returncode)
        if returncode or not stopped:  # else it has ended in order, and before that what it had started
            end_marked(self._mark)

    def _bury(self, returncode: int | None) -> None:
        self._has_said_hello()
        with self._killing:
            self._buried = True
        if self._channel is not None:
            self._channel.close()
        for fd in self._pipes:
            self._io.unwatch(fd)
            os.close(fd)
        self._pipes = {}
        if self.pid is not None:
            self._io.let_go(self.pid)
        self.pool.has_died(self, returncode)

    def look_at_memory(self, limit: int) -> None:
        """Kill it when it has more than it may. On the workers' thread."""
        rss = rss_of(self.pid)
        if rss is not None and rss > limit:
            self.kill(verdict=memory_failure(rss, limit))


def rss_of(pid: int | None) -> int | None:
    """Resident bytes of a process, where the system says (Linux)."""
    if pid is None:
        return None
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - ten times as fast as a Path
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None
