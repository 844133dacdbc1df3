"""How a graph runs: nodes, tries, edges, loops, limits; each by a small graph on an event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from propolis import (
    Context,
    EdgeSpec,
    EntryPoint,
    GraphExecutor,
    GraphSpec,
    NodeSpec,
    NonRetryable,
    RestartPolicy,
    Runtime,
)
from propolis.messages import ExecutionResult, GraphInvalid, InvalidInput

from ..runtime.support import PATIENCE, Recorder, until
from .conftest import NEVER, QUICK, Ran

Body = Callable[[Any, Any], Any]


def gives(value: Any) -> Body:
    """A function that returns this."""

    async def body(ctx: Any, inputs: Any) -> Any:
        return value

    return body


def raises(error: BaseException) -> Body:
    """A function that raises this."""

    async def body(ctx: Any, inputs: Any) -> Any:
        raise error

    return body


async def fails_at_first(ctx: Any, inputs: Any) -> None:
    """In an execution that is to."""
    if ctx.attempt == 1 and ctx.input["fail"]:
        raise LookupError("gone")


def writes_of(runtime: Runtime) -> int:
    """How many writes it has committed."""
    return runtime.stats().get(timeout=PATIENCE).rows_written


def node(id: str, function: Body | None = None, reads: str = "", writes: str = "", **fields: Any) -> NodeSpec:
    """A node that reads and writes these keys."""
    if fields.get("kind", "function") in ("function", "router"):
        fields["function"] = function or gives(None)
    return NodeSpec(id=id, input_keys=reads.split(), output_keys=writes.split(), **fields)


def edge(way: str, **fields: Any) -> EdgeSpec:
    """An edge of `"a>b"`."""
    source, target = way.split(">")
    return EdgeSpec(source=source, target=target, **fields)


def graph(nodes: list[NodeSpec], edges: list[EdgeSpec] | str = "", **fields: Any) -> GraphSpec:
    """A graph; the first node is the entry."""
    ways = [edge(each) for each in edges.split()] if isinstance(edges, str) else edges
    return GraphSpec(id="g", entry_node=nodes[0].id, nodes=nodes, edges=ways, **fields)


def failure_of(result: ExecutionResult) -> tuple[str, bool]:
    """Its code, and whether it would be retried."""
    assert "failed" == result.status
    assert result.failure is not None
    return result.failure.code, result.failure.retryable


def test_events_tell_the_way_in_its_order(runtime: Runtime, ran: Ran) -> None:
    """With their node and graph; what a node has done and what begins behind it is one commit."""
    recorder = Recorder()
    runtime.subscribe((), recorder).get(timeout=PATIENCE)
    loop = [node("a", gives(1), writes="x"), node("b", gives(2), "x", "x", max_visits=2)]
    ways = [edge("a>b"), edge("b>b", expression="visits.b < 2", priority=1), edge("b>c")]
    ran(graph([*loop, node("c")], ways))
    recorder.wait_for("execution_completed")
    told = [(event.type, event.node_id, event.data) for event in recorder.events if event.node_id is not None]
    assert [True] * 4 == [
        data.pop("ms") >= 0 and data.pop("attempt") == 1 for type, _, data in told if type == "node_loop_completed"
    ]
    assert {"g"} == {event.graph_id for event in recorder.events if event.node_id is not None}

    def over(source: str, target: str) -> tuple[str, str, dict[str, str]]:
        return "edge_traversed", source, {"edge": f"{source}->{target}", "source": source, "target": target}

    def done(id: str, visit: int = 1) -> tuple[str, str, dict[str, Any]]:
        return "node_loop_completed", id, {"visit": visit, "success": True}

    assert [
        ("node_loop_started", "a", {"visit": 1}),
        ("output_key_set", "a", {"key": "x"}),
        done("a"),
        over("a", "b"),
        ("node_loop_started", "b", {"visit": 1}),
        ("output_key_set", "b", {"key": "x"}),
        done("b"),
        over("b", "b"),
        ("node_loop_started", "b", {"visit": 2}),
        ("node_loop_iteration", "b", {"iteration": 2}),
        ("output_key_set", "b", {"key": "x"}),
        done("b", 2),
        over("b", "c"),
        ("node_loop_started", "c", {"visit": 1}),
        done("c"),
    ] == told


def test_a_graph_is_a_write_for_each_node_and_one_more(runtime: Runtime) -> None:
    """What begins goes with what was done before it; with the first node the opening, with the last one the end."""
    executor = GraphExecutor(graph([node("a", gives(1), writes="x"), node("b"), node("c")], "a>b b>c"))
    stream = runtime.open_stream(EntryPoint(id="g"), executor).get(timeout=PATIENCE)
    before = writes_of(runtime)
    assert stream.run(None).get(timeout=PATIENCE).success
    assert 4 == writes_of(runtime) - before


def test_the_first_node_is_announced_once(runtime: Runtime) -> None:
    """By the opening; by the claim of one that had to wait; by the run itself within an executor of the user's, and
    when a first attempt has failed.
    """
    recorder, executor = Recorder(), GraphExecutor(graph([node("a", fails_at_first)]))
    runtime.subscribe(["node_loop_started"], recorder).get(timeout=PATIENCE)

    class Around:
        def announce(self) -> None:
            raise AssertionError("it is nobody's but the user's")

        async def execute(self, ctx: Context, input: Any) -> Any:
            return await executor.execute(ctx, input)

    told = []
    for id, body in (("graph", executor), ("around", Around)):
        stream = runtime.open_stream(EntryPoint(id=id, max_concurrent=1, restart=QUICK), body).get(timeout=PATIENCE)
        ids = [stream.execute({"fail": fail}).get(timeout=PATIENCE) for fail in (False, False, True)]
        for each in ids:
            assert stream.wait_for_completion(each, timeout=PATIENCE).get().success
        until(lambda: len(recorder.events) >= 4)
        told.append([[event.execution_id for event in recorder.events].count(each) for each in ids])
        recorder.events.clear()
    assert [[1, 1, 2], [1, 1, 2]] == told


def test_a_node_is_tried_again_and_the_result_says_so(runtime: Runtime, ran: Ran) -> None:
    """Succeeded, but degraded; the tries are events, and no restarts."""
    recorder, tries = Recorder(), []
    runtime.subscribe(["node_retry"], recorder).get(timeout=PATIENCE)

    async def flaky(ctx: Any, inputs: Any) -> int:
        tries.append(ctx.attempt)
        if len(tries) < 3:
            raise ConnectionError("again")
        return len(tries)

    result = ran(graph([node("a", flaky, writes="n", retries=2)]))
    assert ({"n": 3}, [1, 1, 1]) == (result.output, tries)
    assert ({"a": 2}, 2, 0, ()) == (
        dict(result.retry_details),
        result.total_retries,
        result.restarts,
        result.nodes_with_failures,
    )
    assert (True, ("a",)) == (result.is_degraded_success, result.path)
    until(lambda: len(recorder.events) == 2)
    assert [1, 2] == [event.data["retry"] for event in recorder.events]
    assert "ConnectionError: again" == recorder.events[0].data["error"]


@pytest.mark.parametrize("error", [NonRetryable("no"), InvalidInput(what="x", reason="no")])
def test_what_is_never_retried_is_not_tried_again(ran: Ran, error: Exception) -> None:
    """By the same rule as an execution's restarts."""
    result = ran(graph([node("a", raises(error), retries=5)]), restart=RestartPolicy())
    assert (0, 0, ("a",)) == (result.restarts, result.total_retries, result.nodes_with_failures)
    assert ("failed", ("a",)) == (result.execution_quality, result.path)


def test_a_failure_is_the_nodes_own_and_names_it(ran: Ran) -> None:
    """So that a restart policy can name its class; the trace says where it was."""
    result = ran(graph([node("a", raises(LookupError("gone")))]))
    assert result.failure is not None
    assert ("LookupError", "gone") == (result.failure.kind, result.failure.message)
    assert "in node 'a' of graph 'g'" in result.failure.trace


def test_a_restart_goes_on_at_the_node_that_failed(ran: Ran) -> None:
    """What was done before it is not done again."""
    done: list[str] = []

    async def first(ctx: Any, inputs: Any) -> int:
        done.append("first")
        return 1

    async def second(ctx: Any, inputs: Any) -> int:
        done.append(f"second {ctx.attempt}")
        if ctx.attempt < 3:
            raise ConnectionError
        return int(inputs["x"]) + 1

    result = ran(graph([node("a", first, writes="x"), node("b", second, "x", "y")], "a>b"), restart=QUICK)
    assert (["first", "second 1", "second 2", "second 3"], {"y": 2}) == (done, result.output)
    assert (2, ("a", "b"), {"a": 1, "b": 1}) == (result.restarts, result.path, dict(result.node_visit_counts))


@pytest.mark.parametrize(
    ("value", "fields", "outputs"),
    [
        (7, {"writes": "x"}, {"x": 7}),
        ({"x": 7}, {"writes": "x"}, {"x": 7}),
        ({"y": 7}, {"writes": "x"}, {"x": {"y": 7}}),
        (None, {"writes": "x"}, {"x": None}),
        (None, {"writes": "x", "optional_keys": ["x"]}, {}),
        ({"x": 1, "y": 2}, {"writes": "x y"}, {"x": 1, "y": 2}),
        ({"x": 1}, {"writes": "x y", "optional_keys": ["y"]}, {"x": 1}),
        (None, {}, {}),
    ],
)
def test_what_a_node_returns_becomes_its_outputs(ran: Ran, value: Any, fields: Any, outputs: Any) -> None:
    """A dict of its keys, or the value of its only one."""
    result = ran(graph([node("a", gives(value), **fields)]))
    assert ("completed", outputs) == (result.status, result.output)


class Verdict(BaseModel):
    """A model of what goes in and what comes out."""

    score: float
    reason: str = "none given"


@pytest.mark.parametrize(
    ("value", "fields", "said"),
    [
        (7, {"writes": "x y"}, "a dict with x, y, not int"),
        ({"x": 1}, {"writes": "x y"}, "it lacks 'y'"),
        ({"x": 1, "z": 2}, {"writes": "x y", "optional_keys": ["y"]}, "it does not declare 'z'"),
        ({"x": 1, "z": 2}, {"writes": "x"}, "it does not declare 'z'"),
        ({"x": 1}, {}, "it does not declare 'x'"),
        (7, {}, "it declares no output keys"),
        (
            {"score": "much"},
            {"output_model": Verdict, "optional_keys": ["reason"]},
            "score: Input should be a valid number",
        ),
    ],
)
def test_what_is_not_declared_is_a_failure_of_the_node(ran: Ran, value: Any, fields: Any, said: str) -> None:
    """With what was expected; it is tried again, for the next answer may be better."""
    result = ran(graph([node("a", gives(value), retries=1, **fields)]))
    assert ("node_output_invalid", True) == failure_of(result)
    assert said in (result.error or "")
    assert 1 == result.total_retries


class Wordless(Exception):
    """Says nothing when it is asked."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [Wordless(), LookupError("\udc80")], ids=["raises", "no Unicode"])
def test_an_error_whose_words_cannot_be_had_is_still_the_error(ran: Ran, error: Exception) -> None:
    """For the edges, the retries and the result."""
    wanted = f"error.kind == '{type(error).__name__}'"
    ways = [edge("a>b", condition="on_failure", expression=wanted)]
    assert ("a", "b") == ran(graph([node("a", raises(error), retries=1), node("b")], ways)).path
    result = ran(graph([node("a", raises(error), retries=1)]), id="alone")
    assert result.failure is not None
    assert (type(error).__name__, 1) == (result.failure.kind, result.total_retries)


def test_an_output_that_cannot_be_kept_is_a_failure_of_the_node(ran: Ran) -> None:
    """Its edges for failures are taken."""
    ways = [edge("a>b", condition="on_failure")]
    result = ran(
        graph(
            [node("a", gives(object()), writes="x"), node("b", gives("b"), writes="y")], ways, terminal_nodes=["a", "b"]
        )
    )
    assert ({"y": "b"}, ("a",)) == (result.output, result.nodes_with_failures)


def test_models_make_the_inputs_and_check_the_outputs(ran: Ran) -> None:
    """What has a default may be missing."""

    async def judge(ctx: Any, inputs: Verdict) -> Verdict:
        assert isinstance(inputs, Verdict)
        return Verdict(score=inputs.score * 2, reason=inputs.reason)

    spec = graph([node("a", judge, input_model=Verdict, output_model=Verdict)])
    assert {"score": 1.0, "reason": "none given"} == ran(spec, {"score": 0.5}).output


def test_inputs_that_do_not_fit_the_model_fail_the_node(ran: Ran) -> None:
    """And are not tried again."""
    result = ran(graph([node("a", input_model=Verdict, retries=3)]), {"score": "x"})
    assert (("invalid_input", False), 0) == (failure_of(result), result.total_retries)
    assert "input score of node 'a'" in (result.error or "")


def test_an_input_that_nobody_has_set_is_named(ran: Ran) -> None:
    """It was on a way that was not taken."""
    result = ran(graph([node("a", reads="x")]), {"y": 1})
    assert ("node_input_missing", False) == failure_of(result)
    assert "Node 'a' has no 'x'" in (result.error or "")


def test_a_node_gets_what_it_reads_and_nothing_else(ran: Ran) -> None:
    """Under its own names, where the edge maps them."""
    got: list[Any] = []

    async def sees(ctx: Any, inputs: Any) -> None:
        got.append((inputs, ctx.input, ctx.node_id))

    ways = [edge("a>b", input_mapping={"subject": "title"})]
    parts = [node("a", gives("T"), "more", "title"), node("b", sees, "subject hint", optional_keys=["hint"])]
    ran(graph(parts, ways), {"more": 1, "subject": "S"})
    assert [({"subject": "T"}, {"more": 1, "subject": "S"}, "b")] == got


def test_an_input_that_is_no_dict_is_called_input(ran: Ran) -> None:
    """And None is none."""
    spec = graph([node("a", reads="input", optional_keys=["input"]), node("b", gives(1), writes="n")], "a>b")
    assert {"input": [1, 2], "n": 1} == ran(spec, [1, 2]).session_state


def test_the_key_of_the_position_is_refused_as_input(ran: Ran) -> None:
    """Nobody can send a graph to where it has not been."""
    assert ("invalid_input", False) == failure_of(ran(graph([node("a")]), {"__graph__": {"tokens": []}}))


@pytest.mark.parametrize(("score", "path"), [(0.9, "a high"), (0.5, "a middle"), (0.1, "a low")])
def test_of_the_open_edges_the_highest_priority_is_taken(ran: Ran, score: float, path: str) -> None:
    """So conditions are looked at like the cases of an if."""
    ways = [
        edge("a>high", condition="conditional", expression="score > 0.8", priority=2),
        edge("a>middle", condition="conditional", expression="output.score > 0.3", priority=1),
        edge("a>low"),
    ]
    parts = [node("a", gives(score), writes="score"), *map(node, ("high", "middle", "low"))]
    assert tuple(path.split()) == ran(graph(parts, ways)).path


def test_an_expression_that_fails_names_its_edge(ran: Ran) -> None:
    """It is no failure of the node, and the same again the next time."""
    ways = [edge("a>b", expression="x > 'text'")]
    result = ran(graph([node("a", gives(1), writes="x"), node("b")], ways), restart=QUICK)
    assert ("expression_failed", False) == failure_of(result)
    assert "The expression \"x > 'text'\" of edge 'a->b' failed: TypeError" in (result.error or "")


def test_with_no_edge_open_it_has_failed_and_not_just_ended(ran: Ran) -> None:
    """A graph ends at its ends."""
    result = ran(graph([node("a", gives(1), writes="x"), node("b")], [edge("a>b", expression="x > 1")]))
    assert ("no_edge_taken", False) == failure_of(result)


@pytest.mark.parametrize(
    ("choice", "path"), [("b", "a b"), ("a->b", "a b"), ("yes", "a b"), (["b", "c"], "a b c"), (("no", "yes"), "a b c")]
)
def test_a_router_says_where_to_go(ran: Ran, choice: Any, path: str) -> None:
    """By target, edge or label; by several, to several."""
    router = node("a", gives(choice), kind="router", routes={"yes": "b", "no": "c"})
    assert tuple(path.split()) == ran(graph([router, node("b"), node("c")], "a>b a>c")).path


@pytest.mark.parametrize("choice", ["d", None, [], ["b", 7], 7])
def test_a_router_that_says_what_is_not_there_has_failed(ran: Ran, choice: Any) -> None:
    """The choices are named."""
    result = ran(graph([node("a", gives(choice), kind="router"), node("b")], "a>b"))
    assert ("node_output_invalid", True) == failure_of(result)


def test_an_edge_for_always_is_taken_either_way(ran: Ran) -> None:
    """The node behind it may look at the error."""

    async def tidy(ctx: Any, inputs: Any) -> Any:
        return inputs.get("error", {}).get("message", "all well")

    def spec(first: Body) -> GraphSpec:
        behind = node("b", tidy, "error", "told", optional_keys=["error"])
        return graph([node("a", first), behind], [edge("a>b", condition="always")])

    assert {"told": "all well"} == ran(spec(gives(None))).output
    assert {"told": "no"} == ran(spec(raises(ValueError("no"))), id="other").output


def test_a_loop_ends_at_the_last_visit_that_is_allowed(ran: Ran) -> None:
    """With an error that says which, and how to leave it before."""
    ways = [edge("a>a", expression="x > 0", priority=1), edge("a>b")]
    result = ran(graph([node("a", gives(1), writes="x", max_visits=3), node("b")], ways), restart=QUICK)
    assert ("visits_exceeded", False) == failure_of(result)
    assert (("a", "a", "a"), {"a": 3}) == (result.path, dict(result.node_visit_counts))


def test_steps_are_bounded_too(ran: Ran) -> None:
    """Of the graph as a whole."""
    ways = [edge("a>b"), edge("b>a", expression="x > 0", priority=1), edge("b>c")]
    parts = [node("a", max_visits=1_000), node("b", gives(1), writes="x"), node("c")]
    result = ran(graph(parts, ways, max_steps=5), restart=QUICK)
    assert (("steps_exceeded", False), 5) == (failure_of(result), result.steps_executed)


def test_an_async_node_is_cancelled_when_its_time_is_over(ran: Ran, never: Callable[[], Any]) -> None:
    """And tried again like any that failed."""
    cancelled: list[bool] = []

    async def slow(ctx: Any, inputs: Any) -> None:
        try:
            await never()
        except BaseException:
            cancelled.append(True)
            raise

    result = ran(graph([node("a", slow, timeout=0.02, retries=1)]))
    assert (("node_timed_out", True), [True, True]) == (failure_of(result), cancelled)


def test_a_timeout_of_the_nodes_own_is_not_taken_for_the_nodes(ran: Ran) -> None:
    """It is what the function raised."""
    result = ran(graph([node("a", raises(TimeoutError("of a socket")), timeout=60.0)]))
    assert "TimeoutError: of a socket" == result.error


def test_a_function_on_a_thread_is_told_and_waited_for_when_its_time_is_over(runtime: Runtime, ran: Ran) -> None:
    """It cannot be ended: an event says that it stalls, its context refuses all, and it has failed."""
    recorder, refused = Recorder(), []
    runtime.subscribe(["node_stalled", "late"], recorder).get(timeout=PATIENCE)

    def slow(ctx: Any, inputs: Any) -> int:
        until(lambda: ctx.cancelled)
        try:
            ctx.emit("late")
        except BaseException as error:  # noqa: BLE001 - an Unwind
            refused.append(type(error).__name__)
        return 1

    result = ran(graph([node("a", slow, writes="x", timeout=0.02)]))
    assert (("node_timed_out", True), ["Cancelled"]) == (failure_of(result), refused)
    assert {} == {key: value for key, value in result.session_state.items() if key != "__graph__"}
    recorder.wait_for("node_stalled")
    assert ["node_stalled"] == recorder.types()


def test_blocking_functions_hold_up_nobody(ran: Ran) -> None:
    """Two of them wait for each other, each on a thread of its own."""
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meets(ctx: Any, inputs: Any) -> None:
        meeting.wait()

    assert ran(graph([node("a"), node("b", meets), node("c", meets)], "a>b a>c")).success


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_node_raises_ends_its_execution_alone(ran: Ran, error: BaseException) -> None:
    """On the loop and on a thread; others on the same loop never notice."""

    def plainly(ctx: Any, inputs: Any) -> None:
        raise error

    for number, body in enumerate((raises(error), plainly)):
        result = ran(graph([node("a"), node("b", body), node("c", gives(None))], "a>b a>c"), id=f"bad{number}")
        assert type(error).__name__ == (result.failure.kind if result.failure else None)
    assert ran(graph([node("a")]), id="good").success


def test_an_entry_point_says_where_to_begin(runtime: Runtime, ran: Ran) -> None:
    """Another node than the graph's own; one that is not there is refused when the stream is opened."""
    spec = graph([node("a"), node("b"), node("c")], "a>b b>c")
    assert ("b", "c") == ran(spec, entry_node="b").path
    with pytest.raises(GraphInvalid, match=r"there is no node 'x'"):
        runtime.open_stream(EntryPoint(id="x", entry_node="x"), GraphExecutor(spec)).get(timeout=PATIENCE)


def test_an_entry_point_keeps_what_it_says_itself(runtime: Runtime) -> None:
    """The graph only fills in."""
    point = EntryPoint(id="p", graph_id="mine", version="7", restart=NEVER)
    stream = runtime.open_stream(point, GraphExecutor(graph([node("a")], version="1"))).get(timeout=PATIENCE)
    assert point == stream.entry_point


def test_an_executor_of_no_graph_is_refused(runtime: Runtime) -> None:
    """Also the bare class."""
    for make in (GraphExecutor, lambda: GraphExecutor("graph")):  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match=r"GraphExecutor\.graph"):
            make()
    with pytest.raises(InvalidInput, match=r"GraphExecutor\.graph"):
        runtime.open_stream(EntryPoint(id="x"), GraphExecutor).get(timeout=PATIENCE)
    with pytest.raises(GraphInvalid, match="only a name yet, 'module:name'"):
        GraphExecutor(graph([NodeSpec(id="a", function="module:name")]))
