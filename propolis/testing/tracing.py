"""What the runs of an executor call, for `check_replay`: a context that writes it down, and functions called once."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from propolis.actors import Context, SyncContext, is_coroutine_function
from propolis.messages import NonRetryable, Payload, PropolisError

__all__ = ["Key", "Trace", "tell_key", "traced"]


class Key(NamedTuple):
    """Of a step or a sleep: how the store knows it."""

    segment: int
    kind: str
    name: str
    call: int


class _Outcome(NamedTuple):
    """What a function gave, or raised."""

    value: Any
    error: BaseException | None


def tell_key(key: Key) -> str:
    """In words."""
    words = key.kind if not key.name else f"{key.kind} {key.name!r}"
    if key.call:
        words += f", call {key.call + 1}"
    return words + (f", behind checkpoint {key.segment}" if key.segment else "")


class _Pass(dict[Key, Any]):
    """The calls of one attempt, with their arguments, in order."""

    def __init__(self, start: Callable[[], int]) -> None:
        super().__init__()
        self._start = start
        self._counts: Counter[tuple[int, str, str]] = Counter()

    def begun_at(self) -> int:
        """The checkpoint behind which it began."""
        return min((key.segment for key in self), default=self._start())

    def enter(self, segment: int, kind: str, name: Any, args: tuple[Any, ...]) -> Key:
        key = Key(segment, kind, str(name), self._counts[segment, kind, str(name)])
        self._counts[segment, kind, str(name)] += 1
        self[key] = _plain(args)
        return key


class Trace:
    """The attempts of one execution, and what the functions of its steps gave in the first execution of all."""

    def __init__(self, model: Trace | None = None) -> None:
        self._model = model
        self._passes: list[_Pass] = []
        self._outcomes: dict[Key, list[_Outcome]] = {} if model is None else model._outcomes
        self._taken: Counter[Key] = Counter()

    def again(self) -> Trace:
        """One for another execution, that is to do as this one did."""
        return Trace(self)

    def begin(self, start: Callable[[], int]) -> _Pass:
        """Another attempt begins."""
        self._passes.append(_Pass(start))
        return self._passes[-1]

    def _called(self) -> dict[Key, Any]:
        return {key: args for each in reversed(self._passes) for key, args in each.items()}

    def check(self, where: str) -> None:
        """Raise AssertionError when an attempt called what others did not, or with other arguments."""
        model = self._model or self
        known = model._called()
        for each in self._passes:
            for key, args in each.items():
                assert key in known, f"{where}, {tell_key(key)} is called, which an uninterrupted run does not call"
                assert args == known[key], (
                    f"{where}, {tell_key(key)} is called with {args!r:.500} in place of {known[key]!r:.500}"
                )
        last, start = self._passes[-1], self._passes[-1].begun_at()
        for key in model._passes[-1]:
            assert key in last or key.segment < start, f"{where}, {tell_key(key)} is not called any more"

    # -- functions of steps ------------------------------------------------------------------------------------------

    def once(self, key: Key, args: Any, function: Any) -> Any:
        """The function of a step: called in the first execution, and in another one what it gave there."""
        if not callable(function):
            return function  # the context says so, better
        if self._model is not None:
            known = self._outcomes.get(key, [])
            same = bool(known) and self._model._called().get(key) == args
            return _answering(function, lambda: self._next(key, known) if same else _refuse(key))
        return _noting(function, self._outcomes.setdefault(key, []))

    def _next(self, key: Key, known: list[_Outcome]) -> Any:
        outcome = known[min(self._taken[key], len(known) - 1)]
        self._taken[key] += 1
        if outcome.error is not None:
            raise outcome.error.with_traceback(None)
        return outcome.value


def _refuse(key: Key) -> Any:
    raise NonRetryable(f"the first run did not call {tell_key(key)} like this, so its function is not called now")


def _noting(function: Any, outcomes: list[_Outcome]) -> Any:
    if is_coroutine_function(function):

        async def note(*args: Any) -> Any:
            try:
                value = await function(*args)
            except Exception as error:
                outcomes.append(_Outcome(None, error))
                raise
            outcomes.append(_Outcome(value, None))
            return value

        return note

    def note_plainly(*args: Any) -> Any:
        try:
            value = function(*args)
        except Exception as error:
            outcomes.append(_Outcome(None, error))
            raise
        outcomes.append(_Outcome(value, None))
        return value

    return note_plainly


def _answering(function: Any, answer: Callable[[], Any]) -> Any:
    if is_coroutine_function(function):

        async def give(*_: Any) -> Any:
            return answer()

        return give
    return lambda *_: answer()


def _plain(args: tuple[Any, ...]) -> Any:
    """As the store compares them: their encoded form, or of what has none the type."""
    plain = []
    for arg in args:
        try:
            plain.append(Payload.of(arg).value())
        except PropolisError:
            plain.append(type(arg))
    return tuple(plain)


# -- contexts ----------------------------------------------------------------------------------------------------------


class _TracedContext(Context):
    __slots__ = ("_pass", "_trace")

    def __init__(self, context: Context, trace: Trace) -> None:
        super().__init__(context._attempt)
        self._trace = trace
        self._pass = trace.begin(lambda: self._attempt.replay.segment)

    async def step(self, name: str, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        key = self._pass.enter(self._attempt.replay.segment, "step", name, args)
        return await super().step(name, self._trace.once(key, self._pass[key], fn), *args, **options)

    async def sleep(self, seconds: float) -> None:
        self._pass.enter(self._attempt.replay.segment, "sleep", "", (seconds,))
        await super().sleep(seconds)


class _TracedSyncContext(SyncContext):
    __slots__ = ("_pass", "_trace")

    def __init__(self, context: SyncContext, trace: Trace) -> None:
        super().__init__(context._attempt)
        self._trace = trace
        self._pass = trace.begin(lambda: self._attempt.replay.segment)

    def step(self, name: str, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        key = self._pass.enter(self._attempt.replay.segment, "step", name, args)
        return super().step(name, self._trace.once(key, self._pass[key], fn), *args, **options)

    def sleep(self, seconds: float) -> None:
        self._pass.enter(self._attempt.replay.segment, "sleep", "", (seconds,))
        super().sleep(seconds)


def traced(executor: Any, trace: Trace) -> Any:
    """The executor, with a context that writes down what it calls."""

    def make() -> Any:
        it: Any = executor() if inspect.isclass(executor) else executor
        return getattr(it, "execute", it)

    declared = make()
    if not callable(declared):
        return executor  # the stream says so, better
    if is_coroutine_function(declared):

        @functools.wraps(declared)
        async def execute(ctx: Any, data: Any) -> Any:
            return await make()(_TracedContext(ctx, trace), data)

        return execute

    @functools.wraps(declared)
    def execute_plainly(ctx: Any, data: Any) -> Any:
        return make()(_TracedSyncContext(ctx, trace), data)

    return execute_plainly
