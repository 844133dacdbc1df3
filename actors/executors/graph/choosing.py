"""Which edges are taken when a node is done. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from propolis.messages import ExpressionFailed, NodeOutputInvalid, PropolisError, line_of

from .expressions import parse
from .spec import EdgeSpec, NodeSpec

__all__ = ["best", "names_in", "open_edges", "routed"]


def names_in(edges: Iterable[EdgeSpec]) -> set[str]:
    """The names that the expressions of these edges need a value for."""
    return {name for edge in edges if edge.expression is not None for name in parse(edge.expression).names}


def open_edges(edges: Iterable[EdgeSpec], names: Mapping[str, Any], *, success: bool) -> list[EdgeSpec]:
    """Those whose condition holds. One that a model decides about is among them: it may be picked.

    Raises:
        ExpressionFailed: an expression cannot be evaluated with these values.
    """
    conditions = ("always", "on_success", "conditional", "model_decides") if success else ("always", "on_failure")
    return [edge for edge in edges if edge.condition in conditions and _holds(edge, names)]


def _holds(edge: EdgeSpec, names: Mapping[str, Any]) -> bool:
    if edge.expression is None:
        return True
    try:
        return bool(parse(edge.expression).evaluate(names))
    except PropolisError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever an operation raises on values that it does not fit
        raise ExpressionFailed(edge_id=edge.id, expression=edge.expression, reason=line_of(error)) from None


def routed(node: NodeSpec, edges: Iterable[EdgeSpec], choice: Any) -> frozenset[str]:
    """The ids of the edges that a router has chosen by label, target or id.

    Raises:
        NodeOutputInvalid: it has chosen none, or what it has not got.
    """
    edges = [edge for edge in edges if edge.condition == "on_success"]
    choices = [choice] if isinstance(choice, str) else choice
    if not isinstance(choices, (list, tuple, set, frozenset)) or not choices:
        raise NodeOutputInvalid(node_id=node.id, reason=f"a router returns where to go, not {choice!r:.100}")
    picked: set[str] = set()
    for each in choices:
        target = node.routes.get(each, each) if isinstance(each, str) else each
        found = {edge.id for edge in edges if target in (edge.target, edge.id)}
        if not found:
            known = ", ".join(sorted({*node.routes, *(edge.target for edge in edges)}))
            raise NodeOutputInvalid(node_id=node.id, reason=f"no edge leads to {each!r:.100}, only to {known}")
        picked |= found
    return frozenset(picked)


def best(node: NodeSpec, edges: Iterable[EdgeSpec], picked: Collection[str] | None) -> list[EdgeSpec]:
    """Of the open edges those of the highest priority, without what a router or a model did not pick."""
    chooser = "on_success" if node.kind == "router" else "model_decides"
    left = [edge for edge in edges if edge.condition != chooser or picked is None or edge.id in picked]
    highest = max((edge.priority for edge in left), default=0)
    return [edge for edge in left if edge.priority == highest]
