"""Asking what an actor cannot go on without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from propolis.messages import LeaseLost, Request, StoreUnavailable, WakeMe

from ..alarms import has_crashed, wake
from ..core import AsyncioActor
from .plan import StreamPlan

__all__ = ["ask_surely"]

R = TypeVar("R")

RETRY_SECONDS: Final = 0.25

CRASHES_AT_MOST: Final = 20
"""In a row: an error that is always the same one is a bug, and somebody has to hear of it."""


def ask_surely(
    actor: AsyncioActor,
    plan: StreamPlan,
    question: Request[R],
    then: Callable[[R], object],
    failed: Callable[[BaseException], object],
) -> None:
    """Ask the SessionActor for something of the store, or have it write what may be written twice: again and again
    while the store cannot be read (D7) or this runtime has lost its lease, and when the SessionActor crashed over it.

    Who gave up there would leave an execution that this runtime owns, and that nobody runs.
    """
    crashes = 0

    def look() -> None:
        actor.request(plan.sessions, question, then, not_answered)

    def not_answered(error: BaseException) -> None:
        nonlocal crashes
        if isinstance(error, (StoreUnavailable, LeaseLost)):
            crashes = 0
        elif has_crashed(error) and crashes < CRASHES_AT_MOST:
            crashes += 1
        else:
            failed(error)
            return
        wake(actor, plan.wakeups, WakeMe(after=RETRY_SECONDS), look, failed)

    look()
