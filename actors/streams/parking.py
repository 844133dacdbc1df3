"""The part of an ExecutionActor that waits: for a time, a signal, a person, without a slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from propolis.messages import (
    Advanced,
    EventDraft,
    ExecutionState,
    GetHistory,
    InboxRow,
    OpenWait,
    QuestionAnswered,
    RecordedStep,
    RunHistory,
    SlotReturned,
    StepKey,
)

from ..core import LATER, Handlers, Reply
from .endings import draft, given
from .finding import ask_surely
from .life import EndingStatus, Phase
from .posted import ended_by, expired, reopened
from .sharing import Sharing

__all__ = ["Parking"]

QUIET_SECONDS = 1.0
"""A parked execution that went on with one of its waits, and is not heard of for so long, gives its slot back again."""
HEARING_SECONDS = 0.02
"""An answer that is in the inbox is heard about then."""


class Parking(Sharing):
    """While an execution only waits, its slot is free.

    What it waits for are rows of its run. Whoever keeps its stack also waits for the reply; where the stack is gone,
    or was another process's, the executor is run again as soon as one of the waits is over.
    """

    _waits: dict[StepKey, tuple[RecordedStep, Reply[Any] | None]] | None = None
    _over: dict[StepKey, tuple[RecordedStep, InboxRow | None]] | None = None
    """Waits that are over, by what of the inbox, and not recorded as such yet."""
    _taken: frozenset[int] = frozenset()
    """Rows of the inbox that have ended a wait, and are not cleared yet."""
    _ran = 0.0
    """Of a parked attempt: how many seconds of its `timeout` it has used."""

    # -- it waits ----------------------------------------------------------------------------------------------------

    def open_wait(self, message: OpenWait) -> object:
        """Commit that it waits, give the slot back, and answer when the wait is over. It may be over already."""
        self.check_epoch(message.epoch)
        reply, wait = self.keep_asked(), message.step
        if reply is not None:
            loop = self.actor_inbox.loop
            reply.on_abandoned = lambda: loop.post(lambda: self.later(lambda: self._withdraw(wait, message.epoch)))
        given_up = reply is not None and reply.abandoned
        ended, row = (None, None) if given_up else self._find_end(wait)
        if ended is None:
            self._park((wait,), reply, "running")
        else:
            self._take(row)
            self._record_over([Over(ended, reply, row)])
        return LATER

    def park_unwound(self, waits: tuple[RecordedStep, ...]) -> None:
        """The attempt has ended in order to wait: commit what for."""
        self._life.phase = "writing"
        self._park(waits, None, "writing")

    def forget_waits(self) -> None:
        """An attempt begins: what it waits for it says itself, and then finds what has come of that meanwhile."""
        self._waits = self._over = None
        self._taken = frozenset()

    def _park(self, waits: tuple[RecordedStep, ...], reply: Reply[Any] | None, phase: Phase) -> None:
        """`phase`: the one in which it has a slot to give back; in another one the attempt has ended meanwhile."""
        life = self._life
        life.state = life.state.model_copy(update={"status": "parked"})
        epoch, events = life.state.epoch, tuple(event for wait in waits for event in _parked_events(wait))

        def parked(_: Any) -> None:
            self.host.reach("park.committed")
            if life.state.epoch != epoch or life.state.status not in ("parked", "running"):
                return  # its attempt ended meanwhile, cancelled or failed, and what comes of that is being written
            self._waits = self._waits or {}
            for wait in waits:
                self._waits[wait.key] = (wait, reply)
            if life.phase == phase:
                self._give_slot_back()
            for wait in waits:
                self.begin_wait(wait, again=False)
                if reply is not None and reply.abandoned:
                    self._withdraw(wait, epoch)

        self.host.reach("park.before")

        def failed(error: BaseException) -> None:
            if reply is None:  # nobody else would go on with it
                self.gone(error)
            else:
                self.refused(error, reply)

        self.advance(epoch, self.host.now(), events, parked, failed, steps=waits)

    def _withdraw(self, wait: RecordedStep, epoch: int) -> None:
        """Who waited was cancelled and went on, as with `asyncio.wait_for`: what comes now is for another wait.

        The row of it stays: when the executor is run again, and comes to it, it waits for the same once more.
        """
        life = self._life
        ends = life.launched is None or life.detached or life.leaving or life.cancel is not None or self.passed
        if ends or epoch != life.state.epoch or self._waits is None or self._waits.pop(wait.key, None) is None:
            return
        _, row = (self._over or {}).pop(wait.key, (None, None))
        if row is not None:
            self._taken -= {row.id}
            self.look_at_waits(row)
        if not self._waits and life.phase == "parked":
            self.ask_for_slot()

    def _give_slot_back(self) -> None:
        life = self._life
        life.phase = "parked"
        if self.attempt_began is not None:
            self._ran = self.host.monotonic() - self.attempt_began
        self.attempt_began = self.last_sign = None
        if (life.launched is None or life.leaving or life.pausing) and self._settle_parked():
            return
        self.tell_parked()
        self.host.reach("park.slot_returned")
        self.watch_limits()

    def tell_parked(self) -> None:
        """Tell the stream that the slot is free, and whether it is a person that this waits for."""
        asks = any(wait.kind == "ask" for wait, _ in (self._waits or {}).values())
        self.tell_stream(SlotReturned(execution_id=self._spec.execution_id, parked=True, asks=asks))

    def _settle_parked(self) -> bool:
        if self._life.launched is not None:
            self._life.launched.supersede()
            self._life.launched = None
        return self.settle_early()

    def begin_wait(self, wait: RecordedStep, *, again: bool) -> None:
        """See to it that it ends. `again`: it was begun by another instance, or in another process."""
        self._watch(wait)

    def is_waiting(self, wait: RecordedStep) -> bool:
        """Whether it still waits for this."""
        return self._waits is not None and wait.key in self._waits and wait.key not in (self._over or {})

    def wait_is_over(self, ended: RecordedStep) -> None:
        """It has ended by something else than the inbox and the clock."""
        self._is_over(ended, None)

    def _watch(self, wait: RecordedStep) -> None:
        """See whether the wait is over; look again when it may be."""
        ended, row = self._find_end(wait)
        if ended is not None:
            self._is_over(ended, row)
            return
        if wait.due_at is not None:
            self.alarm_at(wait.due_at, lambda: self._look_again(wait))

    def _look_again(self, wait: RecordedStep) -> None:
        if self._waits is not None and wait.key in self._waits:
            self._watch(wait)

    def _find_end(self, wait: RecordedStep) -> tuple[RecordedStep | None, InboxRow | None]:
        """How a wait has ended, and by which row of the inbox, if it has."""
        for row in self._life.inbox or ():
            if row.id not in self._taken and (ended := ended_by(wait, row)) is not None:
                return ended, row
        if wait.due_at is not None and wait.due_at <= self.host.now():
            return expired(wait), None
        return None, None

    def look_at_waits(self, _: InboxRow) -> None:
        """A signal or an answer has come: the first that waits for it has it."""
        for wait in [wait for wait, _ in (self._waits or {}).values()]:
            if wait.key not in (self._over or {}):
                ended, row = self._find_end(wait)
                if ended is not None:
                    self._is_over(ended, row)

    def _is_over(self, ended: RecordedStep, row: InboxRow | None) -> None:
        """Have it recorded as soon as there is a slot to go on with."""
        life = self._life
        if self._waits is None or ended.key not in self._waits or ended.key in (self._over or {}):
            return
        self.host.reach("wait.over")
        self._over = {**(self._over or {}), ended.key: (ended, row)}
        self._take(row)
        if life.phase == "parked":
            self.ask_for_slot()
        elif life.phase == "running":
            self._record_over(self.take_over())

    def _take(self, row: InboxRow | None) -> None:
        """It has ended one wait, and ends no other."""
        if row is not None:
            self._taken |= {row.id}

    def go_on(self) -> bool:
        """There is a slot. With its stack kept it goes on where it is; else False: it is to run again."""
        life = self._life
        if life.launched is None:
            return False
        if self._waits and not self._over:  # what it was to go on for was withdrawn, and it waits for something else
            life.phase = "parked"
            self.tell_parked()
            return True
        life.phase = "unparking"
        life.state = life.state.model_copy(update={"status": "running"})
        if self._plan.has_time_limits or self._spec.deadline is not None:
            now = self.host.monotonic()
            self.attempt_began, self.last_sign = now - self._ran, now
            self.watch_limits()
        over = self.take_over()
        events = (draft("execution_unparked", {"attempt": life.state.attempt}),)
        self.host.reach("unpark.before")
        self._record_over(over, events, self._running_again)
        return True

    def _running_again(self) -> None:
        self.host.reach("unpark.committed")
        if self._life.phase == "unparking":
            self._life.phase = "running"
        if self._over and self._life.phase == "running":
            self._record_over(self.take_over())
        elif self._waits:
            self._watch_quiet()

    def _watch_quiet(self) -> None:
        """One of its waits is over, others are not: when nothing more is heard of it, its slot is not needed."""
        began = self.last_sign = self.host.monotonic()

        def look() -> None:
            if self._life.phase == "running" and self._waits and not self._over:
                if self.last_sign == began:
                    self._life.state = self._life.state.model_copy(update={"status": "parked"})
                    self.advance(self._life.state.epoch, self.host.now(), (), lambda _: None)
                    self._give_slot_back()
                else:
                    self._watch_quiet()

        self.alarm(QUIET_SECONDS, look)

    def _record_over(
        self,
        over: list[Over],
        events: tuple[EventDraft, ...] = (),
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Commit how waits have ended, with the rows that ended them, then tell who waited."""

        def recorded(_: Advanced | None) -> None:
            self.clear_taken(over)
            then()
            _answer(over)

        def failed(error: BaseException) -> None:
            if isinstance(error, QuestionAnswered):
                self.reopen(over, events, then)
            else:
                self.gone(error)

        self.advance(
            self._life.state.epoch, self.host.now(), events, recorded, failed, steps=steps_of(over), inbox=rows_of(over)
        )

    def reopen(
        self, over: list[Over], events: tuple[EventDraft, ...] = (), then: Callable[[], None] = lambda: None
    ) -> None:
        """An answer was left in time, and is not heard yet: what was given up waits for that."""
        self._waits = {**(self._waits or {}), **{each.step.key: (reopened(each.step), each.reply) for each in over}}
        certain = {each.step.key: (each.step, each.row) for each in over if not each.is_given_up}
        self._over = {**certain, **(self._over or {})}

        def look() -> None:
            for each in over:
                self._watch(reopened(each.step))
            if self._life.phase == "unparking":
                self._record_over(self.take_over(), events, then)

        self.alarm(HEARING_SECONDS, look)

    def unclaimed(self, before: ExecutionState, over: list[Over], error: BaseException) -> None:
        """An attempt that was to begin with these ends was not counted."""
        if not isinstance(error, QuestionAnswered):
            self.gone(error)
            return
        self._life.state, self._life.phase = before, "parked"
        self.reopen(over)
        self.tell_parked()
        self.settle_early()

    def finish(self, status: EndingStatus, **how: Any) -> None:
        """What the inbox has given to a wait, and there was no slot to go on with, is its run's: a resume finds it."""
        given = [over for over in self.take_over() if over.row is not None]
        super().finish(status, steps=steps_of(given), **how)

    def take_over(self) -> list[Over]:
        """The waits that are over, to be recorded now, and who waits for them."""
        ended, self._over = self._over or {}, None
        waits = self._waits or {}
        return [Over(step, waits.pop(step.key, (step, None))[1], row) for step, row in ended.values()]

    def clear_taken(self, over: list[Over]) -> None:
        """It is committed: these rows are no more."""
        gone = {row.id for row in rows_of(over)}
        if gone:
            self._taken -= gone
            self._life.inbox = tuple(row for row in self._life.inbox or () if row.id not in gone)

    def wait_again(self) -> None:
        """Find out what it waits for; it was parked under another instance, or in another process."""
        self._life.phase = "parked"

        def found(history: RunHistory) -> None:
            if self._life.phase != "parked" or self.settle_early():
                return
            waits = [step for step in history.steps if step.kind != "step" and step.status == "begun"]
            self._waits = {wait.key: (wait, None) for wait in waits}
            self.tell_parked()
            if not waits:
                self.ask_for_slot()
            for wait in waits:
                self.begin_wait(wait, again=True)

        self.tell_parked()
        ask_surely(self, self._plan, GetHistory(run=self._spec.run_id), found, self.gone)
        self.watch_limits()

    obeyed: ClassVar[Mapping[str, Callable[[Any, InboxRow], None]]] = {
        **Sharing.obeyed,
        "signal": look_at_waits,
        "answer": look_at_waits,
    }

    handlers: ClassVar[Handlers] = {
        **Sharing.handlers,
        OpenWait: open_wait,
    }


class Over(NamedTuple):
    """A wait that is over."""

    step: RecordedStep
    reply: Reply[Any] | None
    row: InboxRow | None

    @property
    def is_given_up(self) -> bool:
        """A question whose time was over."""
        return self.row is None and self.step.kind == "ask"


def steps_of(over: list[Over]) -> tuple[RecordedStep, ...]:
    """What is to be recorded of them."""
    return tuple(each.step for each in over)


def rows_of(over: list[Over]) -> tuple[InboxRow, ...]:
    """The rows of the inbox that ended them."""
    return tuple(each.row for each in over if each.row is not None)


def _answer(over: list[Over]) -> None:
    for each in over:
        if each.reply is not None:
            each.reply.set(each.step)


def _parked_events(wait: RecordedStep) -> tuple[EventDraft, ...]:
    parked = draft("execution_parked", _about(wait))
    if wait.kind != "ask" or wait.about is None:
        return (parked,)
    asked = draft("client_input_requested", wait.about, node_id=wait.name or None)
    return (asked, parked)


def _about(wait: RecordedStep) -> dict[str, Any]:
    until = None if wait.due_at is None else wait.due_at.isoformat()
    return given(kind=wait.kind, name=wait.name or None, until=until)
