"""How far a goal is: a pure fold over recorded events, whatever they are read in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from propolis.actors.goals import Fold, progress_of

from propolis import Constraint, Goal, SuccessCriterion, measure
from propolis.messages import Event, GoalTally, Payload, decode_as, encode

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)


class Story:
    """Events of one store, numbered as they come."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._seqs = itertools.count(1)

    def add(self, type: str, data: dict[str, Any], stream: str = "s") -> Story:
        """One more."""
        seq = next(self._seqs)
        event = Event(
            type=type,
            stream_id=stream,
            execution_id=f"e{seq}",
            timestamp=BEGAN + timedelta(seconds=seq),
            data_payload=Payload.of(data),
            seq=seq,
        )
        self.events.append(event)
        return self

    def output(self, *outputs: Any, stream: str = "s") -> Story:
        """Executions that completed with these."""
        for output in outputs:
            self.add("execution_completed", {"attempt": 1, "output": output}, stream)
        return self

    def outcome(self, *successes: bool, tokens: int = 0, latency_ms: float | None = None) -> Story:
        """Outcomes of decisions."""
        for success in successes:
            said = {"decision_id": "d", "intent": "i", "success": success}
            self.add("outcome_recorded", {**said, "tokens": tokens, "latency_ms": latency_ms})
        return self

    def verdict(self, goal: Goal, part: str, *scores: float | None) -> Story:
        """What a function said."""
        for score in scores:
            said = {"goal_id": goal.id, "shape": goal.shape, "part": part, "about_seq": 1, "score": score}
            self.add("goal_check_failed" if score is None else "goal_verdict", said)
        return self


def criterion(kind: Any = "output_contains", id: str = "c", **fields: Any) -> SuccessCriterion:
    """One that looks for "ok" unless said otherwise."""
    if kind == "output_contains":
        fields.setdefault("expected", "ok")
    return SuccessCriterion(id=id, kind=kind, **fields)


def goal(*criteria: SuccessCriterion, constraints: Iterable[Constraint] = (), **fields: Any) -> Goal:
    """A goal of that, by default with one criterion."""
    return Goal(id="g", success_criteria=criteria or (criterion(),), constraints=tuple(constraints), **fields)


def yes(_: Any) -> bool:
    """A check; nothing here calls it."""
    raise AssertionError


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("all ok", 1.0),
        ("no", 0.0),
        ({"a": [{"b": "it's ok"}]}, 1.0),
        ({"ok": "no"}, 0.0),
        (["x", ("ok",)], 1.0),
        (7, 0.0),
    ],
)
def test_output_contains_looks_into_every_text_of_an_output(output: Any, expected: float) -> None:
    """Values in dicts and lists, at any depth; not keys."""
    assert expected == measure(goal(), Story().output(output).events).score


@pytest.mark.parametrize(
    ("key", "output", "expected"),
    [
        (None, {"n": 1}, 1.0),
        (None, {"n": 2}, 0.0),
        ("k", {"k": {"n": 1}}, 1.0),
        ("k", {"n": 1}, 0.0),
        ("k", "text", 0.0),
    ],
)
def test_output_equals_compares_the_output_or_what_is_under_a_key(key: Any, output: Any, expected: float) -> None:
    """What is not there is not equal, and no error."""
    it = criterion("output_equals", expected={"n": 1}, key=key)
    assert expected == measure(goal(it), Story().output(output).events).score


def test_a_share_of_enough_observations_has_to_satisfy() -> None:
    """Until there are enough, its progress is less; a criterion that is met counts once, by its weight."""
    it = goal(criterion(at_least=0.5, min_observations=4), criterion("success_rate", "r", weight=3.0))
    story = Story()
    assert 0.0 == measure(it, story.events).score
    assert 0.0625 == measure(it, story.output("ok").events).score
    assert 0.25 == measure(it, story.output("ok", "no", "no").events).score
    assert 0.9375 == pytest.approx(measure(it, story.outcome(*[True] * 11, False).events).score, abs=1e-5)
    first, second = measure(it, story.events).criteria
    assert (4, 0.5, 1.0, True) == (first.observed, first.share, first.progress, first.met)
    assert (12, False) == (second.observed, second.met)


def test_what_is_counted_is_told() -> None:
    """Decisions, outcomes, ends, tokens, problems."""
    story = Story().output("ok").outcome(True, False, tokens=10, latency_ms=2.5)
    story.add("decision_made", {"decision_id": "d", "intent": "i", "chosen": 1})
    story.add("execution_failed", {}).add("execution_cancelled", {}).add("problem_reported", {"severity": "minor"})
    it, other = goal(), Goal(id="other", success_criteria=[criterion()])
    story.verdict(it, "c", None).verdict(other, "c", None).add("custom", {})
    progress = measure(it, story.events)
    assert (1, 2, 1, 0.5) == (progress.decisions, progress.outcomes, progress.successes, progress.success_rate)
    assert (1, 1, 1) == (progress.completed, progress.failed, progress.cancelled)
    assert (20, 5.0, {"minor": 1}, 1) == (
        progress.tokens,
        progress.latency_ms,
        dict(progress.problems),
        progress.checks_failed,
    )
    assert 9 + 1 == progress.seq


def test_predicates_and_judges_count_by_their_verdicts() -> None:
    """Which are events: nothing is called here. Those of another definition are not its own."""
    it = goal(criterion("judge", "j", check=yes, at_least=0.8), criterion("predicate", "p", check=yes))
    former = goal(criterion("judge", "j", check=yes), criterion("predicate", "p", check=yes))
    story = Story().output("x").verdict(it, "j", 0.4, 0.8, None).verdict(it, "p", 1.0).verdict(former, "p", 0.0)
    first, second = measure(it, story.events).criteria
    assert (2, pytest.approx(0.6), pytest.approx(0.75)) == (first.observed, first.share, first.progress)
    assert (1, True) == (second.observed, second.met)


def test_a_verdict_of_somebody_elses_judge_says_nothing_of_a_goal() -> None:
    """Executors may tell such an event, too."""
    it = goal(criterion("judge", "j", check=yes))
    story = Story()
    for data in ({}, {"score": 1.0}, {"goal_id": it.id, "shape": it.shape}, {"goal_id": [1], "shape": {}, "part": "j"}):
        story.add("judge_verdict", data)
    assert 0 == measure(it, story.events).criteria[0].observed
    story.add("judge_verdict", {"goal_id": it.id, "shape": it.shape, "part": "j", "score": 1.0})
    assert 1 == measure(it, story.events).criteria[0].observed


def test_only_events_of_the_streams_that_are_named_count() -> None:
    """The others pass by."""
    story = Story().output("ok").output("no", stream="other")
    assert 0.5 == measure(goal(), story.events).score
    assert 1.0 == measure(goal(), story.events, streams=["s"]).score
    assert 0.0 == measure(goal(), story.events, streams=["other"]).score


def test_a_hard_constraint_that_is_broken_asks_for_an_adjustment() -> None:
    """Though every criterion is met; and it says which."""
    it = goal(constraints=[Constraint(id="never", check=yes)])
    story = Story().output("ok").verdict(it, "never", 0.0)
    progress = measure(it, story.events)
    assert (1.0, "adjust", None) == (progress.score, progress.recommendation, progress.achieved_at)
    assert "'never' is broken" in progress.reasons[0]
    (standing,) = progress.constraints
    assert (1, 1, 0.0) == (standing.observed, standing.broken, standing.kept)
    (breach,) = progress.latest_breaches
    assert ("never", "hard", 2) == (breach.constraint_id, breach.kind, breach.seq)


def test_a_goal_is_achieved_when_hard_constraints_have_been_checked_for_what_reached_it() -> None:
    """A verdict comes behind what it is about; one that failed counts as looked at. What comes meanwhile can wait."""
    it = goal(criterion(at_least=0.5), constraints=[Constraint(id="never", check=yes)])
    story = Story().output("no", "ok")
    for verdict, recommendation in ((1.0, "continue"), (None, "complete")):
        progress = measure(it, story.events)
        assert ("continue", None) == (progress.recommendation, progress.achieved_at)
        assert "yet to be checked" in progress.reasons[0]
        progress = measure(it, story.verdict(it, "never", verdict).output("ok").events)
        assert recommendation == progress.recommendation
    assert BEGAN + timedelta(seconds=5) == progress.achieved_at


def test_a_soft_constraint_lowers_the_score_by_how_often_it_is_broken() -> None:
    """Up to its weight; and with that it may hold the goal back."""
    slow = Constraint(id="slow", kind="soft", max_latency_ms=100, weight=0.4)
    story = Story().output("ok").outcome(True, latency_ms=50).outcome(True, latency_ms=150)
    progress = measure(goal(constraints=[slow]), story.events)
    assert (0.8, "continue") == (progress.score, progress.recommendation)
    story.outcome(*[True] * 6, latency_ms=100)
    progress = measure(goal(constraints=[slow]), story.events)
    assert (0.95, "complete", 1) == (progress.score, progress.recommendation, len(progress.latest_breaches))


def test_a_budget_of_tokens_is_broken_once() -> None:
    """However much is spent beyond it."""
    it = goal(constraints=[Constraint(id="tokens", max_tokens=25)])
    fold = Fold(it)
    for event in Story().outcome(True, True, tokens=10).events:
        fold.take(event)
    assert 1.0 == progress_of(it, fold.tally()).constraints[0].kept
    beyond = [fold.take(event) for event in Story().outcome(*[True] * 6, tokens=10).events]
    assert [0, 0, 1, 0, 0, 0] == [len(breaches) for breaches in beyond]
    assert ["over 25 tokens"] == [breach.reason for breach in beyond[2]]
    assert 0.0 == progress_of(it, fold.tally()).constraints[0].kept


def test_what_is_recommended_follows_from_how_it_stands() -> None:
    """Go on while too little was seen; adjust when it is far off, or something critical is wrong; or complete."""
    it = goal(criterion(min_observations=3))
    assert "continue" == measure(it, []).recommendation
    assert "continue" == measure(it, Story().output("no", "no").events).recommendation
    far = measure(it, Story().output("no", "no", "ok").events)
    assert ("adjust", "Criterion 'c' is at 33% after 3 observations.") == (far.recommendation, far.reasons[0])
    assert "continue" == measure(it, Story().output("no", "ok", "ok").events).recommendation
    done = Story().output("ok", "ok", "ok")
    assert "complete" == measure(it, done.events).recommendation
    assert "complete" == measure(it, done.add("problem_reported", {"severity": "critical"}).events).recommendation
    worse = Story().output("no").add("problem_reported", {"severity": "critical"})
    assert "adjust" == measure(it, worse.events).recommendation


def test_when_it_was_achieved_stays_so() -> None:
    """By the event that did it, whatever comes after."""
    story = Story().output("no").outcome(True).output("ok", "no")
    progress = measure(goal(criterion(at_least=0.5)), story.events)
    assert (BEGAN + timedelta(seconds=3), False) == (progress.achieved_at, progress.criteria[0].met)


def test_the_same_events_give_the_same_in_whatever_pages_they_come() -> None:
    """And with the tally written down in between; what was counted already is not counted again."""
    draw = random.Random(5)
    it = goal(
        criterion(at_least=0.4, min_observations=5),
        criterion("success_rate", "r", at_least=0.5),
        criterion("judge", "j", check=yes, at_least=0.3),
        constraints=[Constraint(id="h", check=yes), Constraint(id="s", kind="soft", max_latency_ms=3)],
    )
    story = Story()
    for _ in range(600):
        match draw.randrange(5):
            case 0:
                story.output(draw.choice(["ok", "no"]))
            case 1:
                story.outcome(draw.random() < 0.6, tokens=3, latency_ms=draw.random() * 6)
            case 2:
                story.verdict(it, "j", draw.randrange(5) / 4)
            case 3:
                story.verdict(it, "h", float(draw.random() < 0.99))
            case 4:
                story.output("ok", stream="elsewhere")
    streams = {"s": 20, "elsewhere": 300}

    def counted(sizes: Iterable[int]) -> GoalTally:
        tally, begun = GoalTally(), 0
        for size in sizes:
            fold = Fold(it, tally, streams)
            for event in story.events[max(0, begun - 3) : begun + size]:
                fold.take(event)
            tally = decode_as(GoalTally, encode(fold.tally()))
            begun += size
        return tally

    whole = counted([10_000])
    assert whole.achieved_at is not None
    assert 20 == len(whole.latest)
    assert [whole] * 3 == [counted([1] * 700), counted([97] * 10), counted([draw.randrange(50) for _ in range(100)])]
