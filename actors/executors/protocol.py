"""What a user writes, and how a placement calls it."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from propolis.messages import EventDraft, InvalidInput, Payload, line_of

if TYPE_CHECKING:
    from ..specs import EntryPoint

__all__ = ["Executor", "ExecutorPlan", "announced", "is_coroutine_function", "Preparing", "plan_executor", "prepared"]

_TAKES_INPUT: Final = frozenset(
    {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
)


@runtime_checkable
class Executor(Protocol):
    """The class form of an executor: made anew for every attempt, without arguments.

    `execute` may be `async def` or `def`. The other form is a plain function `(ctx, input)`.
    """

    def execute(self, ctx: Any, input: Any) -> Any:
        """Do the work of one attempt."""
        ...


class Preparing:
    """An executor of ours, which knows more of what it runs than a function does. A class to inherit from, and not
    names to look for: methods of the user's may be called like these.
    """

    def prepare(self, entry_point: EntryPoint) -> EntryPoint:
        """The entry point with what it knows filled in. Raises what is wrong with it."""
        return entry_point

    def announce(self, entry_point: EntryPoint) -> tuple[EventDraft, ...]:
        """The events that each fresh execution begins with, which so has one write less to make."""
        return ()


class ExecutorPlan:
    """An executor, looked at once: how to make it, how to call it, what input it takes.

    Runs wherever it is called: `check` in the caller's thread, `bind` and what `make` gives in the placement.
    """

    def __init__(
        self, name: str, make: Callable[[], Callable[..., Any]], *, is_async: bool, adapter: TypeAdapter[Any] | None
    ):
        self.name = name
        self.make = make
        self.is_async = is_async
        self.declares_input = adapter is not None
        """Whether there is anything to check before an execution is accepted."""
        self._adapter = adapter

    def bind(self, payload: Payload) -> Any:
        """The input as the executor declared it: a model of the user's, or plain data.

        Raises:
            InvalidInput: it does not fit what the executor declared.
        """
        return self.check(payload.value())

    def check(self, value: Any) -> Any:
        """As `bind`, for a value."""
        if self._adapter is None:
            return value
        try:
            return self._adapter.validate_python(value, by_alias=True, by_name=True)  # a model is dumped by name
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in ("input_data", *first["loc"]))
            more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
            raise InvalidInput(
                what=where, reason=first["msg"] + more, remedy=f"Pass what executor {self.name} declares as its input."
            ) from None


def plan_executor(executor: Any) -> ExecutorPlan:
    """Look at what the user passed as executor: a function, a class with `execute`, or an object with `execute`.

    Raises:
        InvalidInput: it is none of these, or cannot be called with `(ctx, input)`.
    """
    name = getattr(executor, "__qualname__", type(executor).__qualname__)
    if inspect.isclass(executor):
        function = getattr(executor, "execute", None)
        kind: Any = executor
        make: Callable[[], Callable[..., Any]] = lambda: kind().execute  # noqa: E731
        # a static or class method is bound already; anything else gets the instance first
        declared = inspect.getattr_static(executor, "execute", None)
        bound_arguments = 0 if isinstance(declared, (staticmethod, classmethod)) else 1
    elif _has_execute(executor):
        function, bound_arguments = executor.execute, 0
        make = lambda: executor.execute  # noqa: E731
    else:
        function, bound_arguments = executor, 0
        make = lambda: executor  # noqa: E731
    if not callable(function):
        raise InvalidInput(
            what="executor",
            reason=f"{executor!r:.200} is no function and has no execute(ctx, input)",
            remedy="Pass a function (ctx, input), or a class with such a method; the function itself, uncalled.",
        )
    _check_signature(name, function, bound_arguments)
    if inspect.isclass(executor):
        _check_made_without_arguments(name, executor)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(
            what=f"executor {name}",
            reason="it is a generator function, and would give a generator in place of a result",
            remedy="Return the result, and report what comes before it with ctx.emit().",
        )
    return ExecutorPlan(
        name, make, is_async=is_coroutine_function(function), adapter=_input_adapter(name, function, bound_arguments)
    )


def _has_execute(executor: Any) -> bool:
    """Whether it is an object with such a method. A mock has any name that is asked for, and is called instead."""
    if callable(executor):
        return inspect.getattr_static(executor, "execute", None) is not None
    return hasattr(executor, "execute")


def prepared(executor: Any, entry_point: EntryPoint) -> EntryPoint:
    """The entry point as the executor wants it."""
    known = _preparing(executor)
    return entry_point if known is None else known.prepare(entry_point)


def announced(executor: Any, entry_point: EntryPoint) -> tuple[EventDraft, ...]:
    """What the commit that counts the first attempt of a fresh execution says of it besides."""
    known = _preparing(executor)
    return () if known is None else known.announce(entry_point)


def _preparing(executor: Any) -> Preparing | None:
    made = executor() if inspect.isclass(executor) and issubclass(executor, Preparing) else executor
    return made if isinstance(made, Preparing) else None


def is_coroutine_function(function: Any) -> bool:
    """Whether calling it gives a coroutine: an `async def`, a partial of one, an object whose `__call__` is one."""
    while isinstance(function, functools.partial):
        function = function.func
    by_call = type(function).__call__ if callable(function) else None
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(by_call)


def _check_signature(name: str, function: Callable[..., Any], bound_arguments: int) -> None:
    try:
        inspect.signature(function).bind(*[None] * (bound_arguments + 2))
    except TypeError as error:
        raise InvalidInput(
            what=f"executor {name}",
            reason=f"it cannot be called with (ctx, input): {error}",
            remedy="Give it these two parameters.",
        ) from None
    except ValueError:
        return  # a builtin without a signature: the call will tell


def _check_made_without_arguments(name: str, kind: type) -> None:
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise InvalidInput(
            what=f"executor {name}",
            reason=f"it is made anew for every attempt, without arguments, and cannot be: {error}",
            remedy="Pass an instance, a functools.partial of a function, or give the parameters defaults.",
        ) from None
    except ValueError:
        return  # no signature: the call will tell


def _input_adapter(name: str, function: Callable[..., Any], bound_arguments: int) -> TypeAdapter[Any] | None:
    declared = _declared_input(name, function, bound_arguments)
    if any(declared is nothing for nothing in (None, Any, dict, object)):
        return None
    try:
        return TypeAdapter(declared)
    except (PydanticUserError, TypeError) as error:
        raise InvalidInput(
            what=f"executor {name}",
            reason=f"its input type {declared!r} cannot be checked: {error}",
            remedy="Declare a pydantic model, a dataclass, a TypedDict or plain types.",
        ) from None


def _declared_input(name: str, function: Callable[..., Any], bound_arguments: int) -> Any:
    """What the second parameter is annotated with; None without an annotation. The others are nobody's business: that
    of the context may be a name that only type checkers know.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())[bound_arguments + 1 : bound_arguments + 2]
    except (TypeError, ValueError):
        return None  # a builtin without a signature
    if not parameters or parameters[0].kind not in _TAKES_INPUT or parameters[0].annotation is inspect.Parameter.empty:
        return None
    written = parameters[0].annotation
    alone = types.SimpleNamespace(__annotations__={"input": written})
    code = _written_as(function)
    try:
        return typing.get_type_hints(alone, getattr(code, "__globals__", {}), _known_in(code), include_extras=True)[
            "input"
        ]
    except Exception as error:  # noqa: BLE001 - an annotation is code, which may raise anything
        raise InvalidInput(
            what=f"executor {name}",
            reason=f"its input is annotated {written!r}, which cannot be resolved: {line_of(error)}",
            remedy="Import it at run time, define it where the stream is opened or at the top level of its module, or "
            "annotate with Any.",
        ) from None


def _known_in(code: Any) -> dict[str, Any]:
    """The names that the annotations of a function may use and that are not its module's: of the classes and functions
    that it is written in, its type parameters.
    """
    names = getattr(getattr(code, "__code__", None), "co_freevars", ())
    cells = [cell for cell in zip(names, getattr(code, "__closure__", None) or (), strict=False) if _is_set(cell[1])]
    of_types = {parameter.__name__: parameter for parameter in getattr(code, "__type_params__", ())}
    return _known_around(code) | of_types | {name: cell.cell_contents for name, cell in cells}


def _known_around(code: Any) -> dict[str, Any]:
    """Of a function those that it does not use itself are known only while it runs: as a rule it opens the stream."""
    known: dict[str, Any] = {}
    module: dict[str, Any] = getattr(code, "__globals__", {})
    space, path = module, ""
    for part in getattr(code, "__qualname__", "").split(".")[:-1]:
        if part == "<locals>":
            space = _locals_of(path, module)
        else:
            written_in = space.get(part)
            space = dict(vars(written_in)) if isinstance(written_in, type) else {}
        known |= space
        path = f"{path}.{part}" if path else part
    return known


def _locals_of(qualname: str, module: dict[str, Any]) -> dict[str, Any]:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_qualname == qualname and frame.f_globals is module:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def _is_set(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _written_as(function: Any) -> Any:
    """The function that has the annotations: behind partials, decorators, and the `__call__` of an object."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isroutine(function) or not callable(function):
            return function
        else:
            function = type(function).__call__
