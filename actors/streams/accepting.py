"""The part of a StreamActor that takes new work in: check, admit, commit, acknowledge (D1)."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import Any, Final

from propolis.messages import (
    Accepted,
    EventDraft,
    ExecutionSpec,
    ExecutionState,
    GetSession,
    InvalidInput,
    NewExecution,
    Opened,
    OpenExecution,
    Payload,
    ResumeExecution,
    RunExecution,
    SessionBusy,
    SessionNotFound,
    SessionRecord,
    StartExecution,
    StreamNotRunning,
    StreamSaturated,
    StreamTripped,
    encode,
    encoder,
    unchecked,
)

from ..core import LATER, Reply
from ..core.mailbox import Envelope
from ..executors.outcomes import digest_of
from ..tracing import begin_trace, parse_trace
from .admission import Admit, Block, Drop, Reject
from .endings import attempt_data
from .entries import Entry, Opening
from .life import AWAIT_TURN, CLAIM, LAUNCH, Order
from .supervising import Supervising

__all__ = ["CANCELLED_BY_STOP", "Accepting", "check_id", "offer_to"]

CANCELLED_BY_STOP: Final = Order(kind="end", status="cancelled", reason="the stream was stopped")
DROPPED: Final = Order(kind="end", status="cancelled", reason="dropped")
STARTED: Final[tuple[EventDraft, ...]] = (("execution_started", None, attempt_data(1).data),)
QUEUED: Final[tuple[EventDraft, ...]] = (("execution_queued", None, None),)

_new_spec: Final = unchecked(ExecutionSpec)
_encode_opening: Final = encoder(OpenExecution)

_ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


def check_id(what: str, value: str | None) -> None:
    """Refuse an id from outside that is not of the one form."""
    if value is not None and not _ID.fullmatch(value):
        raise InvalidInput(
            what=what,
            reason=f"{value[:200]!r} is no id",
            remedy="Use 1 to 128 letters, digits, '_', '.' and '-', the first a letter or digit.",
        )


class Accepting(Supervising):
    """Takes new executions in. Nothing is acknowledged before its row is committed."""

    # -- commands ----------------------------------------------------------------------------------------------------

    def start_execution(self, message: StartExecution) -> object:
        """Accept an execution; the reply is its id."""
        return self._accept(message, wait=False)

    def run_execution(self, message: RunExecution) -> object:
        """Accept an execution; the reply is its result."""
        return self._accept(message, wait=True)

    def _accept(self, message: NewExecution, *, wait: bool) -> object:
        if self.hold_early():
            return LATER
        self.check_running()
        now = self.host.now()
        _check_request(message, now)
        trial = self._pass_circuit()
        point = self.plan.entry_point
        memory = self._checked_memory(message.memory)
        fresh = message.session_id is None  # then the session has the execution's id (section 4)
        execution_id = self.host.new_session_id(now) if fresh else self.host.new_execution_id()
        spec = _new_spec(
            execution_id=execution_id,
            session_id=message.session_id or execution_id,
            stream_id=self.stream_id,
            entry_point=point.id,
            correlation_id=message.correlation_id or execution_id,
            isolation_level=point.isolation_level,
            accepted_at=now,
            input_data=message.input_data,
            idempotency_key=message.idempotency_key,
            deadline=message.deadline,
            priority=message.priority if message.priority is not None else point.priority,
            origin="fresh" if fresh else "join",
            version=point.version,
            ancestry=message.ancestry,
            parent=message.parent,
            traceparent=self._trace(message.traceparent, execution_id),
            beside=not fresh and point.session_policy == "parallel",
            memory_digest=_digest(memory) if message.idempotency_key is not None else None,
        )
        return self._admit(Opening(self._new_entry(spec, memory, trial), self.keep_reply(), wait, memory, None))

    def resume(self, message: ResumeExecution) -> object:
        """Take a session over with a new execution. What it is not told it takes from the session's owner."""
        if self.hold_early():
            return LATER
        self.check_running()
        check_id("session_id", message.session_id)
        memory = self._checked_memory(message.memory)
        reply = self.owe_reply()

        def found(record: SessionRecord | None) -> None:
            try:
                opening = self._resume(record, message, memory, reply)
            except Exception as error:  # noqa: BLE001 - bad input: it is the asker's
                if reply is not None:
                    reply.offer_error(error)
            else:
                self._admit(opening)

        self.request(self.plan.sessions, GetSession(session_id=message.session_id), found, offer_to(reply))
        return LATER

    def _resume(
        self, record: SessionRecord | None, message: ResumeExecution, memory: Payload | None, reply: Reply[Any] | None
    ) -> Opening:
        self.check_running()
        if record is None:
            raise SessionNotFound(session_id=message.session_id)
        if record.stream_id != self.stream_id:
            reason = f"stream {record.stream_id!r} opened it; resume it there"
            raise SessionBusy(session_id=message.session_id, reason=reason)
        execution_id = self.host.new_session_id() if message.fork else self.host.new_execution_id()
        as_it_was = message.input_data is None and message.memory is None and message.checkpoint_id is None
        spec = ExecutionSpec(
            execution_id=execution_id,
            session_id=execution_id if message.fork else record.session_id,
            stream_id=self.stream_id,
            entry_point=self.plan.entry_point.id,
            correlation_id=record.correlation_id,
            origin="fork" if message.fork else "resume",
            isolation_level=record.isolation_level,
            priority=self.plan.entry_point.priority,
            accepted_at=self.host.now(),
            input_data=message.input_data or record.input_payload,
            version=self.plan.entry_point.version,
            run=record.run if as_it_was and not message.fork else None,
            traceparent=self._trace(message.traceparent, execution_id),
        )
        trial = self._pass_circuit()
        source = record.session_id if message.fork else None
        return Opening(self._new_entry(spec, memory, trial), reply, False, memory, message.checkpoint_id, source)

    def _trace(self, traceparent: str | None, execution_id: str) -> str | None:
        if traceparent is None:
            return begin_trace(execution_id) if self.plan.config.tracing else None
        if parse_trace(traceparent) is None:
            reason = f"{traceparent[:100]!r} is none of version 00"
            raise InvalidInput(what="traceparent", reason=reason, remedy="Pass one as W3C writes it, or None.")
        return traceparent

    # -- checks ------------------------------------------------------------------------------------------------------

    def hold_early(self) -> bool:
        """Put the message at hand aside while the stream still takes over what was left: it goes first."""
        current = self.actor_inbox.current
        if self.mode != "starting" or current is None:
            return False
        self.kept("early", list[Envelope]).append(current)
        return True

    def release_early(self) -> None:
        """Look at what came early now."""
        early = self.kept("early", list[Envelope])
        for envelope in early:
            self.actor_inbox.push(envelope)
        early.clear()
        self.actor_inbox.wake()

    def owe_reply(self) -> Reply[Any] | None:
        """The reply to the message at hand, which hangs on a later turn of this actor: a crash must not forget it."""
        reply = self.keep_reply()
        if reply is not None:
            self.books.owe(reply)
        return reply

    def check_running(self) -> None:
        """Raise StreamNotRunning when it is not."""
        if self.mode != "running":
            raise StreamNotRunning(stream_id=self.stream_id)
        self.plan.backlog.check()  # before anybody is pushed out for it

    def _pass_circuit(self) -> bool:
        """Ask the circuit. True when this execution is its trial."""
        if self.plan.entry_point.circuit is None:
            return False
        admitted = self.circuit.admit(self.host.monotonic())
        self.circuit = admitted.circuit
        if not admitted.allowed:
            raise StreamTripped(stream_id=self.stream_id, retry_after=admitted.retry_after)
        return admitted.trial

    @staticmethod
    def _checked_memory(memory: Payload | None) -> Payload | None:
        if memory is not None and not isinstance(memory.value(), dict):
            raise InvalidInput(what="memory", reason="it is no dict", remedy="Pass a dict with str keys.")
        return memory

    @staticmethod
    def _new_entry(spec: ExecutionSpec, memory: Payload | None, trial: bool) -> Entry:
        entry = Entry(spec, None, memory)
        entry.trial = trial
        return entry

    # -- admission ---------------------------------------------------------------------------------------------------

    def _admit(self, opening: Opening) -> object:
        spec = opening.entry.spec
        match self.admission.offer(spec.execution_id, spec.priority):
            case Admit(start_now=True):
                self.open(opening, start_now=True)
            case Admit() | Drop():
                self.open(opening, start_now=False)
            case Block():
                self.blocked[spec.execution_id] = opening
                self._let_withdraw(opening)
            case Reject(max_pending):
                self._abandon_trial(opening.entry)
                offer_to(opening.reply)(StreamSaturated(stream_id=self.stream_id, max_pending=max_pending))
        return LATER

    def _let_withdraw(self, opening: Opening) -> None:
        """D1: whoever waits for room has no id yet, and leaves nothing behind when they are cancelled."""
        reply, execution_id = opening.reply, opening.entry.spec.execution_id
        if reply is None:
            return
        loop = self.actor_inbox.loop
        reply.on_abandoned = lambda: loop.post(lambda: self.later(lambda: self._withdraw(execution_id)))
        if reply.abandoned:
            self._withdraw(execution_id)

    def _withdraw(self, execution_id: str) -> None:
        opening = self.blocked.pop(execution_id, None)
        if opening is not None:
            self._abandon_trial(opening.entry)
            self.make_room(self.admission.withdraw(execution_id))
            max_pending = self.plan.entry_point.max_pending or 0
            offer_to(opening.reply)(StreamSaturated(stream_id=self.stream_id, max_pending=max_pending))

    def open(self, opening: Opening, *, start_now: bool) -> None:
        """Commit the row. With a free slot, and a session of its own, the first attempt is counted in it (D1, D2)."""
        entry = opening.entry
        spec = entry.spec
        started_at = self.host.now() if start_now and spec.origin == "fresh" else None
        entry.state = ExecutionState.accepted(spec, self.plan.owner, started_at)
        self.host.reach("accept.before")
        self.books.opening[spec.execution_id] = opening
        point = self.plan.entry_point
        request = _encode_opening(
            encoded_spec=encode(spec),
            origin=spec.origin,
            started_at=started_at,
            memory=opening.memory,
            checkpoint_id=opening.checkpoint_id,
            source=opening.source,
            session_policy="queue" if spec.origin == "fresh" else point.session_policy,
            graph_id=point.graph_id,
            events=STARTED + self.plan.announced if started_at is not None else () if start_now else QUEUED,
        )

        self.request(self.plan.sessions, request, partial(self._opened, opening), partial(self.not_opened, opening))

    def _opened(self, opening: Opening, opened: Opened | None) -> None:
        entry, reply = opening.entry, opening.reply
        execution_id = entry.spec.execution_id
        self.host.reach("accept.committed")
        if self.books.opening.pop(execution_id, None) is None:
            return  # a stop has given it up
        if opened is not None and opened.duplicate:
            self._abandon_trial(entry)
            self.make_room(self.admission.withdraw(execution_id))
            self._acknowledge(opening, opened)
            self.look_at_end()
            return
        if opened is not None and opened.memory is not None:
            entry.memory, entry.node = opened.memory, opened.node
        if entry.state.owner != self.plan.owner:  # it was declared lost while this waited to be written
            entry.state = entry.state.model_copy(update={"owner": self.plan.owner})
        self.books.live[execution_id] = entry
        self.books.accepted += 1
        for victim in self.admission.settle(execution_id):
            self.end_pending(victim, DROPPED)
        if opening.wait and reply is not None:
            self.books.add_waiter(execution_id, reply)
        else:
            self._acknowledge(opening, opened)
            self.host.reach("accept.acknowledged")
        self._begin(entry, may_start=opened is None or opened.may_start)

    def _begin(self, entry: Entry, *, may_start: bool) -> None:
        execution_id = entry.spec.execution_id
        if self.mode not in ("running", "draining"):
            if not (self.books.cancelling and self.end_pending(execution_id, CANCELLED_BY_STOP)):
                self.leave_pending(execution_id)
                self.look_at_end()
        elif self.admission.where(execution_id) is None:  # dropped for a newer one while its row was on its way
            self.end_pending(execution_id, DROPPED)
        elif not may_start:
            self.make_room(self.admission.set_aside(execution_id))
            self.spawn_execution(entry, AWAIT_TURN)
        elif self.admission.where(execution_id) == "running":
            counted = entry.state.status == "running"
            self.spawn_execution(entry, LAUNCH if counted else CLAIM)
        else:
            self.watch_pending(entry)

    def _acknowledge(self, opening: Opening, opened: Opened | None) -> None:
        spec, reply = opening.entry.spec, opening.reply
        if reply is None:
            return
        if opened is None:
            reply.set(Accepted(execution_id=spec.execution_id, session_id=spec.session_id))
        elif opening.wait:
            self.wait_for(opened.execution_id, reply, None)
        else:
            ids = {"execution_id": opened.execution_id, "session_id": opened.session_id}
            reply.set(Accepted(**ids, duplicate=opened.duplicate))

    def not_opened(self, opening: Opening, error: BaseException) -> None:
        """The store has refused it, or a stop waits for that no longer: tell whoever asked."""
        entry = opening.entry
        if self.books.opening.pop(entry.spec.execution_id, None) is None:
            return
        if isinstance(error, SessionBusy) and error.reason == "id_taken" and entry.spec.origin in ("fresh", "fork"):
            drawn = self.host.new_session_id()
            freed = self.admission.withdraw(entry.spec.execution_id)
            ids = {"execution_id": drawn, "session_id": drawn}
            if entry.spec.correlation_id == entry.spec.execution_id:
                ids["correlation_id"] = drawn
            again = self._new_entry(entry.spec.model_copy(update=ids), entry.memory, entry.trial)
            self._admit(opening._replace(entry=again))
            self.make_room(freed)
            return
        self._abandon_trial(entry)
        self.make_room(self.admission.withdraw(entry.spec.execution_id))
        offer_to(opening.reply)(error)
        self.look_at_end()

    def _abandon_trial(self, entry: Entry) -> None:
        if entry.trial:
            self.circuit = self.circuit.on_abandoned()

    def _take_in(self, entry: Entry) -> None:
        raise AssertionError("the StreamActor recovers")


def _check_request(message: NewExecution, now: datetime) -> None:
    check_id("session_id", message.session_id)
    check_id("correlation_id", message.correlation_id)
    if message.idempotency_key is not None and not 0 < len(message.idempotency_key) <= 512:
        raise InvalidInput(what="idempotency_key", reason="it has no, or over 512, characters", remedy="Shorten it.")
    if message.deadline is not None:
        if message.deadline.tzinfo is None:
            raise InvalidInput(what="deadline", reason="it has no time zone", remedy="Pass an aware datetime.")
        if message.deadline <= now:
            raise InvalidInput(what="deadline", reason="it has passed already", remedy="Pass one in the future.")


def _digest(memory: Payload | None) -> bytes | None:
    return None if memory is None else digest_of((memory.value(),))


def offer_to(reply: Reply[Any] | None) -> Any:
    """What gives an error to whoever asked, if anybody did."""

    def offer(error: BaseException) -> None:
        if reply is not None:
            reply.offer_error(error)

    return offer
