"""The SessionActor: the only writer of a runtime. Every change of state is a row that it commits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from propolis.messages import (
    ENDED,
    AdvanceExecution,
    AnswerQuestion,
    AppendEvents,
    AwaitTurn,
    Event,
    ExecutionRow,
    ExecutionSpec,
    ExecutionState,
    GetDecision,
    GetExecution,
    GetHistory,
    GetSession,
    LeaseLost,
    LeaseWasLost,
    LeaveTurn,
    Message,
    Opened,
    OpenExecution,
    PostToInbox,
    PropolisError,
    PublishEvents,
    ReadInbox,
    Rejoined,
    RuntimeStopped,
    StoreUnavailable,
    WakeMe,
    WatchEvents,
    Write,
    encode,
)

from ..backlog import Outage
from ..core import LATER, AsyncioActor, Handlers, Reply
from ..stores import Committed
from .ledger import Ledger, Pending
from .numbering import numbered_events
from .turns import Turns

if TYPE_CHECKING:
    from ..services import Services

__all__ = ["SessionActor"]

TURN_POLL_SECONDS = 0.25
"""How often the first in a session's queue looks again: another process may have held the session."""


SLOW_SECONDS = 2.0
"""After so long a commit that is under way counts as an outage of the store."""


class SessionActor(AsyncioActor):
    """Collects the writes in its mailbox into one transaction while the previous one commits (group commit).

    Order of what it does with a batch (D3): commit, then the replies, then the events. A write that fails for itself
    (a stale epoch, a key in conflict) is answered with its own error; a store that cannot be written to keeps the
    batch, which is tried again until it can be.
    """

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self._lease = services.lease
        self._backlog = services.backlog
        self._config = services.config
        self._threads = services.threads
        self._wakeups = services.wakeups
        self._events = services.events
        self._ledger = self.kept("ledger", Ledger)
        self._turns = self.kept("turns", Turns)
        self._turn_waiters: dict[str, Reply[None]] = self.kept("turn_waiters", dict)
        self._watched: dict[str, bool] = self.kept("watched", lambda: {"on": False})
        self._flush_scheduled = False
        self._beats = 0
        self._lost = False
        self._begun = 0.0
        self._polling = False

    def on_start(self) -> None:
        """Take up what an earlier instance had in flight; start the beat."""
        if self._ledger.in_flight:
            self._ledger.attempts += 1  # it may have landed: nobody was there to hear
            self._commit_again()
        elif self._ledger.waiting:
            self._flush()
        self._schedule_beat()
        self._watch_commits()
        self._poll_later()

    def on_end(self) -> None:
        """Whoever still waits for a commit is told that there will be none."""
        for pending in self._ledger.abandon():
            if pending.reply is not None:
                pending.reply.offer_error(RuntimeStopped())

    # -- writes ------------------------------------------------------------------------------------------------------

    def write(self, message: Write) -> object:
        """Queue a write; the reply comes once it is committed."""
        self._ledger.add(message, self.keep_reply())
        self._backlog.waiting = len(self._ledger.waiting)
        self._flush_soon()
        return LATER

    def _flush_soon(self) -> None:
        # at the end of the loop's round, so that a batch holds what all the mailboxes had ready
        if not self._flush_scheduled and not self._ledger.in_flight:
            self._flush_scheduled = True
            self.actor_inbox.loop.call_soon(lambda: self.later(self._flush))

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._ledger.waiting and not self._ledger.in_flight and not self._lost:
            self._ledger.take(self._config.commit_batch_max)
            self._keep_order()
            self._submit([pending.write for pending in self._ledger.flying])

    def _keep_order(self) -> None:
        """Have those who join a session that others wait for wait behind them, though it be free at this moment."""
        if not self._turns:
            return
        flying = self._ledger.flying
        ended = {
            write.execution_id for write, _ in flying if isinstance(write, AdvanceExecution) and write.status in ENDED
        }

        def in_turn(pending: Pending) -> Pending:
            write = pending.write
            if not isinstance(write, OpenExecution) or write.origin != "join":
                return pending
            if self._turns.waits(write.spec.session_id, besides=ended):
                return Pending(write.model_copy(update={"wait_turn": True}), pending.reply)
            return pending

        self._ledger.flying = tuple(map(in_turn, flying))

    def _submit(self, writes: Sequence[Write]) -> None:
        self._begun = self._lease.now()
        reply = self._threads.commit(self._lease.runtime_id, self._ledger.batch, writes)
        self.follow(reply, self._landed, self._not_committed)

    def _commit_again(self) -> None:
        if self._ledger.in_flight and not self._lost:
            self._submit([pending.write for pending in self._ledger.flying])

    def _landed(self, outcomes: list[Any]) -> None:
        self._lease.renew(self._begun)
        if self._backlog.outage is not None:
            self._backlog.outage = None
            self._announce("store_available")
        self.host.reach("commit.landed")
        batch = self._ledger.landed()
        self._backlog.waiting = len(self._ledger.waiting)
        if self._ledger.waiting:
            self._flush_soon()
        self._answer(batch, outcomes)
        self.host.reach("commit.answered")
        if self._watched["on"]:
            self._publish(batch, outcomes)

    def _answer(self, batch: Sequence[Pending], outcomes: Sequence[Any]) -> None:
        for (write, reply), outcome in zip(batch, outcomes, strict=True):
            self._keep_turns(write, outcome)
            if isinstance(write, (PostToInbox, AnswerQuestion)):
                self.host.reach("inbox.posted")
                self._tell_root(ReadInbox())
            if reply is None:
                continue
            if type(outcome) is Committed:
                reply.set(None)
            elif isinstance(outcome, PropolisError):
                reply.offer_error(outcome)
            elif isinstance(outcome, Message):
                reply.set_bytes(encode(outcome))
            else:
                reply.set(outcome)

    def _publish(self, batch: Sequence[Pending], outcomes: Sequence[Any]) -> None:
        events: list[Event] = []
        for (write, _), outcome in zip(batch, outcomes, strict=True):
            first = getattr(outcome, "first_seq", None)
            if first is not None:
                events += numbered_events(write, first, outcome)
        if events:
            self._events.tell(PublishEvents(events=tuple(events)))

    # -- a store that cannot be written to ---------------------------------------------------------------------------

    def _not_committed(self, error: BaseException) -> None:
        if isinstance(error, LeaseLost):
            self._give_up(error)
        elif isinstance(error, StoreUnavailable):
            self._wait_for_store(error)
        else:
            raise error  # a bug, or a damaged store: a crash, with the ledger kept

    def _wait_for_store(self, error: StoreUnavailable) -> None:
        if self._backlog.outage is None or self._backlog.outage.slow:
            self._begin_outage(error.reason, slow=False)
        self._ledger.attempts += 1
        wait = self._config.store_retry.delay(self._ledger.attempts, self.host.draw())
        self.request(self._wakeups, WakeMe(after=wait), lambda _: self._commit_again())

    def _watch_commits(self) -> None:
        """A commit that hangs is an outage as well: a slow disk, a lock that somebody does not let go."""
        waited = self._lease.now() - self._begun
        if self._ledger.in_flight and not self._lost and self._backlog.outage is None and waited >= SLOW_SECONDS:
            self._begin_outage(f"a commit has taken {waited:.1f} s so far", slow=True)
        again = WakeMe(after=self._config.lease_seconds / 15)
        self.request(self._wakeups, again, lambda _: self._watch_commits())

    def _begin_outage(self, reason: str, *, slow: bool) -> None:
        self._backlog.outage = Outage(reason, slow)
        self._events.tell(PublishEvents(events=(self._event("store_unavailable", reason),)))

    def _give_up(self, error: LeaseLost) -> None:
        """A peer has declared this runtime lost. Hold what is to be written, until the root has joined again.

        Nothing of it landed, and under the new name it is as good as before: what concerns an execution carries an
        epoch, which a takeover has raised. Only a batch that was in doubt already is given up.
        """
        self._lost = True
        for pending in self._ledger.put_back():
            if pending.reply is not None:
                pending.reply.offer_error(error)
        self._tell_root(LeaseWasLost(runtime_id=error.runtime_id))

    def rejoined(self, message: Rejoined) -> None:
        """From the root: this runtime has a row again, under a new name."""
        self._lost = False
        self._flush_soon()

    def _tell_root(self, message: Message) -> None:
        parent = self.actor_inbox.parent
        if parent is not None and not parent.stopped.on:
            parent.ref.tell(message)

    def _announce(self, kind: str, reason: str = "") -> None:
        self._ledger.add(AppendEvents(events=(self._event(kind, reason),)), None)

    def _event(self, kind: str, reason: str) -> Event:
        from propolis.messages import Payload  # noqa: PLC0415

        return Event(type=kind, timestamp=self.host.now(), data_payload=Payload.of({"reason": reason}))

    # -- the beat ----------------------------------------------------------------------------------------------------

    def _schedule_beat(self) -> None:
        self.request(self._wakeups, WakeMe(after=self._config.lease_seconds / 3), lambda _: self._beat())

    def _beat(self) -> None:
        if not self._lost and not self._ledger.in_flight and self._ledger.commits == self._beats:
            self.host.reach("beat.before")
            self._submit(self._ledger.take(self._config.commit_batch_max))
        self._beats = self._ledger.commits
        self._schedule_beat()

    # -- turns on a session ------------------------------------------------------------------------------------------

    def _keep_turns(self, write: Write, outcome: Any) -> None:
        if isinstance(write, OpenExecution):
            queues = write.origin != "fresh" and write.session_policy != "parallel"
            if queues and isinstance(outcome, Opened) and not outcome.duplicate:
                self._turns.join(write.spec.session_id, write.spec.execution_id)
        elif self._turns and isinstance(write, AdvanceExecution) and write.status in ENDED:
            self._turns.leave(write.session_id, write.execution_id)
            self._wake_first(self._turns.first(write.session_id))

    def await_turn(self, message: AwaitTurn) -> object:
        """Reply when this execution may try to claim its session: at the end of another one, and now and then."""
        reply = self.keep_reply()
        if reply is None:
            return None
        self._turns.join(message.session_id, message.execution_id)
        self._turn_waiters[message.execution_id] = reply
        self._poll_later()
        return LATER

    def leave_turn(self, message: LeaveTurn) -> None:
        """Somebody no longer waits."""
        self._turn_waiters.pop(message.execution_id, None)
        self._turns.leave(message.session_id, message.execution_id)
        self._wake_first(self._turns.first(message.session_id))

    def _wake_first(self, execution_id: str | None) -> None:
        reply = self._turn_waiters.pop(execution_id, None) if execution_id is not None else None
        if reply is not None:
            reply.set(None)

    def _poll_later(self) -> None:
        if self._turn_waiters and not self._polling:
            self._polling = True
            self.request(self._wakeups, WakeMe(after=TURN_POLL_SECONDS), lambda _: self._poll_turns())

    def _poll_turns(self) -> None:
        self._polling = False
        for execution_id in self._turns.firsts():
            self._wake_first(execution_id)
        self._poll_later()

    # -- the rest ----------------------------------------------------------------------------------------------------

    def watch_events(self, message: WatchEvents) -> None:
        """From the EventActor: publish what is committed from now on, or stop."""
        self._watched["on"] = message.on

    def ledger(self) -> tuple[int, int, int, bool]:
        """Through the proxy: commits, writes committed, writes waiting, and whether the store can be written to."""
        ledger = self._ledger
        return ledger.commits, ledger.rows, len(ledger.waiting) + len(ledger.flying), self._backlog.outage is None

    def get_session(self, message: GetSession) -> object:
        """Read a session, on the read thread."""
        reply = self.keep_reply()
        session_id = message.session_id
        if reply is not None:
            self._threads.read(lambda store: store.get_session(session_id)).relay_to(reply)
        return LATER

    def get_execution(self, message: GetExecution) -> object:
        """Read an execution, on the read thread."""
        reply = self.keep_reply()
        execution_id = message.execution_id
        if reply is not None:
            self._threads.read(lambda store: _row(store.get_execution(execution_id))).relay_to(reply)
        return LATER

    def get_history(self, message: GetHistory) -> object:
        """Read what a run has recorded, on the read thread."""
        reply = self.keep_reply()
        run = message.run
        if reply is not None:
            self._threads.read(lambda store: store.history(run)).relay_to(reply)
        return LATER

    def get_decision(self, message: GetDecision) -> object:
        """Read a decision, on the read thread."""
        reply = self.keep_reply()
        decision_id = message.decision_id
        if reply is not None:
            self._threads.read(lambda store: store.get_decision(decision_id)).relay_to(reply)
        return LATER

    handlers: ClassVar[Handlers] = {
        **dict.fromkeys(get_args(Write), write),
        WatchEvents: watch_events,
        AwaitTurn: await_turn,
        LeaveTurn: leave_turn,
        GetSession: get_session,
        GetExecution: get_execution,
        GetHistory: get_history,
        GetDecision: get_decision,
        Rejoined: rejoined,
    }


def _row(found: tuple[ExecutionSpec, ExecutionState] | None) -> ExecutionRow | None:
    return None if found is None else ExecutionRow(spec=found[0], state=found[1])
