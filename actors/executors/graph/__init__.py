"""Graphs of nodes as executors: written as data, checked as a whole, run node by node with a checkpoint behind each."""

from .drawing import dot_of, mermaid_of
from .executor import GraphExecutor
from .loading import load_graph, parse_graph, resolve_graph
from .runners import ModelRunner, NodeCall, NodeRunner
from .spec import Condition, EdgeSpec, GraphSpec, NodeKind, NodeSpec, ParallelPolicy

__all__ = [
    "Condition",
    "EdgeSpec",
    "GraphExecutor",
    "GraphSpec",
    "ModelRunner",
    "NodeCall",
    "NodeKind",
    "NodeRunner",
    "NodeSpec",
    "ParallelPolicy",
    "dot_of",
    "load_graph",
    "mermaid_of",
    "parse_graph",
    "resolve_graph",
]
