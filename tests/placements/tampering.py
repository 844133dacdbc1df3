"""Executors that leave their process, or the line to its runtime, other than they found it."""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from propolis.actors.placements.process.frames import encoded

from propolis.messages import AttemptEnded, GiveUp, Message, Payload, WorkerIdle, WorkerReady


def which(ctx: Any, data: Any) -> int:
    return os.getpid()


def looks_for_garbage(ctx: Any, data: Any) -> tuple[bool, bool]:
    """Whether it does at all, and whether there is something that it leaves out."""
    return gc.isenabled(), gc.get_freeze_count() > 10_000


def changes(ctx: Any, what: str) -> int:
    CHANGES[what]()
    return os.getpid()


class _Hostile:
    def write(self, text: str) -> int:
        raise SystemExit

    def flush(self) -> None:
        raise SystemExit


def _close_standard_streams() -> None:
    for fd in (0, 1, 2):
        os.close(fd)


def _redirect_to_a_pipe_of_its_own() -> None:
    _, end = os.pipe()
    os.dup2(end, 1)


def _limit_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def _replace_streams() -> None:
    sys.stdout = sys.stderr = _Hostile()  # type: ignore[assignment]


def _nothing(*_: object) -> None:
    pass


CHANGES = {
    "streams": _close_standard_streams,
    "pipe": _redirect_to_a_pipe_of_its_own,
    "objects": _replace_streams,
    "folder": lambda: os.chdir("/"),
    "mask": lambda: os.umask(0o777),
    "limit": _limit_descriptors,
    "alarm": lambda: signal.alarm(60),
    "handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "ignored": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "hook": lambda: setattr(sys, "excepthook", _nothing),
    "priority": lambda: os.nice(1),
    "blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    "trace": lambda: sys.settrace(lambda *_: None),
    "recursion": lambda: sys.setrecursionlimit(10**6),
    "builtin": lambda: setattr(builtins, "sorted", None),
    "child": lambda: threading.Event().wait() if os.fork() == 0 else None,
    "atexit": lambda: (atexit.register(threading.Event().wait), sys.setrecursionlimit(10**6)),
}


def sets_up_logging_anew(ctx: Any, line: str) -> None:
    """As `dictConfig()` and `basicConfig(force=True)` do, which know nothing of the handlers that are there."""
    logging.getLogger("anew").warning(line)
    logging.getLogger().handlers.clear()


def comes_back_twice(ctx: Any, how: str) -> str:
    """Both parent and child come back out of the executor."""
    child = os.fork() == 0
    if how == "raise":
        raise LookupError("child" if child else "parent")
    return "child" if child else "parent"


def uses_its_context_in_a_child(ctx: Any, path: str) -> int:
    """Which nobody would answer; what it logs goes where it prints."""
    pid = os.fork()
    if pid == 0:
        try:
            ctx.emit("custom", {})
        except BaseException as error:  # noqa: BLE001 - kept for the test
            Path(path).write_text(type(error).__name__)
        logging.getLogger("child").warning("from the child")
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def _lines() -> Iterator[int]:
    for fd in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                yield fd
        except OSError:
            continue


def writes_half_a_frame(ctx: Any, data: Any) -> str:
    for fd in _lines():
        os.write(fd, encoded(WorkerReady(pid=1))[:-3])
    return "done"


def says(ctx: Any, what: str) -> str:
    """In the name of its worker."""
    messages: dict[str, Message] = {
        "idle": WorkerIdle(),
        "ready": WorkerReady(pid=1),
        "command": GiveUp(),
        "ended": AttemptEnded(epoch=ctx.epoch, how="returned", output=Payload.of("forged")),
    }
    for fd in _lines():
        os.write(fd, encoded(messages[what]))
    return "done"


def steals_from_the_line(ctx: Any, data: dict[str, Any]) -> str:
    """Bytes of the next message, which is a pause: the first one, all but the last one, all of them.

    It keeps the interpreter's lock all the while, or the thread that listens might be quicker, and nothing be stolen.
    """
    libc = ctypes.PyDLL(None)
    (fd,) = _lines()
    stolen = ctypes.create_string_buffer(4096)
    sys.setswitchinterval(60.0)
    try:
        libc.close(libc.creat(data["gate"].encode(), 0o600))
        size = libc.recv(fd, stolen, len(stolen), socket.MSG_PEEK)
        libc.recv(fd, stolen, {"first": 1, "most": size - 1, "all": size}[data["what"]], 0)
    finally:
        sys.setswitchinterval(0.005)
    return "stolen"


def stops_itself(ctx: Any, data: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def leaves_its_group(ctx: Any, data: Any) -> None:
    """For that of the template, and does not listen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setpgid(0, os.getppid())
    while True:
        pass


def becomes_another_program(ctx: Any, data: Any) -> None:
    os.execv("/bin/sh", ["sh", "-c", "exit 7"])


def logs_without_end(ctx: Any, data: Any) -> str:
    for number in range(5_000):
        logging.getLogger("flood").warning("line %d", number)
    return "done"


def has_daemons(ctx: Any, data: dict[str, str]) -> str:
    """One that lost its parent, one in a session of its own; they live for ever, whatever becomes of the worker."""
    path = Path(data["path"])
    if os.fork() == 0:
        os.setsid()
        Path(f"{path}.1").write_text(str(os.getpid()))
        if os.fork() == 0:
            Path(f"{path}.2.new").write_text(str(os.getpid()))
            Path(f"{path}.2.new").rename(f"{path}.2")
            threading.Event().wait()
        os._exit(0)
    other = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"], start_new_session=True)
    while not Path(f"{path}.2").exists():
        threading.Event().wait(0.005)
    path.write_text(Path(f"{path}.2").read_text() + f" {other.pid}")
    if data["then"] == "exit":
        os._exit(1)
    while data["then"] in ("spin", "template"):
        pass
    return "done"
