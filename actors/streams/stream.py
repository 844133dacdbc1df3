"""The StreamActor: one entry point. Admits, queues and supervises its executions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from propolis.messages import (
    CancelExecution,
    CircuitState,
    CloseStream,
    DrainStream,
    Encoded,
    ExecutionContext,
    ExecutionDetached,
    ExecutionEnded,
    ExecutionRow,
    GetActive,
    GetContext,
    GetExecution,
    GetResult,
    GetStats,
    GetTree,
    GetWhereabouts,
    InboxRow,
    PauseExecution,
    RecoverNow,
    Rejoined,
    ReplayExecution,
    ResumeExecution,
    RunExecution,
    RuntimeStopped,
    SlotReturned,
    SlotWanted,
    StartExecution,
    StartStream,
    StopStream,
    StreamStats,
    WaitForCompletion,
    Whereabouts,
)

from ..core import LATER, Handlers, Ref, Reply
from ..core.mailbox import Envelope
from ..supervision.supervisor import Supervisor
from .accepting import Accepting
from .execution import ExecutionActor
from .leaving import Leaving
from .reaching import Reaching
from .recovering import Recovering

if TYPE_CHECKING:
    from typing import Self

    from ..services import Services

__all__ = ["StreamActor"]


class StreamActor(Reaching):
    """Supervises one ExecutionActor for each execution under way.

    Started by a Runtime, or by its class: `StreamActor.start(entry_point, executor, sessions=…, events=…)`. After a
    crash its books are found again, its executions have kept running, and who was queued is queued again.
    """

    @classmethod
    def start(  # pyright: ignore[reportIncompatibleMethodOverride] - as every actor's, with what this one takes
        cls, entry_point: Any, executor: Any, *, sessions: Ref[Any], events: Ref[Any]
    ) -> Ref[Self]:
        """Start a stream in the runtime of this SessionActor and EventActor, as its `open_stream()` does.

        It is supervised there, takes over what was left unfinished and is told what comes into the inbox; a trigger
        starts with it. The reference is registered with pykka, and takes StartExecution and the other messages of a
        stream; no `Stream` goes with it. Blocks until work is admitted. Any thread but the actor loop.

        Raises:
            InvalidInput: the executor is none, or does not fit the entry point's placement.
            DuplicateStream: one of that id is open.
            RuntimeStopped: the runtime has been stopped.
        """
        actor, root = sessions.actor_inbox.instance(), sessions.actor_inbox.parent
        if actor is None or root is None:
            raise RuntimeStopped
        services: Services = actor.services  # type: ignore[attr-defined] # set for good before the actor is started
        plan = replace(services.plan_stream(entry_point, executor), events=events)
        try:
            opened: Any = root.ref.proxy().open_stream(plan, cls).get()
        except pykka.ActorDeadError:
            raise RuntimeStopped from None
        ref: Ref[Self] = opened.ref
        return ref

    def on_end(self) -> None:
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
            late_calls=self.plan.late.count,
            results_held=books.results.count(now),
            circuit=CircuitState(
                state=circuit.state, recent_failures=len(circuit.failures), retry_after=circuit.retry_after(now)
            ),
            latency_ms=dict(books.percentiles()),  # type: ignore[arg-type]
        )

    def get_whereabouts(self, message: GetWhereabouts) -> Whereabouts:
        """Where an execution stands, and how the stream does."""
        id, admission, circuit, now = message.execution_id, self.admission, self.circuit, self.host.monotonic()
        entry = self.books.live.get(id)
        actor = entry.ref.actor_inbox.instance() if entry is not None and entry.ref is not None else None
        return Whereabouts(
            mode=self.mode,
            place=admission.where(id),
            ahead=admission.ahead_of(id),
            queue_depth=admission.queue_depth,
            running=admission.running,
            max_concurrent=self.plan.entry_point.max_concurrent,
            phase=actor.phase if isinstance(actor, ExecutionActor) else None,
            circuit=CircuitState(state=circuit.state, retry_after=circuit.retry_after(now)),
            version=self.plan.entry_point.version,
        )

    def running_count(self) -> int:
        """How many executions hold a slot."""
        return self.admission.running

    handlers: ClassVar[Handlers] = {
        StartExecution: Accepting.start_execution,
        RunExecution: Accepting.run_execution,
        ResumeExecution: Accepting.resume,
        ReplayExecution: Leaving.replay,
        ExecutionDetached: Reaching.execution_detached,
        InboxRow: Reaching.hear_inbox,
        ExecutionEnded: Recovering.execution_ended,
        SlotReturned: Accepting.slot_returned,
        SlotWanted: Accepting.slot_wanted,
        CancelExecution: Reaching.cancel,
        PauseExecution: Reaching.pause,
        WaitForCompletion: wait,
        GetResult: get_result,
        GetContext: get_context,
        GetActive: get_active,
        GetStats: get_stats,
        GetTree: Supervisor.get_tree,
        GetWhereabouts: get_whereabouts,
        StartStream: Recovering.start_stream,
        StopStream: Leaving.stop_stream,
        CloseStream: Leaving.stop_stream,
        DrainStream: Leaving.drain,
        RecoverNow: Recovering.recover_now,
        Rejoined: Recovering.rejoined,
    }
