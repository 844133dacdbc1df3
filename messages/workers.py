"""What passes between a runtime and its worker processes, beside what executor and actor say to each other."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from .base import Message
from .failure import Failure
from .history import RunHistory
from .payload import Payload
from .records import ExecutionSpec

__all__ = [
    "ForkWorker",
    "InterruptAttempt",
    "LearnExecutor",
    "PrepareWorker",
    "RunAttempt",
    "StopWorker",
    "WorkerExited",
    "WorkerForked",
    "WorkerIdle",
    "WorkerInfo",
    "WorkerReady",
    "WorkerUnfit",
    "WorkersReport",
]


class LearnExecutor(Message, tag="worker.learn.v1"):
    """To a worker: import this executor; attempts name it by its key. Names are `module:qualname`."""

    key: str
    executor: str
    file: str | None = None
    """Where this process has the module from; the worker must find the same."""
    entry_point: str
    graph_id: str | None = None
    entry_node: str | None = None
    retry_on: tuple[str, ...] = ()
    never_on: tuple[str, ...] = ()


class PrepareWorker(Message, tag="worker.prepare.v1"):
    """To a new worker, first: under whom it lives, with which limits, and what it will be asked to run."""

    parent_pid: int
    payload_limit: int
    memory_bytes: int | None = None
    log_level: int = 20
    executors: tuple[LearnExecutor, ...] = ()
    template: bool = False
    """It is to fork workers, and run nothing itself."""


class WorkerReady(Message, tag="worker.ready.v1"):
    """From a worker: everything is imported; it takes attempts (or, a template, forks)."""

    pid: int


class WorkerUnfit(Message, tag="worker.unfit.v1"):
    """From a worker, before it exits: why it can run nothing."""

    failure: Failure


class RunAttempt(Message, tag="worker.run.v1"):
    """To a worker: run one attempt."""

    key: str
    spec: ExecutionSpec
    epoch: int
    attempt: int
    memory: Payload | None = None
    resume_from: str | None = None
    history: RunHistory | None = None
    announced: bool = False


class InterruptAttempt(Message, tag="worker.interrupt.v1"):
    """To a worker: somebody wants this attempt to end or to pause, or it has been superseded."""

    execution_id: str
    epoch: int
    how: Literal["fence", "pause", "cancel"]


class WorkerIdle(Message, tag="worker.idle.v1"):
    """From a worker, behind the end of an attempt: it takes the next one.

    `dirty`: the attempt has left threads or processes behind, or met the end of its memory; use another worker.
    """

    dirty: bool = False


class StopWorker(Message, tag="worker.stop.v1"):
    """To a worker: exit."""


class ForkWorker(Message, tag="worker.fork.v1"):
    """To a template, with three file descriptors (protocol, stdout, stderr): fork a worker."""

    number: int


class WorkerForked(Message, tag="worker.forked.v1"):
    """From a template: the worker is there; with pid 0: it could not be forked."""

    number: int
    pid: int


class WorkerExited(Message, tag="worker.exited.v1"):
    """From a template, which is the parent of its workers: how one ended, as `subprocess` says it."""

    pid: int
    returncode: int


class WorkerInfo(Message, tag="worker.info.v1"):
    """One worker process, as `runtime.workers()` shows it."""

    pool: str
    pid: int | None
    """None while it is being started."""
    state: Literal["starting", "idle", "busy", "stopping"]
    execution_id: str | None = None
    """What it runs."""
    executions: int = 0
    """Attempts that it has ended."""
    rss_bytes: int | None = None


class WorkersReport(Message, tag="worker.report.v1"):
    """The workers of a runtime as it last wrote them into its store, for `propolis top`; their memory is not in it."""

    runtime_id: str
    at: datetime
    workers: tuple[WorkerInfo, ...] = ()
