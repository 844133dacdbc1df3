"""What the actors of one runtime share: its configuration, its threads and placements, and whom to talk to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from propolis.messages import InvalidInput

from .executors import announced, plan_executor, prepared
from .goals import Goal, goal_for
from .specs import EntryPoint
from .streams.plan import StreamPlan
from .triggers import timer_input

if TYPE_CHECKING:
    from .backlog import Backlog
    from .config import RuntimeConfig
    from .core import Ref
    from .lease import Lease
    from .placements import AsyncioPlacement, Launcher, ProcessPlacement, ThreadPlacement
    from .records import StoreThreads

__all__ = ["Services"]


@dataclass(kw_only=True)
class Services:
    """Made by the root when its store is open; `sessions` and `state` are filled in once those actors are there."""

    lease: Lease
    backlog: Backlog
    config: RuntimeConfig
    threads: StoreThreads
    asyncio_placement: AsyncioPlacement
    thread_placement: ThreadPlacement
    process_placement: ProcessPlacement
    wakeups: Ref[Any]
    events: Ref[Any]
    sessions: Ref[Any] | None = None
    state: Ref[Any] | None = None
    streams: dict[str, Ref[Any]] = field(default_factory=dict)
    """Those that are open, by their ids. On the actor loop."""
    goals: dict[str, Goal] = field(default_factory=dict)
    """By stream, what those that are open are there for."""

    @property
    def owner(self) -> str:
        """The runtime's id. Another one after it was declared lost, and has joined again."""
        return self.lease.runtime_id

    def plan_stream(self, entry_point: EntryPoint, executor: Any, goal: Goal | None = None) -> StreamPlan:
        """Look at an executor and decide where it runs. Any thread.

        Raises:
            InvalidInput: it is no executor, or cannot run in the placement of the entry point; or that is no goal.
            ExecutorNotImportable: it is to run in another process, which could not import it.
            GraphInvalid: it is a graph, which has no node of the name that the entry point begins at.
        """
        if not isinstance(entry_point, EntryPoint):
            raise InvalidInput(
                what="entry_point", reason=f"{entry_point!r} is no EntryPoint", remedy='Pass EntryPoint(id="…").'
            )
        if goal is not None and not isinstance(goal, Goal):
            raise InvalidInput(what="goal", reason=f"{goal!r:.200} is no Goal", remedy='Pass Goal(id="…", …), or None.')
        plan, goal = plan_executor(executor), goal_for(executor, goal, list(self.goals.values()))
        entry_point = prepared(executor, entry_point)
        if entry_point.trigger_type == "timer":
            plan.bind(timer_input(entry_point.trigger_config, self.threads.host.now()))
        placement = entry_point.placement
        kind = placement.kind if placement is not None else ("asyncio" if plan.is_async else "thread")
        if kind == "asyncio" and not plan.is_async:
            raise InvalidInput(
                what=f"EntryPoint {entry_point.id!r}",
                reason=f"executor {plan.name} is a blocking function and would hold up the event loop of all others",
                remedy="Use Placement.thread(), or make the executor an async def.",
            )
        launcher: Launcher
        if kind == "process":
            assert placement is not None
            launcher = self.process_placement.launcher(entry_point, placement, executor)
        else:
            launcher = self.asyncio_placement if kind == "asyncio" else self.thread_placement
        assert self.sessions is not None, "the SessionActor is started before any stream"
        assert self.state is not None, "the StateActor is started before any stream"
        return StreamPlan(
            entry_point=entry_point,
            executor=plan,
            launcher=launcher,
            sessions=self.sessions,
            events=self.events,
            wakeups=self.wakeups,
            state=self.state,
            config=self.config,
            lease=self.lease,
            backlog=self.backlog,
            streams=self.streams,
            goal=goal,
            announced=announced(executor, entry_point),
        )
