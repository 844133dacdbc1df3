"""What every test gets: a check that it leaves nothing behind, and Hypothesis settings for loaded machines."""

from __future__ import annotations

import asyncio
import asyncio.tasks
import multiprocessing
import multiprocessing.resource_tracker
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a slow machine is no failing example. print_blob: a failing run prints what reproduces it.
settings.register_profile(
    "propolis", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("propolis")

GRACE = 2.0  # seconds that what is ending already may take to be gone


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail the test that leaves a thread, a child process, an open file handle or a pending task behind.

    Set up before the test's own fixtures and torn down after them. What wider fixtures hold was there before.
    """
    before = _held()
    yield
    deadline = time.monotonic() + GRACE
    while leaked := _held() - before:
        if time.monotonic() > deadline:
            pytest.fail("left behind:\n  " + "\n  ".join(sorted(leaked)), pytrace=False)
        threading.Event().wait(0.01)


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
