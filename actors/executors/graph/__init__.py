"""Graphs of nodes as executors: written as data, checked as a whole, run node by node with a checkpoint behind each."""

from .executor import GraphExecutor
from .runners import NodeCall, NodeRunner
from .spec import Condition, EdgeSpec, GraphSpec, NodeKind, NodeSpec, ParallelPolicy

__all__ = [
    "Condition",
    "EdgeSpec",
    "GraphExecutor",
    "GraphSpec",
    "NodeCall",
    "NodeKind",
    "NodeRunner",
    "NodeSpec",
    "ParallelPolicy",
]
