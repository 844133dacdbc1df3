"""A token budget: what is spent is counted once, whatever dies, and a person says whether it may go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from propolis import EdgeSpec, EntryPoint, GraphExecutor, GraphSpec, NodeSpec, Placement, Question, Runtime, Stream
from propolis.ai import ModelNodes
from propolis.messages import InvalidInput

from ..graph.conftest import NEVER
from ..runtime.support import PATIENCE, until


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Always costs ten tokens."""
    response = ModelResponse(parts=[TextPart("yes")])
    response.usage.input_tokens, response.usage.output_tokens = 9, 1
    return response


def chain(budget: int) -> GraphSpec:
    """Three nodes that ask, one after the other."""
    nodes = [NodeSpec(id=key, kind="model", prompt="?", output_keys=[key]) for key in "abc"]
    edges = [EdgeSpec(source="a", target="b"), EdgeSpec(source="b", target="c")]
    return GraphSpec(id="chain", default_model="stub", token_budget=budget, entry_node="a", nodes=nodes, edges=edges)


def opened(runtime: Runtime, budget: int, placement: Placement) -> Stream:
    """A stream of such chains."""
    executor = GraphExecutor(chain(budget), runners={"model": ModelNodes({"stub": FunctionModel(answer)})})
    return runtime.open_stream(EntryPoint(id="chain", restart=NEVER, placement=placement), executor).get(
        timeout=PATIENCE
    )


def asked(stream: Stream) -> Question:
    """The one question there is."""
    (question,) = until(lambda: stream.open_questions().get(timeout=PATIENCE), "a question")
    return question


def ended(stream: Stream, execution_id: str) -> Any:
    """How it ended."""
    return stream.wait_for_completion(execution_id).get(timeout=PATIENCE)


@pytest.mark.parametrize("placement", [Placement.asyncio(), Placement.thread()], ids=["asyncio", "thread"])
def test_a_budget_that_is_spent_asks_how_many_more(runtime: Runtime, placement: Placement) -> None:
    """Whether the stack is kept while it waits or unwound: each answer counts once."""
    stream = opened(runtime, 15, placement)
    execution_id = stream.execute().get(timeout=PATIENCE)
    question = asked(stream)
    assert ("c", {"type": "integer", "minimum": 0}.items() <= (question.schema or {}).items()) == (
        question.node_id,
        True,
    )
    assert "has used 20 tokens of 15" in question.prompt
    with pytest.raises(InvalidInput):
        stream.answer(question.id, "many").get(timeout=PATIENCE)
    stream.answer(question.id, 10).get(timeout=PATIENCE)
    result = ended(stream, execution_id)
    assert ("completed", 30) == (result.status, result.total_tokens), result
    assert {"total": [30, 10], "visits": {}} == result.session_state["__tokens__"]


def test_what_is_given_is_used_up_too_and_nothing_more_ends_it(runtime: Runtime) -> None:
    """Five more are not enough for one answer, so it is asked again; 0 is no."""
    stream = opened(runtime, 10, Placement.asyncio())
    execution_id = stream.execute().get(timeout=PATIENCE)
    stream.answer(asked(stream).id, 5).get(timeout=PATIENCE)
    until(lambda: stream.open_questions().get(timeout=PATIENCE) and asked(stream).node_id == "c")
    stream.answer(asked(stream).id, 0).get(timeout=PATIENCE)
    result = ended(stream, execution_id)
    assert ("failed", "tokens_exhausted", 20) == (result.status, result.failure.code, result.total_tokens)
    assert {"node_id": "c", "spent": 20, "budget": 15} == result.failure.details.value()


def test_what_was_spent_outlives_the_runtime_and_so_does_the_question(tmp_path: Path) -> None:
    """Another one takes it up: nobody is asked again who has answered, and nothing is counted twice."""
    store, placement = f"sqlite:///{tmp_path}/budget.db", Placement.asyncio()
    with Runtime(store) as runtime:
        stream = opened(runtime, 15, placement)
        execution_id = stream.execute().get(timeout=PATIENCE)
        question = asked(stream)
    with Runtime(store) as runtime:
        stream = opened(runtime, 15, placement)
        assert question.id == asked(stream).id
        stream.answer(question.id, 10).get(timeout=PATIENCE)
        result = ended(stream, execution_id)
    assert ("completed", 30) == (result.status, result.total_tokens), result
    assert {"total": [30, 10], "visits": {}} == result.session_state["__tokens__"]


def test_it_is_the_sessions_over_all_its_executions(runtime: Runtime) -> None:
    """Who joins pays out of the same purse."""
    stream = opened(runtime, 40, Placement.asyncio())
    first = stream.run().get(timeout=PATIENCE)
    execution_id = stream.execute(session_id=first.session_id).get(timeout=PATIENCE)
    question = asked(stream)
    assert ("b", True) == (question.node_id, "has used 40 tokens of 40" in question.prompt)
    stream.answer(question.id, 100).get(timeout=PATIENCE)
    assert 30 == ended(stream, execution_id).total_tokens
