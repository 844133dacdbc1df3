"""How the root has a stream pursue its goal: an actor for each goal, which outlives the streams that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from propolis.messages import InvalidInput

from ..executors.graph import GraphExecutor
from .goal import GoalActor

if TYPE_CHECKING:
    from ..core import AsyncioActor
    from ..services import Services
    from ..streams.plan import StreamPlan
    from .spec import Goal

__all__ = ["check_goal", "goal_for", "pursue", "pursue_no_more"]


def goal_for(executor: Any, given: Goal | None, known: Iterable[Goal]) -> Goal | None:
    """The goal of a stream: what `open_stream` was given. Where the executor is a graph with a `goal_id` it has to be
    that, and need not be given where another stream pursues it already.

    Raises:
        InvalidInput: it is another one.
    """
    spec = None
    if isinstance(executor, GraphExecutor):
        spec = executor.spec
    elif isinstance(executor, type) and issubclass(executor, GraphExecutor):
        spec = executor.graph
    if spec is None or spec.goal_id is None:
        return given
    if given is None:
        return next((goal for goal in known if goal.id == spec.goal_id), None)
    if given.id != spec.goal_id:
        raise InvalidInput(
            what=f"Goal {given.id!r}",
            reason=f"graph {spec.id!r} is there for goal {spec.goal_id!r}",
            remedy="Give it that one, or correct GraphSpec.goal_id.",
        )
    return given


def check_goal(services: Services, plan: StreamPlan) -> None:
    """Refuse a goal that is open in this runtime with another definition. Raises InvalidInput."""
    goal = plan.goal
    if goal is not None and any(each.id == goal.id and each.shape != goal.shape for each in services.goals.values()):
        raise InvalidInput(
            what=f"Goal {goal.id!r}",
            reason="it is open in this runtime with another definition",
            remedy="Give it another id, or close the streams that pursue it first.",
        )


def pursue(
    root: AsyncioActor,
    services: Services,
    plan: StreamPlan,
    then: Callable[[], object],
    failed: Callable[[BaseException], object],
) -> None:
    """Go on when it is committed that the stream pursues its goal: before anything of it is accepted."""
    goal = plan.goal
    if goal is None:
        then()
        return
    services.goals[plan.entry_point.id] = goal
    name = f"goal:{goal.id}"
    ref = root.children().get(name) or root.spawn(GoalActor, goal.id, services, name=name)
    root.follow(ref.proxy().attach(goal, plan.entry_point.id), lambda _: then(), failed)


def pursue_no_more(root: AsyncioActor, services: Services | None, plan: StreamPlan) -> None:
    """The stream was closed."""
    if services is None or plan.goal is None:
        return
    services.goals.pop(plan.entry_point.id, None)
    ref = root.children().get(f"goal:{plan.goal.id}")
    if ref is not None and ref.is_alive():
        ref.proxy().detach(plan.entry_point.id)
