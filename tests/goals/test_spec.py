"""What a goal is refused for: by the name of the part, with a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import Constraint, Goal, SuccessCriterion
from propolis.messages import InvalidInput


def contains(id: str = "c", **fields: Any) -> SuccessCriterion:
    """A criterion."""
    return SuccessCriterion(id=id, kind="output_contains", expected="ok", **fields)


BAD: list[tuple[Any, str]] = [
    (lambda: SuccessCriterion(id="c", kind="guess"), "SuccessCriterion.kind"),
    (lambda: SuccessCriterion(id="../c", kind="success_rate"), "SuccessCriterion.id"),
    (lambda: SuccessCriterion(id="c", kind="output_contains"), "SuccessCriterion 'c': expected=None is no text"),
    (lambda: SuccessCriterion(id="c", kind="output_contains", expected=""), "is no text"),
    (lambda: SuccessCriterion(id="c", kind="output_equals", expected=object()), "SuccessCriterion 'c': expected"),
    (lambda: SuccessCriterion(id="c", kind="judge"), "a judge needs a function"),
    (lambda: SuccessCriterion(id="c", kind="predicate", check=5), "SuccessCriterion.check"),
    (lambda: SuccessCriterion(id="c", kind="success_rate", check=len), "success_rate calls nothing"),
    (lambda: SuccessCriterion(id="c", kind="success_rate", expected=1), "compares with nothing"),
    (lambda: SuccessCriterion(id="c", kind="success_rate", on="output"), "success_rate is of outcomes"),
    (lambda: contains(weight=-1.0), "SuccessCriterion.weight"),
    (lambda: contains(at_least=1.5), "SuccessCriterion.at_least"),
    (lambda: contains(at_least=0.0), "SuccessCriterion.at_least"),
    (lambda: contains(min_observations=0), "SuccessCriterion.min_observations"),
    (lambda: Constraint(id="k"), "Constraint 'k': it has no check"),
    (lambda: Constraint(id="k", check=len, max_tokens=5), "check and max_tokens"),
    (lambda: Constraint(id="k", kind="firm", max_tokens=5), "Constraint.kind"),
    (lambda: Goal(id="g", success_criteria=[]), "Goal.success_criteria"),
    (lambda: Goal(id="g", success_criteria=[contains(), contains()]), "Goal 'g': .* the id 'c'"),
    (lambda: Goal(id="g", success_criteria=[contains()], constraints=[Constraint(id="c", max_tokens=5)]), "the id 'c'"),
    (lambda: Goal(id="g", success_criteria=[contains(weight=0.0)]), "Goal 'g': the weights of its criteria sum to 0"),
    (lambda: Goal(id="g", success_criteria=["c"]), r"Goal.success_criteria\[0\]"),
    (lambda: Goal(id="g", success_criteria=[contains()], check_timeout=0.0), "Goal.check_timeout"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_a_bad_goal_is_refused_by_the_name_of_what_is_wrong(make: Any, words: str) -> None:
    """Where it is made."""
    with pytest.raises(InvalidInput, match=words):
        make()


def test_its_shape_is_its_definition_without_prose() -> None:
    """What was counted for another one says nothing of it."""
    shape = Goal(id="g", success_criteria=[contains()]).shape
    assert shape == Goal(id="g", name="x", description="y", success_criteria=[contains(description="z")]).shape
    assert shape == Goal(id="g", success_criteria=[contains()], check_timeout=1.0).shape
    others = [
        Goal(id="g", success_criteria=[contains("d")]),
        Goal(id="g", success_criteria=[contains(at_least=0.5)]),
        Goal(id="g", success_criteria=[contains()], constraints=[Constraint(id="k", max_tokens=5)]),
        Goal(id="g", success_criteria=[contains(), SuccessCriterion(id="p", kind="predicate", check=len)]),
        Goal(id="g", success_criteria=[contains(), SuccessCriterion(id="p", kind="predicate", check=repr)]),
    ]
    assert 6 == len({shape, *(other.shape for other in others)})
