"""Goals: what streams are there to bring about, and how far that is by what they have recorded."""

from .folding import GOAL_EVENTS, Fold, measure
from .goal import GoalActor
from .looking import find_progress, list_progress
from .pursuing import check_goal, goal_for, pursue, pursue_no_more
from .spec import Constraint, CriterionKind, Goal, ObservedAs, SuccessCriterion
from .standing import progress_of

__all__ = [
    "Constraint",
    "CriterionKind",
    "Fold",
    "GOAL_EVENTS",
    "Goal",
    "GoalActor",
    "ObservedAs",
    "SuccessCriterion",
    "check_goal",
    "find_progress",
    "goal_for",
    "list_progress",
    "measure",
    "progress_of",
    "pursue",
    "pursue_no_more",
]
