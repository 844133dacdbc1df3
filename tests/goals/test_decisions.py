"""`ctx.decide`, `ctx.record_outcome`, `ctx.report_problem`: recorded once with the session, and published."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import EntryPoint, Runtime
from propolis.messages import DecisionNotFound, Event, InvalidInput

from ..runtime.support import PATIENCE
from .conftest import QUICK, Opener

NOTES = ("decision_made", "outcome_recorded", "problem_reported")
ENDS = ("execution_completed", "execution_failed")


def notes(runtime: Runtime, execution_id: str) -> list[Event]:
    """What an execution has decided and so on, once it has ended."""
    found = []
    with runtime.events(0, execution=execution_id) as events:
        for event in events:
            if event.type in NOTES:
                found.append(event)
            if event.type in ENDS:
                break
    return found


def test_what_was_decided_is_recorded_once_however_often_the_executor_runs(runtime: Runtime, opened: Opener) -> None:
    """In each placement: the re-run gets the recorded id, and nothing is published again. Its prose may differ."""
    result = opened("decide_and_fail_twice").run("t1").get(timeout=PATIENCE)
    assert (True, 2) == (result.success, result.restarts)
    decided, came, reported = notes(runtime, result.execution_id)
    assert list(NOTES) == [decided.type, came.type, reported.type]
    assert result.output == {"decision": decided.data["decision_id"], "problem": reported.data["problem_id"]}
    assert {
        "decision_id": result.output["decision"],
        "intent": "label",
        "options": [{"id": "refund", "cost": 5}, {"id": "ignore"}],
        "chosen": "refund",
        "reasoning": "attempt 1",
        "context": {"ticket": "t1"},
    } == decided.data
    assert {
        "decision_id": result.output["decision"],
        "intent": "label",
        "success": True,
        "result": {"paid": 5},
        "summary": "paid",
        "error": None,
        "tokens": 30,
        "latency_ms": 200.0,
    } == came.data
    said = tuple(reported.data[name] for name in ("severity", "description", "suggested_fix"))
    assert ("warning", "slow", "wait") == said
    (decision,) = runtime.decisions(result.session_id).get(timeout=PATIENCE)
    assert ("label", "refund") == (decision.intent, decision.chosen)
    assert [{"paid": 5}] == [outcome["result"] for outcome in decision.outcomes]
    assert () == runtime.decisions("nobody").get(timeout=PATIENCE)
    with runtime.logs(result.session_id, level=2) as lines:
        told = [(line.type, line.text) for line in lines if line.type in NOTES]
    assert [("decision_made", "label"), ("outcome_recorded", "label"), ("problem_reported", "slow")] == told


@pytest.mark.parametrize("opened", ["asyncio", "thread"], indirect=True)
def test_an_outcome_may_be_recorded_by_another_execution(runtime: Runtime, opened: Opener) -> None:
    """It is often known only later; the decision is found in the store by its id. What is unknown is refused."""
    decision = opened("decide_as_told").run({}).get(timeout=PATIENCE).output
    stream = opened("record_for_another", restart=QUICK.model_copy(update={"max_restarts": 0}))
    result = stream.run(decision).get(timeout=PATIENCE)
    (came,) = notes(runtime, result.execution_id)
    assert (decision, "act", False) == tuple(came.data[name] for name in ("decision_id", "intent", "success"))
    for unknown in ("x", f"{decision}7", f"{decision}.12345678", decision.partition(".")[0]):
        result = stream.run(unknown).get(timeout=PATIENCE)
        assert "decision_not_found" == result.failure.code
        assert isinstance(result.failure.to_error(), DecisionNotFound)
        assert repr(unknown) in result.error
        assert [] == notes(runtime, result.execution_id)


def test_decisions_of_steps_and_side_by_side_have_ids_of_their_own(runtime: Runtime) -> None:
    """Within a step's function too: counted apart, found by their ids, and not made again."""

    async def work(ctx: Any, data: Any) -> Any:
        async def chosen(which: str) -> str:
            return str(await ctx.decide(intent="inner", chosen=which))

        ids = [await ctx.step("pick", chosen, which) for which in "ab"]
        ids += [await ctx.decide(intent="outer", chosen=which) for which in "ab"]
        for id in ids:
            await ctx.record_outcome(id, success=True)
        if ctx.attempt == 1:
            raise OSError("again")
        return ids

    stream = runtime.open_stream(EntryPoint(id="w", restart=QUICK), work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    events = notes(runtime, result.execution_id)
    made = [event.data["decision_id"] for event in events if event.type == "decision_made"]
    assert made == result.output
    assert 4 == len(set(made))
    outcomes = [event.data for event in events if event.type == "outcome_recorded"]
    assert list(zip(made, ("inner", "inner", "outer", "outer"), strict=True)) == [
        (outcome["decision_id"], outcome["intent"]) for outcome in outcomes
    ]


def test_another_choice_in_a_rerun_is_a_mismatch(runtime: Runtime) -> None:
    """The code has taken another way than what is recorded says."""

    async def work(ctx: Any, data: Any) -> Any:
        await ctx.decide(intent="way", chosen=ctx.attempt)
        raise OSError("again")

    stream = runtime.open_stream(EntryPoint(id="w", restart=QUICK), work).get(timeout=PATIENCE)
    assert "replay_mismatch" == stream.run().get(timeout=PATIENCE).failure.code


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("decide", {"intent": "", "chosen": 1}, "decide: intent"),
    ("decide", {"intent": "i", "chosen": "c", "options": ["a", "b"]}, "none of the options"),
    ("decide", {"intent": "i", "chosen": "c", "options": "abc"}, "is no list"),
    ("decide", {"intent": "i", "chosen": object()}, "decision"),
    ("decide", {"intent": "i", "chosen": 1, "context": [1]}, "decide: context"),
    ("decide", {"intent": "i", "chosen": 1, "reasoning": None}, "decide: reasoning"),
    ("record_outcome", {"decision_id": 5, "success": True}, "record_outcome: decision_id"),
    ("record_outcome", {"decision_id": "d", "success": "yes"}, "record_outcome: success"),
    ("record_outcome", {"decision_id": "d", "success": True, "tokens": -1}, "record_outcome: tokens"),
    ("record_outcome", {"decision_id": "d", "success": True, "latency_ms": float("nan")}, "record_outcome: latency_ms"),
    ("report_problem", {"severity": "bad", "description": "d"}, "minor, warning, critical"),
    ("report_problem", {"severity": "minor", "description": ""}, "report_problem: description"),
    ("report_problem", {"severity": "minor", "description": "d", "root_cause": 5}, "report_problem: root_cause"),
]


@pytest.mark.parametrize(("call", "arguments", "words"), BAD)
def test_a_bad_argument_is_refused_by_its_name(
    runtime: Runtime, call: str, arguments: dict[str, Any], words: str
) -> None:
    """And nothing is recorded."""

    async def work(ctx: Any, data: Any) -> Any:
        with pytest.raises(InvalidInput, match=words):
            await getattr(ctx, call)(**arguments)

    stream = runtime.open_stream(EntryPoint(id="w"), work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert result.success, result.error
    assert [] == notes(runtime, result.execution_id)


@pytest.mark.parametrize("type", ["decision_made", "outcome_recorded", "goal_achieved", "constraint_violation"])
def test_nobody_says_it_but_the_machinery(runtime: Runtime, type: str) -> None:
    """Goals are measured by these."""

    async def work(ctx: Any, data: Any) -> Any:
        with pytest.raises(InvalidInput, match="for Propolis to say"):
            await ctx.emit(type, {})

    stream = runtime.open_stream(EntryPoint(id="w"), work).get(timeout=PATIENCE)
    assert stream.run().get(timeout=PATIENCE).success
