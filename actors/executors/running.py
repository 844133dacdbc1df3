"""Which step's function runs here, and what such a function may not do."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TYPE_CHECKING

from propolis.messages import InvalidInput, StepKey

from .spans import leave_span, run_below_step

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["refuse_in_step", "running", "running_step"]

_running: contextvars.ContextVar[tuple[Attempt, StepKey] | None] = contextvars.ContextVar("propolis_step", default=None)


@contextlib.contextmanager
def running(attempt: Attempt, key: StepKey) -> Iterator[None]:
    """The function of this step runs: here, and in the tasks and on the thread that it is given."""
    before = _running.get()
    _running.set((attempt, key))
    span = run_below_step(attempt, key)
    try:
        yield
    finally:
        leave_span(span)
        _running.set(before)  # no reset(): a coroutine that is thrown away may end in another context


def running_step(attempt: Attempt) -> StepKey | None:
    """The step of this attempt whose function runs here; None outside of one."""
    found = _running.get()
    return found[1] if found is not None and found[0] is attempt else None


def refuse_in_step(attempt: Attempt, what: str) -> None:
    """Refuse what a re-run would miss when it takes the outcome of the step from its record. Raises InvalidInput."""
    key = running_step(attempt)
    if key is not None:
        reason = f"it is called by the function of step {key.name!r}, which a re-run does not call again"
        raise InvalidInput(what=what, reason=reason, remedy="Call it before the step or after it.")
