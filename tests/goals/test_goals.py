"""Goals of a runtime: counted over its streams, published once, whoever reads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from propolis.actors.goals.checking import AT_ONCE, LEFT_BEHIND
from propolis.actors.goals.goal import GoalActor

from propolis import (
    Constraint,
    EntryPoint,
    Goal,
    GraphExecutor,
    GraphSpec,
    NodeSpec,
    NonRetryable,
    Runtime,
    RuntimeConfig,
    Stream,
    SuccessCriterion,
    measure,
)
from propolis.messages import Event, GoalNotFound, GoalProgress, InvalidInput

from ..runtime.support import PATIENCE, Gate, until
from .bodies import decide_as_told
from .conftest import Opener

NEWS = ("goal_progress", "goal_achieved", "constraint_violation", "goal_verdict", "goal_check_failed")


def goal(*criteria: SuccessCriterion, constraints: Iterable[Constraint] = (), **fields: Any) -> Goal:
    """A goal, by default of three outputs that say ok."""
    given = criteria or (SuccessCriterion(id="c", kind="output_contains", expected="ok", min_observations=3),)
    return Goal(id="g", success_criteria=given, constraints=tuple(constraints), **fields)


def open_with(runtime: Runtime, goal: Goal | None, id: str = "work", body: Any = decide_as_told) -> Stream:
    """A stream that pursues it."""
    return runtime.open_stream(EntryPoint(id=id), body, goal=goal).get(timeout=PATIENCE)


def run(stream: Stream, *inputs: Any) -> None:
    """One after the other."""
    for data in inputs:
        assert stream.run(data).get(timeout=PATIENCE).success


def progress(runtime: Runtime) -> GoalProgress:
    """Of the goal."""
    return runtime.goal_progress("g").get(timeout=PATIENCE)


def news(runtime: Runtime, *types: str) -> list[Event]:
    """What was published of goals so far."""
    return list(runtime.read(lambda store: all_events(store, types or NEWS)).get(timeout=PATIENCE))


def all_events(store: Any, types: Iterable[str] = ()) -> list[Event]:
    """All of a store's events."""
    from propolis.messages import EventFilter

    return list(store.events_after(0, EventFilter(types=tuple(types)), 1_000_000))


def published(runtime: Runtime, type: str, count: int = 1) -> list[Event]:
    """The events of a type, once so many have been published."""
    return until(lambda: found if len(found := news(runtime, type)) >= count else None, f"{count} {type}") or []


def test_a_goal_is_counted_in_each_placement(runtime: Runtime, opened: Opener) -> None:
    """What a runtime says is what a pure fold over its events says."""
    it = goal(SuccessCriterion(id="r", kind="success_rate", at_least=0.5))
    stream = opened("decide_as_told", it)
    run(stream, {"success": True, "tokens": 7}, {"success": False})
    run(stream, {"of": stream.run({}).get(timeout=PATIENCE).output})  # a decision of another execution
    found = progress(runtime)
    assert (4, 3, 2, 4, 7) == (found.decisions, found.outcomes, found.successes, found.completed, found.tokens)
    assert ("complete", 1.0) == (found.recommendation, found.score)
    (achieved,) = published(runtime, "goal_achieved")
    assert ("g", 1.0, "complete") == tuple(achieved.data[name] for name in ("goal_id", "score", "recommendation"))
    events = runtime.read(all_events).get(timeout=PATIENCE)
    again = measure(it, events, streams=["decide_as_told"])
    assert progress(runtime).model_copy(update={"seq": again.seq}) == again


def test_streams_that_pursue_the_same_goal_are_counted_together(runtime: Runtime) -> None:
    """And those that do not are not."""
    it = goal()
    one, two, other = (open_with(runtime, what, id) for id, what in (("one", it), ("two", it), ("other", None)))
    run(one, {"output": "ok"})
    run(two, {"output": "ok"}, {"output": "ok"})
    run(other, {"output": "no"})
    assert (3, 1.0) == (progress(runtime).completed, progress(runtime).score)
    listed = runtime.sessions(goal="g").get(timeout=PATIENCE)
    assert ["two", "two", "one"] == [session.stream_id for session in listed]
    assert 2 == len(runtime.sessions(goal="g", limit=2).get(timeout=PATIENCE))
    assert () == runtime.sessions(goal="nothing").get(timeout=PATIENCE)


def test_what_came_before_a_stream_pursued_a_goal_does_not_count(runtime: Runtime) -> None:
    """Neither its events nor its sessions."""
    run(open_with(runtime, None), {"output": "ok"})
    runtime.close_stream("work").get(timeout=PATIENCE)
    run(open_with(runtime, goal()), {"output": "ok"})
    assert 1 == progress(runtime).completed
    assert 1 == len(runtime.sessions(goal="g").get(timeout=PATIENCE))


def test_progress_is_published_when_it_shows_and_the_achievement_once(runtime: Runtime) -> None:
    """However far it goes beyond."""
    stream = open_with(runtime, goal())
    run(stream, {"output": "ok"})
    third = {"c": pytest.approx(1 / 3, abs=1e-5)}
    until(lambda: third == published(runtime, "goal_progress")[-1].data["criteria"])
    run(stream, {"output": "ok"}, {"output": "ok"})
    published(runtime, "goal_achieved")
    run(stream, *[{"output": "no"}] * 9)
    until(lambda: "adjust" == news(runtime, "goal_progress")[-1].data["recommendation"])
    run(stream, *[{"output": "ok"}] * 60)
    assert ("continue", 69 + 3) == (progress(runtime).recommendation, progress(runtime).completed)
    until(lambda: news(runtime, "goal_progress")[-1].data["score"] >= 0.86)
    assert 1 == len(news(runtime, "goal_achieved"))
    assert len(news(runtime, "goal_progress")) < 40


class Judge:
    """Plainly a test's: says what the output says of itself, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.threads: set[str] = set()

    def _note(self, output: Any) -> Any:
        self.asked.append(output)
        self.threads.add(threading.current_thread().name)
        said = output["say"]
        if said == "raise":
            raise ValueError("no idea")
        if said == "exit":
            raise SystemExit(5)
        return said

    def plain(self, output: Any) -> Any:
        """As a `def`."""
        return self._note(output)

    async def suspended(self, output: Any) -> Any:
        """As an `async def`."""
        return self._note(output)


@pytest.mark.parametrize("how", ["plain", "suspended"])
def test_a_judge_is_asked_once_for_each_output_off_the_actor_loop(runtime: Runtime, how: str) -> None:
    """What it says counts; when it fails, that is told, and the others count."""
    judge = Judge()
    it = goal(SuccessCriterion(id="j", kind="judge", check=getattr(judge, how), at_least=0.7), judge_retries=0)
    stream = open_with(runtime, it)
    says = [0.5, True, "raise", "exit", "fine", 7.5, None, 1]
    run(stream, *({"output": {"say": said}} for said in says))
    published(runtime, "goal_check_failed", 5)
    until(lambda: 3 == progress(runtime).criteria[0].observed)
    assert says == [output["say"] for output in judge.asked]
    assert not [name for name in judge.threads if "actors" in name]
    (standing,) = progress(runtime).criteria
    assert (pytest.approx(2.5 / 3), True) == (standing.share, standing.met)
    assert 5 == progress(runtime).checks_failed
    errors = [event.data["error"] for event in news(runtime, "goal_check_failed")]
    assert ["ValueError: no idea", "SystemExit: 5"] == errors[:2]
    assert all("True, False, or a number from 0 to 1" in error for error in errors[2:])
    verdict = news(runtime, "judge_verdict")[0]
    (first, *_) = runtime.sessions(goal="g").get(timeout=PATIENCE)[::-1]
    assert (first.execution_id, 0.5) == (verdict.execution_id, verdict.data["score"])


def test_a_judge_that_fails_for_a_moment_is_asked_again(runtime: Runtime) -> None:
    """Its verdict counts; a predicate that raises, and a judge that says it is no use, are not asked again."""
    asked: Counter[str] = Counter()

    async def judge(output: Any) -> float:
        asked["judge"] += 1
        if asked["judge"] == 1:
            raise ConnectionError("429")
        return 0.9

    def hopeless(output: Any) -> float:
        asked["hopeless"] += 1
        raise NonRetryable("no such model")

    def predicate(output: Any) -> bool:
        asked["predicate"] += 1
        raise ValueError("no idea")

    it = goal(
        SuccessCriterion(id="j", kind="judge", check=judge, at_least=0.5),
        SuccessCriterion(id="h", kind="judge", check=hopeless),
        SuccessCriterion(id="p", kind="predicate", check=predicate),
    )
    run(open_with(runtime, it), {"output": "fine"})
    failed = published(runtime, "goal_check_failed", 2)
    assert {"h", "p"} == {event.data["part"] for event in failed}
    assert {"judge": 2, "hopeless": 1, "predicate": 1} == asked
    until(lambda: progress(runtime).criteria[0].met)


@pytest.mark.parametrize("how", ["plain", "suspended"])
def test_a_check_that_takes_too_long_is_told_and_the_rest_goes_on(runtime: Runtime, how: str) -> None:
    """A thread is left behind; a coroutine is cancelled."""
    import asyncio

    gate = Gate()

    def plain(output: Any) -> bool:
        if output == "slow":
            gate.block()
        return True

    async def suspended(output: Any) -> bool:
        if output == "slow":
            await asyncio.Event().wait()
        return True

    check = plain if how == "plain" else suspended
    it = goal(SuccessCriterion(id="p", kind="predicate", check=check), check_timeout=0.2)
    run(open_with(runtime, it), {"output": "slow"}, {"output": "quick"})
    (failed,) = published(runtime, "goal_check_failed")
    gate.open()
    assert "TimeoutError: it took longer" in failed.data["error"]
    published(runtime, "goal_achieved")


def test_a_check_that_never_comes_back_is_not_called_without_end(runtime: Runtime) -> None:
    """Each call leaves a thread behind, so there is a bound; it is called again when they have come back."""
    gate, called = Gate(), list[Any]()

    def check(output: Any) -> bool:
        called.append(output)
        gate.block()
        return True

    it = goal(SuccessCriterion(id="p", kind="predicate", check=check), check_timeout=0.05)
    stream = open_with(runtime, it)
    run(stream, *({"output": n} for n in range(40)))
    failed = published(runtime, "goal_check_failed", 40)
    assert LEFT_BEHIND <= len(called) < 40 - AT_ONCE
    assert "have not come back, so it is not called" in failed[-1].data["error"]
    gate.open()
    until(lambda: not [each for each in threading.enumerate() if "propolis-step" in each.name])
    run(stream, {"output": "again"})
    until(lambda: "again" in called)


def test_a_check_that_blocks_the_event_loop_is_given_up_with_it(file_store: str) -> None:
    """The goal goes on, as everything else does."""
    gate = Gate()

    async def check(output: Any) -> bool:
        if output == "block":
            gate.block()
        return True

    with Runtime(file_store, config=RuntimeConfig(grace_seconds=0.3, blocked_loop_seconds=0.3)) as runtime:
        it = goal(SuccessCriterion(id="p", kind="predicate", check=check))
        stream = open_with(runtime, it)
        run(stream, {"output": "block"})
        (failed,) = published(runtime, "goal_check_failed")
        assert "event loop" in failed.data["error"]
        run(stream, {"output": "quick"})
        published(runtime, "goal_achieved")
        gate.open()


def test_a_hard_constraint_that_is_broken_is_told_once_and_keeps_the_goal_from_being_achieved(
    runtime: Runtime,
) -> None:
    """Of the execution that broke it."""

    def harmless(output: Any) -> bool:
        return output != "ok, harm done"

    rule = Constraint(id="harmless", check=harmless)
    budget = Constraint(id="budget", kind="soft", max_tokens=5)
    stream = open_with(runtime, goal(constraints=[rule, budget]))
    run(stream, {"output": "ok, harm done", "success": True, "tokens": 6})
    run(stream, *[{"output": "ok", "success": True, "tokens": 6}] * 2)
    broken = {event.data["constraint"]: event for event in published(runtime, "constraint_violation", 2)}
    until(lambda: 3 == progress(runtime).constraints[0].observed)
    assert ("hard", "soft") == (broken["harmless"].data["kind"], broken["budget"].data["kind"])
    first = runtime.sessions(goal="g").get(timeout=PATIENCE)[-1]
    assert first.execution_id == broken["harmless"].execution_id
    found = progress(runtime)
    assert (0.9, "adjust", None) == (found.score, found.recommendation, found.achieved_at)
    assert {"harmless", "budget"} == {breach.constraint_id for breach in found.latest_breaches}
    assert 2 == len(news(runtime, "constraint_violation"))
    assert [] == news(runtime, "goal_achieved")


def test_decisions_and_outcomes_can_be_looked_at_too(runtime: Runtime) -> None:
    """By what their events say."""
    it = goal(
        SuccessCriterion(id="a", kind="output_equals", on="decision", key="chosen", expected="a", at_least=0.5),
        SuccessCriterion(id="p", kind="predicate", on="outcome", key="success", check=bool, at_least=0.5),
        constraints=[Constraint(id="d", on="decision", check=lambda decision: decision["intent"] != "harm")],
    )
    stream = open_with(runtime, it)
    run(stream, {"chosen": "a", "success": False}, {"chosen": "b", "success": True})
    published(runtime, "goal_achieved")
    run(stream, {"intent": "harm"})
    (broken,) = published(runtime, "constraint_violation")
    assert "d" == broken.data["constraint"]


def test_what_was_counted_stays_when_the_runtime_ends(file_store: str) -> None:
    """The next one goes on from there, and publishes nothing again; outputs are judged once."""
    judge = Judge()
    it = goal(
        SuccessCriterion(id="j", kind="judge", check=judge.plain, at_least=0.5),
        constraints=[Constraint(id="b", kind="soft", max_tokens=5, weight=0.0)],
    )
    for round in range(3):
        with Runtime(file_store) as runtime:
            run(open_with(runtime, it), {"output": {"say": round}, "success": True, "tokens": 6})
            until(lambda count=round + 1: len(news(runtime, "judge_verdict", "goal_check_failed")) == count)
    with Runtime(file_store) as runtime:
        assert 3 == progress(runtime).completed  # the goal is not open here
        open_with(runtime, it)
        found = progress(runtime)
        assert (3, 2, 1) == (found.completed, found.criteria[0].observed, found.checks_failed)
        until(lambda: news(runtime, "goal_achieved"))
        assert (1, 1) == (len(news(runtime, "goal_achieved")), len(news(runtime, "constraint_violation")))
        assert [0, 1, 2] == [output["say"] for output in judge.asked]


def test_several_runtimes_come_to_the_same_and_one_of_them_judges(file_store: str) -> None:
    """Whoever owns the goal; when that one leaves it, another goes on."""
    judge = Judge()
    it = goal(SuccessCriterion(id="j", kind="judge", check=judge.suspended))
    with Runtime(file_store) as one, Runtime(file_store) as two:
        streams = [open_with(runtime, it, id) for runtime, id in ((one, "one"), (two, "two"))]
        for n in range(20):
            run(streams[n % 2], {"output": {"say": True, "n": n}})
        until(lambda: 20 == progress(one).criteria[0].observed)
        assert progress(one).criteria == progress(two).criteria
        owner = one.read(lambda store: store.get_goal("g")).get(timeout=PATIENCE).owner
        first, second = (one, two) if one.stats().get(timeout=PATIENCE).runtime_id == owner else (two, one)
        first.close_stream(first.streams()[0].id).get(timeout=PATIENCE)
        run(second.streams()[0], {"output": {"say": True, "n": 20}})
        until(lambda: 21 == progress(second).criteria[0].observed)
        second.close_stream(second.streams()[0].id).get(timeout=PATIENCE)
        run(open_with(first, it, "three"), {"output": {"say": True, "n": 21}})
        until(lambda: 22 == progress(first).criteria[0].observed)
        assert list(range(22)) == sorted(output["n"] for output in judge.asked)
        assert 1 == len(news(first, "goal_achieved"))


def test_while_one_runtime_judges_the_other_leaves_it_to_it(file_store: str, monkeypatch: Any) -> None:
    """From the first output on: a judge costs money. The other one looks now and then."""
    gate, looks = Gate(), Counter[str]()
    look = GoalActor._judge

    def counted(self: GoalActor, *args: Any) -> None:
        looks[self._services.owner] += 1
        look(self, *args)

    async def judge(output: Any) -> bool:
        await gate.passed(None)
        return True

    monkeypatch.setattr(GoalActor, "_judge", counted)
    it = goal(SuccessCriterion(id="j", kind="judge", check=judge))
    with Runtime(file_store) as one, Runtime(file_store) as two:
        stream = open_with(one, it, "one")
        open_with(two, it, "two")
        run(stream, {"output": "ok"})
        gate.wait_for(1)
        before = looks.copy()
        until(lambda: max((looks - before).values(), default=0) >= 4, "four looks of the other one")
        assert 1 == gate.arrived
        gate.open()
        published(one, "goal_achieved")
        assert 1 == len(news(one, "judge_verdict"))


def test_another_definition_is_counted_anew_from_the_recorded_events(file_store: str) -> None:
    """Those of before count for it; its functions are called for them."""
    judge = Judge()
    with Runtime(file_store) as runtime:
        run(open_with(runtime, goal()), *[{"output": {"say": 0.5}}] * 3)
        until(lambda: news(runtime, "goal_progress"))
    with Runtime(file_store) as runtime:
        open_with(runtime, goal(SuccessCriterion(id="j", kind="judge", check=judge.plain, at_least=0.5)))
        published(runtime, "goal_achieved")
        assert (3, 3) == (progress(runtime).completed, len(judge.asked))


def test_two_definitions_of_one_goal_are_not_open_in_one_runtime(runtime: Runtime) -> None:
    """The second is refused, and its stream is not open; nor are things that are no goal."""
    open_with(runtime, goal())
    with pytest.raises(InvalidInput, match="Goal 'g': it is open in this runtime with another definition"):
        open_with(runtime, goal(complete_at=0.5), "other")
    with pytest.raises(InvalidInput, match="goal: 'g' is no Goal"):
        open_with(runtime, "g", "other")  # type: ignore[arg-type]
    assert runtime.stream("other") is None
    open_with(runtime, goal(), "other")


def test_an_unknown_goal_is_refused_by_name(runtime: Runtime) -> None:
    """With those that there are."""
    assert () == runtime.goal_progress().get(timeout=PATIENCE)
    open_with(runtime, goal())
    assert ["g"] == [each.goal_id for each in runtime.goal_progress().get(timeout=PATIENCE)]
    with pytest.raises(GoalNotFound, match=r"no goal 'h'; there are .*'g'"):
        runtime.goal_progress("h").get(timeout=PATIENCE)


def test_an_execution_of_a_stream_without_a_goal_says_nothing_of_its_output(runtime: Runtime) -> None:
    """What nobody measures is written once."""
    run(open_with(runtime, None), {"output": "ok"})
    (completed,) = news(runtime, "execution_completed")
    assert {"attempt": 1} == completed.data


def test_a_graph_that_names_its_goal_pursues_that_one(runtime: Runtime) -> None:
    """Once it is open; it is refused with another one, and runs without any."""

    async def node(ctx: Any, inputs: Any) -> str:
        return "fine"

    nodes = [NodeSpec(id="a", function=node, output_keys=["x"])]
    graph = GraphExecutor(GraphSpec(id="graph", goal_id="g", entry_node="a", nodes=nodes))
    it = goal(SuccessCriterion(id="c", kind="output_equals", key="x", expected="fine"))
    other = Goal(id="other", success_criteria=it.success_criteria)
    with pytest.raises(InvalidInput, match="is there for goal 'g'"):
        runtime.open_stream(EntryPoint(id="refused"), graph, goal=other).get(timeout=PATIENCE)
    before = runtime.open_stream(EntryPoint(id="before"), graph).get(timeout=PATIENCE)
    before.run().get(timeout=PATIENCE)
    open_with(runtime, it)
    stream = runtime.open_stream(EntryPoint(id="graph"), graph).get(timeout=PATIENCE)
    stream.run().get(timeout=PATIENCE)
    until(lambda: progress(runtime).criteria[0].met)
    assert 1 == progress(runtime).criteria[0].observed
