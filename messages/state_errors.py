"""Errors of memory that executions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .errors import PropolisError

__all__ = ["KeyNotPermitted", "ScopeNotAllowed", "StateConflict"]


@dataclass(eq=False, kw_only=True)
class ScopeNotAllowed(PropolisError):
    """An isolated execution asked for memory that it shares with others."""

    sentence = (
        "Execution {execution_id!r} of stream {stream_id!r} is {isolation_level}: it has its own memory, and none of "
        'scope {scope!r}. Open the stream with EntryPoint(isolation_level="shared") or "synchronized".'
    )
    execution_id: str
    stream_id: str
    scope: str
    isolation_level: str = "isolated"


@dataclass(eq=False, kw_only=True)
class StateConflict(PropolisError):
    """A value is not what it was taken for: somebody else has changed it since. Nothing was written."""

    retryable: ClassVar[bool] = True
    sentence = (
        "{key!r} in scope {scope!r} is not what it was expected to be; it has version {version} now, and nothing was "
        "written. Read it again, or use memory.update(key, function)."
    )
    scope: str
    key: str
    version: int


@dataclass(eq=False, kw_only=True)
class KeyNotPermitted(PropolisError):
    """The function of a node used a key of memory that its node does not declare."""

    sentence = "Node {node_id!r} may not {access} {key!r}. Name it in the node's {remedy}."
    node_id: str
    key: str
    access: str
    remedy: str
