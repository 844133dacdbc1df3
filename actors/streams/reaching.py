"""The part of a StreamActor through which others reach an execution: cancel, pause, and rows of the inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from propolis.messages import (
    ENDED,
    CancelExecution,
    CancelOutcome,
    ExecutionDetached,
    ExecutionNotFound,
    ExecutionRow,
    ExecutionState,
    GetExecution,
    InboxRow,
    PauseExecution,
    Payload,
    PostToInbox,
    Request,
    WakeMe,
)

from ..alarms import wake
from ..core import LATER, Reply
from .entries import Entry
from .life import Order
from .posted import cancel_body, cancel_outcome, order_of
from .recovering import Recovering
from .supervising import FOREIGN_POLL_SECONDS
from .versions import waits_for_version

__all__ = ["Reaching"]


def _as_ended(state: ExecutionState, result: Any) -> ExecutionState:
    return state.model_copy(update={"status": result.status})


class Foreign(NamedTuple):
    """How to ask the same of another runtime."""

    kind: str
    body: Payload | None
    grace: float
    """Seconds to wait for what comes of it."""
    ended: Any
    """The answer when it had ended before."""
    came_of: Callable[[ExecutionState | None], Any]
    """The answer by how the execution stands in the end; None: there is none of this stream's."""


class Reaching(Recovering):
    """Passes on what is asked of an execution: to its actor; or, of one that another runtime has, into its inbox."""

    def cancel(self, message: CancelExecution) -> object:
        """End an execution, wherever it is."""
        execution_id = message.execution_id
        if self.end_pending(execution_id, Order(kind="end", status="cancelled", reason=message.reason)):
            return self._reply_when_gone(execution_id)

        def came_of(state: ExecutionState | None) -> CancelOutcome:
            return cancel_outcome(execution_id, state)

        ended = CancelOutcome(execution_id=execution_id, outcome="ended")
        body = cancel_body(message.reason, message.grace)
        return self._pass_on(execution_id, message, Foreign("cancel", body, message.grace, ended, came_of))

    def pause(self, message: PauseExecution) -> object:
        """Pause an execution: what has not begun at once."""
        if self.end_pending(message.execution_id, Order(kind="end", status="paused")):
            return True

        def came_of(state: ExecutionState | None) -> bool:
            return state is not None and (state.status == "paused" or state.status not in ENDED)

        asked = Foreign("pause", None, self.plan.config.grace_seconds, False, came_of)
        return self._pass_on(message.execution_id, message, asked)

    def _pass_on(self, execution_id: str, message: Request[Any], foreign: Foreign) -> object:
        entry = self.books.live.get(execution_id)
        if entry is None and self.books.results.get(execution_id, self.host.monotonic()) is not None:
            return foreign.ended
        reply = self.keep_reply() or Reply()
        self.books.owe(reply)
        if entry is None or entry.ref is None:
            self._reach(execution_id, foreign, reply)
            return LATER

        def has_left(_: BaseException) -> None:  # for another runtime, or a stop: whoever has it next finds the row
            self._reach(execution_id, foreign, reply)

        self.request(entry.ref, message, reply.set, has_left)
        return LATER

    def execution_detached(self, message: ExecutionDetached) -> None:
        """Count it until it ends."""
        if message.execution_id in self.books.live:
            self.books.detached.add(message.execution_id)

    def _reply_when_gone(self, execution_id: str) -> object:
        reply = self.keep_reply()
        if reply is None:
            return LATER
        self.books.owe(reply)
        gone: Reply[Any] = Reply()
        self.books.add_waiter(execution_id, gone)

        def is_gone(result: Any) -> None:
            # it may have left for another runtime before that was written, and ended there
            cancelled = result is not None and result.status == "cancelled"
            reply.set(CancelOutcome(execution_id=execution_id, outcome="cancelled" if cancelled else "ended"))

        self.follow(gone, is_gone, reply.offer_error)
        return LATER

    # -- executions of other runtimes --------------------------------------------------------------------------------

    def _reach(self, execution_id: str, foreign: Foreign, reply: Reply[Any]) -> None:
        """Leave a row for whoever owns it, and reply with what came of that within the grace, as the store has it."""
        came_of = foreign.came_of
        until = self.host.monotonic() + foreign.grace

        def found(row: ExecutionRow | None) -> None:
            if row is None or row.spec.entry_point != self.stream_id:
                reply.set(came_of(None))
            elif row.state.status in ENDED:
                reply.set(foreign.ended)
            elif waits_for_version(row.state.owner) and self.mode == "running":
                self._end_unowned(row, foreign, reply)
            else:
                now = self.host.now()
                post = PostToInbox(execution_id=execution_id, kind=foreign.kind, body=foreign.body, created_at=now)
                self.request(self.plan.sessions, post, lambda _: look(), refused)

        def refused(error: BaseException) -> None:
            if isinstance(error, ExecutionNotFound):  # it has ended, or is gone, since we looked
                look()
            else:
                reply.offer_error(error)

        def look() -> None:
            self.request(self.plan.sessions, GetExecution(execution_id=execution_id), looked, reply.offer_error)

        def looked(row: ExecutionRow | None) -> None:
            if row is None or row.state.status in ENDED or self.host.monotonic() >= until:
                reply.set(came_of(None if row is None else row.state))
            else:
                again = WakeMe(after=FOREIGN_POLL_SECONDS)
                wake(self, self.plan.wakeups, again, look, reply.offer_error)

        self.request(self.plan.sessions, GetExecution(execution_id=execution_id), found, reply.offer_error)

    def _end_unowned(self, row: ExecutionRow, foreign: Foreign, reply: Reply[Any]) -> None:
        """It waits for its version and no runtime has it: end it here, behind its epoch."""
        execution_id = row.spec.execution_id
        asked = InboxRow(
            id=0, execution_id=execution_id, kind=foreign.kind, body=foreign.body, created_at=self.host.now()
        )
        order = order_of((asked,))
        assert order is not None
        entry = Entry(row.spec, row.state, None)
        self.books.live[execution_id] = entry
        self.books.accepted += execution_id not in self.books.left
        self.books.left.discard(execution_id)
        gone: Reply[Any] = Reply()
        self.books.add_waiter(execution_id, gone)
        self.follow(gone, lambda result: reply.set(foreign.came_of(_as_ended(row.state, result))), reply.offer_error)
        self.spawn_execution(entry, order)

    def hear_inbox(self, row: InboxRow) -> None:
        """From the root: a row for an execution of this stream, perhaps not for the first time.

        It goes to the execution's actor; what has none yet keeps it, unless it is to end at once. One that is not in
        the books (any more, or yet) leaves it in the table, which is read again.
        """
        entry = self.books.live.get(row.execution_id)
        if entry is None:
            return
        if entry.ref is not None:
            entry.ref.deliver(row)
            return
        known = entry.inbox or ()
        if row.id not in {other.id for other in known}:
            entry.inbox = (*known, row)
        order = order_of((row,))
        if order is not None:
            self.end_pending(row.execution_id, order)
