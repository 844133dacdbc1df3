"""The GoalActor: counts for one goal what the events of its streams say, and publishes how it stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from propolis.messages import (
    ActorRestarted,
    Breach,
    Event,
    EventFilter,
    GoalProgress,
    GoalRow,
    GoalTally,
    LeaseLost,
    LeaveGoal,
    Moved,
    MoveGoal,
    OpenGoal,
    PropolisError,
    RuntimeStopped,
    WakeMe,
)

from ..alarms import wake
from ..core import LATER, AsyncioActor, Owed, Ref, Reply
from ..triggers.triggering import ENDS, REJOIN_SECONDS, retry_after
from .checking import Check, Checking, Verdict, checks_of, verdict_event
from .folding import GOAL_EVENTS, Fold
from .reporting import news_of
from .spec import Goal
from .standing import progress_of

if TYPE_CHECKING:
    from types import TracebackType

    from ..services import Services
    from ..stores import Store

__all__ = ["GoalActor"]

POLL_SECONDS: Final = 0.25
"""How often it looks whether there is something to count."""

PAGE: Final = 500
"""Events that are counted at once: so many are in memory."""

PAGE_WITH_CHECKS: Final = 64
"""Of a goal that calls functions: what dies in between calls those of a page again."""

FORGET: Final = 1_000
"""Events that it looks at for nothing before it writes down that it has, or for how long: see event triggers."""

FORGET_AFTER: Final = timedelta(seconds=10)

_FILTER: Final = EventFilter(types=GOAL_EVENTS)
_NEVER: Final = 1 << 62


class Page(NamedTuple):
    """What there was to read, and what follows from it."""

    row: GoalRow
    tally: GoalTally
    progress: GoalProgress
    breaches: tuple[Breach, ...] = ()
    checks: tuple[Check, ...] = ()
    counted: bool = False
    """There was something to count."""
    full: bool = False
    """There may be more."""
    foreign: bool = False
    """Another runtime that lives counts for this goal."""


class GoalActor(AsyncioActor):
    """Supervised by the root. It keeps nothing but which streams pursue the goal here: what was counted is its row.

    One runtime at a time owns the row. It reads a page of events, counts them, has the goal's functions called, and
    moves the row on with the events that say so, in one transaction: so each is published once, whoever dies. Others
    look whether the owner is still there.
    """

    def __init__(self, goal_id: str, services: Services) -> None:
        super().__init__()
        self._goal_id = goal_id
        self._services = services
        self._pursued: dict[str, Goal] = self.kept("pursued", dict)
        """By stream: the goal, which is the same for all of them."""
        self._owed = Owed()
        self._looked = (0, 0)
        """For a row that stands at the first of these, everything up to the second was looked at."""
        self._is_reading = False

    def on_start(self) -> None:
        """After a crash: go on, or leave."""
        if self.kept("begun", list[bool]):
            self._begin()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Who waits for this instance to go on is told."""
        self._owed.refuse(ActorRestarted(actor=self.actor_inbox.path, reason=repr(exception_value)))

    def on_stop(self) -> None:
        """So is who waits for it to begin."""
        self._owed.refuse(RuntimeStopped())

    # -- through the proxy -------------------------------------------------------------------------------------------

    def attach(self, goal: Goal, stream_id: str) -> object:
        """A stream pursues it from now on; the reply comes when that is committed."""
        reply = self.keep_reply()
        if reply is not None:
            self._owed.keep(reply)
        self._open(goal, stream_id, reply)
        return LATER

    def _open(self, goal: Goal, stream_id: str, reply: Reply[Any] | None) -> None:
        request = OpenGoal(goal_id=goal.id, shape=goal.shape, stream_id=stream_id, at=self.host.now())

        def opened(_: GoalRow) -> None:
            self._pursued[stream_id] = goal
            if reply is not None:
                reply.set(None)
            self._begin()

        def failed(error: BaseException) -> None:
            if isinstance(error, LeaseLost):
                self._wake_me(REJOIN_SECONDS, lambda: self._open(goal, stream_id, reply))
            elif reply is not None:
                reply.offer_error(error)

        self.request(self._sessions, request, opened, failed)

    def detach(self, stream_id: str) -> None:
        """A stream was closed. Without any, somebody else may count for the goal."""
        self._pursued.pop(stream_id, None)

    def _begin(self) -> None:
        self.kept("begun", list[bool])[:] = [True]
        if not self._is_reading:
            self._is_reading = True
            self._read()

    @property
    def _sessions(self) -> Ref[Any]:
        assert self._services.sessions is not None
        return self._services.sessions

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        goal = next(iter(self._pursued.values()), None)
        if goal is None:
            self._leave()
            return
        me, (stood, looked) = self._services.owner, self._looked
        limit = PAGE_WITH_CHECKS if any(goal.checks()) else PAGE

        def job(store: Store) -> Page | None:
            row = store.get_goal(goal.id)
            if row is None or row.shape != goal.shape:
                return None
            tally = row.tally
            progress = row.progress or progress_of(goal, tally)
            if row.owner not in (None, me) and any(each.runtime_id == row.owner for each in store.runtimes()):
                return Page(row, tally, progress, foreign=True)
            after = looked if stood == tally.seq else tally.seq
            end = store.last_seq()  # first: whatever is committed from here on has a greater number
            events = store.events_after(after, _FILTER, limit) if end > after else ()
            last = events[-1].seq or 0 if events else after
            full = len(events) == limit
            ours = [event for event in events if (event.seq or 0) > row.streams.get(event.stream_id or "", _NEVER)]
            fold = Fold(goal, tally, row.streams)
            breaches = tuple(breach for event in ours for breach in fold.take(event))
            fold.seq = last if full else max(end, last)
            tally = fold.tally()
            progress = progress_of(goal, tally)
            return Page(row, tally, progress, breaches, checks_of(goal, ours), bool(ours), full)

        def failed(error: BaseException) -> None:
            if isinstance(error, ENDS):
                return
            wait = retry_after(error, 10)
            if wait is None:
                raise error
            self._wait(wait)

        self.follow(self._services.threads.read(job), lambda page: self._judge(goal, page), failed)

    def _leave(self) -> None:
        """At the end of a page, so that no move that is under way takes it back."""
        self._is_reading = False
        self.kept("begun", list[bool]).clear()
        self._sessions.deliver(LeaveGoal(goal_id=self._goal_id))

    def _judge(self, goal: Goal, page: Page | None) -> None:
        """Have called what is to be called for this page; but own the goal first, so that it is called once."""
        if page is None or page.foreign:
            self._wait(POLL_SECONDS)
        elif page.checks and page.row.owner != self._services.owner:
            row = page.row
            progress = row.progress or progress_of(goal, row.tally)
            self._move(row, row.tally, progress, (), lambda _: self._read())
        elif page.checks:
            checking = Checking(
                self.host, goal.check_timeout, page.checks, self.kept("threads", dict[str, set[object]])
            )
            self.follow(
                checking.begin(self._services.asyncio_placement.run),
                lambda _: self._settle(goal, page, checking.settled()),
                lambda why: self._settle(goal, page, checking.settled(str(why))),
            )
        else:
            self._settle(goal, page, ())

    # -- moving on ---------------------------------------------------------------------------------------------------

    def _settle(self, goal: Goal, page: Page, verdicts: tuple[Verdict, ...]) -> None:
        row, now = page.row, self.host.now()
        news = news_of(goal, row.progress, row.tally, page.progress, page.breaches, now)
        if not page.counted and not self._is_worth_a_write(page):
            self._looked = (row.tally.seq, page.tally.seq)
            self._wait(POLL_SECONDS)
            return
        said = tuple(verdict_event(goal, verdict, self.host) for verdict in verdicts)

        def moved(_: Moved) -> None:
            if page.full:
                self._read()
            else:
                self._wait(POLL_SECONDS)

        self._move(row, page.tally, page.progress, (*said, *news), moved)

    def _is_worth_a_write(self, page: Page) -> bool:
        """Whether to write down that nothing was found: retention keeps what was not looked at, as far as it knows."""
        ahead = page.tally.seq - page.row.tally.seq
        quiet = self.host.now() - page.row.updated_at >= FORGET_AFTER
        return ahead >= FORGET or (ahead > 0 and quiet)

    def _move(
        self,
        row: GoalRow,
        tally: GoalTally,
        progress: GoalProgress,
        events: tuple[Event, ...],
        then: Callable[[Moved], object],
    ) -> None:
        request = MoveGoal(
            goal_id=row.goal_id,
            shape=row.shape,
            expected=row.tally.seq,
            at=self.host.now(),
            tally=tally,
            progress=progress,
            events=events,
        )

        def answered(landed: Moved | None) -> None:
            if landed is None:
                self._wait(POLL_SECONDS)  # somebody else has moved it
            else:
                then(landed)

        def failed(error: BaseException) -> None:
            if isinstance(error, ENDS):
                return
            if not isinstance(error, PropolisError):
                raise error
            self._wait(REJOIN_SECONDS)  # the runtime was declared lost, or whoever commits has crashed

        self.request(self._sessions, request, answered, failed)

    def _wait(self, seconds: float) -> None:
        self._wake_me(seconds, self._read)

    def _wake_me(self, seconds: float, call: Callable[[], object]) -> None:
        wake(self, self._services.wakeups, WakeMe(after=seconds), call)
