"""Recorded steps and durable sleeps inside of nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from propolis import EntryPoint, Placement, Runtime

from ..runtime.support import PATIENCE
from .conftest import QUICK
from .graphs import Shop, runs
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
    stream = opened(runtime, graph([node("a", body, writes="n", max_visits=5), node("b", reads="n")], ways))
    paused = stream.run().get(timeout=PATIENCE)
    assert ("paused", "a", [1, 1]) == (paused.status, paused.paused_at, taken)
    result = resumed(stream, paused.session_id)
    assert (("a", "a", "a", "b"), 3) == (result.path, result.session_state["n"])
    assert 3 == len(taken)
