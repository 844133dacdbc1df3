"""The RetentionActor: deletes what a store is to keep no longer, in the background, a little at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from propolis.messages import WakeMe

from .alarms import wake
from .config import RuntimeConfig
from .core import AsyncioActor, Ref
from .records import StoreThreads
from .stores import Bounds, Expired, Store

__all__ = ["RetentionActor", "has_retention"]

PAGE: Final = 500
"""Rows that one look reads, on the thread for reading."""

SESSIONS_AT_ONCE, EVENTS_AT_ONCE = 20, 200
"""In one transaction, between two commits: a few milliseconds."""

PAUSE_SECONDS: Final = 0.02
"""Between two transactions, so that commits are never behind more than one of them."""


def has_retention(config: RuntimeConfig) -> bool:
    """Whether anything is ever to be deleted."""
    limits = (
        config.session_retention_seconds,
        config.session_retention_max,
        config.event_retention_seconds,
        config.event_retention_max,
    )
    return any(limit is not None for limit in limits)


class RetentionActor(AsyncioActor):
    """Sweeps through the store once in `retention_every_seconds`: sessions that have ended first, then events.

    Never touched: what is unfinished, paused or quarantined, and events that an event trigger has yet to look at, or a
    goal to count. With several runtimes on a store each sweeps by its own settings; what one has deleted the others do
    not find.
    """

    def __init__(self, config: RuntimeConfig, threads: StoreThreads, wakeups: Ref[Any]) -> None:
        super().__init__()
        self._config = config
        self._threads = threads
        self._wakeups = wakeups

    def on_start(self) -> None:
        """The first sweep comes after the first interval: opening a store is not held up."""
        self._rest(self._config.retention_every_seconds, self._sweep)

    def _rest(self, seconds: float, then: Callable[[], object]) -> None:
        wake(self, self._wakeups, WakeMe(after=seconds), then)

    def _end_sweep(self, _: object = None) -> None:
        """Done, or the store is away: the next one goes on."""
        self._rest(self._config.retention_every_seconds, self._sweep)

    def _sweep(self) -> None:
        config, now = self._config, self.host.now()

        def find(store: Store) -> Bounds:
            return store.retention_bounds(
                keep_sessions=config.session_retention_max, keep_events=config.event_retention_max, now=now
            )

        def sessions(bounds: Bounds) -> None:
            if config.session_retention_seconds is None and bounds.session is None:
                events(bounds)
            else:
                self._page(_Sessions(bounds, _before(now, config.session_retention_seconds)), 0, lambda: events(bounds))

        def events(bounds: Bounds) -> None:
            if config.event_retention_seconds is None and bounds.event is None:
                self._end_sweep()
            else:
                self._page(_Events(bounds, _before(now, config.event_retention_seconds)), 0, self._end_sweep)

        self.follow(self._threads.read(find), sessions, self._end_sweep)

    def _page(self, kind: _Kind, after: int, then: Callable[[], object]) -> None:
        def found(expired: Expired) -> None:
            if expired.next is None:
                then()
            else:
                next_page = expired.next
                self._delete(kind, expired.ids, lambda: self._page(kind, next_page, then))

        self.follow(self._threads.read(lambda store: kind.find(store, after)), found, self._end_sweep)

    def _delete(self, kind: _Kind, ids: tuple[Any, ...], then: Callable[[], object]) -> None:
        if not ids:
            then()
            return
        some, rest = ids[: kind.at_once], ids[kind.at_once :]

        def deleted(_: int) -> None:
            self._rest(PAUSE_SECONDS, lambda: self._delete(kind, rest, then))

        self.follow(self._threads.write(lambda store: kind.delete(store, some)), deleted, self._end_sweep)


class _Kind(ABC):
    """What a sweep goes through."""

    at_once: int

    def __init__(self, bounds: Bounds, before: datetime | None) -> None:
        self.bounds, self.before = bounds, before

    @abstractmethod
    def find(self, store: Store, after: int) -> Expired: ...

    @abstractmethod
    def delete(self, store: Store, ids: tuple[Any, ...]) -> int: ...


class _Sessions(_Kind):
    at_once = SESSIONS_AT_ONCE

    def find(self, store: Store, after: int) -> Expired:
        return store.expired_sessions(self.bounds, before=self.before, after=after, limit=PAGE)

    def delete(self, store: Store, ids: tuple[Any, ...]) -> int:
        return store.prune_sessions(ids, self.bounds)


class _Events(_Kind):
    at_once = EVENTS_AT_ONCE

    def find(self, store: Store, after: int) -> Expired:
        return store.expired_events(self.bounds, before=self.before, after=after, limit=PAGE)

    def delete(self, store: Store, ids: tuple[Any, ...]) -> int:
        return store.prune_events(ids)


def _before(now: datetime, seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else now - timedelta(seconds=seconds)
    except OverflowError:
        return None  # longer ago than there is a date for
