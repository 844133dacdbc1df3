"""What `ctx.decide()`, `ctx.record_outcome()` and `ctx.report_problem()` do: notes among the recorded steps of a run.

A note is recorded once, however often the executor is run again, in the transaction of its event.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from propolis.messages import (
    DecisionNotFound,
    GetDecision,
    InvalidInput,
    Payload,
    RecordedStep,
    RecordStep,
    Severity,
    StepKey,
    StepKind,
)

from ..core import ask
from .figures import NODE
from .names import check_name
from .outcomes import digest_of
from .running import running_step
from .steps import Calling, begun_step

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["decide", "record_outcome", "report_problem"]

_REMEMBERED: Final = 100
"""Decisions of an attempt; of those before, the store is asked."""

_TEXT_BYTES: Final = 64 * 1024
"""Of a reasoning, a summary, a description: prose, and no data."""


async def decide(
    attempt: Attempt,
    calling: Calling,
    intent: str,
    options: Sequence[Any],
    chosen: Any,
    reasoning: str,
    context: Mapping[str, Any] | None,
) -> str:
    """Record a decision; its id."""
    attempt.check()
    check_name("decide: intent", intent)
    _check_options(intent, options, chosen)
    _check_prose("decide: reasoning", reasoning)
    _check_mapping("decide: context", context)
    about = {
        "intent": intent,
        "options": list(options),
        "chosen": chosen,
        "reasoning": reasoning,
        "context": dict(context or {}),
    }
    note = await _note(
        attempt, calling, "decision", (intent, chosen), lambda key: about | {"decision_id": _id_of(attempt, key, "d")}
    )
    return _remember(attempt, str(note["decision_id"]), intent)


async def record_outcome(
    attempt: Attempt,
    calling: Calling,
    decision_id: str,
    *,
    success: bool,
    result: Any,
    summary: str,
    error: str | None,
    tokens: int,
    latency_ms: float | None,
) -> None:
    """Record what came of a decision, of this run or any other in the store."""
    attempt.check()
    check_name("record_outcome: decision_id", decision_id)
    if not isinstance(success, bool):
        raise InvalidInput(what="record_outcome: success", reason=f"{success!r:.200} is no bool", remedy="Pass one.")
    _check_prose("record_outcome: summary", summary)
    _check_prose("record_outcome: error", error or "")
    _check_amount("record_outcome: tokens", tokens, whole=True)
    if latency_ms is not None:
        _check_amount("record_outcome: latency_ms", latency_ms, whole=False)
    about = {
        "decision_id": decision_id,
        "success": success,
        "result": result,
        "summary": summary,
        "error": error,
        "tokens": tokens,
        "latency_ms": latency_ms,
    }
    key, recorded = _next(attempt, "outcome", (decision_id, success))
    if recorded is not None:
        return
    intent = attempt.decided.get(decision_id)
    if intent is None:
        decision = await calling.answer(ask(attempt.ref, GetDecision(decision_id=decision_id), timeout=None))
        if decision is None:
            raise DecisionNotFound(decision_id=decision_id)
        intent = decision.intent
    await _record(attempt, calling, key, (decision_id, success), about | {"intent": intent})


async def report_problem(
    attempt: Attempt,
    calling: Calling,
    severity: Severity,
    description: str,
    *,
    decision_id: str | None,
    root_cause: str | None,
    suggested_fix: str | None,
) -> str:
    """Record that something is wrong; the id of the report."""
    attempt.check()
    if severity not in get_args(Severity):
        reason = f"severity={severity!r:.200} is none"
        raise InvalidInput(what="report_problem", reason=reason, remedy=f"Pass one of {', '.join(get_args(Severity))}.")
    check_name("report_problem: description", description)
    for what, text in (("decision_id", decision_id), ("root_cause", root_cause), ("suggested_fix", suggested_fix)):
        _check_prose(f"report_problem: {what}", text or "")
    about = {
        "severity": severity,
        "description": description,
        "decision_id": decision_id,
        "root_cause": root_cause,
        "suggested_fix": suggested_fix,
    }
    note = await _note(
        attempt,
        calling,
        "problem",
        (severity, description),
        lambda key: about | {"problem_id": _id_of(attempt, key, "p")},
    )
    return str(note["problem_id"])


# -- recording -------------------------------------------------------------------------------------------------------


async def _note(
    attempt: Attempt,
    calling: Calling,
    kind: StepKind,
    what: tuple[Any, ...],
    about: Callable[[StepKey], dict[str, Any]],
) -> dict[str, Any]:
    """The note that this call is, as it was recorded: now, or by an earlier attempt."""
    key, recorded = _next(attempt, kind, what)
    if recorded is None or recorded.value is None:
        recorded = await _record(attempt, calling, key, what, about(key))
    assert recorded.value is not None
    note: dict[str, Any] = recorded.value.value()
    return note


def _next(attempt: Attempt, kind: StepKind, what: tuple[Any, ...]) -> tuple[StepKey, RecordedStep | None]:
    """Only what makes it another decision, or another outcome, has to be the same in a re-run: not its prose."""
    return attempt.replay.next(kind, "", digest_of(what), running_step(attempt))


async def _record(
    attempt: Attempt, calling: Calling, key: StepKey, what: tuple[Any, ...], about: dict[str, Any]
) -> RecordedStep:
    value = Payload.of(about, key.kind, attempt.limit)
    step = begun_step(key, digest_of(what)).model_copy(update={"status": "done", "value": value})
    node = NODE.get()
    request = RecordStep(epoch=attempt.begin.epoch, step=step, node_id=None if node is None else node[0])
    await calling.answer(ask(attempt.ref, request, timeout=None))
    attempt.replay.keep(step)
    return step


def _remember(attempt: Attempt, decision_id: str, intent: str) -> str:
    attempt.decided[decision_id] = intent
    if len(attempt.decided) > _REMEMBERED:
        del attempt.decided[next(iter(attempt.decided))]
    return decision_id


def _id_of(attempt: Attempt, key: StepKey, letter: str) -> str:
    """Says where it is recorded, so that whoever has the id finds it in a store of millions."""
    within = f".{hashlib.blake2b(key.name.encode(), digest_size=4).hexdigest()}" if key.name else ""
    return f"{attempt.begin.spec.run_id}.{letter}{key.segment}.{key.call}{within}"


# -- checking --------------------------------------------------------------------------------------------------------


def _check_options(intent: str, options: Sequence[Any], chosen: Any) -> None:
    what = f"decide {intent!r:.100}"
    if isinstance(options, (str, bytes)) or not isinstance(options, Sequence):
        raise InvalidInput(what=what, reason=f"options={options!r:.200} is no list", remedy="Pass a list.")
    names = [each.get("id") for each in options if isinstance(each, Mapping)]
    if options and chosen not in options and chosen not in names:
        reason = f"chosen={chosen!r:.200} is none of the options"
        raise InvalidInput(what=what, reason=reason, remedy="Pass one of them, or the `id` of one.")


def _check_prose(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise InvalidInput(what=what, reason=f"{text!r:.200} is no str", remedy="Pass text.")
    if len(text) > _TEXT_BYTES:
        reason = f"it has {len(text)} characters, over {_TEXT_BYTES}"
        raise InvalidInput(what=what, reason=reason, remedy="Shorten it, or pass data as `context` or `result`.")


def _check_mapping(what: str, value: object) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise InvalidInput(what=what, reason=f"{value!r:.200} is no mapping", remedy="Pass a dict.")


def _check_amount(what: str, value: object, *, whole: bool) -> None:
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < math.inf:  # type: ignore[operator]
        kind = "whole number" if whole else "number"
        raise InvalidInput(what=what, reason=f"{value!r:.200} is no {kind} from 0", remedy="Pass one.")
