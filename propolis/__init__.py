"""Supervised, durable executions of your own code, inside your own Python process."""

from propolis.actors import (
    Backoff,
    Cancelled,
    Context,
    EntryPoint,
    Executor,
    Paused,
    Placement,
    Reply,
    RestartPolicy,
    RuntimeConfig,
    StreamPolicy,
    SyncContext,
    ask,
)
from propolis.messages import ExecutionResult, NonRetryable, PropolisError

from .runtime import Runtime
from .stream import Stream

__all__ = [
    "Backoff",
    "Cancelled",
    "Context",
    "EntryPoint",
    "ExecutionResult",
    "Executor",
    "NonRetryable",
    "Paused",
    "Placement",
    "PropolisError",
    "Reply",
    "RestartPolicy",
    "Runtime",
    "RuntimeConfig",
    "Stream",
    "StreamPolicy",
    "SyncContext",
    "ask",
]
