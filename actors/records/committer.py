"""The commit thread and the read thread: where the store is touched while a runtime runs, but for a small commit in
memory, which is made on the actor loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from propolis.messages import RuntimeStopped

from ..core import Reply

if TYPE_CHECKING:
    from propolis.messages import Write

    from ..host import Host
    from ..stores import Store

__all__ = ["StoreThread", "StoreThreads"]

R = TypeVar("R")

HERE_MAX: Final = 16
"""Writes that are committed on the actor loop, where the store allows it: they take under a millisecond there, and four
changes of thread less than on the commit thread."""


class StoreThread:
    """One thread that runs jobs in order; each job's outcome goes to its `Reply`."""

    def __init__(self, host: Host, name: str) -> None:
        self._worker = host.spawn_worker(name)
        self._giving = threading.Lock()  # any thread gives, and a number that is lost would never be made up for
        self._given = self._done = 0

    def submit(self, job: Callable[[], R]) -> Reply[R]:
        """Run `job` on the thread. Any thread may call; the reply gets RuntimeStopped after `close()`."""
        reply: Reply[R] = Reply()

        def run() -> Callable[[], None]:
            try:
                return partial(reply.set, job())
            except BaseException as error:  # noqa: BLE001 - whoever asked decides; the thread goes on
                return partial(reply.set_error, error)
            finally:
                self._done += 1

        with self._giving:
            self._given += 1
        if not self._worker.submit(run):
            reply.set_error(RuntimeStopped())
        return reply

    @property
    def idle(self) -> bool:
        """Whether all that it was given is done, and it is open."""
        return self._given == self._done

    def close(self) -> None:
        """End the thread after the jobs that are queued. Not from the thread itself."""
        self._worker.close()


class StoreThreads:
    """A store with a thread to write and one to read, so that a long list does not hold up a commit."""

    def __init__(self, host: Host, open_store: Callable[[], Store]) -> None:
        self.host = host
        self.store: Store | None = None
        self._open_store = open_store
        self._writing = StoreThread(host, "propolis-commit")
        self._reading = StoreThread(host, "propolis-read")

    def open(self) -> Reply[Store]:
        """Open the store, on the commit thread."""

        def job() -> Store:
            self.store = self._open_store()
            return self.store

        return self._writing.submit(job)

    def write(self, job: Callable[[Store], R]) -> Reply[R]:
        """Run a job that may write, in order with the commits."""

        def write() -> R:
            self.host.reach("runtimes.before")
            done = job(self._opened())
            self.host.reach("runtimes.after")
            return done

        return self._writing.submit(write)

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> Reply[list[Any]]:
        """Commit a batch. On the actor loop, and there a small one at once if nothing would have to be waited for."""
        if len(writes) <= HERE_MAX and self._writing.idle and self.host.commits_here:
            done = self._commit_here(runtime_id, batch, writes)
            if done is not None:
                return done

        def write() -> list[Any]:
            self.host.reach("commit.before")
            outcomes = self._opened().commit(runtime_id, batch, writes)
            self.host.reach("commit.after")
            return outcomes

        return self._writing.submit(write)

    def _commit_here(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> Reply[list[Any]] | None:
        commit_here = getattr(self.store, "commit_here", None)  # a user's own store need not have it
        if commit_here is None:
            return None
        done: Reply[list[Any]] = Reply()
        self.host.reach("commit.before")
        try:
            outcomes = commit_here(runtime_id, batch, writes)
        except BaseException as error:  # noqa: BLE001 - as on the thread
            done.set_error(error)
            return done
        if outcomes is None:
            return None
        self.host.reach("commit.after")
        done.set(outcomes)
        return done

    def last_seq(self) -> Reply[int]:
        """Where the numbering of events stands: before every commit that is yet to be given, wherever it is made."""
        return self._writing.submit(lambda: self._opened().last_seq())

    def read(self, job: Callable[[Store], R]) -> Reply[R]:
        """Run a job that only reads."""
        return self._reading.submit(lambda: job(self._opened()))

    def _opened(self) -> Store:
        if self.store is None:
            raise RuntimeStopped(reason="not started")
        return self.store

    def close(self) -> None:
        """Finish what is queued, close the store, end the threads. Blocks; not from an actor."""
        self._reading.close()
        store, self.store = self.store, None
        if store is not None:
            self._writing.submit(lambda: _close(store))
        self._writing.close()


def _close(store: Store) -> None:
    store.close()  # on the thread: a user's own store may fail at it, or be none at all, and the rest is still to end
