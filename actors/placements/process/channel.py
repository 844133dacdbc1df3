"""The runtime's end of the line to a worker: frames out from any thread without blocking, frames in on one."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

from propolis.messages import MessageError

from ...host import occupy_standard
from .frames import Frames
from .io import WorkersThread

__all__ = ["Channel", "Ends", "line_ends", "open_ends"]

_READ_BYTES = 256 * 1024


class Ends:
    """What a new worker is given: its end of the line, and its standard output and error."""

    def __init__(self, line: socket.socket, stdout: int, stderr: int) -> None:
        self.line, self.stdout, self.stderr = line, stdout, stderr

    def close(self) -> None:
        """In the runtime, once the worker has them."""
        self.line.close()
        os.close(self.stdout)
        os.close(self.stderr)


def open_ends() -> tuple[socket.socket, int, int, Ends]:
    """A line and two pipes: ours (which never block) and the worker's. Raises OSError, and leaves nothing open."""
    with contextlib.ExitStack() as opened:
        ours, theirs = line_ends()
        opened.callback(ours.close)
        opened.callback(theirs.close)
        pipes: list[int] = []
        for _ in range(2):
            pipe = os.pipe()
            pipes += pipe
            for fd in pipe:
                opened.callback(os.close, fd)
        out, their_out, err, their_err = pipes
        for fd in (out, err):
            os.set_blocking(fd, False)
        opened.pop_all()  # all are there, and whoever gets them closes them
    return ours, out, err, Ends(theirs, their_out, their_err)


def line_ends() -> tuple[socket.socket, socket.socket]:
    """Both ends of a line: ours, which never blocks, and the worker's."""
    occupy_standard()  # or an end would have the number of one of the worker's standard streams
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


class Channel:
    """One line. `send` from any thread; everything else on the workers' thread."""

    def __init__(self, io: WorkersThread, line: socket.socket) -> None:
        self._io = io
        self._line: socket.socket | None = line
        self._sending = threading.Lock()
        self._unsent = bytearray()
        self._frames = Frames()
        self._taken = 0
        self._refused = False

    @property
    def has_unread(self) -> bool:
        """Whether the other end, which is gone, has not read all that was sent; as far as the system says (Linux)."""
        return self._refused or bool(self._unsent)

    def fileno(self) -> int:
        """Of the socket; -1 when it is closed."""
        return -1 if self._line is None else self._line.fileno()

    def send(self, data: bytes) -> None:
        """Send frames, now as far as there is room, the rest when there is. Dropped when the line is gone."""
        with self._sending:
            if self._line is None:
                return
            if self._unsent:
                self._unsent += data
                return
            sent = self._try(self._line, data)
            if sent == len(data):
                return
            self._unsent += data[sent:]
        self._io.post(self._go_on)

    def send_with_fds(self, data: bytes, fds: tuple[int, ...]) -> bool:
        """Send one small frame with descriptors; whether it could be sent, whole."""
        with self._sending:
            if self._line is None or self._unsent:
                return False
            try:
                return socket.send_fds(self._line, [data], fds) == len(data)
            except OSError:
                return False

    def _try(self, line: socket.socket, data: bytes | bytearray) -> int:
        try:
            return line.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the worker is gone, of which its end is heard elsewhere
            self._refused = True
            return len(data)

    def _go_on(self) -> None:
        with self._sending:
            if self._line is None or self._io.loop is None:
                return
            del self._unsent[: self._try(self._line, self._unsent)]
            if self._unsent:
                self._io.loop.add_writer(self._line.fileno(), self._go_on)
            else:
                self._io.loop.remove_writer(self._line.fileno())

    def read(self) -> Iterator[tuple[int, bytes]]:
        """What has come. Raises EOFError at the end of the line, MessageError when what comes is no frame."""
        if self._line is None:
            return
        try:
            data = self._line.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # ECONNRESET: there was something to read for it when it went, see unix_release_sock() of Linux
            self._refused = True
            data = b""
        if not data:
            raise EOFError
        self._taken += len(data)
        yield from self._frames.feed(data)

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """What is left in it once its other end is gone, as far as that is whole."""
        with contextlib.suppress(EOFError, MessageError):
            while self._line is not None:
                before = self._taken
                yield from self.read()
                if self._taken == before:
                    return

    def close(self) -> None:
        """No more."""
        with self._sending:
            line, self._line = self._line, None
        if line is None:
            return
        with contextlib.suppress(ValueError, OSError):
            self._io.unwatch(line.fileno())
            assert self._io.loop is not None
            self._io.loop.remove_writer(line.fileno())
        line.close()
