"""From what was counted of a goal to how far it is, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from propolis.messages import (
    ConstraintStanding,
    CriterionStanding,
    GoalProgress,
    GoalTally,
    Recommendation,
    Score,
)

from .spec import Constraint, Goal, ObservedAs, SuccessCriterion

__all__ = ["is_checked", "is_reached", "progress_of"]

FAR_OFF: Final = 0.5
"""A criterion with enough observations, and less than this progress, asks for an adjustment."""

_EPSILON: Final = 1e-9

_Counted: TypeAlias = Sequence[float]
"""Observed, total, failed."""

_NOTHING: Final = (0, 0.0, 0)
_KINDS: Final[tuple[ObservedAs, ...]] = ("output", "decision", "outcome")
"""In the order of `GoalTally.due`."""


def progress_of(goal: Goal, tally: GoalTally) -> GoalProgress:
    """How far it is."""
    scores: dict[str, _Counted] = {part.id: _NOTHING for part in goal.parts}
    for scored in (tally.criteria, tally.constraints):
        scores |= {id: _counted(score) for id, score in scored.items()}
    criteria = tuple(_criterion(each, scores[each.id]) for each in goal.success_criteria)
    constraints = tuple(_constraint(each, scores[each.id], tally.tokens) for each in goal.constraints)
    recommendation, reasons = _recommend(goal, tally, criteria, constraints, scores)
    same = (
        "seq", "decisions", "outcomes", "successes", "completed", "failed", "cancelled", "tokens", "latency_ms",
        "problems", "achieved_at",
    )  # fmt: skip
    return GoalProgress(
        goal_id=goal.id,
        name=goal.name or goal.id,
        score=round(_score(goal, scores, tally.tokens), 6),
        recommendation=recommendation,
        reasons=reasons,
        criteria=criteria,
        constraints=constraints,
        latest_breaches=tally.latest,
        checks_failed=sum(score.failed for score in (*tally.criteria.values(), *tally.constraints.values())),
        **{name: getattr(tally, name) for name in same},
    )


def is_reached(goal: Goal, scores: Mapping[str, _Counted], tokens: int) -> bool:
    """Whether every criterion is met, every hard constraint kept, and the score high enough."""
    return (
        all(_progress(each, scores[each.id]) >= 1.0 for each in goal.success_criteria)
        and all(_kept(each, scores[each.id], tokens) >= 1.0 for each in goal.constraints if each.kind == "hard")
        and _score(goal, scores, tokens) >= goal.complete_at - _EPSILON
    )


def is_checked(goal: Goal, scores: Mapping[str, _Counted], due: Sequence[int]) -> bool:
    """Whether what hard constraints look at has been checked, as far as it is due."""
    return all(scores[each.id][0] + scores[each.id][2] >= due[_KINDS.index(each.on)] for each in goal.checked)


def _counted(score: Score) -> _Counted:
    return score.observed, score.total, score.failed


def _score(goal: Goal, scores: Mapping[str, _Counted], tokens: int) -> float:
    weights = sum(each.weight for each in goal.success_criteria)
    reached = sum(each.weight * _progress(each, scores[each.id]) for each in goal.success_criteria) / weights
    soft = [each for each in goal.constraints if each.kind == "soft"]
    lost = sum(each.weight * (1.0 - _kept(each, scores[each.id], tokens)) for each in soft)
    return max(0.0, reached - lost)


def _progress(criterion: SuccessCriterion, counted: _Counted) -> float:
    """Of the share that there has to be, what there is; less while too little was observed."""
    observed, total, _ = counted
    if not observed:
        return 0.0
    reached = min(1.0, total / observed / criterion.at_least + _EPSILON)
    return reached * min(1.0, observed / criterion.min_observations)


def _kept(constraint: Constraint, counted: _Counted, tokens: int) -> float:
    if constraint.max_tokens is not None:
        return 0.0 if tokens > constraint.max_tokens else 1.0
    observed, broken, _ = counted
    return 1.0 - broken / observed if observed else 1.0


def _criterion(criterion: SuccessCriterion, counted: _Counted) -> CriterionStanding:
    observed, total, _ = counted
    progress = _progress(criterion, counted)
    return CriterionStanding(
        id=criterion.id,
        description=criterion.description,
        weight=criterion.weight,
        observed=int(observed),
        share=total / observed if observed else None,
        progress=round(min(1.0, progress), 6),
        met=progress >= 1.0,
    )


def _constraint(constraint: Constraint, counted: _Counted, tokens: int) -> ConstraintStanding:
    return ConstraintStanding(
        id=constraint.id,
        description=constraint.description,
        kind=constraint.kind,
        observed=int(counted[0]),
        broken=int(counted[1]),
        kept=round(_kept(constraint, counted, tokens), 6),
    )


def _recommend(
    goal: Goal,
    tally: GoalTally,
    criteria: Sequence[CriterionStanding],
    constraints: Sequence[ConstraintStanding],
    scores: Mapping[str, _Counted],
) -> tuple[Recommendation, tuple[str, ...]]:
    if is_reached(goal, scores, tally.tokens):
        if tally.due and is_checked(goal, scores, tally.due):
            return "complete", ("Every criterion is met.",)
        return "continue", ("Every criterion is met, and a hard constraint has yet to be checked.",)
    reasons = [
        f"Hard constraint {each.id!r} is broken, {each.broken} of {each.observed} times."
        for each in constraints
        if each.kind == "hard" and each.kept < 1.0
    ]
    needed = {criterion.id: criterion.min_observations for criterion in goal.success_criteria}
    reasons += [
        f"Criterion {each.id!r} is at {each.progress:.0%} after {each.observed} observations."
        for each in criteria
        if each.observed >= needed[each.id] and each.progress < FAR_OFF and each.weight > 0
    ]
    critical = tally.problems.get("critical", 0)
    if critical:
        reasons.append(f"{critical} critical problems were reported.")
    if reasons:
        return "adjust", tuple(reasons)
    return "continue", tuple(f"Criterion {each.id!r} is at {each.progress:.0%}." for each in criteria if not each.met)
