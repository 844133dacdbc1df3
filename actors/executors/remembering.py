"""`ctx.memory`: memory as an executor sees it, awaited or plain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from propolis.messages import InvalidInput, SharedScope, StateConflict, StateEntry

from . import shared
from .access import Access
from .attempt import Attempt
from .calling import AsyncCalling, PlainCalling
from .shared import MISSING, check_scope
from .signals import Cancelled
from .steps import Calling, run_plainly

__all__ = ["Memory", "Scope", "SyncMemory", "check_cancelled"]

Scope: TypeAlias = Literal["execution", "stream", "global"]

_ANYWHERE: tuple[SharedScope, ...] = ("stream", "global")


class Memory:
    """What this execution remembers, and, unless its stream is isolated, what it shares with others.

    Scope "execution" is the session's memory, as this execution sees it: committed by `checkpoint()` and at the end,
    rolled back to the last checkpoint when the executor is run again. Scopes "stream" (all executions of its stream)
    and "global" (all that there are) need `EntryPoint(isolation_level=…)` "shared" or "synchronized": each change is
    committed before the call returns, and made once however often the executor is run again. See docs/state.md.

    Raises, from every call:
        ScopeNotAllowed: a shared scope, of an isolated execution.
        KeyNotPermitted: in a node of a graph, a key that it does not declare.
        InvalidInput: a bad scope, a bad key, or a value that cannot be encoded, with its path.
        PayloadTooLarge: a value.
        StaleWriter: another attempt or owner has taken over.
    """

    __slots__ = ("_access", "_attempt", "_calling")

    def __init__(self, attempt: Attempt, calling: Calling | None = None, access: Access | None = None) -> None:
        self._attempt = attempt
        self._calling = calling if calling is not None else AsyncCalling(attempt.host)
        self._access = access

    async def read(self, key: str, default: Any = None, *, scope: Scope | None = None) -> Any:
        """A fresh copy of the value, or the default. Without a scope: the execution's, else the stream's, else the
        global one, as far as it may see them.
        """
        attempt = self._begin(scope, reads=True)
        if self._access is not None:
            self._access.check_read(key)
        if scope in (None, "execution"):
            attempt.replay.look()
            value = attempt.memory.read(key, MISSING)
            if value is not MISSING or scope == "execution" or attempt.begin.spec.isolation_level == "isolated":
                return default if value is MISSING else value
        entries = await shared.read(attempt, self._calling, _shared(scope), key)
        return next((entry.value for entry in entries if entry.exists), default)

    async def read_all(self, *, scope: Scope | None = None) -> dict[str, Any]:
        """A fresh copy of everything. Without a scope: what `read` would find under each key."""
        attempt = self._begin(scope, reads=True)
        found: dict[str, Any] = {}
        if scope != "execution" and attempt.begin.spec.isolation_level != "isolated":
            entries = await shared.read(attempt, self._calling, _shared(scope), None)
            found = {entry.key: entry.value for entry in reversed(entries)}
        if scope in (None, "execution"):
            attempt.replay.look()
            found.update(attempt.memory.read_all())
        return found if self._access is None else self._access.visible(found)

    async def write(self, key: str, value: Any, *, scope: Scope = "execution", expected: Any = MISSING) -> None:
        """Set a value. With `expected`: only if it is that (None: not there); as one with the look.

        Raises:
            StateConflict: it is another. In a shared scope of a synchronized stream also when somebody else has changed
                it since this execution last read it.
        """
        await self.write_batch({key: value}, scope=scope, expected={} if expected is MISSING else {key: expected})

    async def write_batch(
        self, items: Mapping[str, Any], *, scope: Scope = "execution", expected: Mapping[str, Any] | None = None
    ) -> None:
        """Set several, all or none. With `expected`: only if these of them are that. Raises as `write`."""
        attempt = self._begin(scope)
        _check_items(items, expected)
        if self._access is not None:
            self._access.check_writes(items)
        wanted = dict(expected or {})
        if scope == "execution":
            for name, value in wanted.items():
                _compare(attempt, name, value)
            attempt.memory.write_batch(items)
        elif items:
            encoded = attempt.memory.encoded(items)
            await shared.write(attempt, self._calling, scope, encoded, wanted, self._node)

    async def update(
        self,
        key: str,
        fn: Callable[[Any], Any] | Any,
        *,
        default: Any = None,
        scope: Scope = "execution",
        expected: Any = MISSING,
    ) -> Any:
        """Set a value to `fn(value)`, called with the default where there is none; returns the new one.

        With `expected`: only if it is that now (None: not there), and `fn` may be the new value itself.

        In a shared scope of a synchronized stream no update is lost: executions take turns on a key. The function, a
        plain one, runs where the executor does, while others wait, and may be called again, with another value: it must
        do nothing else. A turn that has lasted for 5 seconds is passed on, and that execution gets another one.

        Raises:
            StateConflict: it is not what was expected.
        """
        attempt = self._begin(scope)
        if self._access is not None:
            self._access.check_read(key)
            self._access.check_writes((key,))
        if not callable(fn) and expected is MISSING:
            reason = f"{fn!r:.200} is no function"
            raise InvalidInput(what="memory.update", reason=reason, remedy="Pass one, or say what is expected.")
        make = fn if callable(fn) else lambda _: fn
        if scope == "execution":
            attempt.replay.look()
            if expected is not MISSING:
                _compare(attempt, key, expected)
            return attempt.memory.update(key, make, default)

        def made(entry: StateEntry) -> Any:
            if expected is not MISSING and not shared.same(entry.value_payload, expected):
                raise StateConflict(scope=scope, key=key, version=entry.version)
            return make(entry.value if entry.exists else default)

        return await shared.update(attempt, self._calling, scope, key, made, self._node)

    async def delete(self, key: str, *, scope: Scope = "execution") -> bool:
        """Remove a value. False when there was none."""
        attempt = self._begin(scope)
        if self._access is not None:
            self._access.check_writes((key,))
        if scope == "execution":
            return attempt.memory.delete(key)
        return await shared.delete(attempt, self._calling, scope, key, self._node)

    @property
    def _node(self) -> str | None:
        return None if self._access is None else self._access.node_id

    def _begin(self, scope: str | None, *, reads: bool = False) -> Attempt:
        self._attempt.check()
        if scope is not None or not reads:  # a change is of one scope
            check_scope(self._attempt, scope)
        return self._attempt


class SyncMemory:
    """As `Memory`, with plain calls."""

    __slots__ = ("_attempt", "_memory")

    def __init__(self, attempt: Attempt, access: Access | None = None) -> None:
        self._attempt = attempt
        self._memory = Memory(attempt, PlainCalling(attempt.host), access)

    def read(self, key: str, default: Any = None, *, scope: Scope | None = None) -> Any:
        """As `Memory.read`."""
        return run_plainly(self._looked().read(key, default, scope=scope))

    def read_all(self, *, scope: Scope | None = None) -> dict[str, Any]:
        """As `Memory.read_all`."""
        return run_plainly(self._looked().read_all(scope=scope))

    def write(self, key: str, value: Any, *, scope: Scope = "execution", expected: Any = MISSING) -> None:
        """As `Memory.write`."""
        run_plainly(self._looked().write(key, value, scope=scope, expected=expected))

    def write_batch(
        self, items: Mapping[str, Any], *, scope: Scope = "execution", expected: Mapping[str, Any] | None = None
    ) -> None:
        """As `Memory.write_batch`."""
        run_plainly(self._looked().write_batch(items, scope=scope, expected=expected))

    def update(
        self,
        key: str,
        fn: Callable[[Any], Any] | Any,
        *,
        default: Any = None,
        scope: Scope = "execution",
        expected: Any = MISSING,
    ) -> Any:
        """As `Memory.update`."""
        return run_plainly(self._looked().update(key, fn, default=default, scope=scope, expected=expected))

    def delete(self, key: str, *, scope: Scope = "execution") -> bool:
        """As `Memory.delete`."""
        return run_plainly(self._looked().delete(key, scope=scope))

    def _looked(self) -> Memory:
        check_cancelled(self._attempt)
        return self._memory


def check_cancelled(attempt: Attempt) -> None:
    if attempt.cancelled:
        attempt.is_late()
        raise Cancelled


def _shared(scope: Scope | None) -> tuple[SharedScope, ...]:
    return _ANYWHERE if scope is None or scope == "execution" else (scope,)


def _check_items(items: Any, expected: Any) -> None:
    if not isinstance(items, Mapping):
        raise InvalidInput(what="memory", reason=f"{items!r:.200} is no mapping", remedy="Pass a dict.")
    if expected is not None and not (isinstance(expected, Mapping) and expected.keys() <= items.keys()):
        reason = f"{expected!r:.200} is no mapping of keys that are written"
        raise InvalidInput(what="memory: expected", reason=reason, remedy="Say what to expect of them, in a dict.")


def _compare(attempt: Attempt, key: str, expected: Any) -> None:
    attempt.replay.look()
    value = attempt.memory.read(key)
    if value != expected:
        raise StateConflict(scope="execution", key=key, version=0)
