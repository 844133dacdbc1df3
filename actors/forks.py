"""Forks of a process whose other threads write to a store, or start workers.

SQLite has locks of its own. A child that is forked while one of them is held finds it locked for ever: its first
connection, to whatever file, hangs. And who starts a process waits until the other end of a pipe is closed, of which a
child that is forked meanwhile has a copy. So whoever forks waits for the commit, and the start, under way.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Final

__all__ = ["wait_before_forks"]

PATIENCE: Final = 1.0
"""Seconds. A disk that stalls does not hold up a fork for longer; most of a commit is waiting, with no lock held."""

_locks: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_held: Final = threading.local()


def wait_before_forks(lock: Any) -> None:
    """Have forks wait until this lock is free, which is held by whoever is in SQLite, say. While the lock lives."""
    _locks.add(lock)


def _take_locks() -> None:
    _held.locks = [lock for lock in list(_locks) if lock.acquire(timeout=PATIENCE)]


def _release_locks() -> None:
    for lock in _held.locks:
        lock.release()
    del _held.locks


if hasattr(os, "register_at_fork"):  # once a process, and for good: there is no unregistering
    os.register_at_fork(before=_take_locks, after_in_parent=_release_locks, after_in_child=_release_locks)
