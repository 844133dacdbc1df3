"""Reading a row that an actor cannot go on without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from propolis.messages import ExecutionRow, GetExecution, StoreUnavailable, WakeMe

from ..core import AsyncioActor
from .plan import StreamPlan

__all__ = ["find_row"]

RETRY_SECONDS: Final = 0.25


def find_row(
    actor: AsyncioActor,
    plan: StreamPlan,
    execution_id: str,
    then: Callable[[ExecutionRow | None], object],
    failed: Callable[[BaseException], object],
) -> None:
    """Read an execution's row, again and again while the store cannot be read (D7): who gave up here would leave an
    execution that this runtime owns, and that nobody runs.
    """

    def look(_: object = None) -> None:
        actor.request(plan.sessions, GetExecution(execution_id=execution_id), then, not_read)

    def not_read(error: BaseException) -> None:
        if isinstance(error, StoreUnavailable):
            actor.request(plan.wakeups, WakeMe(after=RETRY_SECONDS), look, failed)
        else:
            failed(error)

    look()
