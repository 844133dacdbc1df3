"""What goes on in a store right now: its runtimes, their workers, what has not ended. For `propolis top`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from propolis.actors import Store, is_running, process_started, rss_of
from propolis.messages import ExecutionSpec, ExecutionState, RuntimeRow, WorkerInfo, WorkersReport

from .plain import iso

__all__ = ["Overview", "SeenExecution", "SeenRuntime", "SeenWorker", "look"]


@dataclass(frozen=True, slots=True)
class SeenRuntime:
    """A runtime that is registered. `running`: whether its process is; None when that is on another machine."""

    row: RuntimeRow
    running: bool | None
    rss_bytes: int | None
    workers: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runtime_id": self.row.runtime_id,
            "machine": self.machine,
            "pid": self.row.pid,
            "running": self.running,
            "started_at": iso(self.row.started_at),
            "rss_bytes": self.rss_bytes,
            "workers": self.workers,
        }

    @property
    def machine(self) -> str:
        """Its name."""
        return self.row.host.partition("/")[0]


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker process, as its runtime has told within the last seconds; its memory as it is now."""

    runtime_id: str
    info: WorkerInfo

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        info = self.info
        return {
            "runtime_id": self.runtime_id,
            "pool": info.pool,
            "pid": info.pid,
            "state": info.state,
            "execution_id": info.execution_id,
            "executions": info.executions,
            "rss_bytes": info.rss_bytes,
        }


@dataclass(frozen=True, slots=True)
class SeenExecution:
    """An execution that has not ended; `pid` of the worker that runs it, if one does."""

    spec: ExecutionSpec
    state: ExecutionState
    pid: int | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        spec, state = self.spec, self.state
        return {
            "execution_id": spec.execution_id,
            "session_id": spec.session_id,
            "stream_id": spec.stream_id,
            "status": state.status,
            "attempt": state.attempt,
            "restarts": state.restarts,
            "runtime_id": state.owner,
            "pid": self.pid,
            "accepted_at": iso(spec.accepted_at),
            "started_at": iso(state.started_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One look. `counts`: of what has not ended, by status, of which `executions` are those that run first."""

    store: str
    at: datetime
    counts: Mapping[str, int]
    runtimes: tuple[SeenRuntime, ...]
    workers: tuple[SeenWorker, ...]
    executions: tuple[SeenExecution, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "store": self.store,
            "at": iso(self.at),
            "unfinished": dict(self.counts),
            "runtimes": [runtime.plain() for runtime in self.runtimes],
            "workers": [worker.plain() for worker in self.workers],
            "executions": [execution.plain() for execution in self.executions],
        }


def look(store: Store, at: datetime, limit: int) -> Overview:
    """Read a store, and ask the system about the processes that it names. At most `limit` executions."""
    rows = store.runtimes()
    alive = {row.runtime_id: is_running(row) for row in rows}
    workers = tuple(
        worker for report in store.workers() for worker in _seen(report, running=alive.get(report.runtime_id, False))
    )
    pids = {worker.info.execution_id: worker.info.pid for worker in workers if worker.info.execution_id is not None}
    return Overview(
        store=store.name,
        at=at,
        counts={str(status): count for status, count in store.count_unfinished().items()},
        runtimes=tuple(
            SeenRuntime(
                row,
                alive[row.runtime_id],
                rss_of(row.pid) if alive[row.runtime_id] else None,
                sum(worker.runtime_id == row.runtime_id for worker in workers),
            )
            for row in rows
        ),
        workers=workers,
        executions=tuple(
            SeenExecution(spec, state, pids.get(spec.execution_id))
            for spec, state in store.list_unfinished(limit=limit)
        ),
    )


def _seen(report: WorkersReport, *, running: bool | None) -> Iterator[SeenWorker]:
    """Those that are there: with the memory that they have now, where this machine can say."""
    for worker in report.workers if running is not False else ():
        if not running:
            yield SeenWorker(report.runtime_id, worker)
        elif worker.pid is None or process_started(worker.pid) is not None:
            yield SeenWorker(report.runtime_id, worker.model_copy(update={"rss_bytes": rss_of(worker.pid)}))
