"""What a worker process can import: models that write down each time they are asked, and a tool that may die."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from propolis import GraphExecutor, GraphSpec, NodeSpec
from propolis.ai import AgentExecutor, ModelNodes


def note(folder: str | Path, what: str) -> int:
    """Write down that something was done: how often it has been, by now."""
    with Path(folder, what).open("a") as file:
        file.write("x")
    return count(folder, what)


def count(folder: str | Path, what: str) -> int:
    """How often it has been done."""
    path = Path(folder, what)
    return path.stat().st_size if path.exists() else 0


def weigh(folder: str, item: str) -> int:
    """What a thing weighs."""
    how = Path(folder, "die").read_text() if Path(folder, "die").exists() else ""
    if note(folder, "weigh") == 1 and how == "raise":
        raise ConnectionError("the scales are broken")
    if count(folder, "weigh") == 1 and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return len(item)


def think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Asks for the weight of the thing first, then answers; writes down each time that it is asked."""
    asked = next(str(part.content) for part in messages[-1 if len(messages) > 3 else 0].parts if _is_prompt(part))
    found = re.search(r"of (\w+) in (\S+)", asked)
    assert found is not None, asked
    item, folder = found.groups()
    note(folder, "asked")
    weights = [part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
    if not weights:
        return ModelResponse(parts=[ToolCallPart("weigh", {"folder": folder, "item": item})])
    return ModelResponse(parts=[TextPart(f"{item} weighs {weights[0]}")])


def _is_prompt(part: Any) -> bool:
    return isinstance(part, UserPromptPart)


SCALES = GraphSpec(
    id="scales",
    default_model="thinker",
    entry_node="answer",
    nodes=[
        NodeSpec(
            id="answer",
            kind="model",
            prompt="The weight of $item in $folder",
            input_keys=["item", "folder"],
            output_keys=["text"],
            tools=[weigh],
        )
    ],
)
MODELS = {"thinker": FunctionModel(think)}


class Scales(GraphExecutor):
    """A graph with a model."""

    graph = SCALES
    runners = {"model": ModelNodes(MODELS)}  # noqa: RUF012 - the class's own way to say it


class Weigher(AgentExecutor):
    """The same as an agent."""

    agent = Agent(FunctionModel(think), tools=[weigh], name="weigher")
