"""Executors that nobody would want in their own process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .bodies import come


def good(ctx: Any, data: int) -> int:
    return data * 2


def segfaults(ctx: Any, data: Any) -> None:
    ctypes.string_at(0)


def spins(ctx: Any, gate: str) -> None:
    come(ctx, gate)
    while True:
        pass


def spins_deaf(ctx: Any, gate: str) -> None:
    """Not even SIGTERM reaches it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    spins(ctx, gate)


def sleeps_in_c(ctx: Any, gate: str) -> None:
    """In C code, and without letting go of the interpreter."""
    come(ctx, gate)
    ctypes.PyDLL(None).sleep(1000)


def leaves_without_a_word(ctx: Any, data: int) -> None:
    os._exit(data)


def eats_memory(ctx: Any, data: Any) -> int:
    return len([bytearray(16 * 1024 * 1024) for _ in range(1000)])


def eats_shared_memory(ctx: Any, data: Any) -> None:
    """Which the limit of the kernel does not count."""
    import mmap

    shared = mmap.mmap(-1, 2**30)
    for start in range(0, 2**30, 2**20):
        shared[start : start + 2**20] = b"x" * 2**20
    threading.Event().wait()


def closes_everything(ctx: Any, data: Any) -> None:
    os.closerange(0, 1000)
    ctx.heartbeat()


def closes_everything_and_spins(ctx: Any, data: Any) -> None:
    os.closerange(0, 1000)
    while True:
        pass


def leaves_children(ctx: Any, gate: str) -> str:
    """One forked, one started; they would live for ever, and hold whatever they have inherited."""
    pid = os.fork()
    if pid == 0:
        threading.Event().wait()
    other = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
    Path(f"{gate}.new").write_text(f"{pid} {other.pid}")
    Path(f"{gate}.new").rename(gate)  # whoever sees it sees all of it, also when this is killed in between
    return "done"


def dies_with_children(ctx: Any, gate: str) -> None:
    leaves_children(ctx, gate)
    os.kill(os.getpid(), signal.SIGKILL)


def writes_garbage(ctx: Any, data: Any) -> str:
    for fd in (1, 2):
        os.write(fd, b"\x00\x00\xff\xff{garbage}\n" * 2000)
    return "done"


def leaves_thread(ctx: Any, data: Any) -> str:
    threading.Thread(target=threading.Event().wait, daemon=False).start()
    return "done"


def which(ctx: Any, data: Any) -> int:
    return os.getpid()


def which_after(ctx: Any, gate: str) -> int:
    """Held at its first attempt, so that somebody can kill it."""
    come(ctx, gate)
    if ctx.attempt == 1:
        threading.Event().wait()
    return os.getpid()


def exits(ctx: Any, data: Any) -> None:
    raise SystemExit(1)


def is_of_the_worker(ctx: Any, data: Any) -> int:
    """Ask the kernel to end it by a signal of its own."""
    os.abort()


def talks_nonsense(ctx: Any, data: Any) -> None:
    """On every socket that it finds."""
    import stat

    for fd in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, b"\xff" * 100)
        except OSError:
            continue
    threading.Event().wait()


def prints_late(ctx: Any, data: Any) -> str:
    """From a thread that outlives the execution for a moment."""
    thread = threading.Timer(0.01, lambda: os.write(1, b"late\n"))
    thread.daemon = True
    thread.start()
    return "done"
