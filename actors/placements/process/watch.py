"""Waiting for a descriptor on two threads, of which one is to be woken only while the other has no time."""

from __future__ import annotations

import select

__all__ = ["Watch"]


class Watch:
    """Of the worker's line. Its methods raise OSError once user code has closed what is below.

    Linux: the second thread waits on an epoll that the first one arms and disarms, which wakes nobody by itself.
    Elsewhere both are woken by everything.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._any = select.poll()
        self._any.register(fd, select.POLLIN)
        self._epoll: select.epoll | None = None
        if hasattr(select, "epoll"):
            self._epoll = select.epoll()
            self._epoll.register(fd, 0)

    def arm(self) -> None:
        """Wake who is in `wait` from now on: for what is there, and for what comes."""
        if self._epoll is not None:
            self._epoll.modify(self._fd, select.EPOLLIN)

    def disarm(self) -> None:
        """Wake it no more, unless the other end is gone."""
        if self._epoll is not None:
            self._epoll.modify(self._fd, 0)

    def wait(self, milliseconds: int) -> bool:
        """On the second thread. Whether there is something to read."""
        if self._epoll is None:
            return bool(self._any_of_its_own().poll(milliseconds))
        return bool(self._epoll.poll(milliseconds / 1000))

    def _any_of_its_own(self) -> select.poll:
        watch = select.poll()  # one cannot be used by two threads
        watch.register(self._fd, select.POLLIN)
        return watch

    def wait_for_anything(self, milliseconds: int) -> bool:
        """On the first thread. Whether there is something to read."""
        return bool(self._any.poll(milliseconds))

    def close(self) -> None:
        """In a process that does not use it."""
        if self._epoll is not None:
            self._epoll.close()
