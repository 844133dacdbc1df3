"""The part of a StreamActor that drains and stops it."""

from __future__ import annotations

from functools import partial
from typing import Any

from propolis.messages import (
    CancelExecution,
    CloseStream,
    DrainStream,
    ExecutionSpec,
    GiveUp,
    ReleaseExecutions,
    RuntimeStopped,
    StopStream,
    StreamEnded,
    StreamNotRunning,
    WakeMe,
)

from ..alarms import wake
from ..core import LATER, Reply
from .accepting import CANCELLED_BY_STOP
from .replaying import Replaying

__all__ = ["Leaving"]

LAST_WORDS_SECONDS = 5.0
"""How long, after the grace of a stop, what is new, or the end of a cancelled straggler, may take to be committed."""


class Leaving(Replaying):
    """Ends a stream: by waiting for its executions, by interrupting them, or by cancelling them."""

    _drained = False
    """Who waits was told to leave: once, for each of them that goes has this actor look again."""

    # -- the stream begins and ends ----------------------------------------------------------------------------------

    def stop_stream(self, message: StopStream | CloseStream) -> object:
        """Admit nothing, interrupt, wait for the grace at most, name the stragglers."""
        reply = self.keep_reply()
        if reply is not None:
            self.kept("enders", list[Reply[Any]]).append(reply)
        if isinstance(message, CloseStream):
            self.kept("closing", lambda: [False])[0] = True
        if self.mode == "stopping":
            self.books.cancelling = self.books.cancelling or message.cancel
        else:
            self.books.cancelling = message.cancel
        self.mode = "stopping"
        self._turn_away()
        self._interrupt_all(message.grace)
        self.look_at_end()
        return LATER

    def _interrupt_all(self, grace: float) -> None:
        for execution_id, entry in list(self.books.live.items()):
            if self.books.cancelling:
                if not self.end_pending(execution_id, CANCELLED_BY_STOP) and entry.ref is not None:
                    reason = CANCELLED_BY_STOP.reason
                    entry.ref.deliver(CancelExecution(execution_id=execution_id, grace=grace, reason=reason))
            elif entry.ref is not None:
                entry.ref.deliver(GiveUp())
        if not self.books.cancelling:
            self.leave_pending(*self.pending_ids())
        self._watch_grace(grace)

    def _watch_grace(self, seconds: float, *, last: bool = False) -> None:
        alarm = wake(self, self.plan.wakeups, WakeMe(after=seconds), partial(self._grace_is_over, last=last))
        self.kept("graces", list[Reply[Any]]).append(alarm)

    def _turn_away(self) -> None:
        """Who waits for room has no id yet; nothing of it is kept."""
        for execution_id, opening in list(self.blocked.items()):
            del self.blocked[execution_id]
            self.admission.withdraw(execution_id)
            if opening.reply is not None:
                opening.reply.offer_error(StreamNotRunning(stream_id=self.stream_id))

    def _grace_is_over(self, *, last: bool) -> None:
        if self.mode != "stopping":
            return
        stragglers = tuple(name for name in self.children() if name in self.books.live)
        for name in stragglers:
            self.children()[name].deliver(GiveUp(now=True))
        named = self.kept("stragglers", list[str])
        named.extend(name for name in stragglers if name not in named)
        if last:  # a row that lands yet is released right behind, or taken over from this runtime
            for opening in list(self.books.opening.values()):
                self.not_opened(opening, RuntimeStopped(what=f"Stream {self.stream_id!r}"))
        if stragglers or self.books.opening:  # a store that takes no writes must not hold up a stop for ever
            self._watch_grace(LAST_WORDS_SECONDS, last=True)

    def drain(self, message: DrainStream) -> object:
        """Admit nothing new, finish what was admitted."""
        reply = self.keep_reply()
        if reply is not None:
            self.kept("enders", list[Reply[Any]]).append(reply)
        if self.mode in ("running", "starting"):
            self.mode = "draining"
        self._drained = False
        self._turn_away()
        if message.timeout is not None:
            wake(self, self.plan.wakeups, WakeMe(after=message.timeout), self._drained_too_long)
        self.look_at_end()
        return LATER

    def _drained_too_long(self) -> None:
        if self.mode == "draining":
            self._end(tuple(self.books.live), "draining")

    def look_at_end(self) -> None:
        """A stop or a drain is through when nothing is under way; a drain leaves alone what is parked."""
        draining = self.mode == "draining" and not self._drained
        if draining and not self.books.opening and self._only_waits():
            self._drained = True
            for entry in self.books.live.values():
                if entry.ref is not None:
                    entry.ref.deliver(GiveUp())
        if self.books.live or self.books.opening:
            return
        if self.mode in ("stopping", "draining"):
            self.mode = "stopped"
            stragglers = self.kept("stragglers", list[str])
            for alarm in self.kept("graces", list[Reply[Any]]):
                alarm.abandoned = True
            self.kept("graces", list).clear()
            self._refuse_starters()
            if self.plan.sessions.is_alive():  # D6: or nobody could go on with it while this runtime lives
                self.plan.sessions.deliver(ReleaseExecutions(entry_point=self.plan.entry_point.id))
            self.announce("stream_stopped", {"stragglers": list(stragglers)})
            self._end(tuple(stragglers), "stopped")
            stragglers.clear()
        elif self.mode == "stopped":
            self._end((), "stopped")

    def _only_waits(self) -> bool:
        """Whether what is left is parked, or waits for the session of what is parked."""
        if self.admission.running or self.admission.queue_depth:
            return False
        parked, rest = set[str](), list[ExecutionSpec]()
        for execution_id, entry in self.books.live.items():
            if execution_id not in self.books.parked:
                rest.append(entry.spec)
            elif not entry.spec.beside:
                parked.add(entry.spec.session_id)
        return all(spec.session_id in parked and not spec.beside for spec in rest)

    def _refuse_starters(self) -> None:
        """Who asked for a start, or for work, meanwhile: a stop came in between."""
        stopped = StreamNotRunning(stream_id=self.stream_id)
        for reply in self.kept("starters", list[Reply[Any]]):
            reply.offer_error(stopped)
        self.kept("starters", list).clear()
        self.release_early()

    def _end(self, stragglers: tuple[str, ...], mode: str) -> None:
        enders = self.kept("enders", list[Reply[Any]])
        for reply in enders:
            reply.set(StreamEnded(stream_id=self.stream_id, stragglers=stragglers))
        enders.clear()
        if mode == "stopped" and self.kept("closing", lambda: [False])[0]:
            self.stop_now()
