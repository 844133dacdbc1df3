"""How far a goal is: what was counted of it so far, what follows from that, and the row that both are kept in."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from .base import Message, Pairs, Request
from .events import Event
from .triggers import Moved

__all__ = [
    "Breach",
    "ConstraintKind",
    "ConstraintStanding",
    "CriterionStanding",
    "GoalProgress",
    "GoalRow",
    "GoalTally",
    "LeaveGoal",
    "MoveGoal",
    "OpenGoal",
    "Recommendation",
    "Score",
]

ConstraintKind: TypeAlias = Literal["hard", "soft"]
Recommendation: TypeAlias = Literal["continue", "adjust", "complete"]


class Score(Message, tag="goal.score.v1"):
    """What was seen of one criterion or constraint. Of a constraint, `total` counts how often it was broken."""

    observed: int = 0
    total: float = 0.0
    failed: int = 0
    """Checks that gave no verdict."""


class Breach(Message, tag="goal.breach.v1"):
    """A constraint was broken, by the event of that `seq`."""

    constraint_id: str
    kind: ConstraintKind
    reason: str
    at: datetime
    stream_id: str | None = None
    session_id: str | None = None
    execution_id: str | None = None
    seq: int = 0


class GoalTally(Message, tag="goal.tally.v1"):
    """What was counted of the events up to `seq`. Its size does not grow with them."""

    seq: int = 0
    decisions: int = 0
    outcomes: int = 0
    successes: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    tokens: int = 0
    latency_ms: float = 0.0
    problems: Pairs[int] = Pairs()
    """By severity."""
    criteria: Pairs[Score] = Pairs()
    constraints: Pairs[Score] = Pairs()
    latest: tuple[Breach, ...] = ()
    """The last ones."""
    due: tuple[int, ...] = ()
    """Since everything is as it should be: the outputs, decisions and outcomes by which it is. When hard constraints
    have been checked for as many, the goal is achieved."""
    achieved_seq: int | None = None
    """The event with which the goal was achieved for the first time."""
    achieved_at: datetime | None = None


class CriterionStanding(Message, tag="goal.criterion.v1"):
    """How far one criterion is. `share`: of what was observed, that which satisfied it; None before the first."""

    id: str
    description: str = ""
    weight: float = 1.0
    observed: int = 0
    share: float | None = None
    progress: float = 0.0
    """From 0 to 1, which is met."""
    met: bool = False


class ConstraintStanding(Message, tag="goal.constraint.v1"):
    """How well one constraint is kept. `kept`: from 0 to 1, which is never broken."""

    id: str
    description: str = ""
    kind: ConstraintKind = "hard"
    observed: int = 0
    broken: int = 0
    kept: float = 1.0


class GoalProgress(Message, tag="goal.progress.v1"):
    """How far a goal is over all its streams, by the events up to `seq`.

    `score`: from 0 to 1, the criteria by their weights, less what soft constraints take away.
    """

    goal_id: str
    name: str = ""
    seq: int = 0
    score: float = 0.0
    recommendation: Recommendation = "continue"
    reasons: tuple[str, ...] = ()
    """Why, in sentences."""
    criteria: tuple[CriterionStanding, ...] = ()
    constraints: tuple[ConstraintStanding, ...] = ()
    decisions: int = 0
    outcomes: int = 0
    successes: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    tokens: int = 0
    latency_ms: float = 0.0
    """Summed over all outcomes, as `tokens` is."""
    problems: Pairs[int] = Pairs()
    checks_failed: int = 0
    """Checks that raised, took too long, or gave no verdict: they count for nothing."""
    latest_breaches: tuple[Breach, ...] = ()
    achieved_at: datetime | None = None
    """When it was achieved for the first time, whatever came after."""

    @property
    def success_rate(self) -> float | None:
        """Of the outcomes; None before the first."""
        return self.successes / self.outcomes if self.outcomes else None


class GoalRow(Message, tag="goal.row.v1"):
    """A goal as the store has it, shared by all runtimes that have it open."""

    goal_id: str
    shape: str
    """Its definition, in short: another one is counted anew."""
    owner: str | None = None
    """The runtime that reads for it."""
    streams: Pairs[int] = Pairs()
    """Its streams, and the `seq` behind which their events count."""
    tally: GoalTally = GoalTally()
    progress: GoalProgress | None = None
    """What followed from the tally."""
    updated_at: datetime


class OpenGoal(Request[GoalRow], tag="write.open_goal.v1"):
    """A stream pursues a goal from now on; the goal begins with its first stream. One of another `shape` is counted
    anew, from the events that are still kept.
    """

    goal_id: str
    shape: str
    stream_id: str
    at: datetime


class MoveGoal(Request[Moved | None], tag="write.move_goal.v1"):
    """Bring a goal from what was counted up to one event to a later one, with events that are committed only if it
    moves. Whoever moves it is its owner from then on.

    None: it stands elsewhere, was opened with another shape, or belongs to another runtime that is registered; nothing
    was written.
    """

    goal_id: str
    shape: str
    expected: int
    at: datetime
    tally: GoalTally
    progress: GoalProgress
    events: tuple[Event, ...] = ()


class LeaveGoal(Request[None], tag="write.leave_goal.v1"):
    """No stream of this runtime pursues the goal any more: somebody else may read for it."""

    goal_id: str
