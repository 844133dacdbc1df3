"""Three functions in a row, as the nodes of a graph and as plain steps: the same work for each contender."""

from __future__ import annotations

NODES = 3


def one_more(number: int) -> int:
    """What each of the three does."""
    return number + 1
