"""How goals stand at this moment, as the store tells. On a thread that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from propolis.messages import EventFilter, GoalNotFound, GoalProgress, GoalRow

from .folding import GOAL_EVENTS, Fold
from .spec import Goal
from .standing import progress_of

if TYPE_CHECKING:
    from ..stores import Store

__all__ = ["find_progress", "list_progress"]

_PAGE: Final = 500
_FILTER: Final = EventFilter(types=GOAL_EVENTS)


def list_progress(store: Store, known: Mapping[str, Goal]) -> tuple[GoalProgress, ...]:
    """Of every goal in the store. `known`: those that are open here, which are counted up to the last event."""
    return tuple(_progress(store, row, known.get(row.goal_id)) for row in store.list_goals())


def find_progress(store: Store, known: Mapping[str, Goal], goal_id: str) -> GoalProgress:
    """Of one. Raises GoalNotFound."""
    row = store.get_goal(goal_id)
    if row is None:
        raise GoalNotFound(goal_id=goal_id, known=tuple(each.goal_id for each in store.list_goals()))
    return _progress(store, row, known.get(goal_id))


def _progress(store: Store, row: GoalRow, goal: Goal | None) -> GoalProgress:
    if goal is None or goal.shape != row.shape:
        return row.progress or GoalProgress(goal_id=row.goal_id, name=row.goal_id, seq=row.tally.seq)
    fold = Fold(goal, row.tally, row.streams)
    end = store.last_seq()
    while True:
        events = store.events_after(fold.seq, _FILTER, _PAGE)
        for event in events:
            fold.take(event)
        if len(events) < _PAGE:
            break
    fold.seq = max(fold.seq, end)
    return progress_of(goal, fold.tally())
