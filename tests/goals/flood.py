"""A flood of decisions: as events that nobody has to keep, and as executions that make them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from propolis import Constraint, Goal, SuccessCriterion
from propolis.messages import Event, Payload

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)

WAYS = ["left", "right"]

GOAL = Goal(
    id="flood",
    success_criteria=[
        SuccessCriterion(id="rate", kind="success_rate", at_least=0.75),
        SuccessCriterion(id="way", kind="output_equals", on="decision", key="chosen", expected="left", at_least=0.5),
    ],
    constraints=[Constraint(id="quick", kind="soft", max_latency_ms=900)],
)


def decision_and_outcome(n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The n-th: three of four succeed, every hundredth is slow."""
    decision = {"decision_id": f"d{n}", "intent": "way", "options": WAYS, "chosen": WAYS[n % 2]}
    outcome = {"decision_id": f"d{n}", "intent": "way", "success": n % 4 > 0, "tokens": 3, "latency_ms": n % 100 * 10.0}
    return decision, outcome


def events(count: int, stream: str = "flood") -> Iterator[Event]:
    """So many decisions, each with its outcome, as a store would give them."""
    seq = 0
    for n in range(count):
        for type, data in zip(("decision_made", "outcome_recorded"), decision_and_outcome(n), strict=True):
            seq += 1
            payload = Payload.of(data)
            yield Event(type=type, stream_id=stream, timestamp=BEGAN, data_payload=payload, seq=seq)


async def decide(ctx: Any, data: Any) -> None:
    """As many decisions as the input says, each with its outcome."""
    for n in range(data["begin"], data["end"]):
        decision, outcome = decision_and_outcome(n)
        id = await ctx.decide(intent="way", options=WAYS, chosen=decision["chosen"])
        await ctx.record_outcome(id, success=outcome["success"], tokens=3, latency_ms=outcome["latency_ms"])
