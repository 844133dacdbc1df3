"""What is said of an execution whose worker has died. Pure."""

from __future__ import annotations

import signal

from propolis.messages import Failure, Payload

__all__ = ["death", "imports_failure", "memory_failure", "overdue_failure"]

MEGABYTE = 1024 * 1024


def death(returncode: int | None, pid: int | None, *, starting: bool = False) -> Failure:
    """Of a worker that nobody here has killed. It is retryable: `retry_on` is about exceptions, and here was none."""
    when = " while it was starting" if starting else ""
    if returncode is not None and returncode < 0:
        name = _signal_name(-returncode)
        details = {"signal": name, "signal_number": -returncode, "pid": pid}
        code, what = "worker_signal", f"was ended by {name}"
    else:
        details = {"exit_status": returncode, "pid": pid}
        code, what = "worker_exit", f"exited with status {returncode} in the middle of the execution"
    return Failure(
        kind="WorkerDied", message=f"worker process {pid} {what}{when}", code=code, details=Payload.of(details)
    )


def memory_failure(rss: int, limit: int) -> Failure:
    """Of a worker that has more memory than it may."""
    return Failure(
        kind="WorkerDied",
        message=f"its worker process took {rss >> 20} MB of memory, and the limit is {limit >> 20} MB",
        code="out_of_memory",
        details=Payload.of({"rss_bytes": rss, "limit_bytes": limit}),
    )


def overdue_failure(seconds: float) -> Failure:
    """Of a worker that was to be forked, and has not said within so many seconds that it is ready."""
    return Failure(
        kind="WorkerDied",
        message=f"a worker was not ready {seconds:g} s after its template was to fork it; it may hang at a lock that a "
        'thread of the template held at the fork. If importing its executors starts threads, use start_method="spawn".',
        code="worker_not_started",
        retryable=True,
    )


def imports_failure(needed: int, limit: int) -> Failure:
    """Of a worker that could run nothing within its limit: no other would fare better, so it is not retried."""
    return Failure(
        kind="WorkerDied",
        message=f"a worker process needs {-(-needed // MEGABYTE)} MB with what its executors import, and memory_mb is "
        f"{limit // MEGABYTE}. Give Placement.process(memory_mb=…) more than that, or import less.",
        code="out_of_memory",
        retryable=False,
        details=Payload.of({"needed_bytes": needed, "limit_bytes": limit}),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal, say
        return f"signal {number}"
