"""Graphs of model nodes that several tests run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from propolis import EdgeSpec, GraphSpec, NodeSpec


class Verdict(BaseModel):
    """What is to be made of a ticket."""

    label: Literal["refund", "question"]
    urgent: bool = False


def asking(**fields: Any) -> GraphSpec:
    """One node that asks."""
    about = {key: fields.pop(key) for key in ("token_budget", "identity_prompt", "loop_config") if key in fields}
    ask = {"prompt": "Answer $name", "input_keys": ["name"], "output_keys": ["text"], "kind": "model"}
    return GraphSpec(
        id="asking", default_model="stub", entry_node="ask", nodes=[NodeSpec(id="ask", **{**ask, **fields})], **about
    )


async def note(ctx: Any, inputs: Any) -> None:
    """A node that is passed."""


def deciding() -> GraphSpec:
    """A node behind which a model decides."""
    ways = {"left": "when it is about tea", "right": "when it is about anything else"}
    return GraphSpec(
        id="deciding",
        default_model="stub",
        entry_node="ask",
        terminal_nodes=["left", "right"],
        nodes=[
            NodeSpec(id="ask", kind="model", prompt="Sum up", input_keys=["text"], output_keys=["summary"]),
            *(NodeSpec(id=target, function=note) for target in ways),
        ],
        edges=[
            EdgeSpec(source="ask", target=target, condition="model_decides", description=text)
            for target, text in ways.items()
        ],
    )
