"""What all executions of one stream share: how to run them, and whom to talk to."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from propolis.messages import EventDraft

    from ..backlog import Backlog
    from ..config import RuntimeConfig
    from ..core import Ref
    from ..executors import ExecutorPlan
    from ..goals import Goal
    from ..lease import Lease
    from ..placements import Launcher
    from ..records import SessionActor
    from ..specs import EntryPoint

__all__ = ["LateCalls", "StreamPlan"]


class LateCalls:
    """How many calls and reports came from attempts that nobody listens to any more. Any thread counts one."""

    __slots__ = ("_lock", "count")

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def one(self) -> None:
        """One more."""
        with self._lock:
            self.count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """Handed by the stream to each of its executions."""

    entry_point: EntryPoint
    executor: ExecutorPlan
    launcher: Launcher
    sessions: Ref[SessionActor]
    events: Ref[Any]
    wakeups: Ref[Any]
    state: Ref[Any]
    config: RuntimeConfig
    streams: Mapping[str, Ref[Any]]
    """All streams that are open, by their ids. Read on the actor loop, where it is changed."""
    lease: Lease
    backlog: Backlog
    goal: Goal | None = None
    announced: tuple[EventDraft, ...] = ()
    """What the executor begins with, for the commit that counts the first attempt of a fresh execution."""
    late: LateCalls = field(default_factory=LateCalls)

    @property
    def owner(self) -> str:
        """The runtime's id, which every row that it owns carries."""
        return self.lease.runtime_id

    @property
    def has_time_limits(self) -> bool:
        """Whether every execution of the stream has a limit to watch."""
        point = self.entry_point
        return point.timeout is not None or point.total_timeout is not None or point.idle_timeout is not None
