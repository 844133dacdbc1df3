"""The EventTriggerActor: starts an execution of one entry point for each stored event that it is to react to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from propolis.messages import (
    Event,
    EventFilter,
    IdempotencyConflict,
    InvalidInput,
    MessageError,
    OpenTrigger,
    StartExecution,
    TriggerRow,
)

from ..core import Ref, Reply
from ..records.subscriptions import Subscriber
from .choosing import EventTrigger, Loop, choose
from .triggering import ENDS, Triggering, retry_after

if TYPE_CHECKING:
    from ..records import StoreThreads
    from ..stores import Store
    from ..streams.plan import StreamPlan

__all__ = ["EventTriggerActor"]

POLL_SECONDS: Final = 0.5
"""How often it looks without a hint: another runtime may have committed something."""

PAGE: Final = 64
"""Executions that it has the stream accept at once."""

FORGET: Final = 1_000
"""Events that it looks at for nothing before it writes down that it has, or for how long."""

FORGET_AFTER: Final = timedelta(seconds=10)


class Page(NamedTuple):
    """What there was to read."""

    row: TriggerRow
    events: tuple[Event, ...]
    ancestry: dict[str, tuple[str, ...]]
    position: int
    """Everything up to here was looked at."""
    missed: tuple[int, int] | None = None
    """Between these numbers some had been deleted before they were looked at."""


class Hint(Subscriber):
    """A subscriber that only says that there is something to read."""

    def __init__(self, filter: EventFilter) -> None:
        self.filter = filter
        self.call: Callable[[], None] = self.close

    def offer(self, event: Event) -> None:
        self.call()


class EventTriggerActor(Triggering):
    """Reads the events behind its row, has the stream accept an execution for each, moves the row on.

    The idempotency key is made of the event's `seq`, so whatever dies between the two, and however many runtimes have
    the entry point open, each event starts one. What it says about events that start none is committed with the move
    of the row, by the runtime that moved it.
    """

    def __init__(self, plan: StreamPlan, stream: Ref[Any], threads: StoreThreads, ready: Reply[None]) -> None:
        super().__init__(plan, stream, threads, ready)
        self._trigger = EventTrigger.of(plan.entry_point)
        self._hint = self.kept("hint", lambda: Hint(self._trigger.filter))
        self._subscriptions = self.kept("subscriptions", list[str])
        self._row: TriggerRow | None = None
        self._seq = 0
        self._hinted = False
        self._alarm: Reply[Any] | None = None
        """Set while it waits for something to read."""

    def on_start(self) -> None:
        """Begin behind the last event, or where `from_seq` says, or where it was."""
        self._hint.call = lambda: self.later(self._hear)
        if not self._subscriptions:
            subscribing: Reply[str] = self.plan.events.proxy().subscribe(self._hint)
            self.follow(subscribing, self._subscriptions.append, self.leave_or_crash)
        self.open_row(
            OpenTrigger(
                entry_point=self.entry_point,
                kind="event",
                shape=self._trigger.shape,
                at=self.host.now(),
                position=self._trigger.from_seq,
            ),
            self._opened,
        )

    def on_stop(self) -> None:
        """Nobody hears hints any more."""
        super().on_stop()
        if self.plan.events.is_alive():
            for subscription in self._subscriptions:
                self.plan.events.proxy().unsubscribe(subscription)

    def _opened(self, row: TriggerRow) -> None:
        self._row = row
        self._seq = row.position or 0
        self._read()

    # -- reading -----------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        self._hinted = True
        if self._alarm is not None:
            self._alarm.abandoned = True
            self._read()

    def _read(self) -> None:
        self._alarm = None
        self._hinted = False
        seq, shape = self._seq, self._row.shape if self._row is not None else ""

        def job(store: Store) -> Page | None:
            row = store.get_trigger(self.entry_point)
            if row is None or row.position is None:
                return None
            after = max(seq, row.position) if row.shape == shape else row.position
            end = store.last_seq()  # first: whatever is committed from here on has a greater number
            if end <= after:
                return Page(row, (), {}, after)
            events = store.events_after(after, self._trigger.filter, PAGE)
            last = events[-1].seq or 0 if events else after
            position = last if len(events) == PAGE else max(end, last)
            pruned = store.pruned_seq()
            missed = (after, min(pruned, position)) if pruned > after else None
            return Page(row, events, _ancestry(store, events), position, missed)

        self.read(job, self._start)

    def _start(self, page: Page | None) -> None:
        if page is None:
            self.on_start()  # somebody has deleted the row
            return
        self._row = page.row
        starts, notes = self._choose(page)
        left = [len(starts)]

        def settled(note: Event | None) -> None:
            self.host.reach("trigger.started")
            if note is not None:
                notes.append(note)
            left[0] -= 1
            if left[0] == 0:
                self._settled(page, tuple(notes))

        for event, request in starts:
            self._submit(event, request, 0, settled)
        if not starts:
            self._settled(page, tuple(notes))

    def _choose(self, page: Page) -> tuple[list[tuple[Event, StartExecution]], list[Event]]:
        starts: list[tuple[Event, StartExecution]] = []
        notes: list[Event] = []
        if page.missed is not None:
            after, through = page.missed
            notes.append(self.make_event("trigger_missed", {"after": after, "through": through}))
        for event in page.events:
            try:
                chosen = choose(self._trigger, event, page.ancestry.get(event.execution_id or "", ()))
            except (InvalidInput, MessageError) as error:
                notes.append(self._refused(event, error))
                continue
            if isinstance(chosen, Loop):
                notes.append(self._looped(event, chosen))
            elif chosen is not None:
                starts.append((event, chosen))
        return starts, notes

    def _submit(
        self, event: Event, request: StartExecution, tries: int, settled: Callable[[Event | None], None]
    ) -> None:
        """Have it accepted, however long that takes; or refused for good."""
        self.host.reach("trigger.before")

        def refused(error: BaseException) -> None:
            if isinstance(error, ENDS):
                return
            if isinstance(error, IdempotencyConflict):
                settled(None)  # it was accepted, by a version that made another input of the event
                return
            wait = retry_after(error, tries)
            if wait is None:
                settled(self._refused(event, error))
            else:
                self.wait(wait, lambda: self._submit(event, request, tries + 1, settled))

        self.request(self.stream, request, lambda _: settled(None), refused)

    # -- moving on ---------------------------------------------------------------------------------------------------

    def _settled(self, page: Page, notes: tuple[Event, ...]) -> None:
        def moved(row: TriggerRow) -> None:
            self._row, self._seq = row, page.position
            self._go_on(page)

        if page.events or notes or self._is_worth_a_write(page):
            self.move(page.row, page.position, notes, moved, self._read)
        else:
            self._seq = page.position
            self._go_on(page)

    def _is_worth_a_write(self, page: Page) -> bool:
        """Whether to write down that nothing was found: retention keeps what was not looked at, as far as it knows."""
        ahead = page.position - (page.row.position or 0)
        quiet = self.host.now() - page.row.updated_at >= FORGET_AFTER
        return ahead >= FORGET or (ahead > 0 and quiet)

    def _go_on(self, page: Page) -> None:
        if page.events or self._hinted:
            self._read()
        else:
            self._alarm = self.wait(POLL_SECONDS, self._read)

    def _looped(self, event: Event, loop: Loop) -> Event:
        return self._note("trigger_loop", event, {"depth": len(loop.chain), "chain": list(loop.chain)})

    def _refused(self, event: Event, error: BaseException) -> Event:
        return self._note("trigger_refused", event, {"error": str(error)})

    def _note(self, type: str, event: Event, data: dict[str, Any]) -> Event:
        cause = {"seq": event.seq, "type": event.type, "execution_id": event.execution_id}
        return self.make_event(type, {**data, "event": cause}, correlation_id=event.correlation_id)


def _ancestry(store: Store, events: tuple[Event, ...]) -> dict[str, tuple[str, ...]]:
    found = {}
    for execution_id in {event.execution_id for event in events} - {None}:
        assert execution_id is not None
        row = store.get_execution(execution_id)
        if row is not None and row[0].ancestry:
            found[execution_id] = row[0].ancestry
    return found
