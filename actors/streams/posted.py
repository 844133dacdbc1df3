"""What rows of the inbox ask for, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from propolis.messages import ENDED, CancelOutcome, ExecutionState, InboxRow, Payload

from .life import Order

__all__ = ["asked_cancel", "cancel_body", "cancel_outcome", "order_of"]

_LONGEST: Final = 86_400.0


def cancel_body(reason: str, grace: float) -> Payload:
    """The body of a row that asks for a cancel."""
    return Payload.of({"reason": reason, "grace": grace})


def asked_cancel(row: InboxRow, grace: float) -> tuple[str, float]:
    """Why, and with how many seconds of grace. Anybody may have left the row: what is no such thing is not believed."""
    body = row.body.value() if row.body is not None else None
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
