"""No worker outlives its runtime: the kernel's word for that, in the worker, and a keeper process for its children.

A worker that is being forked is in the process group of its template until it has the kernel's word. Whoever hears of
a template's end kills what is left in that group, so that it does not matter where in the fork a worker hangs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["KEEPER", "die_with_parent", "live_past_parent", "watch_parent"]

_PR_SET_PDEATHSIG: Final = 1

# Found before there is a fork, and called without letting go of the interpreter: a fresh fork waits for nobody here.
_prctl: Final = ctypes.PyDLL(None).prctl if sys.platform == "linux" else None


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux); exit if it has ended already.

    Elsewhere the line's end says so, to a worker that still listens.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def live_past_parent() -> None:
    """No longer. For who surely hears of its parent's end, and has something to do then."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def watch_parent(parent_pid: int) -> tuple[int, ...]:
    """A descriptor that is ready once the parent has ended; none where the system has no such thing (Linux 5.3 has).

    The end of a line or a pipe is not enough: a fork of the program may hold its other end, and live on.
    """
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return (os.pidfd_open(parent_pid),)
    return ()


# A process that waits for the end of the runtime, its parent, however that comes, or of its input. Then it kills the
# process groups that it was told of and not untold: workers with all that they have started; and those (~) that end by
# themselves, once they have ended everybody below them, if they have not done so in time: templates. At last it kills
# whoever has the mark of the runtime's workers in its environment, as all that they start has. It imports nothing of
# ours, to be small (10 MB, most of it shared) and there at once.
KEEPER: Final = r"""
import os, select, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
def kill(group, number):
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True
parent, mark = int(sys.argv[1]), sys.argv[2].encode() + b"="
watch = select.poll()
watch.register(0, select.POLLIN)
pause = 1000
try:
    watch.register(os.pidfd_open(parent), select.POLLIN)
    pause = None
except (AttributeError, OSError):
    pass
os.set_blocking(0, False)
groups, rest, data = {}, b"", None
while data != b"":
    watch.poll(pause)
    gone = os.getppid() != parent
    try:
        data = os.read(0, 65536)
    except BlockingIOError:
        data = b"" if gone else None
    *lines, rest = (rest + (data or b"")).split(b"\n")
    for line in lines:
        groups.pop(int(line[1:]), None)
        if line[:1] != b"-":
            groups[int(line[1:])] = line[:1]
for group in groups:
    if groups[group] == b"+":
        kill(group, signal.SIGKILL)
late = [group for group in groups if groups[group] == b"~"]
end = time.monotonic() + 1.0
while late and time.monotonic() < end:
    time.sleep(0.02)
    late = [group for group in late if kill(group, 0)]
for group in late:
    kill(group, signal.SIGKILL)
known = {os.getpid()}
while True:
    fresh = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            if name.isdecimal() and int(name) not in known and mark in open("/proc/%s/environ" % name, "rb").read():
                fresh.add(int(name))
        except OSError:
            pass
    if not fresh:
        break
    known |= fresh
    for pid in fresh:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
"""
