"""Calls predicates, judges and checks, where user code runs, and turns what they say into verdicts."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from propolis.messages import Event, Failure, NonRetryable, Payload

from ..core import Reply
from ..executors import AsyncCalling, is_coroutine_function
from ..host import Host
from ..records.subscriptions import Runner
from .folding import MISSING, OBSERVED, observed_in
from .spec import Goal

__all__ = ["Check", "Checking", "Verdict", "checks_of", "verdict_event"]

AT_ONCE: Final = 8
"""Calls that are under way together: a judge mostly waits for its model."""

RETRY_SECONDS: Final = 0.5
"""Before a judge is asked for the second time; from then on twice as long each time."""


LEFT_BEHIND: Final = 2 * AT_ONCE
"""Calls of one function that have not come back, each on a thread: with so many it is not called."""


class Check(NamedTuple):
    """One call that is to be made."""

    part: str
    """Id of the criterion or constraint."""
    key: str | None
    function: Callable[..., Any]
    event: Event
    """In which stands what it is about."""
    retries: int = 0
    """How often it is called again when it has raised an exception."""


class Verdict(NamedTuple):
    """What came of a check. One of the two is None."""

    check: Check
    score: float | None = None
    error: str | None = None


def checks_of(goal: Goal, events: Iterable[Event]) -> tuple[Check, ...]:
    """The calls that these events ask for. Pure."""
    wanted = tuple(goal.checks())
    judges = goal.judges
    return tuple(
        Check(part, key, function, event, goal.judge_retries if part in judges else 0)
        for event in events
        for part, on, key, function in wanted
        if OBSERVED.get(event.type) == on
    )


class Checking:
    """Of one page of events. Nothing that a check does ends it, but the end of its event loop."""

    def __init__(
        self, host: Host, seconds: float, checks: Sequence[Check], threads: dict[str, set[object]] | None = None
    ) -> None:
        """`threads`: calls that are under way, by part, also of pages before this one."""
        self._host = host
        self._threads = threads if threads is not None else {}
        self._seconds = seconds
        self._checks = checks
        self._waiting = list(reversed(checks))
        self._verdicts: dict[int, Verdict] = {}

    def begin(self, run: Runner) -> Reply[None]:
        """Have them called, on an event loop of user code; the reply comes when all are, or the loop was given up."""
        done: Reply[None] = Reply()

        async def main() -> None:
            await self._run()
            with contextlib.suppress(asyncio.InvalidStateError):  # it was given up, and came back after all
                done.set(None)

        run(main, lambda: done.offer_error(TimeoutError("its event loop was blocked for too long, and given up")))
        return done

    async def _run(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(min(AT_ONCE, len(self._checks)))))

    def settled(self, otherwise: str = "it was not called") -> tuple[Verdict, ...]:
        """All of them, in order; those that have no verdict yet have failed for this reason."""
        missing = (Verdict(check, error=otherwise) for check in self._checks)
        return tuple(self._verdicts.get(index, verdict) for index, verdict in enumerate(missing))

    async def _work(self) -> None:
        while self._waiting:
            index = len(self._checks) - len(self._waiting)
            check = self._waiting.pop()
            self._verdicts[index] = await self._call(check)

    async def _call(self, check: Check) -> Verdict:
        try:
            value = observed_in(check.event)
            if check.key is not None and value is not MISSING:
                value = value.get(check.key, MISSING) if isinstance(value, dict) else MISSING
            if value is MISSING:
                return Verdict(check, error="there is nothing to look at")
            return Verdict(check, *_score_of(await self._said(check, value)))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # it is us who are cancelled: the loop is closing
            return Verdict(check, error=_words(error))
        except BaseException as error:  # noqa: BLE001 - whatever a check raises is told, and ends nothing
            return Verdict(check, error=_words(error))

    async def _said(self, check: Check, value: Any) -> Any:
        """What it says; a judge mostly asks somebody who may be busy for a moment, so it is asked again."""
        calling, is_async = AsyncCalling(self._host), is_coroutine_function(check.function)
        function = check.function if is_async else self._counted(check)
        for after in range(check.retries):
            try:
                return await calling.call(function, (value,), self._seconds)
            except Exception as error:
                if isinstance(error, NonRetryable) or (isinstance(error, TimeoutError) and not is_async):
                    raise  # a thread that takes too long is left behind; one is enough
            await calling.pause(RETRY_SECONDS * 2**after)
        return await calling.call(function, (value,), self._seconds)

    def _counted(self, check: Check) -> Callable[..., Any]:
        """Its function, which is known to be under way for as long as it is. Raises TimeoutError."""
        under_way = self._threads.setdefault(check.part, set())
        if len(under_way) >= LEFT_BEHIND:
            raise TimeoutError(f"{len(under_way)} calls of it have not come back, so it is not called")

        def call(value: Any) -> Any:
            this = object()
            under_way.add(this)  # a set's own calls are atomic: this is another thread
            try:
                return check.function(value)
            finally:
                under_way.discard(this)

        return call


def _score_of(said: object) -> tuple[float | None, str | None]:
    if isinstance(said, bool):
        return float(said), None
    if isinstance(said, (int, float)) and not math.isnan(said) and 0.0 <= said <= 1.0:
        return float(said), None
    return None, f"it said {said!r:.200}, and is to say True, False, or a number from 0 to 1"


def _words(error: BaseException) -> str:
    failure = Failure.of(error)
    return f"{failure.kind}: {failure.message}"[:1_000]


def verdict_event(goal: Goal, verdict: Verdict, host: Host) -> Event:
    """What is published of it: of the execution that it is about."""
    event = verdict.check.event
    about = {"goal_id": goal.id, "shape": goal.shape, "part": verdict.check.part, "about_seq": event.seq}
    failed = verdict.score is None
    said = {"error": verdict.error} if failed else {"score": verdict.score}
    told = "judge_verdict" if verdict.check.part in goal.judges else "goal_verdict"
    return Event(
        type="goal_check_failed" if failed else told,
        stream_id=event.stream_id,
        session_id=event.session_id,
        execution_id=event.execution_id,
        graph_id=event.graph_id,
        correlation_id=event.correlation_id,
        timestamp=host.now(),
        data_payload=Payload.of({**about, **said}),
    )
