"""Decisions: looked up among the recorded steps, by an id that says where, or by their session."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from propolis.messages import Decision, Payload

from .moments import from_micros
from .schema import steps

__all__ = ["find_decision", "list_decisions"]

_ID: Final = re.compile(r"(.+)\.d(\d{1,18})\.(\d{1,18})(\.[0-9a-f]{8})?")
"""Made by `actors/executors/noting.py`: run, segment, call, and a mark where a step's function recorded it."""


_FIND_WITHIN: Final = select(steps.c.at, steps.c.value).where(
    steps.c.run == bindparam("run"),
    steps.c.segment == bindparam("segment"),
    steps.c.kind == "decision",
    steps.c.call == bindparam("call"),
)
_FIND: Final = _FIND_WITHIN.where(steps.c.name == "")


def find_decision(connection: Connection, decision_id: str) -> Decision | None:
    """One decision, by a search for its key; without its outcomes."""
    where = _ID.fullmatch(decision_id)
    if where is None:
        return None
    run, segment, call, within = where.groups()
    query = _FIND if within is None else _FIND_WITHIN
    rows = connection.execute(query, {"run": run, "segment": int(segment), "call": int(call)})
    found = (_decision(row.at, row.value) for row in rows)
    return next((decision for decision in found if decision.decision_id == decision_id), None)


def list_decisions(connection: Connection, runs: Any, limit: int) -> tuple[Decision, ...]:
    """The decisions of these runs (a query that gives their ids) with their outcomes, the first one first."""
    kinds = select(steps.c.kind, steps.c.at, steps.c.value).where(steps.c.run.in_(runs), steps.c.inherited == 0)
    in_order = (steps.c.at, steps.c.segment, steps.c.call)
    made = connection.execute(kinds.where(steps.c.kind == "decision").order_by(*in_order).limit(limit)).all()
    outcomes: dict[str, list[Payload]] = defaultdict(list)
    for row in connection.execute(kinds.where(steps.c.kind == "outcome").order_by(*in_order)):
        outcome = Payload(row.value)
        outcomes[outcome.value()["decision_id"]].append(outcome)
    decisions = (_decision(row.at, row.value) for row in made)
    return tuple(
        decision.model_copy(update={"outcome_payloads": tuple(outcomes.get(decision.decision_id, ()))})
        for decision in decisions
    )


def _decision(at: int, value: bytes) -> Decision:
    data = Payload(value)
    return Decision(decision_id=data.value()["decision_id"], made_at=from_micros(at), data_payload=data)
