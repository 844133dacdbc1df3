"""How a fresh interpreter becomes a worker: its command line, and the first line that it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["boot_line", "command"]

# Not multiprocessing: that would run the program's own `__main__` again. sys.path comes first, so that what the
# program can import the worker can. What is imported here is never garbage: to look for some took a sixth of the start,
# and would take the longest part of every look later. Before all that it is made to die with its parent, as in `guard`:
# a fork of the program may hold the other end of the line, so that its end is not heard.
_BOOT = (
    "import ctypes, gc, json, os, sys\n"
    "if sys.platform == 'linux': ctypes.PyDLL(None).prctl(1, 9, 0, 0, 0)\n"
    "if os.getppid() != int(sys.argv[2]): os._exit(1)\n"
    "gc.disable()\n"
    "fd = int(sys.argv[1])\n"
    "text = b''\n"
    "while text[-1:] != b'\\n': text += os.read(fd, 1) or os._exit(1)\n"
    "sys.path[:] = json.loads(text)\n"
    "from propolis.actors.placements.process import main\n"
    "gc.freeze()\n"
    "gc.enable()\n"
    "main(fd)\n"
)


def command(fd: int) -> list[str]:
    """The command line of a worker of this process whose line is at `fd`."""
    # the flags of this interpreter (-X, -W, -O, ...), as multiprocessing passes them on
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-c", _BOOT, str(fd), str(os.getpid())]


def boot_line() -> bytes:
    """What it reads before it can import anything: where this process imports from."""
    return json.dumps([path or str(Path.cwd()) for path in sys.path]).encode() + b"\n"
