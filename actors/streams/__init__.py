"""Streams and their executions."""

from .entries import Books
from .execution import ExecutionActor
from .plan import StreamPlan
from .stream import StreamActor

__all__ = [
    "Books",
    "ExecutionActor",
    "StreamActor",
    "StreamPlan",
]
