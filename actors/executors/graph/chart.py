"""A graph, looked at once: what a run of it looks up at every step."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from .choosing import names_in
from .reach import reachable
from .spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["MOST_CALLS", "Chart"]

MOST_CALLS: Final = 2**16
"""Of steps of one name, in one visit of a node."""


class Chart:
    """Of one graph. Immutable; any thread."""

    def __init__(self, graph: GraphSpec) -> None:
        self.graph = graph
        self.nodes: dict[str, NodeSpec] = {node.id: node for node in graph.nodes}
        self.edges: dict[str, EdgeSpec] = {edge.id: edge for edge in graph.edges}
        self.ends = graph.ends
        self.pauses = frozenset(graph.pause_nodes)
        self.edges_from: dict[str, tuple[EdgeSpec, ...]] = {node: graph.edges_from(node) for node in self.nodes}
        self.names: dict[str, frozenset[str]] = {
            node: frozenset(names_in(edges)) for node, edges in self.edges_from.items()
        }
        """By node, what the expressions of its edges need a value for."""
        targets = {node: [edge.target for edge in edges] for node, edges in self.edges_from.items()}
        self.behind: dict[str, frozenset[str]] = {
            node: frozenset(reachable(targets[node], targets)) for node in self.nodes
        }
        self._numbers = _numbered(self.nodes)
        """By node, every node that one may come to from it; itself only where there is a loop."""

    def first_call(self, node: str, visit: int) -> int:
        """What the calls of steps in this visit are counted from."""
        return (self._numbers[node] << 20 | visit) * MOST_CALLS

    def resumes_at(self, pause_node: str) -> str | None:
        """The node that a resume behind this pause node goes on at, where the graph names one."""
        return self.graph.entry_points.get(f"{pause_node}_resume")


def _numbered(nodes: Iterable[str]) -> dict[str, int]:
    """A number of 24 bits for each, by its name alone, so that it stays when other nodes come and go."""
    taken: dict[int, str] = {}
    for node in nodes:
        number = zlib.crc32(node.encode()) >> 8
        while number in taken:
            number = (number + 1) % 2**24
        taken[number] = node
    return {node: number for number, node in taken.items()}
