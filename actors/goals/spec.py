"""What a goal is: success criteria with weights, and constraints. Frozen, and checked when it is made."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from propolis.messages import ConstraintKind, InvalidInput, Payload

from ..validated import Seconds, Validated

__all__ = ["Constraint", "CriterionKind", "Goal", "ObservedAs", "SuccessCriterion"]

CriterionKind: TypeAlias = Literal["output_contains", "output_equals", "success_rate", "predicate", "judge"]
ObservedAs: TypeAlias = Literal["output", "decision", "outcome"]
"""What is looked at: the output of each execution that completed, each decision, each outcome."""

_Id: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
_Check: TypeAlias = Callable[..., Any]


class SuccessCriterion(Validated):
    """One thing by which success is told, and how much of it there has to be.

    Each observation satisfies it or not (a judge may also say how much, from 0 to 1); the criterion is met when
    `at_least` that share of `min_observations` or more does.
    """

    id: _Id
    kind: CriterionKind
    """`output_contains`: the text `expected` is in it (in any text within a dict or list). `output_equals`: it is
    `expected`. `success_rate`: of the recorded outcomes, those with success. `predicate`: the function `check` says
    True. `judge`: `check` asks a model, or whoever, and returns a bool or a number from 0 to 1."""
    description: str = ""
    expected: Any = None
    check: _Check | None = None
    """`def` or `async def`; called with a fresh copy of what is observed, off the actor loop, once for each. A dict for
    decisions and outcomes: what their events say."""
    on: ObservedAs = "output"
    key: str | None = None
    """Look at what stands under this key in it; without one there, it does not satisfy."""
    weight: float = Field(default=1.0, ge=0)
    at_least: float = Field(default=1.0, gt=0, le=1)
    min_observations: int = Field(default=1, ge=1)

    @property
    def observes(self) -> ObservedAs:
        """What it looks at."""
        return "outcome" if self.kind == "success_rate" else self.on

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> SuccessCriterion:
        what = f"SuccessCriterion {self.id!r}"
        is_called = self.kind in ("predicate", "judge")
        if is_called and self.check is None:
            raise InvalidInput(what=what, reason=f"a {self.kind} needs a function", remedy="Pass check=...")
        if not is_called and self.check is not None:
            raise InvalidInput(
                what=what, reason=f"{self.kind} calls nothing", remedy='Leave check out, or use "judge".'
            )
        if self.kind == "output_contains" and not (isinstance(self.expected, str) and self.expected):
            raise InvalidInput(what=what, reason=f"expected={self.expected!r:.100} is no text", remedy="Pass some.")
        if self.kind not in ("output_contains", "output_equals") and self.expected is not None:
            reason = f"{self.kind} compares with nothing"
            raise InvalidInput(what=what, reason=reason, remedy="Leave expected out.")
        if self.kind == "success_rate" and self.model_fields_set & {"on", "key"}:
            raise InvalidInput(what=what, reason="success_rate is of outcomes", remedy="Leave on and key out.")
        Payload.of(self.expected, f"{what}: expected")
        return self


class Constraint(Validated):
    """What must not happen. A `hard` one that is broken keeps the goal from being achieved; a `soft` one takes up to
    `weight` from the score.
    """

    id: _Id
    kind: ConstraintKind = "hard"
    description: str = ""
    check: _Check | None = None
    """As of a criterion; True says that it is kept."""
    on: ObservedAs = "output"
    max_tokens: int | None = Field(default=None, ge=0)
    """Of all outcomes together."""
    max_latency_ms: float | None = Field(default=None, ge=0)
    """Of each outcome."""
    weight: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _has_one_check(self) -> Constraint:
        given = [name for name in ("check", "max_tokens", "max_latency_ms") if getattr(self, name) is not None]
        if len(given) == 1:
            return self
        reason = f"it has {' and '.join(given)}, and can have one of them" if given else "it has no check"
        remedy = "Pass one of check=..., max_tokens=..., max_latency_ms=..."
        raise InvalidInput(what=f"Constraint {self.id!r}", reason=reason, remedy=remedy)


_Criteria: TypeAlias = Annotated[Sequence[SuccessCriterion], Field(min_length=1), AfterValidator(tuple)]
_Constraints: TypeAlias = Annotated[Sequence[Constraint], AfterValidator(tuple)]
"""Lists are taken too; what is kept is a tuple."""

_DIGEST_BYTES: Final = 8


class Goal(Validated):
    """What streams are there to bring about: `runtime.open_stream(entry_point, executor, goal=goal)`.

    Achieved when every criterion is met, no hard constraint is broken, and the score is at least `complete_at`.
    """

    id: _Id
    name: str = ""
    description: str = ""
    success_criteria: _Criteria
    constraints: _Constraints = ()
    complete_at: float = Field(default=0.9, gt=0, le=1)
    check_timeout: Seconds = 60.0
    """For each call of a predicate, a judge, a check."""
    judge_retries: int = Field(default=2, ge=0, le=10)
    """How often a judge that has raised an exception is asked again, after half a second, a second, and so on."""

    @property
    def parts(self) -> tuple[SuccessCriterion | Constraint, ...]:
        """All that is counted of it."""
        return (*self.success_criteria, *self.constraints)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Goal:
        what = f"Goal {self.id!r}"
        ids = Counter(part.id for part in self.parts)
        twice = sorted(id for id, count in ids.items() if count > 1)
        if twice:
            reason = f"two criteria or constraints have the id {twice[0]!r}"
            raise InvalidInput(what=what, reason=reason, remedy="Give each its own.")
        if not sum(criterion.weight for criterion in self.success_criteria) > 0:
            reason = "the weights of its criteria sum to 0"
            raise InvalidInput(what=what, reason=reason, remedy="Give one of them a weight above 0.")
        return self

    @property
    def shape(self) -> str:
        """Its definition, in short, without prose: what was counted for one of another shape says nothing of it."""
        parts = [(self.complete_at, self.id), *map(_shape_of, self.parts)]
        return hashlib.blake2b(Payload.of(parts).data, digest_size=_DIGEST_BYTES).hexdigest()

    @property
    def checked(self) -> tuple[Constraint, ...]:
        """The hard constraints that a function checks."""
        return tuple(each for each in self.constraints if each.kind == "hard" and each.check is not None)

    @property
    def judges(self) -> frozenset[str]:
        """The criteria that a judge decides about."""
        return frozenset(criterion.id for criterion in self.success_criteria if criterion.kind == "judge")

    def checks(self) -> Iterator[tuple[str, ObservedAs, str | None, Callable[..., Any]]]:
        """The functions that it calls: for which part, on what, under which key."""
        for criterion in self.success_criteria:
            if criterion.check is not None:
                yield criterion.id, criterion.observes, criterion.key, criterion.check
        for constraint in self.constraints:
            if constraint.check is not None:
                yield constraint.id, constraint.on, None, constraint.check


def _shape_of(part: SuccessCriterion | Constraint) -> list[Any]:
    fields = {name: value for name, value in part if name not in ("description", "check")}
    check = part.check
    name = "" if check is None else getattr(check, "__qualname__", type(check).__qualname__)
    return [type(part).__name__, sorted(fields.items()), name]
