"""The asyncio placement: an event loop for the `async def` code of users, and another one when that is blocked."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from propolis.messages import AttemptGivenUp, Event, LoopBlocked, Payload

from ..core import Ref
from ..executors import Attempt, Beginning, Context, ExecutorPlan, belongs_to
from ..host import Host
from ..specs import EntryPoint
from .blockage import Place, blocked_event
from .loops import UserLoops
from .user_loop import OWNER, UserLoop

if TYPE_CHECKING:
    from ..core import ActorLoop

__all__ = ["AsyncioPlacement"]


class _AsyncioAttempt:
    """One task on a user loop."""

    __slots__ = ("_attempt", "_home", "_loops", "_plan", "_task")

    ends_by_force = False
    waits_for_room = False

    def __init__(self, loops: UserLoops, attempt: Attempt, plan: ExecutorPlan) -> None:
        self._loops = loops
        self._attempt = attempt
        self._plan = plan
        self._home: UserLoop | None = None
        self._task: asyncio.Task[None] | None = None

    # -- on its loop -------------------------------------------------------------------------------------------------

    def begin(self, home: UserLoop) -> None:
        _start_task(self, self._run(home))

    async def _run(self, home: UserLoop) -> None:
        if not home.claim(self):
            return
        self._home, self._task = home, asyncio.current_task()
        attempt, plan = self._attempt, self._plan
        try:
            if attempt.cancelled:
                raise asyncio.CancelledError
            with belongs_to(attempt):
                execute = plan.make()
                attempt.input = plan.bind(attempt.begin.spec.input_data)
                ended = attempt.returned(await execute(Context(attempt), attempt.input))
        except BaseException as error:  # noqa: BLE001 - isolation: what it raises ends this attempt, and nothing else
            ended = attempt.ended_by(error, asyncio.CancelledError)
        self._task = None  # whose context has this attempt: a cycle, and all that hangs on it, for the collector
        home.work.discard(self)
        attempt.report(ended)

    def _cancel_task(self) -> None:
        # A task that is cancelled before its first step never runs at all, and would report nothing; one that has yet
        # to begin looks at the flag.
        if self._task is not None:
            self._task.cancel()

    # -- what its actor calls ----------------------------------------------------------------------------------------

    @property
    def can_be_stopped(self) -> bool:
        """Until its loop has been given up."""
        return self._home is None or not self._home.given_up

    def cancel(self, grace: float) -> None:
        self._attempt.cancelled = True
        self._loops.on_actor_loop(self._cancel_here_or_there)

    def _cancel_here_or_there(self) -> None:
        if self._home is not None:
            self._home.post(self._cancel_task)
        elif self._loops.withdraw(self):
            self._attempt.report(self._attempt.ended_by(asyncio.CancelledError(), asyncio.CancelledError))

    def pause(self) -> None:
        self._attempt.pause_requested = True

    def fence(self) -> None:
        self._attempt.superseded = True

    def supersede(self) -> None:
        self._attempt.superseded = True
        self.cancel(0.0)

    # -- its loop is blocked -----------------------------------------------------------------------------------------

    charged = True

    def blocks(self, place: Place, seconds: float, *, replaced: bool) -> Event:
        return self._attempt.event("executor_blocked", Payload.of(place.data(seconds, replaced=replaced)))

    def give_up(self, culprit: Place | None, seconds: float, *, counted: bool) -> None:
        attempt = self._attempt
        attempt.superseded = True
        failure = None
        if culprit is not None:
            error = LoopBlocked(
                execution_id=attempt.begin.spec.execution_id,
                seconds=round(seconds, 3),
                function=culprit.function,
                file=culprit.file,
                line=culprit.line,
            )
            failure = attempt.failed(error).failure
        attempt.ref.deliver(AttemptGivenUp(epoch=attempt.begin.epoch, failure=failure, counted=counted))


class _Pump:
    """A coroutine function of our own that calls handlers of the user's."""

    __slots__ = ("_host", "_lost", "_task", "_work")

    charged = False

    def __init__(self, host: Host, work: Callable[[], Awaitable[None]], lost: Callable[[], None]) -> None:
        self._host = host
        self._work = work
        self._lost = lost
        self._task: asyncio.Task[None] | None = None

    def begin(self, home: UserLoop) -> None:
        _start_task(self, self._run(home))

    async def _run(self, home: UserLoop) -> None:
        if not home.claim(self):
            return
        self._task = asyncio.current_task()
        try:
            await self._work()
        finally:
            home.work.discard(self)

    def blocks(self, place: Place, seconds: float, *, replaced: bool) -> Event:
        return blocked_event(self._host.now(), place, seconds, replaced=replaced)

    def give_up(self, culprit: Place | None, seconds: float, *, counted: bool) -> None:
        self._lost()


def _start_task(owner: _AsyncioAttempt | _Pump, main: Any) -> None:
    """On a user loop, in a context of its own. From its first step on, the owner holds on to the task; asyncio itself
    does not.
    """
    context = contextvars.Context()
    context.run(OWNER.set, owner)
    asyncio.get_running_loop().create_task(main, context=context)


class AsyncioPlacement:
    """Runs attempts as tasks. The thread starts with the first one.

    `blocked_loop_seconds`: how long code may block the loop until that is replaced; None is for ever. What the other
    loops and limits are is said in `UserLoops`.
    """

    def __init__(
        self, host: Host, payload_limit: int, actors: ActorLoop, blocked_loop_seconds: float | None = None
    ) -> None:
        self._host = host
        self._limit = payload_limit
        self._loops = UserLoops(host, actors, blocked_loop_seconds)

    def announce_by(self, announce: Callable[[Event], None]) -> None:
        """Have the events about blocked loops handed to a function, on the actor loop."""
        self._loops.announce = announce

    def launch(self, plan: ExecutorPlan, entry_point: EntryPoint, begin: Beginning, ref: Ref[Any]) -> _AsyncioAttempt:
        """Begin an attempt as a task."""
        attempt = Attempt(begin, ref, entry_point, self._host, self._limit, keeps_stack=True)
        launched = _AsyncioAttempt(self._loops, attempt, plan)
        self._loops.on_actor_loop(self._loops.place, launched)
        return launched

    def stream_opened(self) -> None:
        """Nothing to do."""

    def stream_closed(self) -> None:
        """Nothing to do."""

    def run(self, work: Callable[[], Awaitable[None]], lost: Callable[[], None]) -> None:
        """Run a coroutine function of our own next to the users' (an event handler's pump). Any thread.

        `lost` is called on the actor loop when it is given up together with its loop.
        """
        self._loops.on_actor_loop(self._loops.place, _Pump(self._host, work, lost))

    def close(self, timeout: float) -> bool:
        """End the threads. False when user code still holds one after `timeout` seconds; they are daemons."""
        return self._loops.close(timeout)
