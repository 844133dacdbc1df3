"""Memory that executions share, as an executor reads and changes it: one core for both kinds of context.

Each change is a step of the run, recorded in the transaction that makes it: an executor that is run again finds it
made, and gets what it gave. Reading is no step: it gives what is there now.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from propolis.messages import (
    InvalidInput,
    LeaveStateTurn,
    Payload,
    ReadState,
    RecordedStep,
    RecordStep,
    Request,
    ScopeNotAllowed,
    SharedScope,
    StateChange,
    StateConflict,
    StateEntry,
    StateWritten,
    StoreUnavailable,
    TakeStateTurn,
    WriteState,
)

from ..core import ask
from .names import check_name
from .outcomes import failure_of
from .running import running_step
from .steps import Calling, begun_step, replayed

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["MISSING", "check_scope", "delete", "read", "same", "update", "write"]

MISSING: Final[Any] = object()
"""There is none; None may be one."""

RETRY_SECONDS: Final = 0.25
"""Between two looks at a store that cannot be read."""

R = TypeVar("R")

_updating: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar("propolis_updating", default=None)


def check_scope(attempt: Attempt, scope: str | None) -> None:
    """Refuse a scope that there is not, or that this execution may not use."""
    if scope not in ("execution", "stream", "global"):
        reason = f"{scope!r:.200} is none"
        raise InvalidInput(what="memory scope", reason=reason, remedy='Use "execution", "stream" or "global".')
    spec = attempt.begin.spec
    if scope != "execution" and spec.isolation_level == "isolated":
        raise ScopeNotAllowed(execution_id=spec.execution_id, stream_id=spec.stream_id, scope=scope)


async def _answered(attempt: Attempt, calling: Calling, question: Request[R]) -> R:
    """Ask; while the store cannot be read, wait for it as a commit does (D7)."""
    while True:
        try:
            return await calling.answer(ask(attempt.ref, question, timeout=None))
        except StoreUnavailable:
            await calling.pause(RETRY_SECONDS)
            attempt.check()


async def read(
    attempt: Attempt, calling: Calling, scopes: tuple[SharedScope, ...], key: str | None
) -> tuple[StateEntry, ...]:
    """A key in each of these scopes, there or not; with None, all that is there."""
    if key is not None:
        check_name("memory key", key)
    question = ReadState(epoch=attempt.begin.epoch, scopes=scopes, key=key)
    found = await _answered(attempt, calling, question)
    for entry in found.entries:
        attempt.seen[entry.scope, entry.key] = entry.version
    return found.entries


async def write(
    attempt: Attempt,
    calling: Calling,
    scope: SharedScope,
    items: Mapping[str, Payload],
    expected: Mapping[str, Any],
    node_id: str | None,
) -> None:
    """Set keys, all or none.

    Raises:
        StateConflict: one is not as `expected`; or, where changes are synchronized, not as this execution saw it last.
    """
    call, recorded = _begin(attempt, calling, scope, tuple(items), "write", node_id)
    if recorded is not None:
        replayed(attempt, recorded)
        return
    strict = bool(expected) or call.synchronized
    based: dict[str, int | None] = {key: attempt.seen.get((scope, key)) for key in items}
    now = [entry for key in expected for entry in await read(attempt, calling, (scope,), key)]
    while True:
        for entry in now:
            if entry.key in expected:
                as_wished = same(entry.value_payload, expected[entry.key])
            else:
                as_wished = based[entry.key] in (None, entry.version) or entry.execution_id == call.execution_id
            if not as_wished:
                await call.conflict(entry)
            if based[entry.key] is not None or entry.key in expected:
                based[entry.key] = entry.version
        changes = tuple(StateChange(key=key, value=value, based_on=based[key]) for key, value in items.items())
        written = await call.send(changes, Payload.of(None), strict=strict)
        if written.written:
            call.made(written)
            return
        now = list(written.entries)  # somebody was in between


async def delete(attempt: Attempt, calling: Calling, scope: SharedScope, key: str, node_id: str | None) -> bool:
    """Remove a key, whoever has changed it; whether it was there."""
    call, recorded = _begin(attempt, calling, scope, (key,), "delete", node_id)
    if recorded is not None:
        return bool(replayed(attempt, recorded))
    while True:
        (entry,) = await read(attempt, calling, (scope,), key)
        change = StateChange(key=key, based_on=entry.version)
        written = await call.send((change,), Payload.of(entry.exists), strict=True)
        if written.written:
            return bool(call.made(written))


async def update(
    attempt: Attempt,
    calling: Calling,
    scope: SharedScope,
    key: str,
    make: Callable[[StateEntry], Any],
    node_id: str | None,
) -> Any:
    """Set a key to what `make` makes of it, which is called here, perhaps several times; what it is now.

    Where changes are synchronized it waits for its turn. Else it does not, and what was changed meanwhile is lost.
    """
    call, recorded = _begin(attempt, calling, scope, (key,), "update", node_id)
    if recorded is not None:
        return replayed(attempt, recorded)
    while True:
        turn = attempt.next_turn() if call.synchronized else None
        entry = None
        try:
            entry = await call.current(key, turn)
            with _within_update(attempt):
                value = make(entry)
            payload = _encoded(attempt, key, value)
        except BaseException as error:
            _leave(attempt, turn)
            if isinstance(error, StateConflict) and entry is not None:
                await call.conflict(entry)  # is recorded, and raised
            raise
        change = StateChange(key=key, value=payload, based_on=entry.version)
        written = await call.send((change,), payload, strict=call.synchronized, turn=turn)
        if written.written:
            return call.made(written)


def _begin(
    attempt: Attempt, calling: Calling, scope: SharedScope, keys: tuple[str, ...], what: str, node_id: str | None
) -> tuple[_Call, RecordedStep | None]:
    """A change is asked for. It may be recorded already."""
    if _updating.get() is attempt:
        raise InvalidInput(
            what="memory",
            reason="the function of an update changes shared memory itself, while others wait for it",
            remedy="Do it before the update or after it.",
        )
    for key in keys:
        check_name("memory key", key)
    step, recorded = attempt.replay.next("state", _name(scope, keys), what.encode(), running_step(attempt))
    return _Call(attempt, calling, scope, begun_step(step, what.encode()), node_id), recorded


class _Call:
    """One change that an executor has asked for, with the step that is to record it."""

    def __init__(
        self, attempt: Attempt, calling: Calling, scope: SharedScope, begun: RecordedStep, node_id: str | None
    ) -> None:
        self._attempt = attempt
        self._calling = calling
        self._scope: SharedScope = scope
        self._step = begun
        self._node_id = node_id

    @property
    def synchronized(self) -> bool:
        """Whether no update may be lost."""
        return self._attempt.begin.spec.isolation_level == "synchronized"

    @property
    def execution_id(self) -> str:
        """Who changes it."""
        return self._attempt.begin.spec.execution_id

    async def current(self, key: str, turn: int | None) -> StateEntry:
        """What there is to change: when it is our turn, if we are to have one."""
        attempt = self._attempt
        if turn is None:
            (entry,) = await read(attempt, self._calling, (self._scope,), key)
            return entry
        question = TakeStateTurn(epoch=attempt.begin.epoch, turn=turn, scope=self._scope, key=key)
        return (await _answered(attempt, self._calling, question)).entry

    async def send(
        self, changes: tuple[StateChange, ...], value: Payload, *, strict: bool, turn: int | None = None
    ) -> StateWritten:
        """Have it committed, with the step, which gives `value`."""
        attempt = self._attempt
        self._step = self._step.model_copy(update={"status": "done", "value": value})
        request = WriteState(
            epoch=attempt.begin.epoch,
            scope=self._scope,
            changes=changes,
            strict=strict,
            step=self._step,
            turn=turn,
            node_id=self._node_id,
        )
        return await self._calling.answer(ask(attempt.ref, request, timeout=None))

    def made(self, written: StateWritten) -> Any:
        """It is committed: what it gave. It may have been made already, by a call that nobody heard the answer of."""
        attempt, step = self._attempt, written.recorded or self._step
        attempt.replay.keep(step)
        for entry in written.entries:
            attempt.seen[entry.scope, entry.key] = entry.version
        attempt.host.reach("step.answered")
        return replayed(attempt, step)

    async def conflict(self, entry: StateEntry) -> NoReturn:
        """Record that it was refused, so that a re-run is refused likewise, and raise it."""
        attempt = self._attempt
        error = StateConflict(scope=self._scope, key=entry.key, version=entry.version)
        refused = self._step.model_copy(update={"status": "failed", "value": None, "failure": failure_of(error)})
        await self._calling.answer(ask(attempt.ref, RecordStep(epoch=attempt.begin.epoch, step=refused), timeout=None))
        attempt.replay.keep(refused)
        attempt.raised[id(error)] = (error, refused.key)
        raise error


def same(payload: Payload | None, expected: Any) -> bool:
    """Whether a value is the one that is expected. What is not there is expected as None."""
    return bool((None if payload is None else payload.value()) == expected)


def _leave(attempt: Attempt, turn: int | None) -> None:
    if turn is not None:
        attempt.ref.deliver(LeaveStateTurn(epoch=attempt.begin.epoch, turn=turn))


def _encoded(attempt: Attempt, key: str, value: Any) -> Payload:
    if inspect.iscoroutine(value):
        value.close()  # nobody awaits it
        reason = "the function of the update returned a coroutine"
        remedy = "Pass a plain function: while it runs, others wait."
        raise InvalidInput(what=f"memory.{key}", reason=reason, remedy=remedy)
    return Payload.of(value, f"memory.{key}", attempt.limit)


def _name(scope: str, keys: Any) -> str:
    """What a change is known by in its run: its key, or a digest of several."""
    names = sorted(keys)
    if len(names) == 1:
        return f"{scope}:{names[0]}"
    return f"{scope}:{len(names)} keys {hashlib.blake2b(Payload.of(names).data, digest_size=8).hexdigest()}"


@contextlib.contextmanager
def _within_update(attempt: Attempt) -> Iterator[None]:
    before = _updating.get()
    _updating.set(attempt)
    try:
        yield
    finally:
        _updating.set(before)
