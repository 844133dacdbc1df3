"""The part of both contexts that records decisions, what came of them, and problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from propolis.messages import Severity

from . import noting
from .calling import AsyncCalling, PlainCalling
from .remembering import check_cancelled
from .steps import run_plainly

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["Deciding", "SyncDeciding"]


class Deciding:
    """Awaited."""

    __slots__ = ()

    if TYPE_CHECKING:
        _attempt: Attempt

    async def decide(
        self,
        *,
        intent: str,
        chosen: Any,
        options: Sequence[Any] = (),
        reasoning: str = "",
        context: Mapping[str, Any] | None = None,
    ) -> str:
        """Record a decision with the session, and publish it (`decision_made`); its id, for `record_outcome`.

        `options`: what there was to choose from, plain data; `chosen` is one of them, or the `id` of one. When the
        executor is run again the call returns the id that was recorded, and publishes nothing.

        Raises:
            ReplayMismatch: the call was recorded with another intent, or another choice.
            InvalidInput: a bad argument, or data that cannot be encoded.
            StaleWriter: another attempt or owner has taken over.
        """
        calling = AsyncCalling(self._attempt.host)
        return await noting.decide(self._attempt, calling, intent, options, chosen, reasoning, context)

    async def record_outcome(
        self,
        decision_id: str,
        *,
        success: bool,
        result: Any = None,
        summary: str = "",
        error: str | None = None,
        tokens: int = 0,
        latency_ms: float | None = None,
    ) -> None:
        """Record what came of a decision, and publish it (`outcome_recorded`). Once, as `decide`.

        The decision may be of another execution: its outcome is often known only later.

        Raises:
            DecisionNotFound: there is none of that id.
            ReplayMismatch: the call was recorded for another decision, or with another success.
            InvalidInput, StaleWriter: as `decide`.
        """
        calling = AsyncCalling(self._attempt.host)
        given: Any = {"success": success, "result": result, "summary": summary, "error": error}
        await noting.record_outcome(self._attempt, calling, decision_id, **given, tokens=tokens, latency_ms=latency_ms)

    async def report_problem(
        self,
        severity: Severity,
        description: str,
        *,
        decision_id: str | None = None,
        root_cause: str | None = None,
        suggested_fix: str | None = None,
    ) -> str:
        """Record that something is wrong, and publish it (`problem_reported`); the id of the report. Once, as `decide`.

        `severity`: "minor", "warning" or "critical". The execution goes on.
        """
        calling = AsyncCalling(self._attempt.host)
        given: Any = {"decision_id": decision_id, "root_cause": root_cause, "suggested_fix": suggested_fix}
        return await noting.report_problem(self._attempt, calling, severity, description, **given)


class SyncDeciding:
    """Plain."""

    __slots__ = ()

    if TYPE_CHECKING:
        _attempt: Attempt

    def decide(
        self,
        *,
        intent: str,
        chosen: Any,
        options: Sequence[Any] = (),
        reasoning: str = "",
        context: Mapping[str, Any] | None = None,
    ) -> str:
        """As `Context.decide`."""
        check_cancelled(self._attempt)
        calling = PlainCalling(self._attempt.host)
        return run_plainly(noting.decide(self._attempt, calling, intent, options, chosen, reasoning, context))

    def record_outcome(
        self,
        decision_id: str,
        *,
        success: bool,
        result: Any = None,
        summary: str = "",
        error: str | None = None,
        tokens: int = 0,
        latency_ms: float | None = None,
    ) -> None:
        """As `Context.record_outcome`."""
        check_cancelled(self._attempt)
        calling = PlainCalling(self._attempt.host)
        given: Any = {"success": success, "result": result, "summary": summary, "error": error}
        given |= {"tokens": tokens, "latency_ms": latency_ms}
        run_plainly(noting.record_outcome(self._attempt, calling, decision_id, **given))

    def report_problem(
        self,
        severity: Severity,
        description: str,
        *,
        decision_id: str | None = None,
        root_cause: str | None = None,
        suggested_fix: str | None = None,
    ) -> str:
        """As `Context.report_problem`."""
        check_cancelled(self._attempt)
        calling = PlainCalling(self._attempt.host)
        given: Any = {"decision_id": decision_id, "root_cause": root_cause, "suggested_fix": suggested_fix}
        return run_plainly(noting.report_problem(self._attempt, calling, severity, description, **given))
