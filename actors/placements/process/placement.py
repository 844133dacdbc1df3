"""The process placement: executors in worker processes, which may die of whatever they do."""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Any

from propolis.messages import InvalidInput, LearnExecutor, WorkerInfo

from ...executors import Beginning, ExecutorPlan
from ...host import Host
from ...specs import EntryPoint, Placement
from .importing import file_of, name_of_import
from .io import WorkersThread
from .pool import Pool

if TYPE_CHECKING:
    from ...core import Ref
    from .attempt import ProcessAttempt

__all__ = ["ProcessLauncher", "ProcessPlacement"]


class ProcessLauncher:
    """Of one stream: its executor in its pool. The pool's first worker is started when the stream is opened."""

    def __init__(self, owner: ProcessPlacement, placement: Placement, workers: int, executor: LearnExecutor) -> None:
        self._owner = owner
        self._placement = placement
        self._workers = workers
        self._executor = executor
        self._pool: Pool | None = None

    def launch(self, plan: ExecutorPlan, entry_point: EntryPoint, begin: Beginning, ref: Ref[Any]) -> ProcessAttempt:
        """Begin an attempt in a worker, or queue it for one."""
        if self._pool is None:
            self.stream_opened()
        assert self._pool is not None
        return self._pool.launch(self._executor, begin, ref)

    def stream_opened(self) -> None:
        """Have workers ready for it."""
        if self._pool is None:
            self._pool = self._owner.pool_for(self._executor, self._placement, self._workers)
            self._pool.learn(self._executor)

    def stream_closed(self) -> None:
        """End its workers, if they are for nobody else."""
        pool, self._pool = self._pool, None
        if pool is not None and pool.forget(self._executor.key) == 0:
            self._owner.close_pool(pool)


class ProcessPlacement:
    """The pools of a runtime, and the thread that serves them; both are there once a stream wants them."""

    def __init__(self, host: Host, payload_limit: int, grace_seconds: float) -> None:
        self._host = host
        self._limit = payload_limit
        self._grace = grace_seconds
        self._io = WorkersThread(host)
        self._lock = threading.Lock()
        self._pools: dict[str, Pool] = {}
        self._closing: list[Pool] = []
        self._keys = itertools.count(1)

    def launcher(self, entry_point: EntryPoint, placement: Placement, executor: Any) -> ProcessLauncher:
        """Look at an executor and where it is to run; nothing is started. Any thread.

        Raises:
            ExecutorNotImportable: a worker could not import it, or an exception that its restart policy names.
            InvalidInput: the pool's name belongs to one with other settings.
        """
        restart, name = entry_point.restart, name_of_import(executor)
        learn = LearnExecutor(
            key=f"{entry_point.id}#{next(self._keys)}",
            executor=name,
            file=file_of(name),
            entry_point=entry_point.id,
            graph_id=entry_point.graph_id,
            entry_node=entry_point.entry_node,
            retry_on=tuple(name_of_import(kind) for kind in restart.retry_on),
            never_on=tuple(name_of_import(kind) for kind in restart.never_on),
        )
        workers = placement.workers or min(entry_point.max_concurrent, os.cpu_count() or 1)
        if placement.name is not None:
            self._check_shared(placement, placement.name)
        return ProcessLauncher(self, placement, workers, learn)

    def _check_shared(self, placement: Placement, name: str) -> None:
        with self._lock:
            known = self._pools.get(f"name:{name}")
        if known is not None and known.placement != placement:
            raise InvalidInput(
                what="Placement.name",
                reason=f"pool {name!r} is there already, with other settings",
                remedy="Give both streams the same Placement.process(...), or another name.",
            )

    def pool_for(self, executor: LearnExecutor, placement: Placement, workers: int) -> Pool:
        """The pool of a stream, or the one that it shares."""
        shared = placement.name is not None
        name = f"name:{placement.name}" if shared else executor.key
        with self._lock:
            pool = self._pools.get(name)
            if pool is None:
                shown = placement.name if placement.name is not None else executor.entry_point
                pool = Pool(shown, placement, workers, self._io, self._limit, self._grace)
                self._pools[name] = pool
        return pool

    def close_pool(self, pool: Pool) -> None:
        """Nobody wants it any more."""
        with self._lock:
            self._pools = {name: known for name, known in self._pools.items() if known is not pool}
            self._closing = [known for known in self._closing if not known.wait(0.0)] + [pool]
        pool.close()

    def workers(self, *, measured: bool = True) -> tuple[WorkerInfo, ...]:
        """Every worker process as it stands; `measured`: with its memory. Any thread."""
        with self._lock:
            pools = list(self._pools.values())
        return tuple(info for pool in pools for info in pool.info(measured=measured))

    def close(self, timeout: float) -> bool:
        """End every worker and the thread. Blocks. False when something is left after `timeout` seconds and more."""
        with self._lock:
            pools = [*self._pools.values(), *self._closing]
            self._pools, self._closing = {}, []
        for pool in pools:
            pool.close()
        end = self._host.monotonic() + timeout
        gone = True
        for pool in pools:
            if not pool.wait(max(0.0, end - self._host.monotonic())):
                pool.kill_all()
                gone = pool.wait(5.0) and gone
        return self._io.close(5.0) and gone
