"""The StateActor: memory that executions share. Its mailbox is the order in which it is changed; there is no lock."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final

from propolis.messages import (
    ChangeState,
    DropStateTurns,
    Encoded,
    GetState,
    LeaveStateTurn,
    RuntimeStopped,
    StaleWriter,
    StateChange,
    StateEntries,
    StateEntry,
    StateTurn,
    StateWritten,
    TakeStateTurn,
    WakeMe,
)

from ..core import LATER, AsyncioActor, Handlers, Owed, Ref, Reply
from .committer import StoreThreads
from .state_turns import Line, Lines, Place, Ticket

__all__ = ["StateActor"]

TURN_SECONDS: Final = 5.0
"""How long the next one waits for a turn that comes to nothing. Who is late is not lost: his change is refused, for its
version, and he gets another turn."""

LOOK_SECONDS: Final = 1.0
"""How often somebody looks for such a turn, while there are any."""


class StateActor(AsyncioActor):
    """Reads shared memory from the store, gives out turns on its keys, and has changes committed by the SessionActor.

    Other runtimes change the same store, so nothing that is known here counts: a change says which version it is based
    on, and the store has the last word. What is known is a good guess, without which each turn would wait for the
    commit of the one before it. Turns, questions and answers that are owed outlive a crash of this actor.
    """

    def __init__(self, sessions: Ref[Any], wakeups: Ref[Any], threads: StoreThreads) -> None:
        super().__init__()
        self._sessions = sessions
        self._wakeups = wakeups
        self._threads = threads
        self._lines = self.kept("lines", Lines)
        self._askers: dict[Ticket, Reply[Any]] = self.kept("askers", dict)
        self._questions: list[tuple[GetState, Reply[Any]]] = self.kept("questions", list)
        self._owed = self.kept("owed", Owed)
        self._reading = self._watching = False

    def on_start(self) -> None:
        """Take up what an earlier instance had begun."""
        for place, line in self._lines.all():
            line.forget()
            line.flying = 0  # their outcomes go past this actor, to who asked
            self._go_on(place)
        self._read_soon()

    def on_end(self) -> None:
        """Nobody is left waiting."""
        for reply in (*self._askers.values(), *(reply for _, reply in self._questions)):
            reply.offer_error(RuntimeStopped())
        self._owed.refuse(RuntimeStopped())

    # -- reading -----------------------------------------------------------------------------------------------------

    def get_state(self, message: GetState) -> object:
        """Read from the store, with whatever else is asked in this round."""
        reply = self.keep_reply()
        if reply is not None:
            self._questions.append((message, reply))
            self._read_soon()
        return LATER

    def _read_soon(self) -> None:
        if self._questions and not self._reading:
            self._reading = True
            self.actor_inbox.loop.call_soon(lambda: self.later(self._read))

    def _read(self) -> None:
        self._reading = False
        asked, self._questions[:] = list(self._questions), []
        questions = [question for question, _ in asked]
        answers = self._threads.read(lambda store: store.read_state(questions))

        def answer() -> None:  # and not as a turn of this actor: it is owed whatever becomes of it
            for number, (_, reply) in enumerate(asked):
                try:
                    reply.set(answers.result()[number])
                except Exception as error:  # noqa: BLE001 - it is for who asked
                    reply.offer_error(error)

        answers.on_done(answer)

    # -- turns -------------------------------------------------------------------------------------------------------

    def take_turn(self, message: TakeStateTurn) -> object:
        """Queue up; the reply comes when it is this one's turn."""
        reply = self.keep_reply()
        if reply is not None:
            ticket = Ticket(message.execution_id, message.epoch, message.turn)
            self._askers[ticket] = reply
            place = _place(message.scope, message.stream_id, message.key)
            self._lines.at(place).waiting.append(ticket)
            self._go_on(place)
        return LATER

    def _go_on(self, place: Place) -> None:
        """Give the next turn, if it is due, and if it is known what it begins with."""
        line = self._lines.get(place)
        if line is None or line.holder is not None:
            return
        if not line.waiting:
            self._lines.clear(place)
        elif line.tip is not None:
            ticket = line.holder = line.waiting.popleft()
            line.since = self.host.monotonic()
            self._askers.pop(ticket).set(StateTurn(entry=line.tip))
            self._watch()
        elif not line.reading:
            self._look_up(place, line)

    def _look_up(self, place: Place, line: Line) -> None:
        line.reading = True
        question = GetState(scopes=(place.scope,), stream_id=place.stream_id, key=place.key)

        def found(answers: list[StateEntries]) -> None:
            line.reading = False
            line.tip = answers[0].entries[0]
            self._go_on(place)

        def failed(error: BaseException) -> None:
            line.reading = False
            for ticket in (*line.waiting,):
                line.leave(ticket)
                self._askers.pop(ticket).offer_error(error)
            self._go_on(place)

        self.follow(self._threads.read(lambda store: store.read_state((question,))), found, failed)

    def leave_turn(self, message: LeaveStateTurn) -> None:
        """Nothing comes of a turn."""
        ticket = Ticket(message.execution_id, message.epoch, message.turn)
        self._leave(
            [(place, line, each) for place, line, each in self._lines.of(ticket.execution_id) if each == ticket]
        )

    def drop_turns(self, message: DropStateTurns) -> None:
        """Nor of any of an attempt that is over."""
        self._leave(list(self._lines.of(message.execution_id)))

    def _leave(self, turns: list[tuple[Place, Line, Ticket]]) -> None:
        for place, line, ticket in turns:
            line.leave(ticket)
            asker = self._askers.pop(ticket, None)
            if asker is not None:
                asker.offer_error(StaleWriter(execution_id=ticket.execution_id, epoch=ticket.epoch))
            self._go_on(place)

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self.request(self._wakeups, WakeMe(after=LOOK_SECONDS), lambda _: self._pass_by(), lambda _: None)

    def _pass_by(self) -> None:
        """Whoever has had his turn for too long is passed by."""
        self._watching = False
        held = [(place, line) for place, line in self._lines.all() if line.holder is not None]
        for place, line in held:
            if line.waiting and self.host.monotonic() - line.since >= TURN_SECONDS:
                line.holder = None
                self._go_on(place)
        if held:
            self._watch()

    # -- changes -----------------------------------------------------------------------------------------------------

    def change(self, message: ChangeState) -> object:
        """Pass a change on to be committed; the answer goes to who asked, once it is (D3)."""
        reply = self.keep_reply()
        ticket = None
        if message.turn is not None and message.execution_id is not None:
            ticket = Ticket(message.execution_id, message.expected_epoch or 0, message.turn)
        touched: list[tuple[Place, Line, int]] = []
        for change in message.changes:
            place = _place(message.scope, message.stream_id, change.key)
            line = self._lines.get(place)
            if line is not None:
                touched.append((place, line, line.sent(ticket, _after(line.tip, place, change, message.strict))))
        self.host.reach("state.before")
        landed = partial(self._landed, touched)
        written = self.request(self._sessions, self._as_it_came(message), landed, lambda _: landed(None))
        if reply is not None:
            self._owed.keep(reply)
            written.relay_to(reply)
        for place, _, _ in touched:
            self._go_on(place)
        return LATER

    def _as_it_came(self, message: ChangeState) -> ChangeState | Encoded:
        """Its bytes, which need not be encoded again."""
        current = self.actor_inbox.current
        if current is None or not isinstance(current.message, bytes):
            return message
        return Encoded(current.message, ours=not current.foreign)

    def _landed(self, touched: list[tuple[Place, Line, int]], done: StateWritten | None) -> None:
        """Committed, or refused. What was found then is what the next turn begins with."""
        known = {} if done is None else {entry.key: entry for entry in done.entries}
        for place, line, generation in touched:
            written = done is not None and done.written and done.recorded is None
            line.landed(generation, written=written, now=known.get(place.key) if not written else None)
            self._go_on(place)
            self._lines.clear(place)

    handlers: ClassVar[Handlers] = {
        GetState: get_state,
        TakeStateTurn: take_turn,
        LeaveStateTurn: leave_turn,
        DropStateTurns: drop_turns,
        ChangeState: change,
    }


def _place(scope: Any, stream_id: str | None, key: str) -> Place:
    return Place(scope, (stream_id or "") if scope == "stream" else "", key)


def _after(tip: StateEntry | None, place: Place, change: StateChange, strict: bool) -> StateEntry | None:
    """What the key will be; None: nobody knows. A change that does not fit what is known will be refused."""
    version = change.based_on if strict else None
    if tip is not None:
        if version not in (None, tip.version):
            return tip
        version = tip.version
    if version is None:
        return None
    return StateEntry(
        scope=place.scope,
        stream_id=place.stream_id,
        key=place.key,
        value_payload=change.value,
        version=version + 1,
    )
