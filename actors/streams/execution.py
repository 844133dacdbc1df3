"""The ExecutionActor: one execution, from its first attempt to its end. Wraps exactly one executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from propolis.messages import (
    ENDED,
    LIVE_EVENTS,
    Advanced,
    AppendEvents,
    AttemptEnded,
    AttemptGivenUp,
    AwaitTurn,
    CancelExecution,
    EmitEvents,
    ExecutionRow,
    ExecutionState,
    Failure,
    GetContext,
    GetExecution,
    GetHistory,
    GiveUp,
    LeaveTurn,
    PauseExecution,
    PublishEvents,
    RunHistory,
    SlotGranted,
    SlotReturned,
    StreamRestarted,
    decode,
    encoder,
)

from ..core import LATER, Handlers
from ..executors import Beginning
from ..supervision.policy import History, Restart, Stop, decide
from .displaced import Displaced
from .endings import draft
from .finding import ask_surely
from .interrupting import Interrupting, limit_failure
from .life import WAITING
from .parenting import Parenting
from .parking import Over, rows_of, steps_of

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ExecutionActor"]

_encode_events: Final = encoder(AppendEvents)


class ExecutionActor(Parenting):
    """Drives one execution: takes its session, launches attempts, writes what they say, decides about restarts.

    Its stream grants it a slot and hears of its end once that is committed. What an attempt of an earlier epoch says
    is refused.
    """

    announces_end = False  # it tells its stream itself, and what came of it

    def on_start(self) -> None:
        """Begin as ordered; or, a new instance after a crash, find out how things stand."""
        order = self._order
        if self._life.phase != "new":
            self._recover()
        elif order.kind == "end":
            self._life.cancel = order.reason if order.status == "cancelled" else None
            self.finish(order.status, failure=order.failure)
        elif order.kind == "launch":
            self.launch()
        elif order.kind == "await_turn":
            self._life.phase = "awaiting_turn"
            self._await_turn()
        elif self.too_often_lost():
            self.end_as_lost()
        elif order.kind == "wait":
            self.wait_again()
        else:
            self._claim()

    # -- an attempt begins -------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Count an attempt and, where others may want the session, take it: one commit (D2)."""
        life, before = self._life, self._life.state
        life.phase = "claiming"
        life.state = self.running_state(restarts=before.restarts, counted=True)
        data = {"attempt": life.state.attempt}
        events = [draft("execution_started", data)]
        if before.attempt == 0 and self._spec.origin == "fresh":
            events += self._plan.announced
        if before.attempt == 0 and self._spec.origin == "resume":
            events.insert(0, draft("execution_resumed", data))
        elif before.status == "parked":
            events.insert(0, draft("execution_unparked", data))
        elif before.attempt > 0 and before.status != "restarting":
            events.insert(0, draft("execution_recovered", data | {"lost_attempts": before.lost_attempts}))
        replayed = before.status == "pending" and before.attempt > 0  # it had ended: others may have its session
        life.takes = life.takes or replayed or self._spec.origin != "fresh"
        over = self.take_over()
        self.host.reach("claim.before")
        self.advance(
            before.epoch,
            self.host.now(),
            tuple(events),
            lambda done: self._claimed(before, done, over),
            lambda error: self.unclaimed(before, over, error),
            claim=life.takes,
            steps=steps_of(over),
            inbox=rows_of(over),
        )

    def _claimed(self, before: ExecutionState, done: Advanced | None, over: list[Over]) -> None:
        self.host.reach("claim.committed")
        life = self._life
        self.clear_taken(over)
        if done is not None and not done.claimed:
            life.state = before
            life.phase = "awaiting_turn"
            self.tell_stream(SlotReturned(execution_id=self._spec.execution_id))
            if not self.settle_early():
                self._await_turn()
            return
        if done is not None and done.memory is not None:
            life.memory, life.node = done.memory, done.node
        self.launch()

    def _await_turn(self) -> None:
        request = AwaitTurn(session_id=self._spec.session_id, execution_id=self._spec.execution_id)
        self.keep_alarm(self.request(self._plan.sessions, request, lambda _: self._want_slot(), self.gone))
        self.watch_limits()

    def _want_slot(self) -> None:
        if self._life.phase in ("awaiting_turn", "backing_off"):
            self.ask_for_slot()

    def slot_granted(self, message: SlotGranted) -> None:
        """The stream has a slot for what waits."""
        current = self._life.phase == "awaiting_slot" and message.request == self._life.requests
        if current and not self.go_on():
            self._claim()

    def launch(self) -> None:
        """Begin the attempt that has been counted, unless it is to end first; with what its run has recorded."""
        if self.settle_early():
            return
        self.forget_waits()
        if self._life.state.attempt == 1 and self._spec.origin in ("fresh", "join"):
            self._launch_with(None)
            return
        self._life.phase = "writing"
        ask_surely(self, self._plan, GetHistory(run=self._spec.run_id), self._launch_with, self.gone)

    def _launch_with(self, history: RunHistory | None) -> None:
        life = self._life
        if history is not None and self.settle_early():
            return
        if history is not None:
            self.take_saved(history.segment)
            life.saving = ()  # what has not landed by now never will: it was of an earlier epoch
        self.drop_turns()
        life.phase = "running"
        late, epoch, attempt = self._plan.late.one, life.state.epoch, life.state.attempt
        trusted = self._plan.lease.is_trusted
        plan = self._plan
        said = bool(plan.announced) and attempt == 1 and self._spec.origin == "fresh"
        begin = Beginning(self._spec, epoch, attempt, life.memory, life.node, late, history, trusted, said)
        self.host.reach("launch.before")
        life.launched = plan.launcher.launch(plan.executor, plan.entry_point, begin, self.actor_inbox.ref)
        self.host.reach("launch.after")
        if life.pausing:
            life.launched.pause()
        if plan.has_time_limits or self._spec.deadline is not None:
            if not life.launched.waits_for_room:
                self.attempt_began = self.last_sign = self.host.monotonic()
            self.watch_limits()

    # -- what a running attempt asks ---------------------------------------------------------------------------------

    def emit(self, message: EmitEvents) -> object:
        """Commit events, or publish the live ones, then answer."""
        self.check_epoch(message.epoch)
        if all(event.type in LIVE_EVENTS for event in message.events):
            self._plan.events.tell(PublishEvents(events=message.events))
            return None
        reply = self.keep_asked()
        self.host.reach("emit.before")

        def done(_: Any) -> None:
            self.host.reach("emit.committed")
            if reply is not None:
                reply.set(None)

        request = _encode_events(
            events=message.events, execution_id=self._spec.execution_id, expected_epoch=message.epoch
        )
        self.request(self._plan.sessions, request, done, lambda error: self.refused(error, reply))
        return LATER

    # -- an attempt ends ---------------------------------------------------------------------------------------------

    def attempt_ended(self, message: AttemptEnded) -> None:
        """The one report of an attempt. One of an earlier epoch has nothing to say any more."""
        life = self._life
        if message.epoch != life.state.epoch or not life.executing:
            return
        self.host.reach("attempt.ended")
        life.launched = None
        self.drop_turns()
        self.attempt_began = self.last_sign = None
        slotless = life.phase in WAITING
        if (progress := self.progress_of(message)) is not None:
            life.progress = progress
        life.report = message.report or life.report
        self.told = message.events
        match message.how:
            case _ if life.detached:
                self.finish("cancelled")
            case "returned":
                self.finish("completed", output=message.output, memory=message.memory)
            case "paused":
                self.finish("paused", memory=message.memory, node=message.node, ordinal=message.ordinal)
            case "parked" if self.passed is None and not life.leaving and life.cancel is None:
                self.park_unwound(message.waits)
            case "cancelled" | "parked" if self.passed is None and life.cancel is not None:
                self.finish("cancelled")
            case "cancelled" | "parked" if self.passed is None:
                self.leave()
            case _:
                failure = message.failure if self.passed is None else limit_failure(self.passed)
                failure = failure or Failure(kind="Unknown", message="it gave no reason")
                self.has_failed(failure, forget=message.forget, slotless=slotless)

    def has_failed(
        self, failure: Failure, *, forget: tuple[tuple[int, str, str, int], ...] = (), slotless: bool = False
    ) -> None:
        """Restart it or end it, as its policy says. `forget`: recorded steps that are to run again with it."""
        life = self._life
        self.passed = None
        if life.leaving:
            self.leave()
            return
        if life.cancel is not None:
            self.finish("cancelled", failure=failure)
            return
        limit = self._next_limit()
        now = self.host.monotonic()
        history = History(
            restarts=life.state.restarts,
            draw=self.host.draw(),
            deadline=None if limit is None else now + limit.after,
        )
        decision = decide(self._plan.entry_point.restart, history, failure, now)
        if isinstance(decision, Restart):
            self._restart(decision.after, failure, forget, slotless=slotless)
        else:
            exhausted = isinstance(decision, Stop) and decision.reason == "exhausted"
            self.finish("failed", failure=failure, quarantined=exhausted, forget=forget)

    def _restart(
        self, after: float, failure: Failure, forget: tuple[tuple[int, str, str, int], ...], *, slotless: bool
    ) -> None:
        """Commit the restart; run at once, on the slot that it has, or give that back and wait."""
        life, before = self._life, self._life.state
        at_once = after <= 0.0 and not slotless
        life.phase = "writing"
        life.state = self.running_state(restarts=before.restarts + 1, counted=at_once)
        data = {"restart": before.restarts + 1, "after": after, "error": f"{failure.kind}: {failure.message}"}
        events = (draft("execution_restarted", data),)

        def committed(_: Advanced | None) -> None:
            self.host.reach("restart.committed")
            if at_once:
                self.launch()
            else:
                self._back_off(after)

        self.host.reach("restart.before")
        self.advance(before.epoch, self.host.now(), events, committed, forget=forget)

    def _back_off(self, seconds: float) -> None:
        self._life.phase = "backing_off"
        if self.settle_early():
            return
        self.tell_stream(SlotReturned(execution_id=self._spec.execution_id))
        self.alarm(seconds, self._want_slot)
        self.watch_limits()

    def stream_restarted(self, message: StreamRestarted) -> None:
        """The stream is a new instance, which takes every execution for a running one: tell it otherwise."""
        self._tell_waiting()
        if self._life.phase == "awaiting_slot":
            self.ask_for_slot()

    def _tell_waiting(self) -> None:
        if self._life.phase == "parked":
            self.tell_parked()
        elif self._life.phase in WAITING:
            self.tell_stream(SlotReturned(execution_id=self._spec.execution_id))

    def on_end(self) -> None:
        """What still runs is fenced off, and nobody waits for the session on its behalf any more."""
        self.refuse_asked()
        self.drop_turns()
        if self._life.launched is not None:
            self._life.launched.supersede()
        if self._spec.origin != "fresh" or self._life.takes:
            done = LeaveTurn(session_id=self._spec.session_id, execution_id=self._spec.execution_id)
            self._plan.sessions.deliver(done)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """What the next instance does not know of is answered."""
        self.refuse_asked()

    # -- after a crash of this actor ---------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Fence what runs, see how things stand, and go on as after a failed attempt.

        The empty write is a fence of its own: once it is answered, what the old instance had sent is committed or
        refused, so the row that is read then is the truth.
        """
        life = self._life
        life.inbox, life.heard = None, 0  # what the old instance was clearing is gone, or is read again
        if life.launched is not None:
            life.launched.supersede()
            life.launched = None
            self.drop_turns(surely=True)
        if self._goes_on_waiting():
            return
        slotless = life.phase != "running"  # or nobody knows: what waited for something else may have been ending
        life.phase = "writing"

        def found(row: ExecutionRow | None) -> None:
            ended = row is not None and row.state.status in ENDED
            # By the name that it began under: who has lost its lease since may have it anew, for a successor of this.
            if row is None or not (ended or row.state.owner == (life.state.owner or self._plan.owner)):
                self.leave()
                return
            life.state = row.state
            if ended:
                if row.state.result is not None:
                    decode(row.state.result)  # the stream passes it on as bytes that need no second look
                self.tell_end()
            else:
                failure = Failure(kind="ActorCrashed", message="its actor crashed", code="actor_crashed")
                self.has_failed(failure, slotless=slotless)

        def fenced(_: Any) -> None:
            asked = GetExecution(execution_id=self._spec.execution_id)
            ask_surely(self, self._plan, asked, found, self.gone)

        ask_surely(self, self._plan, AppendEvents(events=()), fenced, self.gone)

    def _goes_on_waiting(self) -> bool:
        """Whether nothing ran or was being written: then it waits on, and nothing is charged.

        The stream is told once more that it does. What this actor crashed over may have been the word of a new instance
        of the stream, which takes it for a running one.
        """
        if self._life.phase != "parked":  # which it is told below
            self._tell_waiting()
        match self._life.phase:
            case "awaiting_turn":
                self._await_turn()
            case "backing_off":
                self._want_slot()  # the wait is cut short; the alarm was the old instance's
            case "parked":
                self.wait_again()
            case "awaiting_slot" if self._life.state.status == "parked":
                self.wait_again()
            case "awaiting_slot":
                self.watch_limits()
                self.ask_for_slot()  # whether it was granted, or the grant is lost: asked for anew
            case _:
                return False
        return True

    handlers: ClassVar[Handlers] = {
        **Parenting.handlers,
        AttemptEnded: attempt_ended,
        AttemptGivenUp: Displaced.attempt_given_up,
        EmitEvents: emit,
        SlotGranted: slot_granted,
        StreamRestarted: stream_restarted,
        CancelExecution: Interrupting.cancel,
        PauseExecution: Interrupting.pause,
        GiveUp: Interrupting.give_up,
        GetContext: Interrupting.get_context,
    }
