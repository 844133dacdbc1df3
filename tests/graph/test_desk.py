"""A graph with a bit of everything: branches, a failure on the way, a loop, a pause; and it is crashed everywhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from propolis import EntryPoint, ExecutionResult, Placement, Runtime, Stream
from propolis.messages import Pairs

from ..processes import unmeasured
from ..runtime.support import PATIENCE
from .conftest import NEVER, QUICK
from .graphs import BRANCHES, DESK, PARTS, PATH, Desk, runs

ROOT = Path(__file__).resolve().parents[2]
ONCE = {**dict.fromkeys(("plan", "left", "middle", "right", "rescue", "gather", "approve"), 1), "draft": 2, "review": 2}


def opened(runtime: Runtime, placement: Placement, **fields: Any) -> Stream:
    """A stream of desks."""
    return runtime.open_stream(EntryPoint(id="desk", placement=placement, **fields), Desk).get(timeout=PATIENCE)


def resumed(stream: Stream, paused: ExecutionResult, verdict: str) -> ExecutionResult:
    """What becomes of it with this verdict."""
    execution_id = stream.resume(paused.session_id, memory={"verdict": verdict}).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    return result


def test_it_goes_from_its_entry_to_its_pause_and_from_there_to_an_end(
    runtime: Runtime, placement: Placement, tmp_path: Path
) -> None:
    """In every placement that takes async code; the edges behind the pause look at what the resume brings."""
    stream = opened(runtime, placement, restart=NEVER)
    assert ("desk", "3") == (stream.entry_point.graph_id, stream.entry_point.version)
    paused = stream.run({"folder": str(tmp_path), "subject": "rain"}).get(timeout=PATIENCE)
    assert ("paused", "approve", PATH) == (paused.status, paused.paused_at, paused.path)
    assert runs(tmp_path) == ONCE

    result = resumed(stream, paused, "yes")
    assert ("completed", {"sent": PARTS, "drafts": 2}) == (result.status, result.output)
    assert ((*PATH, "send"), 12) == (result.path, result.steps_executed)
    assert (("right",), True, False) == (
        result.nodes_with_failures,
        result.is_degraded_success,
        result.had_partial_failures,
    )
    assert Pairs({**ONCE, "send": 1}) == result.node_visit_counts
    assert {**ONCE, "send": 1} == runs(tmp_path)
    assert "__graph__" not in result.session_state


def test_another_verdict_takes_another_edge(runtime: Runtime, tmp_path: Path) -> None:
    """The one of lower priority, for no better one is open."""
    stream = opened(runtime, Placement.asyncio())
    paused = stream.run({"folder": str(tmp_path), "subject": "rain"}).get(timeout=PATIENCE)
    assert {"refused": True} == resumed(stream, paused, "no").output


NODES = tuple(node.id for node in DESK.nodes if node.id != "refuse")


@pytest.mark.parametrize(
    ("kind", "how", "node"),
    [("asyncio", "raise", node) for node in NODES]
    + [("process", "exit", node) for node in ("middle", "draft", "send")],
)
def test_crashed_in_the_middle_of_a_node_it_goes_on_there(
    runtime: Runtime, tmp_path: Path, node: str, kind: str, how: str
) -> None:
    """No node that was done runs again; what ran beside it may. Path and output are those of a run without a crash."""
    placement = (
        Placement.asyncio() if kind == "asyncio" else Placement.process(workers=1, warm=1, start_method="forkserver")
    )
    stream = opened(runtime, placement, restart=QUICK)
    (tmp_path / "stop").write_text(f"{node} {how}")
    result = stream.run({"folder": str(tmp_path), "subject": "rain"}).get(timeout=PATIENCE)
    if node != "send":
        assert ("paused", PATH, 1) == (
            result.status,
            result.path,
            result.restarts,
        )
    result = resumed(stream, result, "yes")
    assert ({"sent": PARTS, "drafts": 2}, (*PATH, "send")) == (result.output, result.path)
    expected = {**ONCE, "send": 1}
    counted = runs(tmp_path)
    again = BRANCHES if node in BRANCHES else {node}
    for each, count in expected.items():
        most = count + (1 if each in again else 0)
        assert count <= counted[each] <= most, (each, counted)


def test_killed_in_every_node_in_turn_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """One execution, a process for each visit of a node: each is killed (SIGKILL) in the node that it comes to."""
    store = f"sqlite:///{tmp_path}/desk.db"
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "kill").touch()
    command = [sys.executable, "-m", "tests.graph.program", store, str(folder)]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=90, check=True)
    *deaths, last = json.loads(ran.stdout)
    assert ({-signal.SIGKILL}, 0) == (set(deaths), last)
    assert len(PATH) >= len(deaths) >= len(PATH) - len(BRANCHES)  # one kill can hit several branches
    counted = runs(folder)
    assert all(counted[node] == 2 * visits for node, visits in ONCE.items() if node not in BRANCHES)
    with Runtime(store) as runtime:
        (record,) = runtime.sessions().get(timeout=PATIENCE)
        assert record.result is not None
        assert ("paused", PATH) == (record.result.status, record.result.path)
        assert Pairs(ONCE) == record.result.node_visit_counts
        (folder / "kill").unlink()
        result = resumed(opened(runtime, Placement.asyncio()), record.result, "yes")
        assert ({"sent": PARTS, "drafts": 2}, (*PATH, "send")) == (result.output, result.path)


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.chaos)])
def test_killed_at_every_checkpoint_in_turn_it_ends_as_if_it_had_not_been(tmp_path: Path, step: int) -> None:
    """With a person's word behind the pause. SIGKILL before and behind the commit of each checkpoint, a new process
    after it: the output, the path and the visits of an unkilled run; only what had no checkpoint yet ran again. Every
    third of them, `make chaos` all.
    """
    command = [sys.executable, "-m", "tests.graph.sweep", str(tmp_path), str(step)]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=110, check=True)
    unkilled, *killed = map(json.loads, ran.stdout.splitlines())
    assert ("completed", {"sent": PARTS, "drafts": 2}) == (unkilled["status"], unkilled["output"])
    assert [*PATH, "confirm", "send"] == unkilled["path"]
    for each in killed:
        assert all(each[what] == unkilled[what] for what in ("status", "output", "path", "visits")), each
        more = {node for node, count in each["runs"].items() if count > unkilled["runs"][node]}
        assert more <= BRANCHES or len(more) == 1, each
    deaths = [each["point"] for each in killed if -signal.SIGKILL in each["ends"]]
    assert all(deaths.count(point) >= 9 // step for point in ("checkpoint.before", "checkpoint.committed")), deaths
