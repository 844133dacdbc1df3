"""Errors of graphs: what is wrong with one before it runs, and what becomes of one that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from .errors import PropolisError

__all__ = [
    "BranchConflict",
    "BranchTimedOut",
    "ExpressionFailed",
    "GraphChanged",
    "GraphInvalid",
    "GraphProblem",
    "NoEdgeTaken",
    "NodeInputMissing",
    "NodeOutputInvalid",
    "NodeTimedOut",
    "StepsExceeded",
    "VisitsExceeded",
]


class GraphProblem(NamedTuple):
    """One thing that is wrong with a graph. `kind` is a stable word for programs, `where` names the node or edge."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(eq=False, kw_only=True)
class GraphInvalid(PropolisError, ValueError):
    """A graph that cannot run as it is written. `problems` has everything that was found, and none of it ran."""

    graph_id: str
    problems: tuple[GraphProblem, ...]

    def __post_init__(self) -> None:
        self.problems = tuple(GraphProblem(*problem) for problem in self.problems)

    def details(self) -> dict[str, Any]:
        return {"graph_id": self.graph_id, "problems": [list(problem) for problem in self.problems]}

    def __str__(self) -> str:
        count = len(self.problems)
        listed = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(self.problems, 1))
        return f"Graph {self.graph_id!r} has {count} {'problem' if count == 1 else 'problems'}:{listed}"


@dataclass(eq=False, kw_only=True)
class NodeTimedOut(PropolisError, TimeoutError):
    """A node took longer than its `timeout`."""

    retryable: ClassVar[bool] = True
    sentence = "Node {node_id!r} was not done within {seconds:g} s. Raise NodeSpec.timeout, or give it less to do."
    node_id: str
    seconds: float


@dataclass(eq=False, kw_only=True)
class BranchTimedOut(PropolisError, TimeoutError):
    """A parallel branch took longer than the graph's `parallel.branch_timeout`; it was at this node."""

    retryable: ClassVar[bool] = True
    sentence = (
        "The branch at node {node_id!r} was not done within {seconds:g} s of its fork. "
        "Raise ParallelPolicy.branch_timeout."
    )
    node_id: str
    seconds: float


@dataclass(eq=False, kw_only=True)
class NodeInputMissing(PropolisError):
    """A node is to run, and nothing has produced one of its inputs."""

    node_id: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        keys = ", ".join(map(repr, self.keys))
        return (
            f"Node {self.node_id!r} has no {keys}: neither the input nor a node on the way has set it. "
            "Pass it, or name it in the node's optional_keys."
        )


@dataclass(eq=False, kw_only=True)
class NodeOutputInvalid(PropolisError):
    """What a node returned is not what it declares."""

    retryable: ClassVar[bool] = True
    sentence = "What node {node_id!r} returned cannot be used: {reason}."
    node_id: str
    reason: str


@dataclass(eq=False, kw_only=True)
class NoEdgeTaken(PropolisError):
    """A node is done, is no terminal node, and none of its edges is to be taken."""

    sentence = (
        "Node {node_id!r} is done and none of its edges is taken. "
        "Give it one that always is, or make it a terminal node."
    )
    node_id: str


@dataclass(eq=False, kw_only=True)
class VisitsExceeded(PropolisError):
    """A loop came back to a node more often than its `max_visits` allows."""

    sentence = (
        "Node {node_id!r} has been visited {max_visits} times, its max_visits. Raise it, or leave the loop before, "
        "with an expression over `visits`."
    )
    node_id: str
    max_visits: int


@dataclass(eq=False, kw_only=True)
class StepsExceeded(PropolisError):
    """A graph took more steps than its `max_steps`."""

    sentence = "Graph {graph_id!r} has taken {max_steps} steps, its max_steps, and is not done. Raise it if need be."
    graph_id: str
    max_steps: int


@dataclass(eq=False, kw_only=True)
class BranchConflict(PropolisError):
    """Two parallel branches set the same key, and the graph's `parallel.on_conflict` is "error"."""

    sentence = (
        "Node {node_id!r} sets {key!r}, which a parallel branch has set already. "
        "Use another key, or another ParallelPolicy.on_conflict."
    )
    key: str
    node_id: str


@dataclass(eq=False, kw_only=True)
class ExpressionFailed(PropolisError):
    """The expression of an edge cannot be evaluated with the values that there are."""

    sentence = "The expression {expression!r} of edge {edge_id!r} failed: {reason}."
    edge_id: str
    expression: str
    reason: str


@dataclass(eq=False, kw_only=True)
class GraphChanged(PropolisError):
    """A session stands at a node that the graph does not have (any more)."""

    sentence = (
        "Session {session_id!r} stands at node {node_id!r}, which graph {graph_id!r} does not have. "
        "Open the stream with the graph that the session was run with, or start anew."
    )
    session_id: str
    graph_id: str
    node_id: str
