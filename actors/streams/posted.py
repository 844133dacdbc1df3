"""What rows of the inbox ask for, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from propolis.messages import (
    ENDED,
    CancelOutcome,
    ExecutionState,
    Failure,
    InboxRow,
    MessageError,
    Payload,
    QuestionExpired,
    RecordedStep,
)

from .life import Order

__all__ = ["asked_cancel", "cancel_body", "cancel_outcome", "ended_by", "expired", "order_of", "reopened"]

_LONGEST: Final = 86_400.0


def cancel_body(reason: str, grace: float) -> Payload:
    """The body of a row that asks for a cancel."""
    return Payload.of({"reason": reason, "grace": grace})


def asked_cancel(row: InboxRow, grace: float) -> tuple[str, float]:
    """Why, and with how many seconds of grace. Anybody may have left the row: what is no such thing is not believed."""
    try:
        body = row.body.value() if row.body is not None else None
    except MessageError:
        body = None
    if not isinstance(body, dict):
        return "cancelled", grace
    reason, seconds = body.get("reason"), body.get("grace")
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0.0 <= seconds <= _LONGEST:
        grace = float(seconds)
    return (reason if isinstance(reason, str) and reason else "cancelled"), grace


def order_of(rows: Iterable[InboxRow]) -> Order | None:
    """How an execution that has not begun here is to end at once; None when nothing says so. A cancel comes first."""
    kinds = {row.kind: row for row in reversed(tuple(rows))}
    if (row := kinds.get("cancel")) is not None:
        return Order(kind="end", status="cancelled", reason=asked_cancel(row, 0.0)[0])
    return Order(kind="end", status="paused") if "pause" in kinds else None


def cancel_outcome(execution_id: str, state: ExecutionState | None) -> CancelOutcome:
    """What became of a cancel that was left for the owner, by how the execution stands now."""
    outcome: Literal["cancelled", "cancelling", "ended", "not_found"]
    if state is None:
        outcome = "not_found"
    elif state.status in ENDED:
        outcome = "cancelled" if state.status == "cancelled" else "ended"
    else:
        outcome = "cancelling"
    return CancelOutcome(execution_id=execution_id, outcome=outcome)


def ended_by(wait: RecordedStep, row: InboxRow) -> RecordedStep | None:
    """The end of a wait, if it is this row that it waits for. Anybody may have left it, so it may be anything."""
    wanted = {"receive": ("signal", "topic"), "ask": ("answer", "question_id")}.get(wait.kind)
    if wanted is None or row.kind != wanted[0] or row.body is None:
        return None
    try:
        body = row.body.split()
        name = body[wanted[1]].value()
        value = body["value"]
        value.value()
    except (MessageError, KeyError):
        return None
    return wait.model_copy(update={"status": "done", "value": value}) if name == _awaited(wait) else None


def _awaited(wait: RecordedStep) -> object:
    """The topic, or the id of the question."""
    if wait.kind == "receive":
        return wait.name
    return None if wait.about is None else wait.about.value()["question_id"]


def expired(wait: RecordedStep) -> RecordedStep:
    """The end of a wait whose time has come."""
    failure = None
    value = None
    if wait.kind == "receive":
        failure = Failure(kind="TimeoutError", message=f"nothing came under {wait.name!r} in time", code="crashed")
    elif wait.kind == "ask" and wait.about is not None:
        about = wait.about.split()
        value = about.get("default")
        if value is None:
            failure = Failure.of(QuestionExpired(question_id=about["question_id"].value()))
    status = "done" if failure is None else "failed"
    return wait.model_copy(update={"status": status, "value": value, "failure": failure})


def reopened(ended: RecordedStep) -> RecordedStep:
    """The wait that has ended like this."""
    return ended.model_copy(update={"status": "begun", "value": None, "failure": None})
