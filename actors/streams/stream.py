"""The StreamActor: one entry point. Admits, queues and supervises its executions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from propolis.messages import (
    Accepted,
    ActorRestarted,
    AppendEvents,
    CancelExecution,
    CancelOutcome,
    CircuitState,
    CloseStream,
    DrainStream,
    Encoded,
    ExecutionContext,
    ExecutionEnded,
    ExecutionRow,
    GetActive,
    GetContext,
    GetExecution,
    GetResult,
    GetStats,
    GetTree,
    GiveUp,
    PauseExecution,
    Recovered,
    RecoverExecutions,
    RecoverNow,
    ReplayExecution,
    ResumeExecution,
    RunExecution,
    RuntimeStopped,
    SlotReturned,
    SlotWanted,
    StartExecution,
    StartStream,
    StopStream,
    StreamEnded,
    StreamNotRunning,
    StreamRestarted,
    StreamStats,
    WaitForCompletion,
    WakeMe,
)

from ..core import LATER, Handlers, Ref, Reply
from ..core.mailbox import Envelope
from ..supervision.supervisor import Supervisor
from .accepting import CANCELLED_BY_STOP, Accepting
from .entries import Entry, Opening
from .life import Order
from .supervising import tell_child

if TYPE_CHECKING:
    from typing import Self

    from ..services import Services

__all__ = ["StreamActor"]

LAST_WORDS_SECONDS = 5.0
"""How long, after the grace of a stop, the end of a cancelled straggler may take to be committed."""


class StreamActor(Accepting):
    """Supervises one ExecutionActor for each execution under way.

    Started by a Runtime, or on its own: `StreamActor.start(entry_point, executor, sessions=…, events=…)`. After a
    crash its books are found again, its executions have kept running, and who was queued is queued again.
    """

    @classmethod
    def start(cls, entry_point: Any, executor: Any, *, sessions: Ref[Any], events: Ref[Any]) -> Ref[Self]:
        """Start a stream next to the SessionActor and EventActor of a runtime, registered with pykka, unsupervised.

        Runs on the actor loop of `sessions`, writes to its store. The reference takes StartExecution and the other
        messages of a stream. Any thread but the actor loop.

        Raises:
            InvalidInput: the executor is none, or does not fit the entry point's placement.
        """
        actor = sessions.actor_inbox.instance()
        if actor is None:
            raise StreamNotRunning(stream_id=entry_point.id)
        services: Services = actor.services  # type: ignore[attr-defined] # set for good before the actor is started
        plan = replace(services.plan_stream(entry_point, executor), events=events)
        return sessions.actor_inbox.loop.spawn(cls, plan, register=True, name=f"stream:{plan.entry_point.id}")

    def on_stop(self) -> None:
        """However it ends, nobody is left waiting."""
        stopped = RuntimeStopped(what=f"Stream {self.stream_id!r}")
        waiting = [reply for replies in self.books.waiters.values() for reply in replies]
        waiting += [held.reply for held in (*self.books.opening.values(), *self.blocked.values()) if held.reply]
        waiting += [*self.kept("starters", list[Reply[Any]]), *self.kept("enders", list[Reply[Any]])]
        waiting += [envelope.reply_to for envelope in self.kept("early", list[Envelope]) if envelope.reply_to]
        waiting += list(self.books.owed)
        for reply in waiting:
            reply.offer_error(stopped)
        self.books.waiters.clear()
        self.books.live.clear()

    def on_start(self) -> None:
        """Take over what is left of this entry point in the store; or, after a crash, what was under way."""
        if self.mode == "starting":  # also after a crash in the middle of it
            self._find_places()
            self._recover(first=True)
        else:
            self._rebuild()

    # -- recovery ----------------------------------------------------------------------------------------------------

    def _recover(self, *, first: bool) -> None:
        """Take over unfinished executions that nobody owns. Work is admitted when the first round is through."""
        request = RecoverExecutions(
            entry_point=self.plan.entry_point.id,
            stream_id=self.stream_id,
            at=self.host.now(),
            mine=first and not self.books.live and not self.books.opening,
        )

        def recovered(batch: Recovered) -> None:
            for found in batch.executions:
                if found.spec.execution_id not in self.books.live:
                    self._take_in(Entry(found.spec, found.state, found.memory, found.node))
            if batch.more:
                self._recover(first=first)
            elif self.mode == "starting":
                self._begin_running()

        self.request(self.plan.sessions, request, recovered, self._not_recovered)

    def _not_recovered(self, error: BaseException) -> None:
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
        if self.mode not in ("starting", "running"):
            return
        execution_id = entry.spec.execution_id
        self.books.live[execution_id] = entry
        if execution_id in self.books.left:
            self.books.left.discard(execution_id)
        else:
            self.books.accepted += 1
        if entry.state.attempt == 0:
            admitted = self.admission.recover(execution_id, entry.spec.priority)
        else:
            self.make_room(self.admission.set_aside(execution_id, entry.spec.priority))
            admitted = self.admission.readmit(execution_id)
        if admitted.start_now:
            self.spawn_execution(entry, Order(kind="claim"))
        else:
            self.watch_pending(entry)

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
            self.look_at_end()

        self.request(self.plan.sessions, AppendEvents(events=()), fenced, lambda _: None)
        for opening in list(self.blocked.values()):
            self.blocked.pop(opening.entry.spec.execution_id)
            self._admit(opening)

    def _find_places(self) -> None:
        children = self.children()
        for execution_id, entry in self.books.live.items():
            if execution_id in children:
                entry.ref = children[execution_id]
                self.admission.adopt(execution_id, entry.spec.priority)
                tell_child(entry.ref, StreamRestarted())
        for execution_id, entry in list(self.books.live.items()):
            if entry.ref is not None:
                continue
            if self.mode == "stopping":
                self.admission.set_aside(execution_id)
            elif self.admission.recover(execution_id, entry.spec.priority).start_now:
                self.spawn_execution(entry, Order(kind="claim"))
            else:
                self.watch_pending(entry)

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
            self.wait_for(execution_id, reply, None if until is None else max(0.0, until - self.host.monotonic()))

    def _find_opened(self, lost: list[str]) -> None:
        for execution_id in lost:
            opening = self.books.opening[execution_id]

            def found(row: ExecutionRow | None, opening: Opening = opening) -> None:
                self.books.opening.pop(opening.entry.spec.execution_id, None)
                if row is not None:
                    self._take_in(Entry(row.spec, row.state, opening.entry.memory))
                if opening.reply is not None:
                    self._tell_opened(row, opening.reply, wait=opening.wait)
                self.look_at_end()

            def failed(error: BaseException, opening: Opening = opening) -> None:
                self.books.opening.pop(opening.entry.spec.execution_id, None)
                if opening.reply is not None:
                    opening.reply.offer_error(error)
                self.look_at_end()

            self.request(self.plan.sessions, GetExecution(execution_id=execution_id), found, failed)

    def _tell_opened(self, row: ExecutionRow | None, reply: Reply[Any], *, wait: bool) -> None:
        if row is None:
            reply.offer_error(ActorRestarted(actor=self.actor_inbox.path, reason="the stream crashed"))
        elif wait:
            self.wait_for(row.spec.execution_id, reply, None)
        else:
            reply.set(Accepted(execution_id=row.spec.execution_id, session_id=row.spec.session_id))

    def recover_now(self, message: RecoverNow) -> None:
        """A peer is gone."""
        if self.mode == "running":
            self._recover(first=False)

    # -- cancel and pause --------------------------------------------------------------------------------------------

    def cancel(self, message: CancelExecution) -> object:
        """End an execution, wherever it is."""
        execution_id = message.execution_id
        if self.end_pending(execution_id, Order(kind="end", status="cancelled", reason=message.reason)):
            return self._reply_when_gone(execution_id)
        entry = self.books.live.get(execution_id)
        if entry is None or entry.ref is None:
            known = self.books.results.get(execution_id, self.host.monotonic()) is not None
            return CancelOutcome(execution_id=execution_id, outcome="ended" if known else "not_found")
        return self._forward(entry.ref, message, CancelOutcome(execution_id=execution_id, outcome="ended"))

    def _see_detached(self, answer: Any) -> None:
        if (
            isinstance(answer, CancelOutcome)
            and answer.outcome == "detached"
            and answer.execution_id in self.books.live
        ):
            self.books.detached.add(answer.execution_id)

    def _reply_when_gone(self, execution_id: str) -> object:
        reply = self.keep_reply()
        if reply is None:
            return LATER
        self.books.owe(reply)
        gone: Reply[Any] = Reply()
        self.books.waiters.setdefault(execution_id, []).append(gone)
        outcome = CancelOutcome(execution_id=execution_id, outcome="cancelled")
        self.follow(gone, lambda _: reply.set(outcome), reply.offer_error)
        return LATER

    def pause(self, message: PauseExecution) -> object:
        """Pause an execution: what has not begun at once."""
        execution_id = message.execution_id
        if self.end_pending(execution_id, Order(kind="end", status="paused")):
            return True
        entry = self.books.live.get(execution_id)
        if entry is None or entry.ref is None:
            return False
        return self._forward(entry.ref, message, False)

    def _forward(self, ref: Ref[Any], message: Any, otherwise: Any) -> object:
        reply = self.keep_reply()
        if reply is None:
            ref.deliver(message)
            return LATER

        def answered(answer: Any) -> None:
            self._see_detached(answer)
            reply.set(answer)

        self.books.owe(reply)
        self.request(ref, message, answered, lambda _: reply.set(otherwise))
        return LATER

    # -- questions ---------------------------------------------------------------------------------------------------

    def wait(self, message: WaitForCompletion) -> object:
        """Reply with the result when it is there."""
        reply = self.keep_reply()
        if reply is not None:
            self.wait_for(message.execution_id, reply, message.timeout)
        return LATER

    def get_result(self, message: GetResult) -> object:
        """The result, if it is still held in memory."""
        held = self.books.results.get(message.execution_id, self.host.monotonic())
        return None if held is None else Encoded(held)

    def get_context(self, message: GetContext) -> object:
        """How an execution stands; of one that is not under way, as the store has it."""
        entry = self.books.live.get(message.execution_id)
        if entry is not None and entry.ref is None:
            return ExecutionContext.of(entry.spec, entry.state)
        reply = self.keep_reply()
        if reply is not None:
            self.books.owe(reply)

            def look(_: object = None) -> None:  # also when it ended on the way there
                asked = GetExecution(execution_id=message.execution_id)
                self.request(self.plan.sessions, asked, found, reply.offer_error)

            def found(row: ExecutionRow | None) -> None:
                reply.set(None if row is None else ExecutionContext.of(row.spec, row.state))

            if entry is not None and entry.ref is not None:
                self.request(entry.ref, message, reply.set, look)
            else:
                look()
        return LATER

    def get_active(self, message: GetActive) -> tuple[str, ...]:
        """Everything that has not ended."""
        return self.books.active_ids()

    def get_stats(self, message: GetStats) -> StreamStats:
        """The stream at this moment."""
        now = self.host.monotonic()
        books, point = self.books, self.plan.entry_point
        circuit = self.circuit
        return StreamStats(
            stream_id=self.stream_id,
            entry_point=point.id,
            running=self.mode == "running",
            total_executions=books.accepted,
            completed_executions=books.ended,
            status_counts=dict(books.counts),  # type: ignore[arg-type] # Pairs takes any mapping
            max_concurrent=point.max_concurrent,
            available_slots=self.admission.available_slots,
            queue_depth=self.admission.queue_depth,
            active=len(books.live),
            restarts=books.restarts,
            quarantined=books.quarantined,
            detached=len(books.detached),
            results_held=books.results.count(now),
            circuit=CircuitState(
                state=circuit.state, recent_failures=len(circuit.failures), retry_after=circuit.retry_after(now)
            ),
            latency_ms=dict(books.percentiles()),  # type: ignore[arg-type]
        )

    def running_count(self) -> int:
        """How many executions hold a slot."""
        return self.admission.running

    # -- the stream begins and ends ----------------------------------------------------------------------------------

    def start_stream(self, message: StartStream) -> object:
        """Reply when work is admitted."""
        if self.mode == "running":
            return None
        reply = self.keep_reply()
        if reply is not None:
            self.kept("starters", list[Reply[Any]]).append(reply)
        if self.mode in ("stopped", "draining"):
            self.mode = "starting"
            self._recover(first=True)
        return LATER

    def stop_stream(self, message: StopStream | CloseStream) -> object:
        """Admit nothing, interrupt, wait for the grace at most, name the stragglers."""
        reply = self.keep_reply()
        if reply is not None:
            self.kept("enders", list[Reply[Any]]).append(reply)
        if isinstance(message, CloseStream):
            self.kept("closing", lambda: [False])[0] = True
        if self.mode == "stopping":
            self.books.cancelling = self.books.cancelling or message.cancel
        else:
            self.books.cancelling = message.cancel
        self.mode = "stopping"
        self._turn_away()
        self._interrupt_all(message.grace)
        self.look_at_end()
        return LATER

    def _interrupt_all(self, grace: float) -> None:
        for execution_id, entry in list(self.books.live.items()):
            if self.books.cancelling:
                if not self.end_pending(execution_id, CANCELLED_BY_STOP) and entry.ref is not None:
                    reason = CANCELLED_BY_STOP.reason
                    entry.ref.deliver(CancelExecution(execution_id=execution_id, grace=grace, reason=reason))
            elif entry.ref is None:
                self.leave_pending(execution_id)
            else:
                tell_child(entry.ref, GiveUp())
        self._watch_grace(grace)

    def _watch_grace(self, seconds: float) -> None:
        alarm = self.request(self.plan.wakeups, WakeMe(after=seconds), lambda _: self._grace_is_over(), lambda _: None)
        self.kept("graces", list[Reply[Any]]).append(alarm)

    def _turn_away(self) -> None:
        """Who waits for room has no id yet; nothing of it is kept."""
        for execution_id, opening in list(self.blocked.items()):
            del self.blocked[execution_id]
            self.admission.withdraw(execution_id)
            if opening.reply is not None:
                opening.reply.offer_error(StreamNotRunning(stream_id=self.stream_id))

    def _grace_is_over(self) -> None:
        if self.mode != "stopping":
            return
        stragglers = tuple(name for name in self.children() if name in self.books.live)
        for name in stragglers:
            tell_child(self.children()[name], GiveUp(now=True))
        named = self.kept("stragglers", list[str])
        named.extend(name for name in stragglers if name not in named)
        if stragglers:  # a store that takes no writes must not hold up a cancelled straggler's leaving for ever
            self._watch_grace(LAST_WORDS_SECONDS)

    def drain(self, message: DrainStream) -> object:
        """Admit nothing new, finish what was admitted."""
        reply = self.keep_reply()
        if reply is not None:
            self.kept("enders", list[Reply[Any]]).append(reply)
        if self.mode in ("running", "starting"):
            self.mode = "draining"
        self._turn_away()
        if message.timeout is not None:
            wake = WakeMe(after=message.timeout)
            self.request(self.plan.wakeups, wake, lambda _: self._drained_too_long(), lambda _: None)
        self.look_at_end()
        return LATER

    def _drained_too_long(self) -> None:
        if self.mode == "draining":
            self._end(tuple(self.books.live), "draining")

    def look_at_end(self) -> None:
        """A stop or a drain is through when nothing is under way."""
        if self.books.live or self.books.opening:
            return
        if self.mode in ("stopping", "draining"):
            self.mode = "stopped"
            stragglers = self.kept("stragglers", list[str])
            for alarm in self.kept("graces", list[Reply[Any]]):
                alarm.abandoned = True
            self.kept("graces", list).clear()
            self._refuse_starters()
            self.announce("stream_stopped", {"stragglers": list(stragglers)})
            self._end(tuple(stragglers), "stopped")
            stragglers.clear()
        elif self.mode == "stopped":
            self._end((), "stopped")

    def _refuse_starters(self) -> None:
        """Who asked for a start, or for work, meanwhile: a stop came in between."""
        stopped = StreamNotRunning(stream_id=self.stream_id)
        for reply in self.kept("starters", list[Reply[Any]]):
            reply.offer_error(stopped)
        self.kept("starters", list).clear()
        self.release_early()

    def _end(self, stragglers: tuple[str, ...], mode: str) -> None:
        enders = self.kept("enders", list[Reply[Any]])
        for reply in enders:
            reply.set(StreamEnded(stream_id=self.stream_id, stragglers=stragglers))
        enders.clear()
        if mode == "stopped" and self.kept("closing", lambda: [False])[0]:
            self.stop_now()

    handlers: ClassVar[Handlers] = {
        StartExecution: Accepting.start_execution,
        RunExecution: Accepting.run_execution,
        ResumeExecution: Accepting.resume,
        ReplayExecution: Accepting.replay,
        ExecutionEnded: Accepting.execution_ended,
        SlotReturned: Accepting.slot_returned,
        SlotWanted: Accepting.slot_wanted,
        CancelExecution: cancel,
        PauseExecution: pause,
        WaitForCompletion: wait,
        GetResult: get_result,
        GetContext: get_context,
        GetActive: get_active,
        GetStats: get_stats,
        GetTree: Supervisor.get_tree,
        StartStream: start_stream,
        StopStream: stop_stream,
        CloseStream: stop_stream,
        DrainStream: drain,
        RecoverNow: recover_now,
    }
