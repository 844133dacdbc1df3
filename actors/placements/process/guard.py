"""No worker outlives its runtime: the kernel's word for that, in the worker, and a keeper process for its children."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["KEEPER", "die_with_parent", "live_past_parent"]

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux); exit if it has ended already.

    Elsewhere the line's end says so, to a worker that still listens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def live_past_parent() -> None:
    """No longer. For who surely hears of its parent's end, and has something to do then."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


# A process that waits for the end of its input, which comes with the end of the runtime however that ends, and then
# kills the process groups that it was told of and not untold: workers with all that they have started; and a moment
# later those (~) that end by themselves, once they have ended everybody below them: templates. It imports
# nothing of ours, to be small (10 MB, most of it shared) and there at once.
KEEPER: Final = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = {}
for line in sys.stdin.buffer:
    groups.pop(int(line[1:]), None)
    if line[:1] != b"-":
        groups[int(line[1:])] = line[:1]
for when in (b"+", b"~"):
    for group in [group for group in groups if groups[group] == when]:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            pass
    if when == b"+" and b"~" in groups.values():
        time.sleep(0.5)
"""
