"""The part of an ExecutionActor that hears what wants no answer: that an attempt began, how far it is, its output."""

from __future__ import annotations

from typing import Any, ClassVar

from propolis.messages import (
    AppendEvents,
    AttemptBegan,
    Event,
    InboxRow,
    PublishEvents,
    ReportOutput,
    ReportProgress,
)

from ..core import LATER, Handlers, Reply
from .displaced import Displaced
from .endings import given, make_event

__all__ = ["Hearing"]


class Hearing(Displaced):
    """Publishes live what the running attempt tells; what one of an earlier epoch tells is dropped."""

    def on_receive(self, message: Any) -> Any:
        """As every actor; but while a peer may have declared this runtime lost, what an executor asks waits for a
        commit that says otherwise (D5): not every answer has one of its own.
        """
        current = self.actor_inbox.current
        if current is None or current.reply_to is None or self._plan.lease.is_trusted():
            return super().on_receive(message)
        epoch = getattr(message, "epoch", None)
        if epoch is None or epoch != self._life.state.epoch:
            return super().on_receive(message)

        def still_ours(_: Any) -> None:
            self.actor_inbox.push(current)
            self.actor_inbox.wake()

        fence = AppendEvents(events=(), execution_id=self._spec.execution_id, expected_epoch=epoch)
        self.request(self._plan.sessions, fence, still_ours, lambda error: self.refused(error, current.reply_to))
        return LATER

    def refused(self, error: BaseException, reply: Reply[Any] | None) -> None:
        """The store did not take what the executor asked."""
        raise AssertionError("the part that records decides")

    def attempt_has_begun(self, message: AttemptBegan) -> None:
        """It had to wait for a worker, and runs now: what limits an attempt counts from here."""
        if message.epoch == self._life.state.epoch and self._life.phase == "running" and self._plan.has_time_limits:
            self.attempt_began = self.last_sign = self.host.monotonic()
            self.watch_limits()

    def report_progress(self, message: ReportProgress) -> None:
        """A sign of life; publish it."""
        if not self.hears(message.epoch):
            return
        self.last_sign = self.host.monotonic()
        if message.fraction is not None or message.note:
            data = {"fraction": message.fraction, "note": message.note}
            self._plan.events.tell(PublishEvents(events=(self._live_event("execution_progress", data),)))

    def report_output(self, message: ReportOutput) -> None:
        """Publish what it printed or logged. No sign of life: who is stuck may print for ever."""
        if not self.hears(message.epoch):
            return
        about = given(stream=message.stream, level=message.level, logger=message.logger)
        events = (self._live_event("node_internal_output", {**about, "line": line}) for line in message.lines)
        self._plan.events.tell(PublishEvents(events=tuple(events)))

    def _live_event(self, type: str, data: dict[str, Any]) -> Event:
        graph_id = self._plan.entry_point.graph_id
        return make_event(type, self._spec, self.host.now(), data, graph_id=graph_id)

    handlers: ClassVar[Handlers] = {
        AttemptBegan: attempt_has_begun,
        ReportProgress: report_progress,
        ReportOutput: report_output,
        InboxRow: Displaced.hear_inbox,
    }
