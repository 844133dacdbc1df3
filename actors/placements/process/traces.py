"""What an execution has to leave behind as it was, or its worker takes no other one."""

from __future__ import annotations

import builtins
import gc
import os
import signal
import sys
import threading
from typing import Any, Final

try:
    from resource import getrlimit
except ImportError:  # not on every system

    def getrlimit(_: int, /) -> tuple[int, int]:
        """There are none to look at."""
        return 0, 0


__all__ = ["ProcessState"]

_LIMITS: Final = [
    number
    for name in ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if (number := getattr(sys.modules.get("resource"), f"RLIMIT_{name}", None)) is not None
]
_SIGNALS: Final = tuple(map(int, signal.valid_signals()))
_handler_of: Final = getattr(signal, "_signal", signal).getsignal  # underneath: makes no enum, and is 50 times as fast
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)  # alarm() is the first of them


class ProcessState:
    """What of a process its next execution would feel, as it is when this is made. On the main thread.

    Standard streams, working folder, resource limits, priority, signals, timers, hooks, built-in names. Not what cannot
    be told from honest work: the environment, modules and their attributes. Looking takes about 30 us.
    """

    def __init__(self) -> None:
        self._builtins = dict(vars(builtins))
        self._rest = _rest()

    def is_unchanged(self) -> bool:
        """Whether it is still so. Never raises."""
        try:
            return _rest() == self._rest and vars(builtins) == self._builtins
        except BaseException:  # noqa: BLE001 - a stream is closed, a built-in is gone
            return False


def _mask() -> int:
    mask = os.umask(0o077)  # there is no looking without setting
    os.umask(mask)
    return mask


def _rest() -> tuple[Any, ...]:
    return (
        *((stat.st_dev, stat.st_ino) for stat in map(os.fstat, (0, 1, 2))),
        *map(id, (sys.stdin, sys.stdout, sys.stderr, sys.gettrace(), sys.getprofile())),
        *map(id, (threading.gettrace(), threading.getprofile(), threading.excepthook)),
        *map(id, (sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook)),
        os.getcwd(),  # noqa: PTH109 - the string is what is compared
        _mask(),
        *map(getrlimit, _LIMITS),
        *map(id, map(_handler_of, _SIGNALS)),
        *(signal.getitimer(timer) > (0.0, 0.0) for timer in _TIMERS),
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        os.getpriority(os.PRIO_PROCESS, 0),
        gc.isenabled(),
        sys.getswitchinterval(),
        sys.getrecursionlimit(),
    )
