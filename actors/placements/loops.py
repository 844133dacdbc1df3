"""The event loops of user code of one runtime: who gets new work, which one is blocked, which one is given up."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from propolis.messages import Event

from ..core import wait_for
from ..host import Host
from .blockage import LOOK_SECONDS, Fine, Replace, blocked_event, look
from .user_loop import Sample, UserLoop, Work

if TYPE_CHECKING:
    from ..core import ActorLoop
    from ..host import Timer

__all__ = ["UserLoops"]

logger = logging.getLogger("propolis.placements")

LOOPS_MAX: Final = 2
"""Loops in use. The second one is started when work comes while the first is blocked, and stays; what comes while both
are blocked waits. Those that have been given up are not among them."""


class UserLoops:
    """Gives work to a loop that is not blocked, and watches the loops while they have any.

    Every `LOOK_SECONDS` a loop is called, and its answer looked for. One that does not answer and is found at the same
    piece of code again and again is blocked: an `executor_blocked` event names that code, the loop is given no new
    work, and what has not begun on it goes elsewhere. After `limit` seconds it is given up: it is told to end, its
    thread goes when the code comes back, and what was on it hears of it through `Work.give_up`.

    Time is counted in looks, so a process that was stopped, or a machine too busy to look, blames nobody. A loop that
    is only busy, with many small steps, is not blocked.

    Code that never lets another thread run (it holds the GIL, in C) cannot be noticed by anything in its process.

    Everything here happens on the actor loop, so that nothing needs a lock.
    """

    def __init__(self, host: Host, actors: ActorLoop, limit: float | None) -> None:
        self._host = host
        self._actors = actors
        self._limit = limit
        self.announce: Callable[[Event], None] = _to_nobody
        """Takes the events about blocked loops, to be committed."""
        self._live: list[UserLoop] = []
        self._given_up: list[UserLoop] = []
        self._waiting: deque[Work] = deque()
        self._started = 0
        self._timer: Timer | None = None
        self._closed = False

    def on_actor_loop(self, call: Callable[..., None], *args: Any) -> None:
        """Run a function there: at once, when this is there. Any thread."""
        if self._actors.is_here():
            call(*args)
        else:
            self._actors.post(call, *args)

    # -- who gets work -----------------------------------------------------------------------------------------------

    def place(self, work: Work) -> None:
        """Have a loop begin it, as soon as there is one that is not blocked."""
        if self._closed:
            return
        home = self._free()
        if home is None:
            self._waiting.append(work)
        else:
            home.take(work)
        if self._timer is None:
            self._look_later()

    def withdraw(self, work: Work) -> bool:
        """Take back what waits for a loop. False when it does not."""
        try:
            self._waiting.remove(work)
        except ValueError:
            return False
        return True

    def _free(self) -> UserLoop | None:
        for home in self._live:
            if not home.blocked:
                return home
        return self._start() if len(self._live) < LOOPS_MAX else None

    def _start(self) -> UserLoop:
        self._started += 1
        name = "propolis-user-loop" if self._started == 1 else f"propolis-user-loop-{self._started}"
        home = UserLoop(self._host, name)
        self._live.append(home)
        return home

    def _place_waiting(self) -> None:
        while self._waiting and (home := self._free()) is not None:
            home.take(self._waiting.popleft())

    # -- the watch ---------------------------------------------------------------------------------------------------

    def _look_later(self) -> None:
        self._timer = self._host.watch_later(self._actors.event_loop, LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._closed:
            return
        for home in list(self._live):
            self._look_at(home)
        self._place_waiting()
        if self._waiting or any(home.busy for home in self._live):
            self._look_later()

    def _look_at(self, home: UserLoop) -> None:
        if home.answered:
            if home.blocked:
                logger.info("%s is no longer blocked", home.name)
            home.blocked = home.reported = False
            home.step, home.looks = None, 0
            if home.work:
                home.call()
            return
        sample = home.sample()
        if sample is None or sample.step != home.step:  # it gets on, if slowly
            home.step, home.looks, home.reported = (None if sample is None else sample.step), 0, False
        if sample is None:
            return
        home.looks += 1
        seconds = home.looks * LOOK_SECONDS
        verdict = look(seconds, reported=home.reported, limit=self._limit, given_up=self._still_there())
        if isinstance(verdict, Fine):
            return
        replaced = isinstance(verdict, Replace)
        home.blocked = home.reported = True
        self._report(home, sample, seconds, replaced=replaced)
        self._waiting.extend(home.give_back())
        if replaced:
            self._give_up(home, sample, seconds)

    def _report(self, home: UserLoop, sample: Sample, seconds: float, *, replaced: bool) -> None:
        owner, place = sample.owner, sample.place
        what = "is given up: it has been blocked" if replaced else "is blocked, so far"
        text = "%s %s for %.2f s in %s (%s, line %d)"
        logger.warning(text, home.name, what, seconds, place.function, place.file, place.line)
        if owner is not None:
            event = owner.blocks(place, seconds, replaced=replaced)
        else:
            event = blocked_event(self._host.now(), place, seconds, replaced=replaced)
        self.announce(event)

    def _still_there(self) -> int:
        if self._given_up:
            self._given_up = [home for home in self._given_up if home.thread.is_alive()]
        return len(self._given_up)

    def _give_up(self, home: UserLoop, sample: Sample, seconds: float) -> None:
        self._live.remove(home)
        self._given_up.append(home)
        home.given_up = True
        lost = list(home.work)
        home.stop()
        counted = sample.owner not in lost or not sample.owner.charged
        for work in lost:
            work.give_up(sample.place if work is sample.owner else None, seconds, counted=counted)

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self, timeout: float) -> bool:
        """End the threads. False when user code still holds one after `timeout` seconds; they are daemons.

        Not on the actor loop, which must be running.
        """
        closed = threading.Event()
        self._actors.post(self._close, closed)
        wait_for(closed, timeout)
        threads = [home.thread for home in (*self._live, *self._given_up)]
        end = self._host.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, end - self._host.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _close(self, closed: threading.Event) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        for home in self._live:
            home.stop()
        closed.set()


def _to_nobody(_: Event) -> None:
    pass
