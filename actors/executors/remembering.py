"""`ctx.memory`: the session's memory as an executor sees it, awaited or plain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from propolis.messages import InvalidInput

from .attempt import Attempt
from .signals import Cancelled

__all__ = ["Memory", "Scope", "SyncMemory", "check_cancelled"]

Scope: TypeAlias = Literal["execution"]


class Memory:
    """The session's memory, as this execution sees it. Committed by `checkpoint()` and at the end; rolled back to the
    last checkpoint when the executor is run again.
    """

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    async def read(self, key: str, default: Any = None, *, scope: Scope = "execution") -> Any:
        """A fresh copy of the value, or the default."""
        return self._of(scope, look=True).read(key, default)

    async def read_all(self, *, scope: Scope = "execution") -> dict[str, Any]:
        """A fresh copy of everything."""
        everything: dict[str, Any] = self._of(scope, look=True).read_all()
        return everything

    async def write(self, key: str, value: Any, *, scope: Scope = "execution") -> None:
        """Set a value. Raises InvalidInput with its path when it cannot be encoded."""
        self._of(scope).write_batch({key: value})

    async def write_batch(self, items: Mapping[str, Any], *, scope: Scope = "execution") -> None:
        """Set several, all or none."""
        self._of(scope).write_batch(items)

    async def update(
        self, key: str, change: Callable[[Any], Any], *, default: Any = None, scope: Scope = "execution"
    ) -> Any:
        """Set a value to `change(value)`; returns the new one."""
        return self._of(scope, look=True).update(key, change, default)

    async def delete(self, key: str, *, scope: Scope = "execution") -> bool:
        """Remove a value. False when there was none."""
        removed: bool = self._of(scope).delete(key)
        return removed

    def _of(self, scope: str, *, look: bool = False) -> Any:
        return _scoped(self._attempt, scope, look=look)


class SyncMemory:
    """As `Memory`, with plain calls."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def read(self, key: str, default: Any = None, *, scope: Scope = "execution") -> Any:
        """A fresh copy of the value, or the default."""
        return self._of(scope, look=True).read(key, default)

    def read_all(self, *, scope: Scope = "execution") -> dict[str, Any]:
        """A fresh copy of everything."""
        result: dict[str, Any] = self._of(scope, look=True).read_all()
        return result

    def write(self, key: str, value: Any, *, scope: Scope = "execution") -> None:
        """Set a value. Raises InvalidInput with its path when it cannot be encoded."""
        self._of(scope).write_batch({key: value})

    def write_batch(self, items: Mapping[str, Any], *, scope: Scope = "execution") -> None:
        """Set several, all or none."""
        self._of(scope).write_batch(items)

    def update(self, key: str, change: Callable[[Any], Any], *, default: Any = None, scope: Scope = "execution") -> Any:
        """Set a value to `change(value)`; returns the new one."""
        return self._of(scope, look=True).update(key, change, default)

    def delete(self, key: str, *, scope: Scope = "execution") -> bool:
        """Remove a value. False when there was none."""
        removed: bool = self._of(scope).delete(key)
        return removed

    def _of(self, scope: str, *, look: bool = False) -> Any:
        check_cancelled(self._attempt)
        return _scoped(self._attempt, scope, look=look)


def check_cancelled(attempt: Attempt) -> None:
    if attempt.cancelled:
        attempt.is_late()
        raise Cancelled


def _scoped(attempt: Attempt, scope: str, *, look: bool) -> Any:
    attempt.check()
    if look:
        attempt.replay.look()
    if scope != "execution":
        raise InvalidInput(
            what="memory scope",
            reason=f"{scope!r} is not available in this version",
            remedy='Use scope="execution".',
        )
    return attempt.memory
