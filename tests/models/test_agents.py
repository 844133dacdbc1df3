"""Agents of pydantic-ai as executors, and what is said when a library is missing."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from propolis import EntryPoint, GraphExecutor, Runtime, Stream
from propolis.ai import AgentExecutor, LangGraphExecutor, ModelNodes, openai_compatible
from propolis.messages import ExtraMissing, InvalidInput

from ..graph.conftest import NEVER
from ..runtime.support import PATIENCE, until
from .graphs import asking
from .provider import Provider, Reply


def opened(runtime: Runtime, executor: AgentExecutor) -> Stream:
    """A stream of an agent."""
    return runtime.open_stream(EntryPoint(id="agent", restart=NEVER), executor).get(timeout=PATIENCE)


def counting(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Says how many messages there have been."""
    return ModelResponse(parts=[TextPart(str(len(messages)))])


class City(BaseModel):
    """A structured answer."""

    name: str


def test_an_agent_is_an_executor_and_its_output_the_executions(runtime: Runtime) -> None:
    """Text, or a model of the user's as plain data."""
    agent = Agent(TestModel(custom_output_args={"name": "Graz"}), output_type=City, name="guide")
    result = opened(runtime, AgentExecutor(agent)).run({"prompt": "Where?"}).get(timeout=PATIENCE)
    assert ({"name": "Graz"}, ("guide",)) == (result.output, result.path)
    assert result.total_tokens > 0


def test_who_joins_the_session_goes_on_with_the_conversation(runtime: Runtime) -> None:
    """Unless the executor keeps none."""
    stream = opened(runtime, AgentExecutor(Agent(FunctionModel(counting))))
    first = stream.run("hello").get(timeout=PATIENCE)
    second = stream.run("and now", session_id=first.session_id).get(timeout=PATIENCE)
    assert ("1", "3") == (first.output, second.output)


def test_an_agents_faults_are_typed_and_its_budget_asks(runtime: Runtime, provider: Provider) -> None:
    """As those of a node; it is named as one."""
    provider.replies = [Reply("one"), Reply(status=401)]
    model = openai_compatible("stub-1", base_url=provider.base_url)
    stream = opened(runtime, AgentExecutor(Agent(name="guide"), model=model, token_budget=10))
    first = stream.run("hello").get(timeout=PATIENCE)
    assert ("one ", 10) == (first.output, first.total_tokens)
    execution_id = stream.execute("more", session_id=first.session_id).get(timeout=PATIENCE)
    (question,) = until(lambda: stream.open_questions().get(timeout=PATIENCE))
    assert "guide" == question.node_id
    stream.answer(question.id, 5).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert result.failure is not None
    assert "model_refused" == result.failure.code
    assert "Node 'guide'" in result.failure.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (AgentExecutor, "AgentExecutor.agent: there is none"),
        (lambda: AgentExecutor(5), "AgentExecutor.agent: 5 is no agent"),
        (lambda: AgentExecutor(Agent()), "AgentExecutor.model: neither it nor the agent names one"),
        (LangGraphExecutor, "LangGraphExecutor.graph: there is none"),
        (lambda: LangGraphExecutor(object()), "is no compiled graph"),
    ],
)
def test_what_is_no_agent_or_graph_is_refused(wrong: Any, words: str) -> None:
    """With what to do."""
    with pytest.raises(InvalidInput, match=words):
        wrong()


@pytest.mark.parametrize(
    ("library", "extra", "make"),
    [
        ("pydantic_ai", "ai", lambda: AgentExecutor(object())),
        ("pydantic_ai", "ai", lambda: GraphExecutor(asking())),
        ("pydantic_ai", "ai", lambda: openai_compatible("x", base_url="http://127.0.0.1")),
        ("langgraph", "langgraph", lambda: LangGraphExecutor(object())),
    ],
    ids=["agent", "graph with a model", "endpoint", "langgraph"],
)
def test_without_its_library_each_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str, make: Any
) -> None:
    """A typed error, which is an ImportError too. A graph without models needs none of it."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == library or name.endswith(".ai.recording"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExtraMissing, match=rf"not installed: pip install 'propolis\[{extra}\]'"):
        make()
    ModelNodes()
