"""What an executor declares as its input, wherever that is written, and what becomes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from propolis.actors.executors.protocol import plan_executor
from pydantic import BaseModel, Field

from propolis.messages import InvalidInput, Payload

if TYPE_CHECKING:
    from nowhere import Unknown

    from propolis import Context


class Ticket(BaseModel):
    """An input."""

    number: int


class Renamed(BaseModel):
    """One that outsiders call by another name."""

    number: int = Field(alias="ticketNumber")


async def known_to_checkers(ctx: Context, ticket: Ticket) -> int:
    return ticket.number


class Called:
    """An object that is called."""

    async def __call__(self, ctx: Context, ticket: Ticket) -> int:
        """The work."""
        return ticket.number

    def method(self, ctx: Context, ticket: Ticket) -> int:
        """The same."""
        return ticket.number


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return call


def made_locally() -> Callable[..., Any]:
    class Local(BaseModel):
        number: int

    def execute(ctx: Context, ticket: Local) -> int:
        return Local.model_validate(ticket).number

    return execute


@pytest.mark.parametrize(
    "executor",
    [
        known_to_checkers,
        Called(),
        Called().method,
        functools.partial(Called()),
        decorated(known_to_checkers),
        decorated(Called().method),
        made_locally(),
    ],
    ids=["a context for checkers", "object", "method", "partial", "decorated", "decorated method", "closure"],
)
def test_an_input_is_checked_wherever_its_type_is_written(executor: Any) -> None:
    """The context's annotation may be a name that is imported for type checkers alone, as linters propose."""
    plan = plan_executor(executor)
    assert 7 == plan.bind(Payload.of({"number": "7"})).number
    with pytest.raises(InvalidInput, match=r"input_data\.number"):
        plan.bind(Payload.of({"number": "many"}))


class Nesting:
    """An executor with a model of its own."""

    class Input(BaseModel):
        """What it takes."""

        number: int

    def execute(self, ctx: Context, input: Input) -> int:
        """The work."""
        return input.number


def test_a_model_may_be_written_where_the_executor_is() -> None:
    """In its class; in the function that opens the stream, also where the executor does not name it but so."""

    class Local(BaseModel):
        number: int

    class Inner:
        class Input(BaseModel):
            number: int

        def execute(self, ctx: Context, input: Input) -> int:
            return input.number

    def execute(ctx: Context, ticket: Local) -> int:
        return ticket.number

    for executor in (Nesting, Nesting(), Inner, execute):
        plan = plan_executor(executor)
        assert 7 == plan.bind(Payload.of({"number": "7"})).number
        with pytest.raises(InvalidInput, match=r"input_data\.number"):
            plan.bind(Payload.of({"number": "many"}))


def of_unknown(ctx: Context, input: Unknown) -> None: ...


def of_local(ctx: Context, input: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


def of_nonsense(ctx: Context, input: Any) -> None: ...


of_nonsense.__annotations__["input"] = "list["


@pytest.mark.parametrize("executor", [of_unknown, of_local, of_nonsense])
def test_a_type_that_cannot_be_resolved_is_refused_and_not_left_unchecked(executor: Any) -> None:
    """What is no model when the executor reads it would fail there, or not at all."""
    with pytest.raises(
        InvalidInput, match=r"executor of_\w+: its input is annotated .* cannot be resolved: \w+Error: "
    ):
        plan_executor(executor)


def of_constrained(ctx: Context, input: Annotated[int, Field(gt=0)]) -> None: ...


class Cat(BaseModel):
    """One kind."""

    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    """Another one."""

    kind: Literal["dog"] = "dog"


def of_one_kind(ctx: Context, input: Annotated[Cat | Dog, Field(discriminator="kind")]) -> None: ...


@pytest.mark.parametrize(
    ("executor", "good", "bad", "why"),
    [(of_constrained, 1, 0, "greater than 0"), (of_one_kind, {"kind": "dog"}, {"kind": "cow"}, "'cow'.* 'cat', 'dog'")],
    ids=["constraint", "discriminator"],
)
def test_what_is_annotated_with_a_type_counts(executor: Any, good: Any, bad: Any, why: str) -> None:
    """`Annotated` is more than its type."""
    plan = plan_executor(executor)
    assert plan.bind(Payload.of(good))
    with pytest.raises(InvalidInput, match=why):
        plan.bind(Payload.of(bad))


def of_renamed(ctx: Context, input: Renamed) -> None: ...


def test_an_instance_of_the_declared_model_is_an_input_whatever_its_aliases_are() -> None:
    """It travels under the names of its fields."""
    plan = plan_executor(of_renamed)
    given = Renamed(ticketNumber=7)
    assert given == plan.bind(Payload.of(given)) == plan.bind(Payload.of({"ticketNumber": 7}))


def test_an_annotation_of_anything_but_the_input_is_nobodys() -> None:
    """A function with options of any kind takes whatever comes."""

    def takes_all(*args: Any, **options: Unknown) -> None: ...

    assert not plan_executor(takes_all).declares_input
