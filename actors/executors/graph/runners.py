"""Who runs the nodes that are no functions of the user's: the seam for language models, and for what is like them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from string import Template
from typing import Any, Protocol

from pydantic import BaseModel

from ...specs import thawed
from ..context import Context
from .spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["HumanRunner", "ModelRunner", "NodeCall", "NodeRunner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCall:
    """One try of a node."""

    graph: GraphSpec
    node: NodeSpec
    ctx: Context
    inputs: Any
    """A dict, or the node's input model."""
    spend: Callable[[int], None]
    """Count tokens of a language model, for the result."""


class HumanRunner:
    """Runs the human nodes: asks their prompt, with `$key` for inputs, and gives the answer.

    Of the node's settings: `schema` (a JSON schema that an answer must satisfy), `deadline_seconds`, `default` (the
    answer that counts at the deadline).
    """

    async def run(self, call: NodeCall) -> Any:
        """Parked until somebody answers. Raises what `ctx.ask_human` does."""
        settings = thawed(call.node.settings)
        inputs = call.inputs.model_dump() if isinstance(call.inputs, BaseModel) else call.inputs
        prompt = Template(call.node.prompt).safe_substitute(inputs)
        options = {name: settings[name] for name in ("schema", "default") if name in settings}
        if settings.get("deadline_seconds") is not None:
            seconds = timedelta(seconds=settings["deadline_seconds"])
            options["deadline"] = call.ctx._attempt.host.now() + seconds
        answer = await call.ctx.ask_human(prompt, node_id=call.node.id, **options)
        return {call.node.outputs[0]: answer}


class NodeRunner(Protocol):
    """Runs nodes of one kind. One object serves all executions that its process runs, several at once."""

    async def run(self, call: NodeCall) -> Any:
        """What the node returns, as its function would. Whatever this raises is the node's failure."""
        ...


class ModelRunner(NodeRunner, Protocol):
    """Runs model nodes, and decides about edges."""

    async def decide(self, call: NodeCall, edges: Sequence[EdgeSpec], outputs: Any) -> Collection[str]:
        """The ids of the edges to take, of those that `model_decides` is the condition of."""
        ...
