"""`Simulation`: whole runtimes on one store, in a world where everything happens in an order drawn from a seed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

from propolis.actors import Cell, Ref, Reply, RuntimeConfig, wait_by

from ...runtime import Runtime
from .checks import Row, Violation
from .disk import Disk
from .faults import CALM, Faults
from .process import Process
from .world import Stuck, World

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["ActorCrash", "Simulation"]

R = TypeVar("R")

PATIENCE: float = 600.0
"""Simulated seconds after which `run` gives up."""


LAST_STEPS = 30
"""Steps that an error which leaves a simulation shows."""


class ActorCrash(Exception):
    """What a simulated crash of an actor raises in it."""


class Simulation:
    """A world of its own: a clock that runs by itself, a disk, and processes with a runtime each.

    Everything that could happen in another order happens in the order that `seed` draws: which actor handles a message
    next, which thread goes on, how long a commit takes, what is due first. The same seed gives the same run, and
    `digest` tells two runs apart. Nothing takes real time: an hour of backoff is over when nothing else is to be done.

        async def triage(ctx, ticket):
            await ctx.checkpoint("read", {"read": ticket})
            return {"label": ticket.upper()}

        for seed in range(20):
            with Simulation(seed, faults=Faults(commit_in_doubt=0.2, store_seconds=0.1)) as simulation:
                stream = simulation.start().open_stream(EntryPoint(id="triage"), triage).get()
                execution_id = stream.execute("printer").get()
                simulation.run_steps(simulation.random.randrange(100))
                simulation.crash()
                stream = simulation.start().open_stream(EntryPoint(id="triage"), triage).get()
                assert stream.wait_for_completion(execution_id).get().output == {"label": "PRINTER"}

    Whatever is waited for inside the block, with `.get()` or with `run(...)`, lets the world go on until it is there;
    in between the world stands still. After every transaction the rows of the store are checked: one owner writes,
    epochs grow, an attempt is counted once, what has ended has ended; `Violation` says what did not hold. An error that
    leaves the block has the seed in its notes.

    Executors run as in any runtime: `async` ones stepwise, blocking ones on threads of which one runs at a time. What
    they do besides (files, sockets, `time.sleep`, real locks) the simulation knows nothing of; `asyncio.sleep`,
    `asyncio.to_thread` and what `ctx` offers are simulated. There are no worker processes.

    `quiet`: what Propolis logs meanwhile goes nowhere.
    """

    def __init__(self, seed: int = 0, *, faults: Faults = CALM, store: str = "memory:", quiet: bool = True) -> None:
        self.seed = seed
        self.faults = faults
        self.world = World(seed)
        self.random = self.world.random
        """For what the scenario draws itself, so that its seed decides that too."""
        self._store = store
        self._quiet = quiet
        self._processes: dict[Runtime, Process] = {}
        self._outside = Process(self.world, "outside")
        self._numbers = 0
        self._open = contextlib.ExitStack()
        self.disk: Disk
        """What outlives a process."""

    # -- the world ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._quiet:
            self._open.enter_context(_quiet())
        self.disk = Disk(self.world, self._store, self._outside.host)
        self._open.callback(self.disk.close)
        self._open.callback(wait_by, wait_by(self.world.run_until))
        self.set_faults(self.faults)
        self.world.on_step.append(self._crash_some_actor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for process in (*self._processes.values(), self._outside):
                _unregister(process)
                process.bury()
        finally:
            self._open.close()
        if error is not None:
            error.add_note(f"in Simulation(seed={self.seed}), after {self.world.steps} steps; digest {self.digest}")
            error.add_note("the last of them:\n  " + "\n  ".join(list(self.world.recent)[-LAST_STEPS:]))

    @property
    def digest(self) -> str:
        """Of everything that has happened so far, in its order."""
        return self.world.digest

    def set_faults(self, faults: Faults) -> None:
        """From here on these; `Simulation.set_faults(CALM)` ends all trouble."""
        self.faults = self.disk.faults = faults
        for process in self._processes.values():
            process.journey = faults.store_seconds

    def check(self, holds: object, what: str) -> None:
        """End the simulation with a Violation when this does not hold. For executors and handlers too, whose own
        exceptions Propolis would catch.
        """
        if not holds:
            self.world.fail(Violation(what))

    def run_steps(self, count: int) -> None:
        """Let so many things happen; fewer, when nothing is left to happen."""
        last = self.world.steps + count
        with contextlib.suppress(Stuck):
            self.world.run_until(lambda: self.world.steps >= last)

    def run_for(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.world.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], object], within: float = PATIENCE) -> None:
        """Let the world go on until the condition is true. Raises TimeoutError after so many simulated seconds."""
        if not self.world.run_until(lambda: bool(condition()), within):
            raise TimeoutError(f"not so within {within:g} simulated seconds: {condition!r}")

    def run(self, awaitable: Coroutine[Any, Any, R] | Reply[R], within: float = PATIENCE) -> R:
        """Wait for a reply, or run a coroutine on an event loop of its own in this world: what it returns."""
        if isinstance(awaitable, Reply):
            reply: Reply[R] = awaitable
        else:
            reply = self.begin(awaitable)
        self.run_until(reply.done, within)
        return reply.result()

    def begin(self, coroutine: Coroutine[Any, Any, R], runtime: Runtime | None = None) -> Reply[R]:
        """Begin a coroutine: it goes on while the world does, and dies with the process of `runtime`, if it has one."""
        process = self._outside if runtime is None else self._processes[runtime]
        return process.begin(coroutine)

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self, config: RuntimeConfig | None = None) -> Runtime:
        """Start a process with a runtime on the store. What others left there is taken over, as ever, by and by.

        An orderly end is `runtime.stop()`; afterwards it cannot be started again.
        """
        self._numbers += 1
        process = Process(self.world, f"process-{self._numbers}")
        runtime = Runtime(lambda _: self.disk.open(process).as_store(), config=config, host=process.host)
        process.journey = self.faults.store_seconds
        self._processes[runtime] = process
        runtime.start().get()
        return runtime

    def crash(self, runtime: Runtime | None = None) -> None:
        """A process is gone, at once, wherever it is: as SIGKILL or a power cut do it. Without a runtime: all are.

        Replies that it owed never come; nothing in it unwinds until the end of the simulation.
        """
        for each in self.running() if runtime is None else (runtime,):
            process = self._processes[each]
            process.crash()
            _unregister(process)
            self.world.note(f"crash of {process.name}")

    def freeze(self, runtime: Runtime) -> None:
        """Stop a process as SIGSTOP does: it keeps what it has, and knows of nothing."""
        self._processes[runtime].frozen = True

    def thaw(self, runtime: Runtime) -> None:
        """Let a frozen process go on, in the belief that no time has passed."""
        process = self._processes[runtime]
        process.frozen = process.dead

    def running(self) -> tuple[Runtime, ...]:
        """The runtimes whose processes have not crashed, oldest first."""
        return tuple(runtime for runtime, process in self._processes.items() if not process.dead)

    def rows(self) -> dict[str, Row]:
        """The executions, by id, as the store has them now: what a crash would leave."""
        return dict(self.disk.rows)

    # -- faults that come by themselves ------------------------------------------------------------------------------

    def _crash_some_actor(self) -> None:
        if self.faults.actor_crash and self.random.random() < self.faults.actor_crash:
            processes = [process for process in self._processes.values() if not process.frozen]
            if processes:
                crash_actor(self.random.choice(processes), self.random.random())


def crash_actor(process: Process, draw: float) -> None:
    """Have an actor of a process crash: in its next message, or between two."""
    cells = [cell for cell in _actors(process) if cell.parent is not None and not cell.stopped.on]
    if not cells:
        return
    cell = cells[int(draw * len(cells))]
    process.world.note(f"crash of {cell.path}")

    def crash(*_: object) -> None:
        raise ActorCrash

    if int(draw * len(cells) * 2) % 2:
        setattr(cell.actor, "on_receive", crash)  # noqa: B010 - of this instance; the next one has its own
    else:
        with_loop = cell.loop.event_loop
        with_loop.call_soon(cell.send_call, crash)


def _actors(process: Process) -> Iterator[Cell]:
    waiting = [ref.actor_inbox for ref in _refs(process) if ref.actor_inbox.parent is None]
    while waiting:
        cell = waiting.pop()
        yield cell
        waiting += (cell.children or {}).values()


def _refs(process: Process) -> list[Ref[Any]]:
    refs = [ref for ref in pykka.ActorRegistry.get_all() if isinstance(ref, Ref)]
    return [ref for ref in refs if ref.actor_inbox.loop.host is process.host]


def _unregister(process: Process) -> None:
    for ref in _refs(process):
        pykka.ActorRegistry.unregister(ref)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Crashes are what this is for: nobody wants to read of them, and formatting tracebacks takes time."""
    logger = logging.getLogger("propolis")
    handler, propagate = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)
