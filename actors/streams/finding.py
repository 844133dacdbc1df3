"""Reading what an actor cannot go on without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from propolis.messages import Request, StoreUnavailable, WakeMe

from ..core import AsyncioActor
from .plan import StreamPlan

__all__ = ["read_surely"]

R = TypeVar("R")

RETRY_SECONDS: Final = 0.25


def read_surely(
    actor: AsyncioActor,
    plan: StreamPlan,
    question: Request[R],
    then: Callable[[R], object],
    failed: Callable[[BaseException], object],
) -> None:
    """Ask the SessionActor for something of the store, again and again while that cannot be read (D7).

    Who gave up there would leave an execution that this runtime owns, and that nobody runs.
    """

    def look(_: object = None) -> None:
        actor.request(plan.sessions, question, then, not_read)

    def not_read(error: BaseException) -> None:
        if isinstance(error, StoreUnavailable):
            actor.request(plan.wakeups, WakeMe(after=RETRY_SECONDS), look, failed)
        else:
            failed(error)

    look()
