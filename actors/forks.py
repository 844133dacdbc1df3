"""Forks of a process whose other threads write to a store, or start workers.

SQLite has locks of its own. A child that is forked while one of them is held finds it locked for ever: its first
connection, to whatever file, hangs. And who starts a process waits until the other end of a pipe is closed, of which a
child that is forked meanwhile has a copy. So whoever forks waits for the commit, and the start, under way.

And SQLite counts its locks on a file in memory: a child takes those that its parent has for its own, and takes none
(sqlite.org/howtocorrupt.html, 2.6). So what was open at the fork is not opened in the child.

Only the thread that forks goes on in the child: what is sent to a loop of actors there would never be answered.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Final, Protocol, TypeAlias

__all__ = ["Identity", "closed_here", "opened_here", "stays_behind", "wait_before_forks", "was_inherited"]

Identity: TypeAlias = tuple[int, int]
"""Of a file: its device, its number there."""


class _File(Protocol):
    @property
    def identity(self) -> Identity | None: ...


class _Threaded(Protocol):
    parent_pid: int | None


PATIENCE: Final = 1.0
"""Seconds. A disk that stalls does not hold up a fork for longer; most of a commit is waiting, with no lock held."""

_locks: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_held: Final = threading.local()
_files: Final[weakref.WeakSet[_File]] = weakref.WeakSet()
_inherited: Final[set[Identity]] = set()
_threaded: Final[weakref.WeakSet[_Threaded]] = weakref.WeakSet()


def wait_before_forks(lock: Any) -> None:
    """Have forks wait until this lock is free, which is held by whoever is in SQLite, say. While the lock lives."""
    _locks.add(lock)


def opened_here(file: _File) -> None:
    """From here on, until it is closed or no more, a process that is forked has inherited it."""
    _files.add(file)


def closed_here(file: _File) -> None:
    """No child inherits it any more."""
    _files.discard(file)


def was_inherited(file: Identity | None) -> bool:
    """Whether it was open in a process that this one was forked from, at that moment."""
    return file in _inherited


def stays_behind(threaded: _Threaded) -> None:
    """Have a process that is forked know that the thread of this is in another one, by its `parent_pid`."""
    _threaded.add(threaded)


def _inherit() -> None:
    for threaded in list(_threaded):
        if threaded.parent_pid is None:
            threaded.parent_pid = os.getppid()
    _inherited.update(identity for file in list(_files) if (identity := file.identity) is not None)
    _files.clear()
    _release_locks()


def _take_locks() -> None:
    _held.locks = [lock for lock in list(_locks) if lock.acquire(timeout=PATIENCE)]


def _release_locks() -> None:
    for lock in _held.locks:
        lock.release()
    del _held.locks


if hasattr(os, "register_at_fork"):  # once a process, and for good: there is no unregistering
    os.register_at_fork(before=_take_locks, after_in_parent=_release_locks, after_in_child=_inherit)
