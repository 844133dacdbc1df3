"""Any batches at all, against a model in plain dicts that applies one write after another.

The store takes most batches together and some apart; to the model there is no such difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from propolis.actors.stores import open_store

from propolis.messages import (
    ENDED,
    Advanced,
    AdvanceExecution,
    Appended,
    AppendEvents,
    DeleteSession,
    EventFilter,
    Opened,
    OpenExecution,
    PropolisError,
    Recovered,
    RecoveredExecution,
    RecoverExecutions,
    Write,
)

from .builders import Client, StillHost, advance, event, opening, recovery


@dataclass
class Execution:
    """An execution as the model has it."""

    session: str
    status: str
    owner: str | None
    key: str | None
    input: Any
    epoch: int
    lost: int = 0
    beside: bool = False
    overlay: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass
class Session:
    """A session as the model has it. `checkpoint`: of whom, its name, the memory; `start`: of the holder; `kept`: what
    others began with. `shared`: its holder does not know all of the memory.
    """

    owner: str
    holder: str
    memory: dict[str, Any]
    checkpoint: tuple[str, str | None, dict[str, Any]]
    start: tuple[str, dict[str, Any]] = ("", {})
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared: bool = False
    revision: int = 0

    def begun_with(self, own: str) -> dict[str, Any]:
        """What it begins with when it is recovered."""
        if own == self.checkpoint[0]:
            return self.checkpoint[2]
        return self.start[1] if own == self.start[0] else self.kept.get(own, self.memory)

    def stands_at(self) -> dict[str, Any]:
        """What its owner goes on with."""
        return self.memory if self.shared or self.holder != self.owner else self.checkpoint[2]


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether they are other bytes."""
    return list(one.items()) != list(other.items())


class Model:
    """What a store is, one write at a time. A refusal is the name of its error."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self.sessions: dict[str, Session] = {}
        self.events: list[tuple[int, str | None]] = []
        self.seq = 0

    def apply(self, write: Write, me: str) -> Any:
        match write:
            case OpenExecution():
                return self.open(write, me)
            case AdvanceExecution():
                return self.advance(write)
            case AppendEvents():
                execution = self.executions.get(write.execution_id or "")
                if execution is None or execution.epoch != write.expected_epoch:
                    return "StaleWriter"
                return self.number(write)
            case RecoverExecutions():
                return self.recover(write, me)
            case DeleteSession():
                return self.delete(write.session_id)
        raise AssertionError(write)

    def number(self, write: Any) -> int | None:
        first = self.seq + 1 if write.events else None
        match write:
            case OpenExecution():
                own = write.spec.execution_id
            case AdvanceExecution():
                own = write.execution_id
            case _:
                own = write.execution_id
        for _ in write.events:
            self.seq += 1
            self.events.append((self.seq, own))
        return first

    def is_held(self, session: Session) -> bool:
        holder = self.executions.get(session.holder)
        return holder is not None and not holder.ended

    def open(self, write: OpenExecution, me: str) -> Any:
        spec, own = write.spec, write.spec.execution_id
        status, epoch = ("running", 1) if write.started_at else ("pending", 0)
        new = Execution(spec.session_id, status, me, spec.idempotency_key, spec.input_data, epoch, beside=spec.beside)
        for earlier, known in self.executions.items():
            if new.key is not None and known.key == new.key:
                return (earlier, True, None) if known.input == new.input else "IdempotencyConflict"
        given = None if write.memory is None else write.memory.value()
        session = self.sessions.get(spec.session_id)
        if spec.origin == "fresh":
            if session is not None or own in self.executions:
                return "SessionBusy"
            self.sessions[own] = Session(own, own, given or {}, (own, None, given or {}))
            self.executions[own] = new
            return (self.number(write),)
        if session is None:
            return "SessionNotFound"
        if own in self.executions:
            return "SessionBusy"
        take = self.join if spec.origin == "join" else self.resume
        taken = take(write, new, session, given)
        if isinstance(taken, str):
            return taken
        memory, may_start = taken
        self.executions[own] = new
        return (own, False, (memory, may_start, self.number(write)))

    def join(self, write: OpenExecution, new: Execution, session: Session, given: Any) -> Any:
        own = write.spec.execution_id
        if self.is_held(session) and write.session_policy == "reject":
            return "SessionBusy"
        if self.is_held(session) and write.session_policy == "queue":
            new.overlay = given or {}
            return None, False
        memory = session.memory | (given or {})
        if write.session_policy != "parallel":
            session.holder, session.start, session.shared = own, (own, memory), False
            session.revision += 1
        else:
            session.kept[own] = memory
            if differ(memory, session.memory):
                session.revision += 1
                session.shared = True
        session.memory = memory
        return memory, True

    def resume(self, write: OpenExecution, new: Execution, session: Session, given: Any) -> Any:
        own, owner = write.spec.execution_id, self.executions[session.owner]
        if not owner.ended or self.is_held(session):
            return "SessionBusy"
        name = session.checkpoint[1]
        if write.checkpoint_id not in {None, name}:
            return "SessionNotFound"
        if owner.status == "completed" and write.checkpoint_id is None:
            return "SessionBusy"
        stood = session.stands_at() if write.checkpoint_id is None else session.checkpoint[2]
        session.memory = memory = stood | (given or {})
        session.start, session.shared = (own, memory), False
        session.checkpoint = (own, name, memory)
        session.owner = session.holder = own
        session.revision += 1
        return memory, True

    def advance(self, write: AdvanceExecution) -> Any:
        own, memory = write.execution_id, None
        execution = self.executions.get(own)
        if execution is None or execution.epoch != write.expected_epoch:
            return "StaleWriter"
        session = self.sessions[write.session_id]
        if write.claim:
            if not write.beside and session.holder != own and self.is_held(session):
                return (False, None, None)
            memory = session.begun_with(own) if write.beside else self.claim(session, own, execution)
        execution.status, execution.epoch = write.status, write.epoch
        execution.owner, execution.lost = write.owner, write.lost_attempts
        self.change(session, own, write)
        return (True, memory, self.number(write)) if write.claim else (self.number(write),)

    def claim(self, session: Session, own: str, execution: Execution) -> dict[str, Any]:
        if session.holder == own and not (session.shared and execution.status == "pending"):
            return session.begun_with(own)
        session.memory = memory = session.memory | execution.overlay
        session.holder, session.start, session.shared, execution.overlay = own, (own, memory), False, {}
        if own == session.owner:
            session.checkpoint = (own, session.checkpoint[1], memory)
        session.revision += 1
        return memory

    def change(self, session: Session, own: str, write: AdvanceExecution) -> None:
        point = None if write.checkpoint is None else write.checkpoint.memory.value()
        new = point if write.memory is None else write.memory.value()
        if new is None:
            return
        if session.shared or write.beside:
            start, before = session.begun_with(own), session.memory
            kept = {key: value for key, value in before.items() if key in new or key not in start}
            session.memory = kept | {key: value for key, value in new.items() if start.get(key) != value}
            changed = differ(session.memory, before)
            session.shared = session.shared or changed
        else:
            session.memory, changed = new, True
        if write.checkpoint is not None and not write.beside:
            session.checkpoint, changed = (own, write.checkpoint.checkpoint_id, point), True
        session.revision += changed

    def recover(self, write: RecoverExecutions, me: str) -> Any:
        free = [
            (own, one)
            for own, one in self.executions.items()
            if not one.ended and (one.owner is None or (one.owner in write.dead_owners and one.owner != me))
        ]
        for _, one in free[: write.limit]:
            one.lost += one.status == "running" and one.owner is not None
            one.owner, one.epoch = me, one.epoch + 1
        states = [(own, one.epoch, self.sessions[one.session].begun_with(own)) for own, one in free[: write.limit]]
        return (states, len(free) > write.limit)

    def delete(self, session_id: str) -> Any:
        its = [own for own, one in self.executions.items() if one.session == session_id]
        if any(not self.executions[own].ended for own in its):
            return "SessionBusy"
        for own in its:
            del self.executions[own]
        self.events = [(seq, own) for seq, own in self.events if own not in its]
        return self.sessions.pop(session_id, None) is not None


def seen(outcome: Any) -> Any:
    """An outcome of the store, as the model tells it."""
    match outcome:
        case PropolisError():
            return type(outcome).__name__
        case Opened(duplicate=True):
            return (outcome.execution_id, True, None)
        case Opened():
            memory = None if outcome.memory is None else outcome.memory.value()
            return (outcome.execution_id, False, (memory, outcome.may_start, outcome.first_seq))
        case Advanced():
            memory = None if outcome.memory is None else outcome.memory.value()
            return (outcome.claimed, memory, outcome.first_seq)
        case Appended():
            return outcome.first_seq
        case Recovered():
            return ([recovered(each) for each in outcome.executions], outcome.more)
        case _:
            return outcome


def recovered(each: RecoveredExecution) -> tuple[str, int, Any]:
    return each.spec.execution_id, each.state.epoch, {} if each.memory is None else each.memory.value()


RUNTIMES = ("r1", "r2")
small = st.integers(0, 5)
memories = st.none() | st.dictionaries(st.sampled_from("ab"), small, max_size=2)
ways = st.tuples(
    st.sampled_from(("open", "open", "join", "resume", "advance", "advance", "advance", "append", "recover", "delete")),
    small,
    small,
    st.integers(0, 2),
    memories,
    st.booleans(),
    st.sampled_from(("queue", "reject", "parallel")),
    st.sampled_from(("pending", "running", "restarting", "parked", "completed", "failed", "cancelled", "paused")),
)


class StoreMachine(RuleBasedStateMachine):
    """Two runtimes commit batches; now and then one leaves or is declared dead and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store("memory:", host=StillHost())
        self.clients = {runtime_id: Client(self.store, runtime_id) for runtime_id in RUNTIMES}
        self.model = Model()
        self.drawn = 0

    def make(self, way: Any, me: str) -> Write:
        """A write from what was drawn, mostly of things that exist."""
        what, a, b, events, memory, flag, policy, status = way
        own = f"x{a}"
        known = list(self.model.executions)
        if what in {"join", "resume"}:
            self.drawn += 1
            return opening(
                f"n{self.drawn}",
                session_id=own,
                origin=what,
                memory=memory,
                policy=policy,
                started=False,
                events=events,
                checkpoint_id="cp" if flag else None,
            )
        if what == "open":
            key = f"k{b % 3}" if flag else None
            return opening(own, key=key, input_data=b % 2, memory=memory, events=events)
        if what == "recover":
            return recovery(*(set(RUNTIMES) - {me} if flag else ()), limit=b + 1)
        if what == "delete":
            return DeleteSession(session_id=own)
        own = known[(a * 6 + b) % len(known)] if known else own
        there = self.model.executions.get(own)
        epoch = (there.epoch if there else 1) + (7 if b == 5 else 0)
        if what == "append":
            return AppendEvents(events=(event(execution_id=own),) * events, execution_id=own, expected_epoch=epoch)
        return advance(
            own,
            status,
            epoch=epoch,
            to_epoch=epoch + (a == 1),
            session_id=there.session if there else own,
            claim=flag,
            beside=there.beside if there else False,
            memory=memory,
            checkpoint=("cp", {"c": a}) if b == 1 else None,
            owner=me,
            events=events,
        )

    @rule(me=st.sampled_from(RUNTIMES), drawn=st.lists(ways, min_size=1, max_size=12))
    def commit(self, me: str, drawn: list[Any]) -> None:
        """A batch of anything."""
        writes = [self.make(way, me) for way in drawn]
        expected = [self.model.apply(write, me) for write in writes]
        assert expected == [seen(outcome) for outcome in self.clients[me].commit(*writes)]

    @rule(me=st.sampled_from(RUNTIMES), dead=st.booleans())
    def leave(self, me: str, dead: bool) -> None:
        """A runtime goes, in order or not, and comes back under its name."""
        if dead:
            self.store.forget([me])
        else:
            self.store.release(me)
        for own, one in self.model.executions.items():
            if one.owner == me and not one.ended:
                self.model.executions[own] = replace(
                    one, owner=None, epoch=one.epoch + dead, lost=one.lost + (dead and one.status == "running")
                )
        self.clients[me] = Client(self.store, me)

    @invariant()
    def executions_are_as_in_the_model(self) -> None:
        found = {
            spec.execution_id: (state.status, state.epoch, state.owner, state.lost_attempts)
            for spec, state in self.store.list_executions(limit=10_000)
        }
        assert found == {own: (e.status, e.epoch, e.owner, e.lost) for own, e in self.model.executions.items()}

    @invariant()
    def sessions_are_as_in_the_model(self) -> None:
        found = {
            record.session_id: (record.execution_id, record.memory, record.revision, record.checkpoint_id)
            for record in self.store.list_sessions(limit=10_000)
        }
        assert found == {
            own: (one.owner, one.memory, one.revision, one.checkpoint[1]) for own, one in self.model.sessions.items()
        }

    @invariant()
    def events_are_as_in_the_model(self) -> None:
        found = [(e.seq, e.execution_id) for e in self.store.events_after(0, EventFilter(), limit=100_000)]
        assert found == self.model.events
        assert self.store.last_seq() == self.model.seq

    def teardown(self) -> None:
        self.store.close()


TestStoreAgainstModel = StoreMachine.TestCase
TestStoreAgainstModel.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
