"""Branches side by side, where they meet, and what becomes of the others when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.executors.graph.chart import Chart
from propolis.actors.executors.graph.position import Position

from propolis import EntryPoint, GraphExecutor, ParallelPolicy, Runtime
from propolis.messages import GraphInvalid

from ..runtime.support import PATIENCE, Recorder
from .conftest import NEVER, QUICK, Ran
from .test_running import edge, failure_of, gives, graph, node, raises

FORK = "a>b a>c"


def waits_for(key: str, value: Any = None) -> Callable[[Any, Any], Awaitable[Any]]:
    """A function that returns when another branch has written a key."""

    async def body(ctx: Any, inputs: Any) -> Any:
        while await ctx.memory.read(key) is None:  # noqa: ASYNC110 - what others have written is only there to be read
            await asyncio.sleep(0.001)
        return value

    return body


def test_a_join_waits_for_every_branch_that_is_under_way(ran: Ran) -> None:
    """However long, and over however many nodes; it runs once."""
    parts = [
        node("a"),
        node("b", gives("b"), writes="x"),
        node("c", waits_for("x"), memory_keys=["x"]),
        node("d", waits_for("x", "d"), writes="y", memory_keys=["x"]),
        node("e", reads="x y"),
    ]
    result = ran(graph(parts, "a>b a>c c>d b>e d>e"))
    assert ("completed", ("a", "b", "c", "d", "e")) == (result.status, result.path)


def test_a_join_does_not_wait_for_a_way_that_was_not_taken(ran: Ran) -> None:
    """Nor for a branch that has gone elsewhere."""
    parts = [node("a", gives(1), writes="n"), *map(node, "bcdefz")]
    ways = [edge("a>b"), edge("a>c"), edge("a>d", expression="n > 1"), edge("c>f", priority=1), edge("c>e")]
    result = ran(graph(parts, [*ways, edge("b>e"), edge("d>e"), edge("e>z")], terminal_nodes=["z", "f"]))
    assert ("a", "b", "e", "z", "c", "f") == result.path


def test_a_branch_may_go_round_before_the_join(ran: Ran) -> None:
    """The other one waits."""

    async def counts(ctx: Any, inputs: Any) -> int:
        return int(inputs.get("n", 0)) + 1

    loop = node("b", counts, "n", "n", optional_keys=["n"], max_visits=5)
    ways = [edge("a>b"), edge("a>c"), edge("b>b", expression="n < 3", priority=1), edge("b>d"), edge("c>d")]
    result = ran(graph([node("a"), loop, node("c"), node("d")], ways))
    assert ("a", "b", "b", "b", "c", "d") == result.path


def test_two_ways_to_the_same_node_are_one_visit(ran: Ran) -> None:
    """A fork that joins at once."""
    ways = [edge("a>b"), edge("a>b", id="too")]
    assert ("a", "b") == ran(graph([node("a"), node("b")], ways)).path


def test_branches_that_wait_for_each_other_round_a_loop_do_not_wait_for_ever(ran: Ran) -> None:
    """Each leads to the other one's join; the first of the path goes first."""
    parts = [node("a"), node("b", max_visits=3), node("c", max_visits=3), node("d")]
    ways = [edge("a>b"), edge("a>c"), edge("b>c", expression="visits.b < 2", priority=1), edge("b>d")]
    result = ran(graph(parts, [*ways, edge("c>b", expression="visits.c < 2", priority=1), edge("c>d")]))
    assert "completed" == result.status
    assert {"a", "b", "c", "d"} == set(result.path)


def test_several_ends_give_their_outputs_together(ran: Ran) -> None:
    """It has ended when no branch is left."""
    parts = [node("a"), node("b", gives(1), writes="x"), node("c", waits_for("x", 2), writes="y", memory_keys=["x"])]
    assert {"x": 1, "y": 2} == ran(graph(parts, FORK)).output


# -- failures --------------------------------------------------------------------------------------------------------


def test_fail_all_interrupts_the_others(ran: Ran) -> None:
    """Which would never have ended."""
    ended: list[str] = []

    async def endless(ctx: Any, inputs: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("interrupted")

    parts = [node("a"), node("b", raises(ValueError("no"))), node("c", endless)]
    result = ran(graph(parts, FORK))
    assert ("ValueError: no", ["interrupted"], ("b",)) == (result.error, ended, result.nodes_with_failures)


def test_fail_all_keeps_what_the_others_had_done(ran: Ran) -> None:
    """A restart repeats what failed and what was interrupted, and nothing else."""
    runs: list[str] = []

    async def counted(ctx: Any, inputs: Any) -> int:
        runs.append("c")
        return 1

    async def flaky(ctx: Any, inputs: Any) -> None:
        runs.append("b")
        await waits_for("x")(ctx, inputs)
        if ctx.attempt == 1:
            raise ConnectionError

    parts = [node("a"), node("b", flaky, memory_keys=["x"]), node("c", counted, writes="x"), node("d")]
    result = ran(graph(parts, "a>b a>c b>d c>d"), restart=QUICK)
    assert ("completed", 1, ["b", "b", "c"]) == (result.status, result.restarts, sorted(runs))


def test_what_ends_at_the_same_moment_as_a_failure_is_kept(ran: Ran) -> None:
    """Whichever is looked at first."""
    runs: list[str] = []

    def ends(name: str, together: asyncio.Event) -> Callable[[Any, Any], Awaitable[None]]:
        async def body(ctx: Any, inputs: Any) -> None:
            runs.append(name)
            if len(runs) == 3:
                together.set()
            await together.wait()
            if name == "c" and ctx.attempt == 1:
                raise ConnectionError

        return body

    event = asyncio.Event()
    parts = [node("a"), *(node(name, ends(name, event)) for name in "bcd")]
    result = ran(graph(parts, "a>b a>c a>d"), restart=QUICK)
    assert ("completed", 1, list("bccd")) == (result.status, result.restarts, sorted(runs))


def test_continue_others_goes_on_without_the_branch_that_failed(runtime: Runtime, ran: Ran) -> None:
    """The join does not wait for it; the result is a success, and degraded."""
    recorder = Recorder()
    runtime.subscribe(["node_loop_completed"], recorder).get(timeout=PATIENCE)
    parts = [
        node("a"),
        node("b", raises(ValueError("no")), writes="x"),
        node("c", gives(1), writes="y"),
        node("d", gives("d"), "x y", "z", optional_keys=["x"]),
    ]
    policy = ParallelPolicy(on_failure="continue_others")
    result = ran(graph(parts, "a>b a>c b>d c>d", parallel=policy))
    assert ({"z": "d"}, ("a", "b", "c", "d")) == (result.output, result.path)
    assert (True, True, ("b",)) == (result.is_degraded_success, result.had_partial_failures, result.nodes_with_failures)
    recorder.wait_for("node_loop_completed", count=4)
    (failed,) = [event for event in recorder.events if not event.data["success"]]
    assert ("b", "ValueError: no") == (failed.node_id, failed.data["error"])


def test_continue_others_fails_when_no_other_is_left(ran: Ran) -> None:
    """With all the failures."""
    parts = [node("a"), node("b", raises(ValueError("b"))), node("c", raises(ValueError("c")))]
    result = ran(graph(parts, FORK, parallel=ParallelPolicy(on_failure="continue_others")))
    assert result.failure is not None
    assert ("ExceptionGroup", ["b", "c"]) == (result.failure.kind, sorted(result.nodes_with_failures))


def test_wait_all_lets_the_others_end_and_then_fails(ran: Ran) -> None:
    """The join is not entered; a restart repeats the branch that failed, and the join comes after it."""
    runs: list[str] = []

    async def flaky(ctx: Any, inputs: Any) -> int:
        runs.append("b")
        if ctx.attempt == 1:
            raise ConnectionError
        return 1

    async def slow(ctx: Any, inputs: Any) -> int:
        runs.append("c")
        await asyncio.sleep(0.01)
        return 2

    async def joined(ctx: Any, inputs: Any) -> int:
        runs.append("d")
        return int(inputs["x"]) + int(inputs["y"])

    parts = [node("a"), node("b", flaky, writes="x"), node("c", slow, writes="y"), node("d", joined, "x y", "z")]
    policy = ParallelPolicy(on_failure="wait_all")
    result = ran(graph(parts, "a>b a>c b>d c>d", parallel=policy), restart=QUICK)
    assert ({"z": 3}, 1, ["b", "c", "b", "d"]) == (result.output, result.restarts, runs)


def test_a_branch_that_takes_too_long_has_failed(ran: Ran, never: Callable[[], Any]) -> None:
    """From its fork on, over all its nodes; the others are under the same limit, and what is no branch under none."""

    async def slow(ctx: Any, inputs: Any) -> None:
        await never()

    parts = [node("a"), node("b"), node("s", slow), node("c")]
    policy = ParallelPolicy(on_failure="continue_others", branch_timeout=0.05)
    result = ran(graph(parts, "a>b a>c b>s", parallel=policy))
    assert (True, ("s",)) == (result.is_degraded_success, result.nodes_with_failures)
    result = ran(graph(parts, "a>b a>c b>s", parallel=ParallelPolicy(branch_timeout=0.05)), id="other")
    assert ("branch_timed_out", True) == failure_of(result)


def test_a_join_whose_other_branches_have_failed_has_time_of_its_own(ran: Ran, never: Callable[[], Any]) -> None:
    """The one that is left has come to its join in time, and has waited there until theirs was over."""

    async def slow(ctx: Any, inputs: Any) -> None:
        await never()

    async def takes_longer_than_a_branch_may(ctx: Any, inputs: Any) -> None:
        await asyncio.sleep(0.06)

    parts = [node("a"), node("b"), node("s", slow), node("j", takes_longer_than_a_branch_may)]
    policy = ParallelPolicy(on_failure="continue_others", branch_timeout=0.05)
    result = ran(graph(parts, "a>b a>s b>j s>j", parallel=policy))
    assert (True, ("a", "b", "j", "s"), ("s",)) == (
        result.is_degraded_success,
        result.path,
        result.nodes_with_failures,
    ), result


# -- conflicts -------------------------------------------------------------------------------------------------------


def conflict(policy: str) -> Any:
    """`b` writes first, `c` last, `d` reads what is left."""
    parts = [
        node("a", gives("a"), writes="k"),
        node("b", gives({"k": "b", "seen": True}), writes="k seen"),
        node("c", waits_for("seen", "c"), writes="k", memory_keys=["seen"]),
        node("d", gives(None), "k", "", optional_keys=["k"]),
        node("e", gives({"k": "e"}), "k", "k"),
    ]
    return graph(parts, "a>b a>c b>d c>d d>e", parallel=ParallelPolicy(on_conflict=policy))


@pytest.mark.parametrize(("policy", "left"), [("last_wins", "c"), ("first_wins", "b")])
def test_of_two_that_write_a_key_the_policy_says_who_wins(ran: Ran, policy: str, left: str) -> None:
    """What was there before the fork, and what comes behind the join, is in no conflict."""
    seen: list[Any] = []

    async def sees(ctx: Any, inputs: Any) -> None:
        seen.append(inputs["k"])

    spec = conflict(policy)
    nodes = [each if each.id != "d" else each.model_copy(update={"function": sees}) for each in spec.nodes]
    assert {"k": "e"} == ran(spec.model_copy(update={"nodes": nodes})).output
    assert [left] == seen


def test_a_conflict_can_be_an_error(ran: Ran) -> None:
    """Which no restart mends."""
    result = ran(conflict("error"), restart=QUICK)
    assert ("branch_conflict", False) == failure_of(result)
    assert "Node 'c' sets 'k'" in (result.error or "")


# -- the rules by themselves -----------------------------------------------------------------------------------------


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Any graph of up to seven nodes; every node bounded, so that loops are allowed."""
    ids = [f"n{number}" for number in range(draw(st.integers(2, 7)))]
    pairs = [(source, target) for source in ids for target in ids]
    ways = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1, max_size=14))
    made = [node(each, max_visits=3) for each in ids]
    try:
        return Chart(graph(made, [edge(f"{source}>{target}") for source, target in ways]))
    except GraphInvalid:
        return Chart(graph([node("n0"), node("n1"), node("n2"), node("n3")], "n0>n1 n0>n2 n1>n3 n2>n3"))


@given(charts(), st.data())
def test_in_whatever_order_nodes_end_a_run_gets_on_and_survives_being_written_down(
    chart: Chart, data: st.DataObject
) -> None:
    """Tokens never stop for good but at their ends; no join is entered while another may come; the data is plain."""
    position = Position.at("n0", "e", "")
    running: list[Any] = []
    while position.tokens:
        for token in position.startable(chart, running, ()):
            others = [other for other in position.tokens if other is not token]
            early = any(token.node in chart.behind[other.node] for other in others)
            assert not early or not running
            if chart.nodes[token.node].max_visits == position.visits.get(token.node, 0):
                position.drop(token, chart)
                continue
            position.enter(token, chart, 0)
            running.append(token)
        if not running:
            assert not position.tokens or position.startable(chart, running, ())
            continue
        token = data.draw(st.sampled_from(running))
        running.remove(token)
        if token.node in chart.ends:
            position.end(token)
        else:
            edges = chart.edges_from[token.node]
            taken = data.draw(st.lists(st.sampled_from(edges), unique=True, min_size=1))
            position.leave(token, taken, 0.0)
        again = Position.from_data(position.to_data())
        assert again.to_data() == position.to_data()
        assert len({token.branch for token in position.tokens}) == len(position.tokens)
    assert sum(position.visits.values()) == len(position.log) == position.report().steps_executed


@given(st.permutations("bcd"), st.data())
def test_the_path_is_the_same_in_whatever_order_branches_get_on(order: list[str], data: st.DataObject) -> None:
    """Branch by branch, as the graph has them."""
    chart = Chart(graph([*map(node, "abcdxyz")], "a>b a>c a>d b>x c>y x>z y>z d>z"))
    position = Position.at("a", "e", "")
    while position.tokens:
        token = data.draw(st.sampled_from(position.startable(chart, (), ())))
        position.enter(token, chart, 0)
        if token.node in chart.ends:
            position.end(token)
        else:
            position.leave(token, chart.edges_from[token.node], 0.0)
    assert ("a", "b", "x", "c", "y", "d", "z") == position.report().path


def test_a_stream_of_a_forked_graph_needs_no_more_than_a_slot(runtime: Runtime) -> None:
    """Branches are tasks of one execution."""
    point = EntryPoint(id="s", max_concurrent=1, restart=NEVER)
    stream = runtime.open_stream(point, GraphExecutor(graph([*map(node, "abc")], FORK))).get(timeout=PATIENCE)
    assert all(stream.run().get(timeout=PATIENCE).success for _ in range(3))
