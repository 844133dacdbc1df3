"""`FailingStore`: a real store whose commits fail, or wait, when the test says so."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from propolis.actors import Host, Store, open_store
from propolis.messages import Write

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["FailingStore", "HeldCommit"]


class FailingStore:
    """Stands before a store and does to its commits what the test has planned; reads and the rest pass.

        failing = FailingStore("memory:")
        with Runtime(failing.open) as runtime:
            stream = runtime.open_stream(EntryPoint(id="double"), lambda ctx, n: 2 * n).get()
            failing.next_commit(StoreUnavailable(store="memory:", reason="the disk is full"), landed=True)
            assert 4 == stream.run(2).get(timeout=10).output

    A commit is one transaction of many writes; a runtime also makes one to show that it is alive. Every method may be
    called from any thread.
    """

    def __init__(self, store: str | Callable[[Host], Store] = "memory:") -> None:
        self._source = store
        self._store: Store | None = None
        self._changing = threading.Lock()
        self._plans: deque[_Plan | None] = deque()
        self._batches: list[tuple[Write, ...]] = []

    commit_here = None  # what a test plans is for `commit()`

    def open(self, host: Host) -> Store:
        """Open the store behind this one: pass this method itself as `Runtime(store)`."""
        source = self._source
        self._store = open_store(source, host=host) if isinstance(source, str) else source(host)
        return cast("Store", self)  # all that is not here comes from that one, by __getattr__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self._store is None:
            raise AttributeError(f"{name}: the store behind this one has not been opened")
        return getattr(self._store, name)

    # -- the test's side ---------------------------------------------------------------------------------------------

    def next_commit(self, error: BaseException, *, landed: bool = False, skip: int = 0, times: int = 1) -> None:
        """Have the next commit, after `skip` others, raise `error`; and those after it, if `times` says so.

        With `landed` the store has taken the commit before the error is raised: the one who commits is in doubt.
        Plans are for one commit each, made in order: a later call is about commits after those planned already.
        """
        plan = _Plan(landed=landed, error=error)
        with self._changing:
            self._plans.extend([None] * skip + [plan] * times)

    def hold_commit(self, *, landed: bool = False, skip: int = 0) -> HeldCommit:
        """Have the next commit, after `skip` others, wait before it is made, or with `landed` after it.

        Use as a context manager, so that it is let go at the end in any case:

            with failing.hold_commit() as held:
                held.wait_reached()
                ...
        """
        held = HeldCommit()
        with self._changing:
            self._plans.extend([*[None] * skip, _Plan(landed=landed, held=held)])
        return held

    def forget_plans(self) -> None:
        """Let all commits pass from now on."""
        with self._changing:
            self._plans.clear()

    @property
    def batches(self) -> tuple[tuple[Write, ...], ...]:
        """What every commit so far was called with, those that failed too."""
        with self._changing:
            return tuple(self._batches)

    # -- the store's side --------------------------------------------------------------------------------------------

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Any]:
        """Commit, or do as planned."""
        with self._changing:
            self._batches.append(tuple(writes))
            plan = self._plans.popleft() if self._plans else None
        if self._store is None:
            raise AttributeError("the store behind this one has not been opened")
        if plan is not None and not plan.landed:
            plan.carry_out()
        outcomes = self._store.commit(runtime_id, batch, writes)
        if plan is not None and plan.landed:
            plan.carry_out()
        return list(outcomes)


class HeldCommit:
    """A commit that waits for the test."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._released = threading.Event()

    def wait_reached(self, timeout: float = 5.0) -> None:
        """Block until the commit waits. Raises TimeoutError when none came in `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no commit within {timeout:g} s")

    def release(self) -> None:
        """Let it go on."""
        self._released.set()

    def pass_through(self) -> None:
        """On the commit thread: wait until released."""
        self._reached.set()
        self._released.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Plan:
    """What becomes of one commit."""

    def __init__(self, *, landed: bool, error: BaseException | None = None, held: HeldCommit | None = None) -> None:
        self.landed = landed
        self._error = error
        self._held = held

    def carry_out(self) -> None:
        if self._held is not None:
            self._held.pass_through()
        if self._error is not None:
            raise self._error
