"""What a worker has started: all of it, also what has made itself a session of its own (Linux; elsewhere its group)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterator
from typing import Final

__all__ = [
    "adopt_orphans",
    "below",
    "end_children",
    "end_marked",
    "end_strangers",
    "end_with_children",
    "has_children",
    "kill_family",
    "kill_group",
]

_PR_SET_CHILD_SUBREAPER: Final = 36
_ROUNDS: Final = 10_000
"""Processes that are buried, one a round, before nobody looks any further."""


def adopt_orphans() -> None:
    """Have what this process starts stay below it: whoever loses its parent becomes a child of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def below(pid: int) -> list[int]:
    """Every process below one, parents first; none where the system does not say."""
    found: list[int] = []
    fresh = [pid]
    while fresh:
        fresh = [child for parent in fresh for child in _children(parent)]
        found += fresh
    return found


def _children(pid: int) -> Iterator[int]:
    """Source: proc(5), /proc/pid/task/tid/children."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are what is wanted
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                yield from map(int, file.read().split())


def kill_family(pid: int) -> None:
    """Kill a worker that nobody has waited for, its process group, and what has left that.

    It may have left the group itself, or lead none yet.
    """
    others = below(pid)
    for other in (pid, *others):
        with contextlib.suppress(OSError):
            os.kill(other, signal.SIGKILL)
    kill_group(pid)


def kill_group(pid: int) -> None:
    """Kill the process group of one that has ended, or is about to."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def end_children() -> None:
    """End everything below this process, and bury it. Who loses its parent on the way comes below this process too."""
    for _ in range(_ROUNDS):
        everybody = below(os.getpid())
        if not everybody:
            return
        for pid in everybody:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def end_marked(mark: bytes) -> None:
    """Kill whoever has this in its environment, as all that a process starts has from it, wherever it moves (Linux).

    For who is too late for `below`: the process has ended, and what it has left is below somebody else.
    """
    known: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = {pid for pid in _everybody() if _has(pid, mark)} - known
        if not fresh:
            return
        known |= fresh
        for pid in fresh:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _everybody() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - names are wanted


def _has(pid: int, mark: bytes) -> bool:
    """Source: proc(5), /proc/pid/environ; empty in a process that has ended."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - ten times as fast as a Path
            return mark in file.read()
    except OSError:
        return False


def end_with_children(number: int, _: object) -> None:
    """Handles a signal that ends a worker: its children first, who could not be found any more; then as ever."""
    end_children()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def end_strangers(known: Collection[int]) -> None:
    """Kill every child of this process but those known, who were orphans of those that have ended."""
    for pid in set(_children(os.getpid())).difference(known):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def has_children() -> bool:
    """Whether this process has any, alive or not. Takes nobody's exit status away, if it can be helped."""
    try:
        if hasattr(os, "waitid"):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        else:  # macOS before Python 3.13
            os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
