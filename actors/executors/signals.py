"""How an executor is unwound without failing. BaseExceptions, so that an `except Exception` does not swallow them."""

from __future__ import annotations

__all__ = ["Cancelled", "Parked", "Paused", "Unwind"]


class Unwind(BaseException):
    """Leaves an executor's stack on purpose. Let it pass."""


class Paused(Unwind):
    """Raised by `ctx.pause()`, and by `ctx.checkpoint()` when a pause was asked for."""

    def __init__(self, node: str | None) -> None:
        super().__init__(node)
        self.node = node


class Cancelled(Unwind):
    """Raised by every `ctx` call of a blocking executor once it is cancelled or has been superseded."""


class Parked(Unwind):
    """Raised by a durable wait where the stack is not kept: the executor is run again when the wait is over."""
