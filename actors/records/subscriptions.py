"""Subscribers of events: each has a bounded queue of its own, so that none holds up the publisher or another one."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pykka

from propolis.messages import Event, EventFilter, EventsMissed

from ..core import Ref

__all__ = ["HandlerSubscriber", "QueueSubscriber", "RefSubscriber", "Runner", "Subscriber"]

logger = logging.getLogger("propolis.events")


class Subscriber(ABC):
    """Somebody who gets events. Called on the actor loop; must not block."""

    filter: EventFilter
    gone = False
    """Nobody takes any more: who has not unsubscribed goes with the next event."""

    @abstractmethod
    def offer(self, event: Event) -> None:
        """Hand over an event, or count it as missed."""

    def close(self) -> None:  # noqa: B027 - most need not know
        """There will be no more."""


class RefSubscriber(Subscriber):
    """An actor: events arrive as messages. What its mailbox has no room for is missed, and it is told how much."""

    def __init__(self, filter: EventFilter, ref: pykka.ActorRef[Any], limit: int) -> None:
        self.filter = filter
        self._ref = ref
        self._limit = limit
        self._missed = 0
        self._last_seq: int | None = None

    def offer(self, event: Event) -> None:
        if self._depth() >= self._limit:
            self._missed += 1
            self._last_seq = event.seq
            return
        try:
            if self._missed:
                self._ref.tell(EventsMissed(count=self._missed, last_seq=self._last_seq))
                self._missed = 0
            self._ref.tell(event)
        except pykka.ActorDeadError:
            self.gone = True
            logger.debug("%s no longer takes events: it has stopped", self._ref)

    def _depth(self) -> int:
        if isinstance(self._ref, Ref):
            return self._ref.actor_inbox.depth()
        size = getattr(self._ref.actor_inbox, "qsize", None)
        return size() if size is not None else 0


class QueueSubscriber(Subscriber):
    """A bounded queue that somebody else reads. On overflow the oldest goes; the reader sees how many went."""

    def __init__(self, filter: EventFilter, limit: int) -> None:
        self.filter = filter
        self._limit = limit
        self._queue: deque[Event] = deque()
        self._missed = 0
        self._last_missed: int | None = None
        self._changed = threading.Lock()
        self.closed = False
        self.wake: Callable[[], None] = _nothing

    def offer(self, event: Event) -> None:
        with self._changed:  # against the one reader, for the length of an append
            if len(self._queue) >= self._limit:
                self._last_missed = self._queue.popleft().seq
                self._missed += 1
            self._queue.append(event)
        self.wake()

    def take(self) -> Event | EventsMissed | None:
        """The next one; None when there is none now. One reader, any thread."""
        with self._changed:
            return self._take()

    def _take(self) -> Event | EventsMissed | None:
        if self._missed:
            missed = EventsMissed(count=self._missed, last_seq=self._last_missed)
            self._missed = 0
            return missed
        return self._queue.popleft() if self._queue else None

    def close(self) -> None:
        self.closed = True
        self.wake()

    def give_up(self) -> None:
        """Its reader is lost. Any thread, in the middle of anything: a garbage collector says so."""
        self.gone = True


Runner = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]
"""Runs a coroutine function to its end, elsewhere: on the loop of user code, or a thread. The second function is called
when that loop is given up, and the coroutine with it."""


class HandlerSubscriber(QueueSubscriber):
    """A function of the user's, `def` or `async def`, called with one event after the other, where user code runs.

    What it raises is logged and counted, and ends nothing. When the loop under it is given up, it goes on on the next
    one; the event that it was at counts as missed.
    """

    def __init__(self, filter: EventFilter, handler: Callable[[Any], object], limit: int, run: Runner) -> None:
        super().__init__(filter, limit)
        self._handler = handler
        self._run = run
        self._pumping = False
        self._pump_number = 0
        """Of the pump that counts; one of before belongs to a loop that was given up."""
        self._in_hand: Event | EventsMissed | None = None
        self.failures = 0
        self.wake = self._start_pump

    def _start_pump(self) -> None:
        with self._changed:
            if self._pumping or (not self._queue and not self._missed):
                return
            self._pumping = True
            number = self._pump_number
        self._run(lambda: self._pump(number), lambda: self._lost(number))

    def _lost(self, number: int) -> None:
        with self._changed:
            if number != self._pump_number:
                return
            self._pump_number += 1
            self._pumping = False
            match self._in_hand:
                case Event() as event:
                    self._missed += 1
                    self._last_missed = event.seq
                case EventsMissed() as missed:
                    self._missed += missed.count
                    self._last_missed = missed.last_seq
            self._in_hand = None
        if not self.closed:
            self._start_pump()

    def next_for(self, number: int) -> Event | EventsMissed | None:
        """The next one for the pump of that number; None when there is none, or it is not that pump's turn any more."""
        with self._changed:
            if number != self._pump_number:
                return None
            self._in_hand = None if self.closed else self._take()
            return self._in_hand

    async def _pump(self, number: int) -> None:
        while (event := self.next_for(number)) is not None:
            try:
                outcome = self._handler(event)
                if inspect.isawaitable(outcome):  # what a `def` returns besides is nobody's
                    await outcome
            except BaseException as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise  # it is us who are cancelled: the loop is closing
                self.failures += 1
                logger.exception("An event handler failed at %s", event)
        with self._changed:
            if number != self._pump_number:
                return
            self._pumping = False
        if not self.closed:
            self._start_pump()  # for what came in between the last look and the flag


def _nothing() -> None:
    pass
