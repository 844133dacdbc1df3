"""The part of an ExecutionActor that takes rows out of its inbox: what anyone but the owner asks of an execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from propolis.messages import InboxRow, PauseExecution

from .interrupting import Interrupting
from .posted import asked_cancel

__all__ = ["Obeying"]


class Obeying(Interrupting):
    """Hears each row once, in order. A row stays in the table until what it led to is committed: an `advance()` that
    names it in `inbox` clears it, and so does the end of the execution, whatever is left by then. When this runtime
    dies before that, the next owner hears it again.
    """

    def hear_inbox(self, row: InboxRow) -> None:
        """From the stream: a row of the inbox, which it may have sent before."""
        life = self._life
        if life.phase == "ended" or row.id <= life.heard:
            return
        self.host.reach("inbox.heard")
        obey = self.obeyed.get(row.kind)
        before, life.inbox = life.inbox, (*(life.inbox or ()), row)
        try:
            if obey is not None:
                obey(self, row)
        except BaseException:
            life.inbox = before  # it is read again, for the next instance
            raise
        life.heard = row.id

    def _cancel_as_asked(self, row: InboxRow) -> None:
        reason, grace = asked_cancel(row, self._plan.config.grace_seconds)
        self.begin_cancel(reason, grace)

    def _pause_as_asked(self, row: InboxRow) -> None:
        self.pause(PauseExecution(execution_id=row.execution_id))

    obeyed: ClassVar[Mapping[str, Callable[[Any, InboxRow], None]]] = {
        "cancel": _cancel_as_asked,
        "pause": _pause_as_asked,
    }
    """By kind of row: what to do about it. What is not in here waits in `Life.inbox`, where others look for it."""
