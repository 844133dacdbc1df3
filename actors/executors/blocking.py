"""An attempt that has a thread to itself: of the thread placement, or the main one of a worker process."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from ..core import waker_of
from .attempt import Attempt
from .context import Context, SyncContext
from .protocol import ExecutorPlan
from .signals import Cancelled
from .whose import belongs_to

__all__ = ["BlockingRun"]


class BlockingRun:
    """Calls a plain function; an `async def` gets an event loop of its own."""

    __slots__ = ("_cancel_task", "attempt")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self._cancel_task: Callable[[], None] | None = None

    def output(self, plan: ExecutorPlan) -> Any:
        """Make the executor and call it: its output. Raises what that raises, and Cancelled if it is not to begin."""
        attempt = self.attempt
        if attempt.cancelled:
            raise Cancelled
        with belongs_to(attempt):
            # in a copy: what it sets there (the precision of decimals, say) is not for the thread's next attempt
            return contextvars.copy_context().run(self._call, plan)

    def _call(self, plan: ExecutorPlan) -> Any:
        attempt = self.attempt
        execute = plan.make()
        attempt.input = plan.bind(attempt.begin.spec.input_data)
        if not plan.is_async:
            return execute(SyncContext(attempt), attempt.input)
        try:
            return asyncio.run(self._await(execute))
        finally:
            self._cancel_task = None

    async def _await(self, execute: Callable[..., Any]) -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel_task() -> None:
            task.cancel()

        self._cancel_task = lambda: waker_of(loop).post(cancel_task)
        if self.attempt.cancelled:  # between the first look and this line
            raise Cancelled
        return await execute(Context(self.attempt), self.attempt.input)

    def cancel(self) -> None:
        """Have it end: at its next await, or when it looks. Any thread."""
        self.attempt.cancelled = True
        cancel_task = self._cancel_task
        if cancel_task is not None:
            cancel_task()
