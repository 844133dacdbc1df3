"""The threads of a simulated process: event loops that are stepped, and real threads of which one runs at a time."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

from propolis.actors import Job, Worker, wait_by

if TYPE_CHECKING:
    from propolis.actors import LoopOwner

    from .process import Process
    from .world import Ticking

Ts = TypeVarTuple("Ts")

__all__ = ["Killed", "LoopLane", "RunQueue", "SimLoop", "SimQueue", "ThreadLane", "WorkerLane"]

ENDING_ROUNDS = 100
"""Steps that a loop which is torn down gets, for its tasks to see that they are cancelled."""


class Killed(BaseException):
    """Unwinds a thread of a process that is no more."""


class SimLoop(asyncio.BaseEventLoop):
    """An event loop on the clock of the simulation. It keeps asyncio's order; it has no sockets."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self._world = process.world
        self.set_exception_handler(_ignore if process.dead else None)
        self._timers: dict[int, Ticking] = {}
        process.loops.append(self)

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def time(self) -> float:
        return self._world.elapsed

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined] # so that its cancel comes to _timer_handle_cancelled

        def fire() -> None:
            del self._timers[id(timer)]
            self._ready.append(timer)

        self._timers[id(timer)] = self._world.at(when, fire)
        return timer

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        ticking = self._timers.pop(id(handle), None)
        if ticking is not None:
            ticking.cancel()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """On a thread of the process, which is drawn like any other. `asyncio.to_thread` comes here too."""
        future = self.create_future()

        def settle(outcome: Callable[[], None]) -> None:
            if not future.done():
                outcome()

        def run() -> None:
            try:
                value = func(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                self.call_soon_threadsafe(settle, lambda e=error: future.set_exception(e))
            else:
                self.call_soon_threadsafe(settle, lambda: future.set_result(value))

        self._process.host.spawn_thread("executor", run)
        return future

    def has_work(self) -> bool:
        """Whether a step would do anything."""
        while self._ready and self._ready[0]._cancelled:
            self._ready.popleft()
        return bool(self._ready)

    def step(self) -> str:
        """Run the one callback that is next."""
        handle = self._ready.popleft()
        what = _name(handle)
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(before)
        return what

    def run_forever(self) -> None:
        """Take part in the simulation until `stop()`."""
        self._stopping = False
        while not self._stopping:
            self._world.wait(lambda: self._stopping or self.has_work())
            if not self._stopping:
                self.step()
        self._stopping = False

    def is_stopping(self) -> bool:
        """Whether `stop()` was called; asked once."""
        stopping, self._stopping = self._stopping, False
        return stopping

    def tear_down(self) -> None:
        """Cancel every task and let go of it, whatever it says."""
        if self.is_closed():
            return
        self.set_exception_handler(_ignore)
        for _ in range(ENDING_ROUNDS):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            for _ in range(len(self._ready)):
                if self.has_work():
                    try:
                        self.step()
                    except BaseException:  # noqa: BLE001, S112 - code of a process that is no more
                        continue
        self._ready.clear()
        self.close()


def _ignore(_: asyncio.AbstractEventLoop, __: dict[str, Any]) -> None:
    pass


def _name(handle: asyncio.Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    name: str | None = getattr(callback, "__qualname__", None)
    return name if name is not None else type(callback).__name__


class LoopLane(threading.Thread):
    """An event loop of the process, which is stepped. A thread by its face only: it is never started."""

    weight = 1.0

    def __init__(self, process: Process, owner: LoopOwner) -> None:
        super().__init__(name=f"{process.name}/{owner.name}", daemon=True)
        loop = owner.event_loop
        assert isinstance(loop, SimLoop)
        self._loop: SimLoop = loop
        self._process = process
        self._owner = owner
        self._over = False
        self._left: int | None = None
        process.world.add(self)

    def is_ready(self) -> bool:
        return not self._process.frozen and self._loop.has_work()

    def step(self) -> str:
        owner = self._owner
        with owner.inside():
            try:
                what = self._loop.step()
            except BaseException as error:  # noqa: BLE001 - as on the thread
                what = f"raised {type(error).__name__}"
                owner.came_through(error)
        if self._left is None and self._loop.is_stopping() and owner.stopping:
            self._left = len(self._loop._ready)  # as asyncio: what is scheduled already is still run
        elif self._left is not None:
            self._left -= 1
        if self._left is not None and (self._left <= 0 or not self._loop.has_work()):
            self._end()
        return what

    def _end(self) -> None:
        with self._owner.inside():
            self._owner.finish()
        self._over = True
        self._process.world.remove(self)
        self._loop.close()

    def is_alive(self) -> bool:
        return not self._over

    def join(self, timeout: float | None = None) -> None:
        self._process.world.wait(lambda: self._over, timeout)


class WorkerLane(Worker):
    """The jobs of one worker: each is awaited, done, and told of, in three steps, with time between them."""

    weight = 1.0

    def __init__(self, process: Process, name: str) -> None:
        self.name = f"{process.name}/{name}"
        self._process = process
        self._world = process.world
        self._waiting: deque[Job] = deque()
        self._tell: Callable[[], None] | None = None
        self._ready_at = 0.0
        self._is_closed = False
        self._world.add(self)

    def submit(self, job: Job) -> bool:
        if self._is_closed:
            return False
        if not self._waiting and self._tell is None:
            self._travel()
        self._waiting.append(job)
        return True

    def _travel(self) -> None:
        seconds = self._process.journey * self._world.random.random() ** 3
        self._ready_at = self._world.elapsed + seconds
        if seconds:
            self._world.at(self._ready_at, _nothing)

    def is_ready(self) -> bool:
        if self._process.frozen or self._world.elapsed < self._ready_at:
            return False
        return self._tell is not None or bool(self._waiting)

    def step(self) -> str:
        if self._tell is None:
            self._tell = self._waiting.popleft()()
            self._travel()
            return "did a job"
        tell, self._tell = self._tell, None
        tell()
        self._travel()
        return "told"

    def close(self) -> None:
        self._is_closed = True
        self._world.wait(lambda: not self._waiting and self._tell is None)
        self._world.remove(self)


class ThreadLane(threading.Thread):
    """A thread that runs while no other does, from one wait to the next."""

    weight = 1.0

    def __init__(self, process: Process, name: str, target: Callable[[], None]) -> None:
        super().__init__(name=f"{process.name}/{name}", daemon=True)
        self._process = process
        self._world = process.world
        self._main = target
        self._go = threading.Semaphore(0)
        self._came_back = threading.Semaphore(0)
        self._is_over: Callable[[], bool] | None = None
        self._until: float | None = None
        self._killed = False
        self._over = False
        process.threads.append(self)
        self._world.add(self)

    # -- its own thread ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        self._go.acquire()
        wait_by(self.wait_here)
        try:
            if not self._killed:
                self._main()
        except Killed:
            pass
        finally:
            self._over = True
            self._world.remove(self)
            self._came_back.release()

    def wait_here(self, is_over: Callable[[], bool], timeout: float | None = None) -> bool:
        """Let the others run until the function says True, or so much time has passed."""
        if self._killed:
            raise Killed
        self._is_over = is_over
        self._until = None if timeout is None else self._world.elapsed + timeout
        if self._until is not None:
            self._world.at(self._until, _nothing)  # so that the clock gets there
        self._came_back.release()
        self._go.acquire()
        if self._killed:
            raise Killed
        return is_over()

    # -- the others --------------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        if self._process.frozen:
            return False
        over, until = self._is_over, self._until
        return over is None or (until is not None and self._world.elapsed >= until) or over()

    def step(self) -> str:
        if self.ident is None:
            super().start()
        self._go.release()
        self._came_back.acquire()
        return "ended" if self._over else "waits"

    def kill(self) -> None:
        """End it where it waits."""
        self._killed = True
        if self.ident is None:
            self._over = True
        while not self._over:
            self.step()
        if self.ident is not None:
            super().join(1.0)

    def is_alive(self) -> bool:
        return not self._over

    def join(self, timeout: float | None = None) -> None:
        if threading.current_thread() is not self:
            self._world.wait(lambda: self._over, timeout)


def _nothing() -> None:
    pass


class SimQueue:
    """`queue.SimpleQueue`, whose `get` waits as a simulated thread does."""

    def __init__(self, process: Process) -> None:
        self._world = process.world
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self, timeout: float | None = None) -> Any:
        if not self._items and not self._world.wait(lambda: bool(self._items), timeout):
            raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items


class RunQueue(deque[Any]):
    """The actors that wait for a turn. Any of them may be next: only between two actors is there an order."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._random = process.world.random

    def popleft(self) -> Any:
        if len(self) > 1:
            place = self._random.randrange(len(self))
            actor = self[place]
            del self[place]
            return actor
        return super().popleft()
