"""The one thread that starts, hears and buries the worker processes of all pools of a runtime."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from ...core import Waker, waker_of
from ...forks import wait_before_forks
from ...host import Host, Timer
from .guard import KEEPER
from .starting import command

__all__ = ["WorkersThread"]

logger = logging.getLogger("propolis.placements")

KEEPER_SECONDS = 1.0
"""After which there is another keeper in the place of one that somebody has killed."""
POLL_SECONDS = 0.05
"""How often a process is looked at where the system does not say when it ends."""


class WorkersThread:
    """A thread with an event loop: `propolis-workers`. It starts with the first call that is posted to it.

    Workers are started here and nowhere else: the kernel kills a worker when the thread that started it ends.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.loop: asyncio.AbstractEventLoop | None = None
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._kept: dict[int, bytes] = {}
        """What the keeper is told of each process group."""
        self._keeper: subprocess.Popen[bytes] | None = None
        # not of the host: who has the same seed must not take our processes for its own
        self._mark = f"PROPOLIS_WORKER_{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._spawning = threading.Lock()
        wait_before_forks(self._spawning)

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Run a function on the thread. Any thread."""
        if self._waker is None:
            with self._starting:
                if self._waker is None:
                    self._start()
        assert self._waker is not None
        self._waker.post(call, *args)

    def _start(self) -> None:
        # of asyncio's own kind: libuv looks at the descriptors that it is given, and refuses some
        loop = asyncio.SelectorEventLoop()

        def run() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_forever()
            finally:
                asyncio.set_event_loop(None)
                loop.close()

        self.loop = loop
        self._thread = self.host.spawn_thread("propolis-workers", run)
        self._waker = waker_of(loop)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run a function after a time. On the thread."""
        assert self.loop is not None
        return self.host.call_later(self.loop, seconds, call)

    def later_in_truth(self, seconds: float, call: Callable[[], None]) -> Timer:
        """The same in real seconds on every host: processes are real, too. On the thread."""
        assert self.loop is not None
        return self.host.watch_later(self.loop, seconds, call)

    def start(self, fd: int, stdout: int, stderr: int) -> tuple[subprocess.Popen[bytes], bytes]:
        """Start a worker or a template with its line at `fd`, and the mark of all that comes of it. Raises OSError.

        On the thread.
        """
        number = str(next(self._numbers))
        environment = {**os.environ, self._mark: number}
        with self._spawning:
            process = self.host.spawn_process(
                command(fd), stdout=stdout, stderr=stderr, pass_fds=(fd,), env=environment
            )
        return process, f"{self._mark}={number}\0".encode()

    def watch_end(self, process: subprocess.Popen[bytes], call: Callable[[], None]) -> None:
        """Run a function, once, when a process has ended, before anybody waits for it if it can be. On the thread."""
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(process.pid)

                def ended() -> None:
                    self.unwatch(fd)
                    os.close(fd)
                    call()

                self.watch(fd, ended)
                return
        self._poll(process, call)

    def _poll(self, process: subprocess.Popen[bytes], call: Callable[[], None]) -> None:
        if hasattr(os, "waitid"):
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        else:  # macOS before Python 3.13: there is no looking without waiting
            ended = process.poll() is not None
        if ended:
            call()
        else:
            self.later(POLL_SECONDS, lambda: self._poll(process, call))

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Run a function whenever there is something to read. On the thread."""
        assert self.loop is not None
        self.loop.add_reader(fd, call)

    def unwatch(self, fd: int) -> None:
        """No more. On the thread."""
        assert self.loop is not None
        self.loop.remove_reader(fd)

    # -- the keeper --------------------------------------------------------------------------------------------------

    def keep(self, group: int, *, late: bool = False) -> None:
        """Have a process group killed when this process ends without having ended it. On the thread.

        `late`: it ends by itself, and has a moment to do so.
        """
        self._kept[group] = b"~%d\n" % group if late else b"+%d\n" % group
        if self._keeper is None:
            self._have_keeper()
        else:
            self._tell_keeper(self._kept[group])

    def _have_keeper(self) -> None:
        if self._keeper is not None or not self._kept:
            return
        try:
            with self._spawning:
                keeper = self.host.spawn_process(
                    [sys.executable, "-I", "-S", "-c", KEEPER, str(os.getpid()), self._mark],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as error:
            logger.warning("No keeper: what workers start may outlive this process: %s", error)
            return
        self._keeper = keeper
        assert keeper.stdout is not None
        self.watch(keeper.stdout.fileno(), self._end_keeper)  # it says nothing: this is its end
        for known in self._kept.values():
            self._tell_keeper(known)

    def let_go(self, group: int) -> None:
        """It has ended. On the thread."""
        self._kept.pop(group, None)
        self._tell_keeper(b"-%d\n" % group)

    def _tell_keeper(self, line: bytes) -> None:
        if self._keeper is None or self._keeper.stdin is None:
            return
        try:
            self._keeper.stdin.write(line)
            self._keeper.stdin.flush()
        except OSError:  # somebody killed it; workers still end with this process, what they started may not
            self._end_keeper()

    def _end_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            assert keeper.stdout is not None
            self.unwatch(keeper.stdout.fileno())
            keeper.communicate()  # the end of its input is its end
            self.later_in_truth(KEEPER_SECONDS, self._have_keeper)

    def close(self, timeout: float) -> bool:
        """End the thread, once every worker has ended. Any thread but this one."""
        thread, loop = self._thread, self.loop
        if thread is None or loop is None:
            return True

        def stop() -> None:
            self._end_keeper()
            loop.stop()

        self.post(stop)
        thread.join(timeout)
        return not thread.is_alive()
