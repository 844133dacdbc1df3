"""Recorded steps and durable waits: what `ctx.step()` and `ctx.sleep()` do, one core for both kinds of context.

It is written once, as coroutines over a `Calling`, which says how a function is called and how one waits. For an
`async` executor these suspend. For a blocking one they never do, so `run_plainly` runs them to their end in one go.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar

from propolis.messages import (
    EmitEvents,
    InvalidInput,
    OpenWait,
    Payload,
    RecordedStep,
    RecordStep,
    StepInDoubt,
    StepKey,
    encoder,
    unchecked,
)

from ..core import Reply, ask
from ..specs import Backoff
from .figures import Took
from .names import check_name
from .outcomes import Done, digest_of, failure_of, outcome_of
from .running import refuse_in_step, running, running_step
from .signals import Parked

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = [
    "Calling",
    "OnDoubt",
    "begun_step",
    "check_seconds",
    "check_wait",
    "replayed",
    "run_plainly",
    "sleep",
    "step",
    "step_key",
    "wait",
]

R = TypeVar("R")

_encode_record: Final = encoder(RecordStep)
_new_step: Final = unchecked(RecordedStep)

OnDoubt: TypeAlias = Literal["rerun", "fail"] | Callable[..., Any]

SHORT_SECONDS: Final = 0.1
"""A sleep that is no longer keeps its stack and its slot, and is not recorded: both would cost more."""

LONGEST_SECONDS: Final = 3_155_760_000.0
"""A hundred years: what is longer meets the end of the calendar, or of a timer's range."""


class Calling(Protocol):
    """How a context calls and waits."""

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float | None) -> Any:
        """Call a function of the user's, `async def` or `def`. Raises TimeoutError after `timeout` seconds."""
        ...

    async def answer(self, reply: Reply[R]) -> R:
        """Wait for an answer."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait, for a short while."""
        ...

    async def settle(self) -> None:
        """What came of the call is recorded: raise the cancel that arrived meanwhile, if one did."""
        ...


def run_plainly(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        coroutine.close()
    raise AssertionError("a blocking executor's calls do not suspend")


def step_key(attempt: Attempt) -> str | None:
    """The key of the step whose function is running here, as text; None outside of one."""
    key = running_step(attempt)
    return None if key is None else f"{attempt.begin.spec.run_id}:{key.segment}:{key.name}:{key.call}"


async def step(
    attempt: Attempt,
    calling: Calling,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    on_doubt: OnDoubt,
    retries: int,
    backoff: Backoff,
    timeout: float | None,
) -> Any:
    """Call the function once in the life of the run, and record what came of it (D4)."""
    attempt.check()
    _check_step(name, function, on_doubt, retries, backoff, timeout)
    digest = digest_of(args)
    key, recorded = attempt.replay.next("step", name, digest, running_step(attempt))
    if recorded is not None and recorded.status != "begun":
        return replayed(attempt, recorded)
    if recorded is not None and on_doubt != "rerun":
        if on_doubt == "fail":
            raise StepInDoubt(execution_id=attempt.begin.spec.execution_id, step=name)
        found = await calling.call(on_doubt, args, timeout)
        _refuse_coroutine(name, found)
        if isinstance(found, Done):
            return await _record_value(attempt, calling, key, digest, _encode(attempt, name, found.value))
    elif on_doubt != "rerun":
        await _record(attempt, calling, begun_step(key, digest))
    if not attempt.begin.is_trusted():  # D5: asked behind a commit, so that no zombie calls what its heir calls as well
        await calling.answer(ask(attempt.ref, EmitEvents(epoch=attempt.begin.epoch, events=()), timeout=None))
    took = Took(attempt.host)
    try:
        with running(attempt, key):
            value = await _call(
                attempt, calling, function, args, retries=retries, backoff=backoff, timeout=timeout, took=took
            )
        attempt.host.reach("step.called")
        payload = _encode(attempt, name, value)
    except Exception as error:
        attempt.raised[id(error)] = (error, key)
        await _record(attempt, calling, _ended(key, digest, status="failed", failure=failure_of(error)), took)
        await calling.settle()
        raise
    value = await _record_value(attempt, calling, key, digest, payload, took)
    await calling.settle()
    return value


async def _call(
    attempt: Attempt,
    calling: Calling,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    retries: int,
    backoff: Backoff,
    timeout: float | None,
    took: Took,
) -> Any:
    tried = 0
    while True:
        took.tries = tried + 1
        try:
            return await calling.call(function, args, timeout)
        except Exception as error:
            attempt.check()
            tried += 1
            if tried > retries or not attempt.entry_point.restart.retryable(error):
                raise
        await calling.pause(backoff.delay(tried, attempt.host.draw()))
        attempt.check()


def replayed(attempt: Attempt, recorded: RecordedStep) -> Any:
    """What a recorded step gave, or raised."""
    try:
        return outcome_of(attempt.begin.spec.execution_id, recorded)
    except BaseException as error:
        attempt.raised[id(error)] = (error, recorded.key)
        raise


def _encode(attempt: Attempt, name: str, value: Any) -> Payload:
    _refuse_coroutine(name, value)
    return Payload.of(value, f"step {name!r}", attempt.limit)


def _refuse_coroutine(name: str, value: Any) -> None:
    if inspect.iscoroutine(value):
        value.close()  # nobody awaits it
        remedy = "Pass the async def itself, uncalled, with its arguments."
        raise InvalidInput(what=f"step {name!r}", reason="a plain function of it returned a coroutine", remedy=remedy)


async def _record_value(
    attempt: Attempt, calling: Calling, key: StepKey, digest: bytes, payload: Payload, took: Took | None = None
) -> Any:
    await _record(attempt, calling, _ended(key, digest, status="done", value=payload), took)
    return payload.value()  # what a re-run gets: the same, and the caller's own


async def _record(attempt: Attempt, calling: Calling, recorded: RecordedStep, took: Took | None = None) -> None:
    figures = {} if took is None else took.figures()
    request = _encode_record(epoch=attempt.begin.epoch, step=recorded, **figures)
    await calling.answer(ask(attempt.ref, request, timeout=None))
    attempt.replay.keep(recorded)
    attempt.host.reach("step.answered")


async def sleep(attempt: Attempt, calling: Calling, seconds: float) -> None:
    """Wait, also beyond the end of the process."""
    check_wait(attempt, "sleep")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST_SECONDS:
        remedy = f"Pass one from 0 to {LONGEST_SECONDS:.0f}, a hundred years."
        raise InvalidInput(what="sleep", reason=f"{seconds!r:.200} is no number of seconds", remedy=remedy)
    if seconds <= SHORT_SECONDS:
        await calling.pause(float(seconds))
        attempt.check()
        return
    digest = digest_of((float(seconds),))
    key, recorded = attempt.replay.next("sleep", "", digest)
    due_at = attempt.host.now() + timedelta(seconds=seconds)
    await wait(attempt, calling, recorded or begun_step(key, digest, due_at=due_at))


def check_wait(attempt: Attempt, what: str) -> None:
    """Refuse a durable wait of one that has been superseded, and one within a step."""
    attempt.check(waits=True)
    refuse_in_step(attempt, what)


def begun_step(key: StepKey, digest: bytes, **more: Any) -> RecordedStep:
    """A step or wait that has begun."""
    return RecordedStep(
        segment=key.segment, kind=key.kind, name=key.name, call=key.call, status="begun", digest=digest, **more
    )


def _ended(key: StepKey, digest: bytes, **outcome: Any) -> RecordedStep:
    return _new_step(segment=key.segment, kind=key.kind, name=key.name, call=key.call, digest=digest, **outcome)


async def wait(attempt: Attempt, calling: Calling, waiting: RecordedStep) -> Any:
    """Wait until this is over: with the stack kept, where the placement can, else by unwinding it."""
    if waiting.status != "begun":
        return replayed(attempt, waiting)
    if not attempt.keeps_stack:
        attempt.waits = (*attempt.waits, waiting)
        raise Parked
    asked = ask(attempt.ref, OpenWait(epoch=attempt.begin.epoch, step=waiting), timeout=None)
    try:
        over = await calling.answer(asked)
    finally:
        if not asked.done():  # cancelled, by `asyncio.wait_for` perhaps: the executor may go on, and wait anew
            asked.abandon()
    attempt.replay.keep(over)
    return replayed(attempt, over)


def _check_step(
    name: str, function: Callable[..., Any], on_doubt: OnDoubt, retries: int, backoff: Backoff, timeout: float | None
) -> None:
    check_name("step", name)
    if not callable(function):
        reason = f"{function!r:.200} is no function"
        remedy = "Pass the function and its arguments, uncalled: ctx.step(name, function, *args)."
        raise InvalidInput(what=f"step {name!r}", reason=reason, remedy=remedy)
    if not (on_doubt in ("rerun", "fail") or callable(on_doubt)):
        reason = f"on_doubt={on_doubt!r:.200} is none"
        raise InvalidInput(what=f"step {name!r}", reason=reason, remedy='Pass "rerun", "fail" or a function.')
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        reason = f"retries={retries!r:.200} is no number of them"
        raise InvalidInput(what=f"step {name!r}", reason=reason, remedy="Pass how many, from 0.")
    if not isinstance(backoff, Backoff):
        reason = f"backoff={backoff!r:.200} is none"
        raise InvalidInput(what=f"step {name!r}", reason=reason, remedy="Pass a Backoff(...).")
    check_seconds(f"step {name!r}: timeout", timeout)


def check_seconds(what: str, seconds: float | None) -> None:
    """Refuse what is no time to wait for. Raises InvalidInput."""
    if seconds is None:
        return
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= LONGEST_SECONDS:
        reason = f"{seconds!r:.200} is no number of seconds above 0, up to {LONGEST_SECONDS:.0f}"
        raise InvalidInput(what=what, reason=reason, remedy="Pass one, or None for no limit.")
