"""Supervised, durable executions of your own code, inside your own Python process."""

from propolis.actors import (
    Backoff,
    Cancelled,
    CheckpointConfig,
    Context,
    Done,
    EdgeSpec,
    EntryPoint,
    Executor,
    GraphExecutor,
    GraphSpec,
    NodeSpec,
    ParallelPolicy,
    Parked,
    Paused,
    Placement,
    Reply,
    RestartPolicy,
    RuntimeConfig,
    StreamPolicy,
    SyncContext,
    ask,
)
from propolis.messages import ExecutionResult, NonRetryable, PropolisError, Question

from .runtime import Runtime
from .stream import Stream

__all__ = [
    "Backoff",
    "Cancelled",
    "CheckpointConfig",
    "Context",
    "Done",
    "EdgeSpec",
    "EntryPoint",
    "ExecutionResult",
    "Executor",
    "GraphExecutor",
    "GraphSpec",
    "NodeSpec",
    "NonRetryable",
    "ParallelPolicy",
    "Parked",
    "Paused",
    "Placement",
    "PropolisError",
    "Question",
    "Reply",
    "RestartPolicy",
    "Runtime",
    "RuntimeConfig",
    "Stream",
    "StreamPolicy",
    "SyncContext",
    "ask",
]
