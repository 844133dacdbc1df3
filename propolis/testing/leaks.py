"""`no_leaks()`: what a block of code starts or opens is gone at its end."""

from __future__ import annotations

import asyncio
import asyncio.tasks
import contextlib
import functools
import multiprocessing
import multiprocessing.resource_tracker
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Leaked", "no_leaks"]


class Leaked(AssertionError):
    """Something was left behind; `things` says what, a line for each."""

    def __init__(self, things: tuple[str, ...]) -> None:
        super().__init__("left behind:\n  " + "\n  ".join(things))
        self.things = things


@contextlib.contextmanager
def no_leaks(grace: float = 2.0) -> Iterator[None]:
    """Raise `Leaked` when the block leaves a thread, a child process, an open file handle or a pending task behind.

    What is ending already has `grace` seconds to be gone. When the block raises, its own error passes and nothing is
    looked at. It looks at the whole process, so nothing else should start threads meanwhile.

        with no_leaks():
            with Runtime() as runtime:
                ...

    As a fixture for every test: `with no_leaks(): yield`.
    """
    _open_what_stays()
    before = _held()
    yield
    deadline = time.monotonic() + grace
    while leaked := _held() - before:
        if time.monotonic() > deadline:
            raise Leaked(tuple(sorted(leaked)))
        threading.Event().wait(0.01)


@functools.cache
def _open_what_stays() -> None:
    """Uvloop opens a pipe for signals with the first loop of a process, and keeps it."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return
    uvloop.new_event_loop().close()


def _held() -> set[str]:
    return _threads() | _processes() | _handles() | _tasks()


def _threads() -> set[str]:
    return {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()}


def _processes() -> set[str]:
    """Children, also those of subprocess and os.fork where the system lists them (Linux)."""
    children = {child.pid for child in multiprocessing.active_children()}
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            children.update(int(pid) for pid in listing.read_text().split())
        except OSError:  # that thread has ended
            continue
    # multiprocessing starts its tracker once and keeps it until the interpreter ends.
    tracker = getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)
    return {f"process {pid}" for pid in children if pid != tracker}


def _handles() -> set[str]:
    tracker = getattr(multiprocessing.resource_tracker._resource_tracker, "_fd", None)
    handles = set()
    for name in os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else ():  # noqa: PTH208, PTH112 - a set of numbers
        try:
            stat = os.fstat(int(name))
            target = os.readlink(f"/proc/self/fd/{name}") if os.path.isdir("/proc/self/fd") else ""  # noqa: PTH112, PTH115
        except OSError:  # closed meanwhile, as is the one that listed them
            continue
        if int(name) != tracker:
            handles.add(f"file handle {name} {target} (device {stat.st_dev}, inode {stat.st_ino})")
    return handles


def _tasks() -> set[str]:
    """Tasks of any loop that have not ended. asyncio.all_tasks() knows one loop only, hence its private sets."""
    tasks: set[asyncio.Task[object]] = set()
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):  # 3.11; 3.12 and newer
        while True:
            try:
                tasks.update(getattr(asyncio.tasks, name, ()))
                break
            except RuntimeError:  # another thread's loop changed the set meanwhile
                continue
    return {f"task {task!r}" for task in tasks if not task.done()}
