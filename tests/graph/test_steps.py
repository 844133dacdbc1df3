"""Recorded steps and durable sleeps inside of nodes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from propolis import EntryPoint, Placement, Runtime
from propolis.messages import InvalidInput

from ..runtime.support import PATIENCE, until
from .conftest import QUICK, Ran
from .graphs import Refund, Shop, runs
from .test_pauses import opened, resumed
from .test_running import edge, graph, node


@pytest.mark.parametrize("how", ["", "raise"])
def test_a_step_of_a_branch_is_recorded_once_whatever_checkpoints_other_branches_make(
    runtime: Runtime, placement: Placement, tmp_path: Path, how: str
) -> None:
    """It is known by its node and visit; and a sleep behind it is over in its time, in every placement."""
    if how:
        (tmp_path / "stop").write_text(f"charge {how}")
    stream = runtime.open_stream(EntryPoint(id="shop", placement=placement, restart=QUICK), Shop).get(timeout=PATIENCE)
    result = stream.run({"folder": str(tmp_path), "subject": "x"}).get(timeout=PATIENCE)
    assert ("completed", int(bool(how))) == (result.status, result.restarts)
    assert ("plan", "charge", "show", "nap") == result.path
    counted = runs(tmp_path)
    assert (1, 1) == (counted["taking"], counted["showing"])
    assert 1 + bool(how) == counted["charge"]
    assert (1, {"naps": 1}) == (counted["plan"], result.output)


def test_a_step_of_each_visit_is_a_step_of_its_own(runtime: Runtime) -> None:
    """Also behind a resume: what the visit under way had recorded is there."""
    taken: list[int] = []

    def take() -> int:
        taken.append(1)
        return len(taken)

    async def body(ctx: Any, inputs: Any) -> int:
        number: int = await ctx.step("take", take)
        if len(taken) == 2 and not await ctx.memory.read("paused", False):
            await ctx.memory.write("paused", True)
            await ctx.pause()
        return number

    ways = [edge("a>a", expression="n < 3", priority=1), edge("a>b")]
    stream = opened(
        runtime, graph([node("a", body, writes="n", memory_keys=["paused"], max_visits=5), node("b", reads="n")], ways)
    )
    paused = stream.run().get(timeout=PATIENCE)
    assert ("paused", "a", [1, 1]) == (paused.status, paused.paused_at, taken)
    result = resumed(stream, paused.session_id)
    assert (("a", "a", "a", "b"), 3) == (result.path, result.session_state["n"])
    assert 3 == len(taken)


def test_a_node_that_is_tried_again_finds_its_steps_recorded(ran: Ran) -> None:
    """But for the one whose failure it was, which is called again; a step that it caught the failure of is not."""
    called: list[str] = []

    def charge() -> str:
        called.append("charge")
        return "charged"

    def flaky() -> str:
        called.append("flaky")
        if called.count("flaky") < 2:
            raise ConnectionError("again")
        return "well"

    def broken() -> None:
        called.append("broken")
        raise LookupError("never")

    async def nests(ctx: Any) -> str:
        inner: str = await ctx.step("charge", charge)
        called.append("around")
        if called.count("around") < 2:
            raise ConnectionError("around a step that is done")
        return inner

    async def body(ctx: Any, inputs: Any) -> list[str]:
        charged = await ctx.step("nests", functools.partial(nests, ctx))
        with pytest.raises(LookupError):
            await ctx.step("broken", broken)
        flaked = await ctx.step("flaky", flaky)
        if called.count("last") < 1:
            called.append("last")
            raise ConnectionError("behind them all")
        return [charged, flaked]

    result = ran(graph([node("a", body, writes="x", retries=5)]))
    assert ({"x": ["charged", "well"]}, 3) == (result.output, result.total_retries)
    assert ["charge", "around", "around", "broken", "flaky", "flaky", "last"] == called


@pytest.mark.parametrize("crashed", ["", "weigh", "pack", "ship"])
def test_a_question_is_asked_once_and_other_branches_go_on_meanwhile(
    runtime: Runtime, placement: Placement, tmp_path: Path, crashed: str
) -> None:
    """As far as the join; an answer that the schema refuses does not count."""
    if crashed:
        (tmp_path / "stop").write_text(f"{crashed} raise")
    point = EntryPoint(id="refund", placement=placement, restart=QUICK)
    stream = runtime.open_stream(point, Refund).get(timeout=PATIENCE)
    execution_id = stream.execute({"folder": str(tmp_path), "subject": "rain"}).get(timeout=PATIENCE)
    (question,) = until(lambda: stream.open_questions().get(timeout=PATIENCE))
    assert ("decide", "Refund RAIN for RAIN?") == (question.node_id, question.prompt)
    until(lambda: runs(tmp_path).get("pack") == (2 if crashed == "pack" else 1))
    with pytest.raises(InvalidInput, match=r"enum|one of"):
        stream.answer(question.id, "maybe").get(timeout=PATIENCE)
    (question,) = until(lambda: stream.open_questions().get(timeout=PATIENCE))
    stream.answer(question.id, "yes").get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ({"shipped": "packed heavy, yes"}, int(bool(crashed))) == (result.output, result.restarts)
    assert ("plan", "decide", "weigh", "pack", "ship") == result.path
    expected = dict.fromkeys(("plan", "weigh", "pack", "ship"), 1)
    assert expected | ({crashed: 2} if crashed else {}) == runs(tmp_path)


def test_a_question_has_a_deadline_and_a_default(ran: Ran) -> None:
    """Of its settings."""
    asking = node("a", writes="x", kind="human", prompt="?", settings={"deadline_seconds": 0.05, "default": {"n": [1]}})
    assert {"x": {"n": [1]}} == ran(graph([asking])).output
    late = node("a", writes="x", kind="human", prompt="?", settings={"deadline_seconds": 0.05})
    assert "question_expired" == getattr(ran(graph([late]), id="late").failure, "code", None)
