"""Errors of decisions and goals."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PropolisError

__all__ = ["DecisionNotFound", "GoalNotFound"]


@dataclass(eq=False, kw_only=True)
class DecisionNotFound(PropolisError, LookupError):
    """There is no decision of that id in the store."""

    sentence = "There is no decision {decision_id!r}. Pass the id that ctx.decide() returned; its session must be kept."
    decision_id: str


@dataclass(eq=False, kw_only=True)
class GoalNotFound(PropolisError, LookupError):
    """No stream was ever opened with a goal of that id."""

    sentence = "There is no goal {goal_id!r}; there are {known}. Give it to open_stream(..., goal=Goal(...))."
    goal_id: str
    known: tuple[str, ...] = ()
