"""`LogStream`: the log of a session, from its events and rows in the store; while it runs, as it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from propolis.actors import QueueSubscriber, Reply, Store, StoreThreads
from propolis.messages import ENDED, Event, EventFilter, ExecutionSpec, ExecutionState, LogEntry, LogLevel, MessageError

from .calls import Call, call_method
from .engine import Engine
from .following import Following
from .logbook import ENDS, Logbook, summary_of

__all__ = ["LogPage", "LogReader", "LogStream", "follow_log"]

PAGE: Final = 1_000
ALL: Final = 2**31 - 1


class LogPage(NamedTuple):
    """Some lines of a log, in order."""

    entries: tuple[LogEntry, ...]
    at_end: bool
    """There were no more when it was read."""
    ended: bool
    """And there will be none: every execution of it has ended."""


class LogReader:
    """Reads the log of a session, or of one execution, from a store, a page at a time. One thread at a time uses it.

    A page holds a bounded number of lines, however long the log is.
    """

    def __init__(self, id: str, level: LogLevel, after: int = 0) -> None:
        self._id = id
        self._after = after
        self._book = Logbook(level)
        self._ended = False
        self.filter: EventFilter | None = None
        """Which events it is made of, once it is known what the id is of."""

    def find(self, store: Store) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
        """The executions that the log is of; none of an unknown id."""
        rows = store.list_executions(session=self._id, limit=ALL)
        self.filter = EventFilter(session=self._id)
        if not rows:
            found = store.get_execution(self._id)
            rows = () if found is None else (found,)
            self.filter = EventFilter(execution=self._id)
        return rows

    def read(self, store: Store) -> LogPage:
        """The next page."""
        if self.filter is None:
            self._ended = all(state.status in ENDED for _, state in self.find(store))  # also of one that is unknown
        assert self.filter is not None
        events = store.events_after(self._after, self.filter, PAGE)
        at_end = len(events) < PAGE
        if not events:
            return LogPage((), at_end=True, ended=self._ended)
        self._after = events[-1].seq or 0
        entries = tuple(entry for event in events if (entry := self._tell(store, event)) is not None)
        if at_end:
            # What had ended by now has its last event in the store, but that may have come behind these: the next page,
            # when it is empty, is the end.
            self._ended = all(state.status in ENDED for _, state in self.find(store))
        return LogPage(entries, at_end, ended=False)

    def is_mine(self, event: Event) -> bool:
        """Whether an event is of this log."""
        return self._id in (event.session_id, event.execution_id)

    def tell_live(self, event: Event) -> LogEntry | None:
        """The line of an event that is nowhere kept."""
        return self._book.take(event)

    def _tell(self, store: Store, event: Event) -> LogEntry | None:
        entry = self._book.take(event)
        if entry is None or entry.type not in ENDS or entry.execution_id is None:
            return entry
        found = store.get_execution(entry.execution_id)
        try:
            return entry if found is None else summary_of(entry, *found)
        except MessageError:  # a damaged result: `propolis doctor` tells
            return entry


class _Hints(QueueSubscriber):
    """What happens to the session of a log."""

    def __init__(self, reader: LogReader, limit: int) -> None:
        super().__init__(EventFilter(), limit)
        self._reader = reader

    def offer(self, event: Event) -> None:
        if self._reader.is_mine(event):
            super().offer(event)


class LogStream(Following[LogEntry]):
    """`for` and `async for` both work; close it (or leave its `with`) when done.

    Without `follow` it ends where the log ends by now. With it, when every execution of the session has ended;
    meanwhile lines come as they are committed, at level 3 with what worker processes print, which is nowhere kept
    (`seq` is None). It ends when the runtime stops.
    """

    def __init__(
        self,
        threads: StoreThreads,
        reader: LogReader,
        follow: bool,
        queue: QueueSubscriber,
        subscribed: Call[str],
        unsubscribe: Callable[[str], Any],
    ) -> None:
        super().__init__(threads, queue, subscribed, unsubscribe)
        self._reader = reader
        self._follow = follow

    def _live(self, event: Event) -> LogEntry | None:
        return self._reader.tell_live(event) if event.type == "node_internal_output" else None

    def _read(self) -> Reply[Any]:
        return self._threads.read(self._reader.read)

    def _keep(self, page: LogPage) -> None:
        self._page.extend(page.entries)
        self._done = page.ended or (page.at_end and not self._follow)
        self._more = bool(page.entries) or not page.at_end


def follow_log(engine: Engine, limit: int, reader: LogReader, *, follow: bool) -> LogStream:
    """The log behind a reader, in a runtime. Only who follows is subscribed."""
    queue = _Hints(reader, limit)
    if not follow:
        nobody: Call[str] = Call()
        nobody.set("")
        return LogStream(engine.threads, reader, follow, queue, nobody, lambda _: None)
    events = engine.services.events
    subscribed: Call[str] = call_method(events, "subscribe", queue, what="The runtime")
    return LogStream(
        engine.threads,
        reader,
        follow,
        queue,
        subscribed,
        lambda id: call_method(events, "unsubscribe", id, what="The runtime"),
    )
