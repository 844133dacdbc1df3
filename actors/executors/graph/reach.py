"""Where one gets to in a graph, and where one goes round: on ids alone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

__all__ = ["Arrows", "backwards", "loops", "reachable"]

Arrows = Mapping[str, Collection[str]]
"""By node, the nodes that its edges lead to. A node without edges may be missing."""


def reachable(starts: Iterable[str], arrows: Arrows) -> set[str]:
    """The starts, and every node that one gets to from them."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(arrows.get(node, ()))
    return found


def backwards(arrows: Arrows) -> dict[str, list[str]]:
    """The same edges, the other way round."""
    turned: dict[str, list[str]] = {}
    for source, targets in arrows.items():
        for target in targets:
            turned.setdefault(target, []).append(source)
    return turned


def loops(nodes: Collection[str], arrows: Arrows) -> list[tuple[str, ...]]:
    """Loops among these nodes, one after the other, until none is left without the first node of each.

    A loop begins at the node that was written first, and ends at it again.
    """
    order = {node: place for place, node in enumerate(nodes)}
    left = dict.fromkeys(nodes)
    found = []
    while (loop := _a_loop(left, arrows)) is not None:
        first = min(loop, key=order.__getitem__)
        at = loop.index(first)
        found.append((*loop[at:], *loop[:at], first))
        del left[first]
    return found


def _a_loop(nodes: Collection[str], arrows: Arrows) -> list[str] | None:
    inner = {node: [target for target in arrows.get(node, ()) if target in nodes] for node in nodes}
    try:
        TopologicalSorter(backwards(inner)).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle[:-1]
    return None
