"""The events that say how a goal stands. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from propolis.messages import Breach, Event, GoalProgress, GoalTally, Payload

from .spec import Goal

__all__ = ["news_of"]


def news_of(
    goal: Goal,
    before: GoalProgress | None,
    tally_before: GoalTally,
    progress: GoalProgress,
    breaches: Sequence[Breach],
    now: datetime,
) -> tuple[Event, ...]:
    """What there is to publish between two standings: each breach, the first achievement, and progress that shows."""
    events = [
        _event(
            "constraint_violation",
            {"goal_id": goal.id, "constraint": breach.constraint_id, "kind": breach.kind, "reason": breach.reason}
            | {"about_seq": breach.seq},
            now,
            stream_id=breach.stream_id,
            session_id=breach.session_id,
            execution_id=breach.execution_id,
        )
        for breach in breaches
    ]
    if before is None or _shown(before) != _shown(progress):
        events.append(_event("goal_progress", {"goal_id": goal.id, **_summary(progress)}, now))
    if tally_before.achieved_at is None and progress.achieved_at is not None:
        events.append(_event("goal_achieved", {"goal_id": goal.id, **_summary(progress)}, now))
    return tuple(events)


def _shown(progress: GoalProgress) -> tuple[Any, ...]:
    met = tuple(criterion.met for criterion in progress.criteria)
    return round(progress.score, 2), progress.recommendation, met


def _summary(progress: GoalProgress) -> dict[str, Any]:
    return {
        "score": progress.score,
        "recommendation": progress.recommendation,
        "reasons": list(progress.reasons),
        "criteria": {criterion.id: criterion.progress for criterion in progress.criteria},
        "seq": progress.seq,
    }


def _event(type: str, data: dict[str, Any], now: datetime, **ids: Any) -> Event:
    return Event(type=type, timestamp=now, data_payload=Payload.of(data), **ids)
