"""A template as its pool holds it: asked for workers, it forks them, and says how each one ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from propolis.messages import ForkWorker, MessageError, PrepareWorker, WorkerExited, WorkerForked, WorkerReady, decode

from .channel import Channel, Ends, line_ends
from .family import end_marked, kill_group
from .frames import encoded
from .starting import boot_line

if TYPE_CHECKING:
    from .io import WorkersThread

__all__ = ["Forked", "Template"]

CLOSE_SECONDS = 2.0
"""What a template is given to end everybody below it, and itself."""


class Forked(Protocol):
    """Who wants to be forked."""

    number: int

    def is_being_forked(self) -> None:
        """The template was asked for it."""
        ...

    def has_not_forked(self) -> None:
        """The system had no room for it."""
        ...

    def has_forked(self, pid: int) -> None:
        """Its process is there."""
        ...

    def has_exited(self, returncode: int | None) -> None:
        """Its process is no more."""
        ...


class Template:
    """Everything on the workers' thread. Making one raises OSError when it cannot be started."""

    def __init__(self, io: WorkersThread, prepare: PrepareWorker, gone: Callable[[], None]) -> None:
        self.known = {known.key for known in prepare.executors}
        self.alive = True
        self._io = io
        self._gone = gone
        self._ready = False
        self._wanted: list[tuple[Forked, Ends]] = []
        self._forking: dict[int, Forked] = {}
        self._children: dict[int, Forked] = {}
        line, theirs = line_ends()
        self._channel = Channel(io, line)
        try:
            self._process, self._mark = io.start(theirs.fileno(), subprocess.DEVNULL, subprocess.DEVNULL)
        except OSError:
            self._channel.close()
            raise
        finally:
            theirs.close()
        io.keep(self._process.pid, late=True)
        self._channel.send(boot_line() + encoded(prepare.model_copy(update={"template": True})))
        io.watch(self._channel.fileno(), self._read)
        io.watch_end(self._process, self._ended)

    def fork(self, worker: Forked, ends: Ends) -> None:
        """Have a worker forked, now or when the template is ready."""
        self._wanted.append((worker, ends))
        if self._ready:
            self._fork_wanted()

    def _fork_wanted(self) -> None:
        wanted, self._wanted = self._wanted, []
        for worker, ends in wanted:
            self._forking[worker.number] = worker
            worker.is_being_forked()
            fds = (ends.line.fileno(), ends.stdout, ends.stderr)
            if not self._channel.send_with_fds(encoded(ForkWorker(number=worker.number)), fds):
                self.kill()
            ends.close()

    def forget_wanted(self) -> None:
        """Fork nobody who still waits for it: while it imports, that could take a while."""
        wanted, self._wanted = self._wanted, []
        for worker, ends in wanted:
            ends.close()
            worker.has_exited(None)

    def _read(self) -> None:
        try:
            for _, body in self._channel.read():
                self._take(decode(body))
        except (EOFError, MessageError):
            self._io.unwatch(self._channel.fileno())
            self.kill()

    def _take(self, message: object) -> None:
        match message:
            case WorkerReady():
                self._ready = True
                self._fork_wanted()
            case WorkerForked(pid=0) if message.number in self._forking:
                self._forking.pop(message.number).has_not_forked()
            case WorkerForked() if message.number in self._forking:
                worker = self._children[message.pid] = self._forking.pop(message.number)
                worker.has_forked(message.pid)
            case WorkerExited() if message.pid in self._children:
                self._children.pop(message.pid).has_exited(message.returncode)

    def kill(self) -> None:
        """End it, with whom it is forking that moment; its workers end with it."""
        if self.alive:  # nobody has waited for it, so the number is its own
            kill_group(self._process.pid)

    def _ended(self) -> None:
        self.kill()  # who was being forked is still in its group, and would hear of no end if it hangs
        self.alive = False
        orderly = self._process.wait() == 0
        with contextlib.suppress(MessageError):
            for _, body in self._channel.rest():
                self._take(decode(body))
        self._channel.close()
        self._io.let_go(self._process.pid)
        self.forget_wanted()
        for pid in self._children:  # they are killed by the kernel; what they have started is not
            kill_group(pid)
        if not orderly:
            end_marked(self._mark)
        for worker in [*self._forking.values(), *self._children.values()]:
            worker.has_exited(-signal.SIGKILL)
        self._gone()

    def close(self) -> None:
        """It is not needed any more: the end of its line is its end; one that still imports would not hear that."""
        self._channel.close()
        if self._ready:
            self._io.later_in_truth(CLOSE_SECONDS, self.kill)
        else:
            self.kill()
