"""The part of a StreamActor that takes up what was there before: in the store, or under way when it crashed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from propolis.messages import (
    ENDED,
    Accepted,
    ActorRestarted,
    AppendEvents,
    ExecutionEnded,
    ExecutionRow,
    GetExecution,
    GetHistory,
    GiveUp,
    MessageError,
    Recovered,
    RecoveredExecution,
    RecoverExecutions,
    RecoverNow,
    Rejoined,
    StartStream,
    StreamRestarted,
    decode,
)

from ..core import LATER, Reply
from .endings import draft
from .entries import Entry, Opening
from .finding import ask_surely
from .leaving import Leaving
from .life import CLAIM, WAIT, Order
from .plan import StreamPlan
from .posted import order_of
from .versions import version_failure, version_mismatch, version_owner

__all__ = ["Recovering"]

FIRST_PAGE, PAGE = 32, 1_000
"""How many executions are taken over in one transaction: at first (no more than may run), and then."""

BEGUN_AT_ONCE = 50
"""How many of them get their actors in one turn: 10,000 in one would hold up everything else for seconds."""


class Recovering(Leaving):
    """Begins: with what nobody owns in the store, or, a new instance after a crash, with its own books."""

    def __init__(self, plan: StreamPlan) -> None:
        super().__init__(plan)
        self._taken: list[Entry] = []
        """Taken over and in the books, with no place yet. (After a crash: an entry without a place is given one.)"""
        self._successors: dict[str, Entry] = self.kept("successors", dict)
        """Taken over while an actor of theirs from before was still there: they begin when that one has left."""
        self._recovering = False
        self._to_begin: deque[tuple[Entry, Order]] = deque()
        """They have a place, and no actor yet. (After a crash: as those without a place.)"""

    def on_start(self) -> None:
        """Take over what is left of this entry point in the store; or, after a crash, what was under way."""
        if self.mode == "starting":  # also after a crash in the middle of it
            self._find_places()
            self._recover(mine=True)
        else:
            self._rebuild()

    @property
    def takes_in(self) -> bool:
        """Whether it takes over what others have left. While it stops, who came in now would keep it from its end."""
        return self.mode in ("starting", "running")

    # -- recovery ----------------------------------------------------------------------------------------------------

    def _recover(self, *, mine: bool = False, first: bool = True) -> None:
        """Take over unfinished executions that nobody owns. Work is admitted when the first round is through.

        With `mine`, those too that this runtime owns and that are in no book: a crash of this actor lost them. The
        `first` page is short, and begins to run at once; the rest does when all are taken, for the commits that start
        some would hold up the taking of the others.
        """
        self._recovering = self.takes_in
        if not self.takes_in:
            return
        point = self.plan.entry_point
        request = RecoverExecutions(
            entry_point=point.id,
            stream_id=self.stream_id,
            dead_owners=(version_owner(point.version),),  # what was left for this version to run
            limit=min(FIRST_PAGE, point.max_concurrent) if first else PAGE,
            at=self.host.now(),
            mine=mine,
            version=point.version,
        )

        self.host.reach("takeover.before")

        def recovered(batch: Recovered) -> None:
            self.host.reach("takeover.committed")
            if self.takes_in:
                self._recovered(batch, first=first)
            else:  # a stop came in between; what it lets go of, when it is through, is this as well
                self._recovering = False

        self.request(self.plan.sessions, request, recovered, self._not_recovered)

    def _recovered(self, batch: Recovered, *, first: bool) -> None:
        for found in batch.executions:
            self._found(found)
        if first or not batch.more:
            taken, self._taken = self._taken, []
            for entry in taken:
                if self.books.live.get(entry.spec.execution_id) is entry:
                    self._take_in(entry)
        if batch.more and first:
            self._begin_some()
            self._when_they_run(lambda: self._recover(first=False))
        elif batch.more:
            self._recover(first=False)
        else:
            self._recovering = False
            self.host.reach("takeover.placed")
            if self.mode == "starting":
                self._begin_running()

    def _when_they_run(self, then: Callable[[], None]) -> None:
        """Behind the commit that counts the attempts of the first, and behind the reading of what they have recorded:
        a page of a thousand would hold up either.
        """

        def claimed(_: object) -> None:
            read = GetHistory(run="")
            self.request(self.plan.sessions, read, lambda _: then(), self._not_recovered)

        self.request(self.plan.sessions, AppendEvents(events=()), claimed, self._not_recovered)

    def _found(self, found: RecoveredExecution) -> None:
        execution_id = found.state.execution_id
        known = self.books.live.get(execution_id)
        in_books = known is not None and known.state.owner == self.plan.owner  # and not from before a lost lease
        if not found.taken and (in_books or execution_id in self.books.opening):
            return
        try:
            spec = found.spec
        except MessageError as error:  # it alone stays as it is
            self.announce("execution_damaged", {"execution_id": execution_id, "reason": str(error)})
            return
        entry = Entry(spec, found.state, found.memory, found.node)
        entry.inbox, entry.taken_up = found.inbox or None, self.host.monotonic()
        entry.takes = found.takes
        if known is not None and known.ref is not None:  # it was taken from us, and back, before its actor knew
            self._successors[execution_id] = entry
            known.ref.deliver(GiveUp(now=True))
            return
        if known is not None:
            self.leave_pending(execution_id)
        self.books.live[execution_id] = entry
        self._taken.append(entry)

    def execution_ended(self, message: ExecutionEnded) -> None:
        """As ever; and who was to follow it begins."""
        super().execution_ended(message)
        successor = self._successors.pop(message.execution_id, None)
        if successor is not None and message.execution_id not in self.books.live:
            self._take_in(successor)

    def _not_recovered(self, error: BaseException) -> None:
        self._recovering = False
        if self.plan.sessions.is_alive() and self.mode == "starting":
            raise error

    def _begin_running(self) -> None:
        self.mode = "running"
        self.announce("stream_started", {})
        for reply in self.kept("starters", list[Reply[Any]]):
            reply.set(None)
        self.kept("starters", list).clear()
        self.release_early()

    def _take_in(self, entry: Entry) -> None:
        """An execution that was accepted before: queue it, whatever the bound."""
        if not self.takes_in:
            return
        execution_id = entry.spec.execution_id
        self.books.live[execution_id] = entry
        if execution_id in self.books.left:
            self.books.left.discard(execution_id)
        else:
            self.books.accepted += 1
        if entry.inbox and (order := order_of(entry.inbox)) is not None:
            self._begin_soon(entry, order)  # somebody wanted that while nobody had it
            return
        match version_mismatch(self.plan.entry_point, entry.spec, entry.state):
            case "park":
                self._leave_to_version(entry)
                return
            case "fail":
                failure = version_failure(self.plan.entry_point, entry.spec)
                self._begin_soon(entry, Order(kind="end", status="failed", failure=failure))
                return
            case "run":
                pass
        if entry.state.status == "parked":
            self.make_room(self.admission.set_aside(execution_id, entry.spec.priority))
            self._begin_soon(entry, WAIT)
            return
        if entry.state.attempt == 0:
            admitted = self.admission.recover(execution_id, entry.spec.priority)
        else:
            self.make_room(self.admission.set_aside(execution_id, entry.spec.priority))
            admitted = self.admission.readmit(execution_id)
        if admitted.start_now:
            self._begin_soon(entry, CLAIM)
        else:
            self.watch_pending(entry)

    def _begin_soon(self, entry: Entry, order: Order) -> None:
        self._to_begin.append((entry, order))
        if len(self._to_begin) == 1:
            self._go_on_beginning()

    def _go_on_beginning(self) -> None:
        # by way of the loop: a turn in the control lane would go ahead of everything that others ask
        self.actor_inbox.loop.call_soon(lambda: self.later(self._begin_some))

    def _begin_some(self) -> None:
        for _ in range(min(BEGUN_AT_ONCE, len(self._to_begin))):
            entry, order = self._to_begin.popleft()
            if entry.ref is None and self.books.live.get(entry.spec.execution_id) is entry:  # not ended meanwhile
                self.spawn_execution(entry, order)
        if self._to_begin:
            self._go_on_beginning()

    def _leave_to_version(self, entry: Entry) -> None:
        """It began under another version, and waits for that one."""
        spec, before, point = entry.spec, entry.state, self.plan.entry_point
        state = before.model_copy(update={"status": "parked", "owner": version_owner(spec.version)})

        def parked(_: Any) -> None:
            self.books.live.pop(spec.execution_id, None)
            self._left(entry)
            self.look_at_end()

        data = {"reason": "version_mismatch", "version": spec.version, "this_version": point.version}
        left = Entry(spec, state, None)  # the one in the books says so once it is committed
        self.write_state(left, before.epoch, draft("execution_parked", data), parked, parked)

    def _rebuild(self) -> None:
        """After a crash of this actor: its executions keep running; find their places again.

        Rows that were on their way into the store are looked up behind a fence: once an empty write is answered, they
        are committed or never will be.
        """
        self._find_places()
        self._settle_what_is_owed()
        if self.mode == "stopping":
            self._interrupt_all(self.plan.config.grace_seconds)

        lost = list(self.books.opening)  # those that come from here on have this instance to go on with them

        def fenced(_: Any) -> None:
            self._find_opened(lost)
            if self.mode == "running":
                self._recover(mine=True)  # what a takeover under way has brought
            self.look_at_end()

        ask_surely(self, self.plan, AppendEvents(events=()), fenced, lambda _: None)
        for opening in list(self.blocked.values()):
            self.blocked.pop(opening.entry.spec.execution_id)
            self._admit(opening)

    def _find_places(self) -> None:
        children = self.children()
        for execution_id, entry in self.books.live.items():
            if execution_id in children:
                entry.ref = children[execution_id]
                self.admission.adopt(execution_id, entry.spec.priority)
                entry.ref.deliver(StreamRestarted())
            elif entry.ref is not None:  # the news of its end is in the mailbox, or was lost in the crash
                asked = GetExecution(execution_id=execution_id)

                def lost(_: object, execution_id: str = execution_id) -> None:
                    self.execution_ended(ExecutionEnded(execution_id=execution_id))

                ask_surely(self, self.plan, asked, self._found_ended, lost)
        for execution_id, entry in list(self.books.live.items()):
            if entry.ref is not None:
                continue
            if self.mode == "stopping":
                self.admission.set_aside(execution_id)
            elif entry.state.status == "parked":
                self.admission.set_aside(execution_id, entry.spec.priority)
                self.spawn_execution(entry, WAIT)
            elif self.admission.recover(execution_id, entry.spec.priority).start_now:
                self.spawn_execution(entry, CLAIM)
            else:
                self.watch_pending(entry)

    def _found_ended(self, row: ExecutionRow | None) -> None:
        if row is None:
            return
        state = row.state
        if state.status not in ENDED or state.result is None:
            self.execution_ended(ExecutionEnded(execution_id=state.execution_id))
            return
        decode(state.result)  # passed on as bytes that need no second look
        self.execution_ended(
            ExecutionEnded(
                execution_id=state.execution_id,
                status=state.status,
                result=state.result,
                restarts=state.restarts,
                quarantined=state.quarantined,
            )
        )

    def _settle_what_is_owed(self) -> None:
        """Replies that hung on a turn of the instance that crashed: wait on, or say so."""
        for reply, wait in list(self.books.owed.items()):
            del self.books.owed[reply]
            if wait is None:
                reply.offer_error(ActorRestarted(actor=self.actor_inbox.path, reason="the stream crashed"))
                continue
            execution_id, until = wait
            waiters = self.books.waiters.get(execution_id, [])
            if reply in waiters:
                waiters.remove(reply)
            self.wait_for(execution_id, reply, self.time_left(until))

    def _find_opened(self, lost: list[str]) -> None:
        for execution_id in lost:
            opening = self.books.opening[execution_id]

            def found(row: ExecutionRow | None, opening: Opening = opening) -> None:
                self.books.opening.pop(opening.entry.spec.execution_id, None)
                if row is not None and (row.state.status in ENDED or row.state.epoch < opening.entry.state.epoch):
                    row = None  # it was to be replayed, and that did not land
                taken = row is None or row.spec.execution_id in self.books.live  # by a takeover meanwhile
                if row is not None and not taken and row.state.owner == self.plan.owner:
                    self._take_in(Entry(row.spec, row.state, opening.entry.memory))
                if opening.reply is not None:
                    self._tell_opened(row, opening.reply, wait=opening.wait)
                self.look_at_end()

            def failed(error: BaseException, opening: Opening = opening) -> None:
                self.books.opening.pop(opening.entry.spec.execution_id, None)
                if opening.reply is not None:
                    opening.reply.offer_error(error)
                self.look_at_end()

            ask_surely(self, self.plan, GetExecution(execution_id=execution_id), found, failed)

    def _tell_opened(self, row: ExecutionRow | None, reply: Reply[Any], *, wait: bool) -> None:
        if row is None:
            reply.offer_error(ActorRestarted(actor=self.actor_inbox.path, reason="the stream crashed"))
        elif wait:
            self.wait_for(row.spec.execution_id, reply, None)
        else:
            reply.set(Accepted(execution_id=row.spec.execution_id, session_id=row.spec.session_id))

    def recover_now(self, message: RecoverNow) -> None:
        """A peer is gone."""
        if self.mode == "running" and not self._recovering:  # or they would pile up before a store that is away
            self._recover()

    def rejoined(self, message: Rejoined) -> None:
        """A peer declared this runtime lost, so it owns nothing any more: let go of all, take back what is free."""
        self.leave_pending(*self.pending_ids())
        for entry in self.books.live.values():
            if entry.ref is not None:
                entry.ref.deliver(GiveUp(now=True))
        if self.mode == "running":
            self._recover()

    def start_stream(self, message: StartStream) -> object:
        """Reply when work is admitted."""
        if self.mode == "running":
            return None
        reply = self.keep_reply()
        if reply is not None:
            self.kept("starters", list[Reply[Any]]).append(reply)
        if self.mode in ("stopped", "draining"):
            self.mode = "starting"
            self._recover(mine=True)
        return LATER
