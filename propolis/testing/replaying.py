"""`check_replay`: an executor, crashed at each thing that it records in turn, comes to the same result."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar, cast

from propolis.actors import EntryPoint, Host, RuntimeConfig, Store, open_store
from propolis.messages import (
    ENDED,
    AdvanceExecution,
    ExecutionResult,
    RecordedStep,
    RecordSteps,
    RuntimeRow,
    StoreUnavailable,
    Write,
)

from ..calls import Call
from ..runtime import Runtime
from .clock import ManualHost
from .tracing import Key, Trace, tell_key, traced

__all__ = ["check_replay"]

R = TypeVar("R")

TICK: Final = 0.002
"""Seconds between two looks at how far a run is; so much passes on its clock, too."""

_STOP_SECONDS: Final = 30.0
"""How long the end of a runtime may take, also when a run has taken too long."""

_CONFIG: Final = RuntimeConfig(lease_seconds=1e7, grace_seconds=1.0)


def check_replay(
    executor: Any,
    input: Any = None,
    *,
    memory: dict[str, Any] | None = None,
    entry_point: EntryPoint | None = None,
    timeout: float = 60.0,
) -> ExecutionResult:
    """Run an executor in memory; then crash it at each step, checkpoint and wait in turn, and have it recovered.

    Each re-run has to call the same steps with the same arguments, and to come to the same result and memory:

        def order(ctx, items):
            price = ctx.step("price", sum, items)
            ctx.sleep(3_600)
            return ctx.step("charge", lambda amount: f"charged {amount}", price)

        assert "charged 5" == check_replay(order, [2, 3]).output

        def careless(ctx, items):
            ctx.step("price", sum, items)
            return ctx.step("note", str, time.monotonic())  # another one in each re-run

        try:
            check_replay(careless, [2, 3])
        except AssertionError as error:
            assert "step 'note'" in str(error)

    What makes it fail is what would fail after a real crash: a clock, a random number or a global that is read outside
    of a step, an order that a set gives, something that was held in a variable and not in a checkpoint's memory.

    The functions of steps are called in the first run only; where a re-run calls one again, it gets what that gave.
    Sleeps take no time. The process does not really die: its runtime loses its place in the store, is ended, and
    another one takes over; so what an executor does in a `finally` is done. `async def` and `def` executors; the
    placement of the `entry_point` must not be a process. Blocks; on no event loop. Returns the result of the first run.

    Raises:
        AssertionError: a re-run differs; names the crash, and the step or the value that does.
        TimeoutError: a run takes longer than `timeout` seconds, or waits for what does not come.
    """
    point = entry_point if entry_point is not None else EntryPoint(id="check_replay")
    trace = Trace()
    first = _run(executor, input, memory, point, trace, None, timeout)
    trace.check("without a crash")
    for crash in range(len(first.recorded)):
        again = trace.again()
        second = _run(executor, input, memory, point, again, crash, timeout)
        where = f"after a crash {'behind ' + first.recorded[crash - 1] if crash else 'at its beginning'}"
        again.check(where)
        for what, expected in first.told.items():
            actual = second.told[what]
            assert expected == actual, f"{where}, its {what} is {actual!r:.500} in place of {expected!r:.500}"
    return first.result


class _Run(NamedTuple):
    """How one run went."""

    result: ExecutionResult
    recorded: Sequence[str]
    """What it recorded, in order, its end included."""

    @property
    def told(self) -> dict[str, Any]:
        """What is to be the same in every run."""
        it = self.result
        return {"status": it.status, "output": it.output, "error": it.error, "memory": it.session_state}


def _run(
    executor: Any,
    input: Any,
    memory: dict[str, Any] | None,
    point: EntryPoint,
    trace: Trace,
    crash: int | None,
    timeout: float,
) -> _Run:
    host = _ReplayHost()
    inner = open_store("memory:", host=host)
    body = traced(executor, trace)
    execution_id: str | None = None
    due: datetime | None = None
    try:
        while True:
            store = _Mortal(inner, crash, due)
            wait = _Waiting(host, store, timeout)
            runtime = Runtime(store.open, config=_CONFIG, host=host)
            wait.for_(runtime.start())
            try:
                stream = wait.for_(runtime.open_stream(point, body))
                if execution_id is None:
                    execution_id = wait.for_(stream.execute(input, memory=memory))
                ending = stream.wait_for_completion(execution_id)
                if wait.outlives(ending):
                    result = ending.get()
                    assert result is not None
                    return _Run(result, tuple(store.recorded))
            finally:
                _Waiting(host, store, _STOP_SECONDS).for_(runtime.stop(grace=0.0))
            crash, due = None, store.due
    finally:
        inner.close()


class _ReplayHost(ManualHost):
    """Every run has the same ids, so that steps may have them among their arguments. Each commit goes by `_Mortal`."""

    commits_here = False

    def __init__(self) -> None:
        super().__init__()
        self._drawn = itertools.count(1)

    def new_session_id(self, at: datetime | None = None) -> str:  # noqa: ARG002 - it is the same at any time
        return f"session_20260101_000000_{next(self._drawn):016x}"

    def new_execution_id(self) -> str:
        return f"exec_{next(self._drawn):023x}"


class _Waiting:
    """Lets time pass on the clock while it waits: as much as outside, and as much as it takes while it is parked."""

    def __init__(self, host: ManualHost, store: _Mortal, timeout: float) -> None:
        self._host = host
        self._store = store
        self._left = timeout
        self._timeout = timeout

    def for_(self, reply: Call[R]) -> R:
        """Wait for a reply."""
        self._until(reply.done)
        return reply.get()

    def outlives(self, reply: Call[Any]) -> bool:
        """Wait for a reply, or the death of the runtime that is to give it. False when that died first."""
        self._until(lambda: self._store.dead or reply.done())
        return not self._store.dead

    def _until(self, over: Callable[[], bool]) -> None:
        pause = threading.Event()
        while not over():
            self._host.advance(self._step())
            pause.wait(TICK)
            self._left -= TICK
            if self._left <= 0.0:
                raise TimeoutError(f"a run of the executor took longer than {self._timeout:g} s")

    def _step(self) -> float:
        if self._store.dead:
            return 1.0  # of its stop, which would wait for the store
        due = self._store.due
        return TICK if due is None else max(TICK, (due - self._host.now()).total_seconds())


class _Mortal:
    """A store in which a runtime is declared dead when it is about to record something for the n-th time. From then on
    the store is closed to it, so that nothing which it does in its end is kept.
    """

    def __init__(self, store: Store, crash: int | None, due: datetime | None) -> None:
        self._store = store
        self._crash = crash
        self.recorded: list[str] = []
        self.dead = False
        self.due = due
        """Until when what is parked waits, where it waits for a time."""

    def open(self, host: Host) -> Store:  # noqa: ARG002 - the one behind it is open
        return cast("Store", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def close(self) -> None:
        """The one behind it is for the next runtime."""

    def register(self, row: RuntimeRow) -> None:
        self._refuse_dead()
        self._store.register(row)

    def release(self, runtime_id: str) -> None:
        self._refuse_dead()
        self._store.release(runtime_id)

    def _refuse_dead(self) -> None:
        if self.dead:
            raise StoreUnavailable(store=self._store.name, reason="this runtime is dead")

    def commit(self, runtime_id: str, batch: int, writes: Sequence[Write]) -> list[Any]:
        told = [name for write in writes for name in _records(write)]
        if told and len(self.recorded) == self._crash and not self.dead:
            self._store.forget((runtime_id,))
            self.dead = True
        self._refuse_dead()
        outcomes = self._store.commit(runtime_id, batch, writes)
        if told:
            self.recorded.append(" and ".join(told))
        for write in writes:
            if isinstance(write, AdvanceExecution):
                parked = write.status == "parked"
                dues = [step.due_at for step in write.steps if step.due_at is not None]
                self.due = min(dues, default=self.due) if parked else None
        return list(outcomes)


def _records(write: Write) -> list[str]:
    """What a write keeps of an executor, in words."""
    if not isinstance(write, (AdvanceExecution, RecordSteps)):
        return []
    told = [_told(step) for step in write.steps]
    point = write if isinstance(write, RecordSteps) else write.checkpoint
    if point is not None and point.ordinal:
        told.append(f"checkpoint {point.ordinal}" + (f" ({point.node!r})" if point.node is not None else ""))
    if isinstance(write, AdvanceExecution) and write.status in ENDED:
        told.append("its end")
    return told


def _told(step: RecordedStep) -> str:
    begun = "the beginning of " if step.status == "begun" else ""
    return begun + tell_key(Key(step.segment, step.kind, step.name, step.call))
