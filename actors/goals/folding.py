"""From recorded events to what is counted of a goal. Pure: the same events, in whatever pages, give the same tally.

What predicates and judges say is recorded in events, too (`goal_verdict`, `judge_verdict`): nothing of the user's is
called here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from propolis.messages import Breach, Event, GoalProgress, GoalTally, Pairs, Score

from .spec import Constraint, Goal, ObservedAs, SuccessCriterion
from .standing import is_checked, is_reached, progress_of

__all__ = ["GOAL_EVENTS", "OBSERVED", "Fold", "MISSING", "measure", "observed_in", "satisfies"]

OBSERVED: Final[dict[str, ObservedAs]] = {
    "execution_completed": "output",
    "decision_made": "decision",
    "outcome_recorded": "outcome",
}

GOAL_EVENTS: Final = (
    *OBSERVED,
    "execution_failed",
    "execution_cancelled",
    "problem_reported",
    "goal_verdict",
    "judge_verdict",
    "goal_check_failed",
)
"""What a tally is made of."""

LATEST: Final = 20
"""Breaches that are kept; of those before them, their number."""

MISSING: Final = object()
"""There is nothing to observe."""

_Part: TypeAlias = SuccessCriterion | Constraint


def measure(goal: Goal, events: Iterable[Event], *, streams: Sequence[str] | None = None) -> GoalProgress:
    """How far a goal is, by these events (`runtime.events()`, or wherever they were kept). Needs no runtime. Pure.

    `streams`: only events of these. Criteria of the kinds `predicate` and `judge`, and checks, count by the verdicts
    among the events.
    """
    fold = Fold(goal, streams=None if streams is None else dict.fromkeys(streams, -1))
    for event in events:
        fold.take(event)
    return progress_of(goal, fold.tally())


class Fold:
    """A tally that is being counted further."""

    def __init__(self, goal: Goal, tally: GoalTally | None = None, streams: Mapping[str, int] | None = None) -> None:
        tally = tally if tally is not None else GoalTally()
        self.goal = goal
        self._broken: list[Breach] = []
        """By the event at hand."""
        self._streams = streams
        self._counts = {name: getattr(tally, name) for name in _COUNTS}
        self._problems = dict(tally.problems)
        self._scores = {
            part.id: [score.observed, score.total, score.failed]
            for parts, scores in ((goal.success_criteria, tally.criteria), (goal.constraints, tally.constraints))
            for part in parts
            for score in (scores.get(part.id, Score()),)
        }
        self._latest = list(tally.latest)
        self._due = tally.due
        self._achieved = (tally.achieved_seq, tally.achieved_at)
        self._shape = goal.shape
        self.seq = tally.seq

    def tally(self) -> GoalTally:
        """What was counted."""
        return GoalTally(
            seq=self.seq,
            problems=Pairs(self._problems),
            criteria=self._scored(self.goal.success_criteria),
            constraints=self._scored(self.goal.constraints),
            latest=tuple(self._latest),
            due=self._due,
            achieved_seq=self._achieved[0],
            achieved_at=self._achieved[1],
            **self._counts,
        )

    def _scored(self, parts: Sequence[_Part]) -> Pairs[Score]:
        counted = ((part.id, self._scores[part.id]) for part in parts)
        return Pairs(
            {id: Score(observed=int(n), total=total, failed=int(failed)) for id, (n, total, failed) in counted}
        )

    def take(self, event: Event) -> Sequence[Breach]:
        """Count one event; what it broke. They come in order; what was counted already, or is of other streams, is
        passed by.
        """
        seq = event.seq
        if seq is not None:
            if seq <= self.seq:
                return ()
            self.seq = seq
        if event.type not in _WANTED or not self._is_of_the_goal(event):
            return ()
        self._broken = []
        match event.type:
            case "goal_verdict" | "judge_verdict" | "goal_check_failed":
                self._take_verdict(event)
            case "problem_reported":
                severity = event.data["severity"]
                self._problems[severity] = self._problems.get(severity, 0) + 1
            case _:
                self._take_observation(event)
        self._look_whether_achieved(event)
        return self._broken

    def _look_whether_achieved(self, event: Event) -> None:
        if not is_reached(self.goal, self._scores, self._counts["tokens"]):
            self._due = ()
            return
        if not self._due:
            self._due = tuple(self._counts[name] for name in ("completed", "decisions", "outcomes"))
        if self._achieved[1] is None and is_checked(self.goal, self._scores, self._due):
            self._achieved = (event.seq, event.timestamp)

    def _is_of_the_goal(self, event: Event) -> bool:
        if self._streams is None:
            return True
        since = self._streams.get(event.stream_id or "")
        return since is not None and (event.seq is None or event.seq > since)

    # -- one kind of event each --------------------------------------------------------------------------------------

    def _take_observation(self, event: Event) -> None:
        counts = self._counts
        match event.type:
            case "execution_completed":
                counts["completed"] += 1
            case "execution_failed":
                counts["failed"] += 1
                return
            case "execution_cancelled":
                counts["cancelled"] += 1
                return
            case "decision_made":
                counts["decisions"] += 1
            case "outcome_recorded":
                self._take_outcome(event, event.data)
        kind = OBSERVED[event.type]
        wanted = [each for each in self.goal.success_criteria if each.observes == kind and each.kind in _COMPARED]
        if wanted:
            value = observed_in(event)
            for criterion in wanted if value is not MISSING else ():
                self._score(criterion, float(satisfies(criterion, value)))

    def _take_outcome(self, event: Event, outcome: Mapping[str, Any]) -> None:
        counts, success, latency = self._counts, bool(outcome["success"]), outcome.get("latency_ms")
        before = counts["tokens"]
        counts["outcomes"] += 1
        counts["successes"] += success
        counts["tokens"] += outcome.get("tokens") or 0
        counts["latency_ms"] += latency or 0.0
        for criterion in self.goal.success_criteria:
            if criterion.kind == "success_rate":
                self._score(criterion, float(success))
        for constraint in self.goal.constraints:
            if constraint.max_tokens is not None:
                is_news = before <= constraint.max_tokens < counts["tokens"]
                self._keep(constraint, event, f"over {constraint.max_tokens} tokens" if is_news else None)
            elif constraint.max_latency_ms is not None and latency is not None:
                slow = latency > constraint.max_latency_ms
                self._keep(constraint, event, f"{latency:g} ms, over {constraint.max_latency_ms:g}" if slow else None)

    def _take_verdict(self, event: Event) -> None:
        verdict = event.data or {}
        if (verdict.get("goal_id"), verdict.get("shape")) != (self.goal.id, self._shape):
            return  # of another goal, or a `judge_verdict` that somebody else has to tell
        if event.type == "goal_check_failed":
            self._scores.get(verdict["part"], [0, 0, 0])[2] += 1
            return
        part, score = verdict.get("part"), verdict.get("score")
        if not isinstance(score, (int, float)):
            return
        for criterion in self.goal.success_criteria:
            if criterion.id == part:
                self._score(criterion, score)
        for constraint in self.goal.constraints:
            if constraint.id == part:
                self._keep(constraint, event, None if score >= 1.0 else verdict.get("reason") or "broken")

    def _score(self, part: _Part, score: float) -> None:
        counted = self._scores[part.id]
        counted[0] += 1
        counted[1] += score

    def _keep(self, constraint: Constraint, event: Event, reason: str | None) -> None:
        self._score(constraint, 0.0 if reason is None else 1.0)
        if reason is None:
            return
        breach = Breach(
            constraint_id=constraint.id,
            kind=constraint.kind,
            reason=reason,
            at=event.timestamp,
            stream_id=event.stream_id,
            session_id=event.session_id,
            execution_id=event.execution_id,
            seq=event.seq or 0,
        )
        self._broken.append(breach)
        self._latest = [*self._latest[-(LATEST - 1) :], breach]


_COUNTS: Final = (
    "decisions",
    "outcomes",
    "successes",
    "completed",
    "failed",
    "cancelled",
    "tokens",
    "latency_ms",
)
_WANTED: Final = frozenset(GOAL_EVENTS)
_COMPARED: Final = frozenset(("output_contains", "output_equals"))


def observed_in(event: Event) -> Any:
    """What a criterion looks at in this event; MISSING in one that carries no output."""
    data = event.data
    return data.get("output", MISSING) if event.type == "execution_completed" else data


def satisfies(criterion: SuccessCriterion, value: Any) -> bool:
    """Whether what was observed is as expected."""
    if criterion.key is not None:
        value = value.get(criterion.key, MISSING) if isinstance(value, Mapping) else MISSING
    if criterion.kind == "output_contains":
        return _contains(value, criterion.expected)
    same: object = value == criterion.expected
    return same is True


def _contains(value: Any, text: str) -> bool:
    match value:
        case str():
            return text in value
        case Mapping():
            return any(_contains(inner, text) for inner in value.values())
        case list() | tuple() | set() | frozenset():
            return any(_contains(inner, text) for inner in value)
    return False
