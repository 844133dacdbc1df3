"""The main program of a template: a worker that has imported everything, runs nothing, and forks workers."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys

from propolis.messages import ForkWorker, PrepareWorker, WorkerExited, WorkerForked, WorkerReady

from .child import Known, serve
from .family import adopt_orphans, end_children, end_strangers, kill_group
from .guard import die_with_parent, live_past_parent, watch_parent
from .line import Line

__all__ = ["run_template"]

LOOK_MILLISECONDS = 1000
"""How often a template looks whether the runtime is there, where the system does not tell of its end."""


def run_template(line: Line, prepare: PrepareWorker, known: dict[str, Known]) -> None:
    """Fork a worker for every request, and tell how each one ended. Returns in the workers, when they are to exit.

    It has one thread, so that a fork takes no lock with it that somebody else holds; what executors import may start
    others all the same.
    """
    wake_out, wake_in = os.pipe()
    for fd in (wake_out, wake_in):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    adopt_orphans()
    runtime = watch_parent(prepare.parent_pid)
    live_past_parent()
    watch, pause = select.poll(), None if runtime else LOOK_MILLISECONDS
    for fd in (line.fileno(), wake_out, *runtime):
        watch.register(fd, select.POLLIN)
    line.before_exit = end_children
    gc.freeze()  # executors and what they import, too: a look for garbage would make each worker its own copy of it
    workers: set[int] = set()
    line.send(WorkerReady(pid=os.getpid()))
    while True:
        ready = [fd for fd, _ in watch.poll(pause)]
        if wake_out in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_out, 4096)
            _bury(line, workers)
        found = line.read_with_fds() if line.fileno() in ready else []
        if found is None or os.getppid() != prepare.parent_pid:
            end_children()  # the runtime is gone, or wants no more
            os._exit(0)
        for message, fds in found:
            assert isinstance(message, ForkWorker)
            worker = _fork(line, message, fds, workers)
            if worker is None:
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (wake_out, wake_in, *runtime):
                os.close(fd)
            serve(worker, prepare, known)
            return


def _fork(line: Line, message: ForkWorker, fds: list[int], workers: set[int]) -> Line | None:
    """The worker's own line, in the worker; None in the template."""
    template, (own, out, err) = os.getpid(), fds
    pid = _forked()
    if pid != 0:
        for fd in fds:
            os.close(fd)
        if pid is not None:
            workers.add(pid)
        line.send(WorkerForked(number=message.number, pid=pid or 0))
        return None
    die_with_parent(template)  # before anything else: until here it is in the template's group, which ends with it
    os.setpgid(0, 0)
    line.close()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    # those of the template remember what kind of file they were opened on
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, encoding="utf-8", closefd=False) for fd in (1, 2))  # noqa: SIM115
    return Line(own)


def _forked() -> int | None:
    """As os.fork(); None where the system has no room for another: the workers that are there go on."""
    try:
        return os.fork()
    except OSError:
        return None


def _bury(line: Line, workers: set[int]) -> None:
    """Every worker that has ended, with what it has left: that is below the template from then on."""
    while True:
        try:
            pid, status = _wait_for_any()
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in workers:
            workers.remove(pid)
            line.send(WorkerExited(pid=pid, returncode=os.waitstatus_to_exitcode(status)))
        end_strangers(workers)


def _wait_for_any() -> tuple[int, int]:
    """A worker that has ended, and its status; what it has started is killed. (0, 0) for none."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            kill_group(pid)
        return pid, status
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return 0, 0
    kill_group(ended.si_pid)  # while nobody has waited for it, the number is its own
    return os.waitpid(ended.si_pid, 0)
