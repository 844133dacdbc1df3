"""The part of a StreamActor that gives what has failed another chance."""

from __future__ import annotations

from typing import Any

from propolis.messages import (
    Accepted,
    ExecutionRow,
    ExecutionState,
    GetExecution,
    GetSession,
    ReplayExecution,
    SessionBusy,
    SessionNotFound,
    SessionRecord,
    StaleWriter,
)

from ..core import LATER, Reply
from .accepting import Accepting, offer_to
from .endings import draft
from .entries import Entry, Opening
from .versions import waits_for_version

__all__ = ["Replaying"]


class Replaying(Accepting):
    """Opens a failed execution again, under its own id."""

    def replay(self, message: ReplayExecution) -> object:
        """Give a failed execution a new budget, or one that waits for its version the present one: it runs again."""
        if self.hold_early():
            return LATER
        self.check_running()
        reply = self.owe_reply()
        refuse = offer_to(reply)

        def found(record: SessionRecord | None) -> None:
            if record is None:
                refuse(SessionNotFound(session_id=message.session_id))
            elif record.stream_id != self.stream_id or not (
                record.status == "failed" or waits_for_version(record.owner)
            ):
                reason = f"it is {record.status} on stream {record.stream_id!r}; only a failed one is replayed"
                refuse(SessionBusy(session_id=message.session_id, reason=reason))
            else:
                asked = GetExecution(execution_id=record.execution_id)
                self.request(self.plan.sessions, asked, lambda row: self._replay(row, record, reply), refuse)

        self.request(self.plan.sessions, GetSession(session_id=message.session_id), found, refuse)
        return LATER

    def _replay(self, row: ExecutionRow | None, record: SessionRecord, reply: Reply[Any] | None) -> None:
        changed = SessionBusy(session_id=record.session_id, reason="it has changed meanwhile; look again")
        known = row is not None and (row.state.status == "failed" or waits_for_version(row.state.owner))
        if row is None or not known or row.spec.execution_id in self.books.live:
            offer_to(reply)(changed)
            return
        before = row.state
        state = ExecutionState(
            execution_id=before.execution_id, epoch=before.epoch + 1, attempt=before.attempt, owner=self.plan.owner
        )
        spec, point, new_spec = row.spec, self.plan.entry_point, None
        if spec.version != point.version or point.total_timeout is not None:  # which begins anew, as the budget does
            new_spec = spec.model_copy(update={"version": point.version, "accepted_at": self.host.now()})
        entry = Entry(new_spec or spec, state, record.memory_payload)
        entry.takes = True
        if state.execution_id in self.books.opening:
            offer_to(reply)(changed)
            return
        self.books.opening[state.execution_id] = Opening(entry, reply, wait=False, memory=None, checkpoint_id=None)

        def refused(error: BaseException) -> None:
            self.books.opening.pop(state.execution_id, None)
            offer_to(reply)(changed if isinstance(error, StaleWriter) else error)
            self.look_at_end()

        def reopened(_: Any) -> None:
            if self.books.opening.pop(state.execution_id, None) is None:
                return  # a stop has given it up
            self.books.results.forget(state.execution_id)
            self._take_in(entry)
            if reply is not None:
                reply.set(Accepted(execution_id=state.execution_id, session_id=record.session_id))

        queued = draft("execution_queued")
        self.write_state(entry, before.epoch, queued, reopened, refused, new_spec=new_spec)
