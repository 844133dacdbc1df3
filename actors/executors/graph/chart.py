"""A graph, looked at once: what a run of it looks up at every step."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable
from typing import Final

from propolis.messages import EventDraft, Payload

from .place import Place
from .reach import reachable
from .spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["MOST_CALLS", "Chart", "visit_begins"]

MOST_CALLS: Final = 2**16
"""Of steps of one name, in one visit of a node."""


class Chart:
    """Of one graph. Immutable; any thread."""

    def __init__(self, graph: GraphSpec) -> None:
        self.graph = graph
        self.nodes: dict[str, NodeSpec] = {node.id: node for node in graph.nodes}
        self.edges: dict[str, EdgeSpec] = {edge.id: edge for edge in graph.edges}
        self.ends = graph.ends
        self.edges_from: dict[str, tuple[EdgeSpec, ...]] = {node: graph.edges_from(node) for node in self.nodes}
        self.places: dict[str, Place] = {
            node.id: Place(
                node,
                self.edges_from[node.id],
                is_end=node.id in self.ends,
                pauses=node.id in graph.pause_nodes,
            )
            for node in graph.nodes
        }
        self.traversed: dict[str, EventDraft] = {edge.id: _traversed(edge) for edge in graph.edges}
        """By edge, what is said when it has been taken."""
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


@functools.lru_cache(maxsize=1_024)
def visit_begins(node: str, visit: int) -> EventDraft:
    """What is said when a visit of a node begins."""
    return "node_loop_started", node, Payload.of({"visit": visit}).data


def _traversed(edge: EdgeSpec) -> EventDraft:
    way = {"edge": edge.id, "source": edge.source, "target": edge.target}
    return "edge_traversed", edge.source, Payload.of(way).data


def _numbered(nodes: Iterable[str]) -> dict[str, int]:
    """A number of 24 bits for each, by its name alone, so that it stays when other nodes come and go."""
    taken: dict[int, str] = {}
    for node in nodes:
        number = zlib.crc32(node.encode()) >> 8
        while number in taken:
            number = (number + 1) % 2**24
        taken[number] = node
    return {node: number for number, node in taken.items()}
