"""The worker's end of the line to its runtime: frames out from any thread, frames in on whichever thread is free.

While nothing runs the main thread reads the line itself, so that an execution begins without a change of threads. While
one runs a second thread watches the line, so that a cancel reaches it.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from propolis.messages import Encoded, ForkedRuntime, Message, decode, encode

from ...core import Ref, Reply
from .frames import Frames, frame
from .watch import Watch

__all__ = ["EXIT_LINE_LOST", "Line", "LineRef"]

EXIT_LINE_LOST = 70
"""Exit status of a worker whose line is gone (EX_SOFTWARE)."""

LOOK_MILLISECONDS = 1000
"""How often a worker looks whether its line is still there."""

_READ_BYTES = 256 * 1024


class Line:
    """A stream socket to the runtime. A worker without it has nobody to work for, and exits at once."""

    before_exit: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._fd = fd
        self._pid = os.getpid()
        self._identity = self._look()
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._watch = Watch(fd)
        self._is_watched = False
        self._frames = Frames()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Reply[Any]] = {}

    def _exit(self) -> NoReturn:
        self.before_exit()
        os._exit(EXIT_LINE_LOST)

    def _look(self) -> tuple[int, int]:
        try:
            stat = os.fstat(self._fd)
        except OSError:
            self._exit()
        return stat.st_dev, stat.st_ino

    def _check(self) -> None:
        """User code may have closed every descriptor, and opened a file of its own under our number."""
        if self._look() != self._identity:
            self._exit()

    def fileno(self) -> int:
        """Of the socket."""
        return self._fd

    def close(self) -> None:
        """In a worker that has got this line from its template, whose it is."""
        self._watch.close()
        self._socket.close()

    def read_with_fds(self) -> list[tuple[Message, list[int]]] | None:
        """What has come, each message with the descriptors that came with it; None at the end."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, _READ_BYTES, 3)
        except OSError:
            return None
        if not data:
            return None
        # the kernel ends a read behind each message that descriptors came with
        return [(decode(body), fds) for _, body in self._frames.feed(data)]

    @property
    def is_ours(self) -> bool:
        """False in a process that an executor has forked: two that talk on one line would be taken for one."""
        return os.getpid() == self._pid

    def send(self, *messages: Message | Encoded) -> None:
        """Tell the runtime. Any thread; blocks while the runtime does not read. Raises ForkedRuntime."""
        self._send(b"".join(frame(encode(message)) for message in messages))

    def request(self, message: Message | Encoded, reply: Reply[Any]) -> None:
        """Ask the runtime; the answer goes to the reply. Any thread. Raises MessageError, and asks nothing."""
        data = encode(message)
        number = next(self._numbers)
        self._waiting[number] = reply
        self._send(frame(data, number))

    def _send(self, data: bytes) -> None:
        if not self.is_ours:
            raise ForkedRuntime(parent_pid=self._pid)
        try:
            with self._sending:
                self._check()
                self._socket.sendall(data)
        except OSError:
            self._exit()

    # -- two threads that read ---------------------------------------------------------------------------------------

    def watched(self) -> None:
        """From here on who is in `watch` reads what comes. On the main thread, before it runs user code."""
        self._is_watched = True
        try:
            self._watch.arm()
        except OSError:
            self._exit()

    def unwatched(self) -> None:
        """No more: what comes now is for the main thread, which calls this."""
        with self._reading:
            self._is_watched = False
        try:
            self._watch.disarm()
        except OSError:
            self._exit()

    def watch(self, take: Callable[[Message], None]) -> None:
        """Take what comes while the main thread is busy, for ever. Returns when the runtime is gone."""
        while True:
            self._wait(self._watch.wait)
            with self._reading:
                # woken late, for what the main thread has read: the next is not for this one, or that would miss it
                if self._is_watched and not self._pull(take):
                    return

    def read(self, take: Callable[[Message], None]) -> bool:
        """Wait for something to come, and take it. On the main thread. False when the runtime is gone."""
        self._wait(self._watch.wait_for_anything)
        return self.pull(take)

    def _wait(self, wait: Callable[[int], bool]) -> None:
        # a descriptor that is closed under a call that waits on it does not wake that call, nor is the line's other end
        # told: hence a look now and then
        try:
            while not wait(LOOK_MILLISECONDS):
                self._check()
        except OSError:
            self._exit()

    def pull(self, take: Callable[[Message], None]) -> bool:
        """Take what has come; answers go to whom they belong. On the main thread. False when the runtime is gone.

        Raises MessageError when what comes is no frame.
        """
        with self._reading:
            return self._pull(take)

    def _pull(self, take: Callable[[Message], None]) -> bool:
        self._check()
        try:
            data = self._socket.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        for number, body in self._frames.feed(data):
            if number:
                self._answer(number, body)
            else:
                take(decode(body))
        return True

    @property
    def is_between_frames(self) -> bool:
        """Whether all that was read was whole. If not, the rest is on its way; or somebody else has read some."""
        return self._frames.is_empty

    def read_one(self) -> Message:
        """The first message. Raises EOFError when there is none."""
        found: list[Message] = []
        while not found:
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise EOFError
            found.extend(decode(body) for _, body in self._frames.feed(data))
        assert len(found) == 1, "the runtime waits for WorkerReady before it sends more"
        return found[0]

    def _answer(self, number: int, body: bytes) -> None:
        reply = self._waiting.pop(number)
        if body:
            reply.set_bytes(body, foreign=True)
        else:
            reply.set(None)


class LineRef(Ref[Any]):
    """Stands for the ExecutionActor in a worker: what is told and asked of it goes down the line."""

    def __init__(self, line: Line) -> None:  # there is no cell here to refer to
        self._line = line

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """Of nobody here."""
        return ""

    def tell(self, message: Any) -> None:
        """Send it down the line."""
        self._line.send(message)

    def deliver(self, message: Message | Encoded) -> None:
        """Send it down the line."""
        self._line.send(message)

    def send_request(self, message: Any, reply: Reply[Any], chain: tuple[Any, ...]) -> Reply[Any]:
        """Send it down the line; the answer comes back on it."""
        try:
            self._line.request(message, reply)
        except Exception as error:  # noqa: BLE001 - as Ref does: every error goes to the reply
            reply.offer_error(error)
        return reply
