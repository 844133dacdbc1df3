"""What a model has said is recorded: no restart, recovery or retry asks it again, and no tool is called twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import ModelRetry, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from propolis import Context, EdgeSpec, EntryPoint, GraphExecutor, GraphSpec, NodeSpec, Placement, Runtime
from propolis.ai import ModelNodes
from propolis.messages import Event, ExecutionResult, GraphInvalid

from ..graph.conftest import NEVER, QUICK
from ..runtime.support import PATIENCE, until
from .graphs import asking
from .workers import Scales, Weigher, count, note

KINDS = {"graph": Scales, "agent": Weigher}


def given(kind: str, folder: Path) -> Any:
    """The input of such an executor."""
    return {"item": "plum", "folder": str(folder)} if kind == "graph" else f"The weight of plum in {folder}"


def said(kind: str, result: ExecutionResult) -> Any:
    """What came of it."""
    return result.output["text"] if kind == "graph" and result.output else result.output


@pytest.mark.parametrize("placement", [Placement.asyncio(), Placement.thread()], ids=["asyncio", "thread"])
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("how", ["", "raise"])
def test_a_restart_asks_nobody_again(
    runtime: Runtime, placement: Placement, tmp_path: Path, kind: str, how: str
) -> None:
    """The model asks for a tool, the tool fails and the executor is restarted: only the tool is called again."""
    (tmp_path / "die").write_text(how)
    point = EntryPoint(id="scales", placement=placement, restart=QUICK)
    stream = runtime.open_stream(point, KINDS[kind]).get(timeout=PATIENCE)
    result = stream.run(given(kind, tmp_path)).get(timeout=PATIENCE)
    assert "plum weighs 4" == said(kind, result), result
    assert (2, 2 if how else 1) == (count(tmp_path, "asked"), count(tmp_path, "weigh"))
    assert result.restarts == (1 if how else 0)
    assert result.total_tokens > 0


def test_a_worker_that_is_killed_in_a_tool_is_asked_on_from_there(runtime: Runtime, tmp_path: Path) -> None:
    """SIGKILL: the answer that asked for the tool was committed. A graph and an agent, in one pool of workers."""
    placement = Placement.process(workers=1, warm=1, start_method="forkserver", name="models")
    points = {kind: EntryPoint(id=kind, placement=placement, restart=QUICK) for kind in KINDS}
    streams = {kind: runtime.open_stream(points[kind], KINDS[kind]).get(timeout=PATIENCE) for kind in KINDS}
    for kind, stream in streams.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "die").write_text("kill")
        result = stream.run(given(kind, folder)).get(timeout=PATIENCE)
        assert ("plum weighs 4", 1) == (said(kind, result), result.restarts), result
        assert (2, 2) == (count(folder, "asked"), count(folder, "weigh"))


def ran(runtime: Runtime, graph: GraphSpec, model: Any, data: Any = None, **fields: Any) -> ExecutionResult:
    """Run a graph once whose model "stub" this is."""
    executor = GraphExecutor(graph, runners={"model": ModelNodes({"stub": model})})
    point = EntryPoint(**{"id": graph.id, "restart": NEVER, **fields})
    stream = runtime.open_stream(point, executor).get(timeout=PATIENCE)
    return stream.run(data or {"name": "Ada"}).get(timeout=PATIENCE)


def test_a_node_behind_that_crashes_leaves_the_answer_standing(runtime: Runtime, tmp_path: Path) -> None:
    """The checkpoint behind the node has it."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(f"answer {note(tmp_path, 'asked')}")])

    async def crash(ctx: Any, inputs: Any) -> str:
        if note(tmp_path, "behind") == 1:
            raise ConnectionError
        return inputs["text"]

    graph = asking()
    nodes = [*graph.nodes, NodeSpec(id="behind", function=crash, input_keys=["text"], output_keys=["end"])]
    graph = graph.model_copy(update={"nodes": tuple(nodes), "edges": (EdgeSpec(source="ask", target="behind"),)})
    result = ran(runtime, graph, FunctionModel(answer), restart=QUICK)
    assert ({"end": "answer 1"}, 1) == (result.output, count(tmp_path, "asked"))


def test_tokens_of_a_node_that_is_tried_again_count_once(runtime: Runtime, tmp_path: Path) -> None:
    """Its first answer comes from the record the second time."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked = note(tmp_path, "asked")
        parts: list[Any] = [ToolCallPart("flaky", {})] if asked == 1 else [TextPart("done")]
        response = ModelResponse(parts=parts)
        response.usage.input_tokens, response.usage.output_tokens = 10, 1
        return response

    def flaky() -> str:
        """Fails once."""
        if note(tmp_path, "tool") == 1:
            raise ConnectionError
        return "fine"

    result = ran(runtime, asking(tools=[flaky], retries=1), FunctionModel(answer))
    assert ({"text": "done"}, 22, 2) == (result.output, result.total_tokens, count(tmp_path, "asked")), result


def test_tools_are_told_and_one_that_asks_for_another_call_gets_it(runtime: Runtime) -> None:
    """`ModelRetry` is shown to the model, and no failure of the node; deps are the node's context."""
    seen: list[Event] = []
    runtime.subscribe(["tool_call_started", "tool_call_completed"], seen.append).get(timeout=PATIENCE)

    async def find(ctx: RunContext[Context], name: str) -> str:
        """Find somebody."""
        if name != "Ada":
            raise ModelRetry("write it with a capital")
        return f"{name} in {ctx.deps.execution_id}"

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart) and "in" in str(last.content) and len(messages) > 3:
            return ModelResponse(parts=[TextPart(str(last.content))])
        return ModelResponse(parts=[ToolCallPart("find", {"name": "ada" if len(messages) == 1 else "Ada"})])

    result = ran(runtime, asking(tools=[find]), FunctionModel(answer))
    assert {"text": f"Ada in {result.execution_id}"} == result.output, result
    until(lambda: len(seen) == 4)
    assert [("tool_call_started", "ask", None), ("tool_call_completed", "ask", False)] == [
        (event.type, event.node_id, event.data.get("success")) for event in seen[:2]
    ]
    assert {"name": "Ada"} == seen[2].data["args"]
    assert seen[3].data["success"]


def test_a_conversation_goes_on_from_node_to_node_where_the_graph_wants_it(runtime: Runtime) -> None:
    """Otherwise each begins its own."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(str(len(messages)))])

    for mode, lengths in (("isolated", ["1", "1"]), ("continuous", ["1", "3"])):
        nodes = [NodeSpec(id=key, kind="model", prompt="?", output_keys=[key]) for key in "ab"]
        edges = [EdgeSpec(source="a", target="b")]
        graph = GraphSpec(
            id=mode, default_model="stub", conversation_mode=mode, entry_node="a", nodes=nodes, edges=edges
        )
        result = ran(runtime, graph, FunctionModel(answer))
        assert lengths == [result.session_state[key] for key in "ab"]


def test_several_keys_are_an_object_with_a_text_for_each(runtime: Runtime) -> None:
    """TestModel makes one up that fits."""
    result = ran(runtime, asking(output_keys=["title", "text"], optional_keys=["title"]), TestModel())
    assert {"title", "text"} == set(result.output), result


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"settings": {"tempreture": 1}}, "node 'ask': settings has 'tempreture', and a model node knows"),
        ({"settings": {"request_limit": 0}}, "its setting request_limit is 0, and has to be a number from 1 on"),
        (
            {"settings": {"output_retries": True}},
            "its setting output_retries is True, and has to be a number from 0 on",
        ),
        ({"settings": {"instructions": 5}}, "its setting instructions is 5, and has to be text"),
        ({"settings": {"stream": "no"}}, "its setting stream is 'no', and has to be true or false"),
        ({"prompt": ""}, "node 'ask': a model node needs something to ask; pass prompt="),
        ({"tools": ["shop:find"]}, "node 'ask': its tool is only a name yet, 'shop:find'"),
    ],
)
def test_what_is_wrong_with_a_model_node_is_said_before_it_runs(fields: dict[str, Any], problem: str) -> None:
    """With the rest of what is wrong with the graph."""
    with pytest.raises(GraphInvalid, match=problem):
        GraphExecutor(asking(**fields))


@pytest.mark.parametrize("model", [5, "tiny", None])
def test_what_can_be_no_model_is_said_before_it_runs(model: Any) -> None:
    """Neither a name with a provider, nor one of those that were given."""
    models = {} if model is None else {"weigher": model}
    with pytest.raises(GraphInvalid, match="its model 'weigher' is"):
        GraphExecutor(asking(model="weigher"), runners={"model": ModelNodes(models)})
    GraphExecutor(asking(model="weigher"), runners={"model": ModelNodes({"weigher": TestModel()})})


def test_a_model_of_no_known_name_is_refused_by_name(runtime: Runtime) -> None:
    """When it is asked: a key may have come by then."""
    result = ran(runtime, asking(model="nowhere:tiny"), TestModel())
    assert result.failure is not None
    assert ("model_refused", False) == (result.failure.code, result.failure.retryable)
    assert "nowhere:tiny" in result.failure.message
