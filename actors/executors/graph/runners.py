"""Who runs the nodes that are no functions of the user's: the seam for language models, and for what is like them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..context import Context
from .spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["NodeCall", "NodeRunner"]


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


class NodeRunner(Protocol):
    """Runs nodes of one kind. One object serves all executions that its process runs, several at once."""

    async def run(self, call: NodeCall) -> Any:
        """What the node returns, as its function would. Whatever this raises is the node's failure."""
        ...

    async def decide(self, call: NodeCall, edges: Sequence[EdgeSpec], outputs: Any) -> Collection[str]:
        """The ids of the edges to take, of those that `model_decides` is the condition of."""
        ...
