"""A graph that ends for a while: pauses, resumes, joins, cancels; and who runs nodes that are no functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import pytest

from propolis import EdgeSpec, EntryPoint, ExecutionResult, GraphExecutor, GraphSpec, Runtime, Stream
from propolis.actors import NodeCall
from propolis.messages import GraphInvalid

from ..runtime.support import PATIENCE, Gate, until
from .conftest import NEVER, QUICK, Ran
from .test_running import edge, failure_of, gives, graph, node


def opened(runtime: Runtime, spec: GraphSpec, id: str = "s", **fields: Any) -> Stream:
    """A stream of a graph."""
    fields.setdefault("restart", NEVER)
    return runtime.open_stream(EntryPoint(id=id, **fields), GraphExecutor(spec)).get(timeout=PATIENCE)


def resumed(stream: Stream, session_id: str, **options: Any) -> ExecutionResult:
    """What comes of it."""
    execution_id = stream.resume(session_id, **options).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    return result


def counting(runs: list[str]) -> Callable[[str], Callable[[Any, Any], Any]]:
    """Functions that say that they ran."""

    def named(name: str) -> Callable[[Any, Any], Any]:
        async def body(ctx: Any, inputs: Any) -> None:
            runs.append(name)

        return body

    return named


def test_a_pause_node_pauses_and_a_resume_goes_on_behind_it(runtime: Runtime) -> None:
    """Also in another runtime's life, and as often as there are pauses; the steps of each go are counted anew."""
    runs: list[str] = []
    named = counting(runs)
    parts = [node(each, named(each)) for each in "abcd"]
    stream = opened(runtime, graph(parts, "a>b b>c c>d", pause_nodes=["a", "c"], max_steps=2))
    first = stream.run().get(timeout=PATIENCE)
    assert ("paused", "a", ("a",)) == (first.status, first.paused_at, first.path)
    assert ("clean", False) == (first.execution_quality, first.is_clean_success)  # so far nothing has failed
    second = resumed(stream, first.session_id)
    assert ("paused", "c", ("a", "b", "c")) == (second.status, second.paused_at, second.path)
    third = resumed(stream, first.session_id)
    assert ("completed", list("abcd"), 4) == (third.status, runs, third.steps_executed)


def test_a_conversation_pauses_for_each_turn(runtime: Runtime) -> None:
    """A loop round a pause node needs no bound: it goes round as often as somebody resumes it."""

    async def reply(ctx: Any, inputs: Any) -> str:
        return f"{inputs['said']}, you say?"

    parts = [node("reply", reply, "said", "reply"), node("end", gives("bye"), writes="last")]
    ways = [edge("reply>reply", expression="said != 'bye'", priority=1), edge("reply>end")]
    stream = opened(runtime, graph(parts, ways, pause_nodes=["reply"]))
    result = stream.run({"said": "hello"}).get(timeout=PATIENCE)
    for said in ("how", "why"):
        result = resumed(stream, result.session_id, input_data={"said": said})
        assert ("paused", f"{said}, you say?") == (result.status, result.session_state["reply"])
    result = resumed(stream, result.session_id, input_data={"said": "bye"})
    assert ("completed", {"last": "bye"}, 4) == (result.status, result.output, result.steps_executed)


def test_a_resume_goes_on_where_the_graph_says(runtime: Runtime) -> None:
    """`NODE_resume` among its entry points, in place of the edges behind the pause node."""
    parts = [node("a"), node("b", gives("b"), writes="x"), node("c", gives("c"), writes="x")]
    stream = opened(runtime, graph(parts, "a>b", pause_nodes=["a"], entry_points={"a_resume": "c"}))
    paused = stream.run().get(timeout=PATIENCE)
    result = resumed(stream, paused.session_id)
    assert ({"x": "c"}, ("a", "c")) == (result.output, result.path)


def test_a_pause_lets_other_branches_get_to_where_they_can_be_kept(runtime: Runtime) -> None:
    """No node is interrupted, and none runs twice; nothing new begins."""
    runs: list[str] = []
    named = counting(runs)
    paused = asyncio.Event()

    async def pausing(ctx: Any, inputs: Any) -> None:
        runs.append("b")
        paused.set()

    async def slow(ctx: Any, inputs: Any) -> None:
        await paused.wait()
        await asyncio.sleep(0.02)
        runs.append("c")

    parts = [node("a", named("a")), node("b", pausing), node("c", slow), node("d", named("d")), node("e", named("e"))]
    stream = opened(runtime, graph(parts, "a>b a>c b>e c>d d>e", pause_nodes=["b"]))
    first = stream.run().get(timeout=PATIENCE)
    assert ("paused", ["a", "b", "c"]) == (first.status, runs)
    second = resumed(stream, first.session_id)
    assert (["a", "b", "c", "d", "e"], ("a", "b", "c", "d", "e")) == (runs, second.path)


def test_a_pause_stays_one_when_a_branch_beside_it_fails_first(runtime: Runtime) -> None:
    """The restart runs that branch again, and then it pauses; not the node behind the pause."""
    runs: list[str] = []
    named = counting(runs)

    async def flaky(ctx: Any, inputs: Any) -> None:
        while await ctx.memory.read("x") is None:  # noqa: ASYNC110 - it is only there to be read
            await asyncio.sleep(0.001)
        runs.append("c")
        if ctx.attempt == 1:
            raise ConnectionError

    parts = [node("a", named("a")), node("b", gives(1), writes="x"), node("c", flaky, memory_keys=["x"])]
    stream = opened(
        runtime,
        graph([*parts, node("d", named("d")), node("e", named("e"))], "a>b a>c b>d c>e", pause_nodes=["b"]),
        restart=QUICK,
    )
    paused = stream.run().get(timeout=PATIENCE)
    assert ("paused", "b", 1, ["a", "c", "c"]) == (paused.status, paused.paused_at, paused.restarts, runs)
    assert "degraded" == paused.execution_quality
    result = resumed(stream, paused.session_id)
    assert (["a", "c", "c", "d", "e"], "completed") == (sorted(runs), result.status)


def test_a_pause_that_somebody_asks_for_comes_behind_the_node_that_runs(runtime: Runtime, gate: Gate) -> None:
    """At its checkpoint."""
    runs: list[str] = []

    async def held(ctx: Any, inputs: Any) -> None:
        runs.append("a")
        await gate.passed(ctx)

    stream = opened(runtime, graph([node("a", held), node("b", counting(runs)("b"))], "a>b"))
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    assert stream.pause_execution(execution_id).get(timeout=PATIENCE)
    gate.open()
    paused = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert paused is not None
    assert ("paused", "a", ["a"]) == (paused.status, paused.paused_at, runs)
    assert ("a", "b") == resumed(stream, paused.session_id).path
    assert ["a", "b"] == runs


def test_a_node_that_pauses_itself_is_run_again(runtime: Runtime) -> None:
    """It is not done; what it has written is there, and its visit counts once."""

    async def asks(ctx: Any, inputs: Any) -> int:
        asked: int = await ctx.memory.read("asked", 0)
        if asked == 0:
            await ctx.memory.write("asked", 1)
            await ctx.pause()
        return asked

    stream = opened(runtime, graph([node("a"), node("b", asks, writes="x", memory_keys=["asked"])], "a>b"))
    paused = stream.run().get(timeout=PATIENCE)
    assert ("paused", "b") == (paused.status, paused.paused_at)
    result = resumed(stream, paused.session_id)
    assert ({"x": 1}, ("a", "b"), {"a": 1, "b": 1}) == (result.output, result.path, dict(result.node_visit_counts))


@pytest.mark.parametrize("how", ["async", "plain"])
def test_a_node_that_pauses_itself_each_time_gets_on_by_resumes(runtime: Runtime, how: str) -> None:
    """A resume runs it again, and passes by the pauses behind which it was; a restart comes to the pause again."""
    crashed: list[int] = []

    async def twice(ctx: Any, inputs: Any) -> str:
        await ctx.pause()
        await ctx.pause("again")
        return "done"

    def plainly(ctx: Any, inputs: Any) -> str:
        ctx.pause()
        if not crashed:
            crashed.append(1)
            raise ConnectionError("lost")
        ctx.pause("again")
        return "done"

    work = twice if how == "async" else plainly
    stream = opened(runtime, graph([node("a", work, writes="x")]), restart=QUICK)
    first = stream.run().get(timeout=PATIENCE)
    second = resumed(stream, first.session_id)
    assert ["a", "again"] == [first.paused_at, second.paused_at]
    assert int(how == "plain") == second.restarts
    assert {"x": "done"} == resumed(stream, first.session_id).output


def test_a_question_of_a_node_is_asked_in_its_name(runtime: Runtime) -> None:
    """So input is injected by it."""

    async def asks(ctx: Any, inputs: Any) -> Any:
        return await ctx.ask_human("Well?")

    def asks_plainly(ctx: Any, inputs: Any) -> Any:
        return ctx.ask_human("And?", node_id="clerk")

    stream = opened(runtime, graph([node("a", asks, writes="x"), node("b", asks_plainly, writes="y")], "a>b"))
    running = stream.run()
    until(lambda: stream.inject_input("a", 1).get(timeout=PATIENCE))
    until(lambda: stream.inject_input("clerk", "to clerk").get(timeout=PATIENCE))
    assert {"y": "to clerk"} == running.get(timeout=PATIENCE).output


def test_a_session_that_failed_is_resumed_at_the_node_that_failed(runtime: Runtime) -> None:
    """With what the resume brings on top."""
    runs: list[str] = []

    async def picky(ctx: Any, inputs: Any) -> str:
        if not inputs.get("key"):
            raise PermissionError("no key")
        return str(inputs["key"])

    parts = [node("a", counting(runs)("a")), node("b", picky, "key", "used", optional_keys=["key"])]
    stream = opened(runtime, graph([node("z", reads="key", optional_keys=["key"]), *parts], "z>a a>b"))
    failed = stream.run().get(timeout=PATIENCE)
    assert ("PermissionError: no key", ("z", "a", "b")) == (failed.error, failed.path)
    result = resumed(stream, failed.session_id, memory={"key": "k"})
    assert ({"used": "k"}, ["a"]) == (result.output, runs)


def test_a_session_that_is_joined_keeps_its_own_place(runtime: Runtime) -> None:
    """The joiner begins at the beginning, with the shared data; the one that is paused goes on where it was."""
    runs: list[str] = []

    async def counted(ctx: Any, inputs: Any) -> int:
        runs.append(ctx.stream_id)
        return 1

    parts = [node("a", counted, writes="x"), node("b", gives(2), "x", "y")]
    stream = opened(runtime, graph(parts, "a>b", pause_nodes=["a"]))
    free = opened(runtime, graph(parts, "a>b"), "free")
    paused = stream.run().get(timeout=PATIENCE)
    execution_id = free.execute({"more": 3}, session_id=paused.session_id).get(timeout=PATIENCE)
    joined = free.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert joined is not None
    assert (("a", "b"), {"y": 2}) == (joined.path, joined.output)
    result = resumed(stream, paused.session_id)
    assert (("a", "b"), {"x": 1, "y": 2, "more": 3}) == (result.path, result.session_state)
    assert ["s", "free"] == runs


def test_a_session_of_another_graph_is_refused(runtime: Runtime) -> None:
    """It stands where this one has no node."""
    old = opened(runtime, graph([node("a"), node("b")], "a>b", pause_nodes=["a"]))
    paused = old.run().get(timeout=PATIENCE)
    runtime.close_stream("s").get(timeout=PATIENCE)
    new = opened(runtime, graph([node("c")]), restart=QUICK)
    assert ("graph_changed", False) == failure_of(resumed(new, paused.session_id))


def test_a_cancel_does_not_leave_a_blocking_function_behind(runtime: Runtime) -> None:
    """It is cancelled when it is gone: the function is told, and waited for."""
    began, ended = threading.Event(), threading.Event()

    def slow(ctx: Any, inputs: Any) -> None:
        began.set()
        until(lambda: ctx.cancelled)
        ended.set()

    async def endless(ctx: Any, inputs: Any) -> None:
        await asyncio.Event().wait()

    stream = opened(runtime, graph([node("a"), node("b", slow), node("c", endless)], "a>b a>c"))
    execution_id = stream.execute().get(timeout=PATIENCE)
    assert began.wait(PATIENCE)
    outcome = stream.cancel_execution(execution_id, grace=PATIENCE).get(timeout=PATIENCE)
    assert ("cancelled", True) == (outcome.outcome, ended.is_set())
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("a", "b", "c") == result.path


# -- runners ---------------------------------------------------------------------------------------------------------


class Parrot:
    """Says what its prompt says, for as many tokens as that has words; picks what its settings say."""

    async def run(self, call: NodeCall) -> Any:
        """As a model would."""
        call.spend(len(call.node.prompt.split()))
        await call.ctx.emit("llm_text_delta", {"text": call.node.prompt})
        return f"{call.node.prompt} {call.inputs['name']} ({call.graph.default_model})"

    async def decide(self, call: NodeCall, edges: Sequence[EdgeSpec], outputs: Any) -> Collection[str]:
        """As a model would."""
        call.spend(1)
        assert {"text"} == set(outputs)
        return [edge.id for edge in edges if edge.target in call.node.settings["picks"]]


def modelled(**settings: Any) -> GraphSpec:
    """A model node, and edges that a model decides about."""
    model = node("ask", reads="name", writes="text", kind="model", prompt="good day", settings=settings)
    ways = [edge(f"ask>{target}", condition="model_decides") for target in "bc"]
    return graph([model, *map(node, "bc")], ways, default_model="parrot-1", terminal_nodes=["b", "c"])


def test_a_runner_runs_the_model_nodes_and_decides_about_their_edges(ran: Ran) -> None:
    """Its tokens are in the result."""
    result = ran(modelled(picks=["c"]), {"name": "Ada"}, runners={"model": Parrot()})
    assert ("good day Ada (parrot-1)", ("ask", "c"), 3) == (
        result.session_state["text"],
        result.path,
        result.total_tokens,
    )
    assert ("ask", "b", "c") == ran(
        modelled(picks=["b", "c"]), {"name": "A"}, runners={"model": Parrot()}, id="two"
    ).path


def test_a_runner_is_under_the_nodes_rules(ran: Ran) -> None:
    """Its time, its tries, its outputs."""

    class Stuck(Parrot):
        async def run(self, call: NodeCall) -> Any:
            """Never comes back."""
            await asyncio.Event().wait()

    spec = modelled(picks=["b"])
    nodes = [
        each.model_copy(update={"timeout": 0.02, "retries": 1}) if each.id == "ask" else each for each in spec.nodes
    ]
    result = ran(spec.model_copy(update={"nodes": nodes}), {"name": "A"}, runners={"model": Stuck()})
    assert (("node_timed_out", True), 1) == (failure_of(result), result.total_retries)


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        (graph([node("a", kind="model", prompt="?", writes="x")]), "node 'a': there is nobody to run model nodes"),
        (graph([node("a"), node("b")], [edge("a>b", condition="model_decides")]), "edge 'a->b': there is nobody to"),
    ],
)
def test_nodes_that_nobody_runs_are_refused_before_anything_runs(spec: GraphSpec, where: str) -> None:
    """With what to do."""
    with pytest.raises(GraphInvalid, match=where):
        GraphExecutor(spec, runners={"model": cast("Any", object())})
