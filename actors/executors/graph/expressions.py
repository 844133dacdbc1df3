"""The language of edges: a small part of Python's expressions, evaluated by simpleeval on plain data.

What it may contain is decided before anything runs, by the syntax tree: comparisons, `and`, `or`, `not`, arithmetic on
numbers, `x if y else z`, lists, `a.b` and `a["b"]` into data, and calls of the functions below. There are no
attributes of objects, no powers, shifts, repetitions, formats or comprehensions, so neither the text nor the data can
reach into the program, and the work is bounded by the size of both.
"""

from __future__ import annotations

import ast
import contextvars
import functools
import importlib
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from propolis.messages import ExtraMissing

__all__ = ["BadExpression", "Expression", "need_evaluator", "parse"]

MAX_CHARS: Final = 1_000
MAX_DEPTH: Final = 32
MAX_JOINED: Final = 100_000
"""Characters, or items, that an addition may give."""


class BadExpression(ValueError):
    """It is no expression of this language; the text says what is wrong with it."""


def _numbers(operation: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*operands: Any) -> Any:
        for operand in operands:
            if not isinstance(operand, (int, float)):
                raise TypeError(f"{type(operand).__name__} is no number")
        return operation(*operands)

    return checked


def _add(left: Any, right: Any) -> Any:
    for kind in (str, list, tuple):
        if isinstance(left, kind) and isinstance(right, kind):
            if len(left) + len(right) > MAX_JOINED:
                raise ValueError(f"the sum would be longer than {MAX_JOINED}")
            return left + right  # type: ignore[operator]
    return _numbers(operator.add)(left, right)


def _text(method: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*operands: Any) -> Any:
        for operand in operands:
            if not isinstance(operand, str):
                raise TypeError(f"{type(operand).__name__} is no text")
        return method(*operands)

    return checked


OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: _add,
    ast.Sub: _numbers(operator.sub),
    ast.Mult: _numbers(operator.mul),
    ast.Div: _numbers(operator.truediv),
    ast.FloorDiv: _numbers(operator.floordiv),
    ast.Mod: _numbers(operator.mod),
    ast.USub: _numbers(operator.neg),
    ast.UAdd: _numbers(operator.pos),
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "abs": _numbers(abs),
    "bool": bool,
    "endswith": _text(str.endswith),
    "float": float,
    "int": int,
    "len": len,
    "lower": _text(str.lower),
    "max": max,
    "min": min,
    "round": round,
    "startswith": _text(str.startswith),
    "str": str,
    "strip": _text(str.strip),
    "sum": sum,
    "upper": _text(str.upper),
}
_ARGUMENTS: Final = {"endswith": 2, "startswith": 2, "max": MAX_CHARS, "min": MAX_CHARS}
"""At most; of the others 1. `round(x, n)` and `sum(x, [])`, say, are work without a bound."""

_NODES: Final = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.BinOp, ast.Compare, ast.IfExp, ast.Constant, ast.Name,
    ast.Load, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.List, ast.Tuple, *OPERATORS,
)  # fmt: skip

_names: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("propolis_expression_names")


class _Names:
    """What simpleeval looks names up in: of the evaluation that is under way, so that one evaluator serves all."""

    def __getitem__(self, name: str) -> Any:
        return _names.get()[name]


class Expression:
    """A parsed expression. Immutable; any thread."""

    def __init__(self, text: str, tree: ast.Expression) -> None:
        self.text = text
        self._tree = tree
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        self.names = frozenset(
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in calls
        )
        """The names that have to have a value."""

    def evaluate(self, names: Mapping[str, Any]) -> Any:
        """Its value, with these values for its names. Raises whatever the operations on them do.

        Raises:
            ExtraMissing: simpleeval is not installed.
        """
        token = _names.set(names)
        try:
            return self._evaluator.eval(self.text, previously_parsed=self._tree.body)
        finally:
            _names.reset(token)

    @functools.cached_property
    def _evaluator(self) -> Any:
        simpleeval = need_evaluator(f"Expression {self.text!r}")
        return simpleeval.EvalWithCompoundTypes(operators=OPERATORS, functions=dict(FUNCTIONS), names=_Names())


def need_evaluator(what: str) -> Any:
    """The module `simpleeval`. Raises ExtraMissing."""
    try:
        return importlib.import_module("simpleeval")
    except ImportError:
        raise ExtraMissing(what=what, library="simpleeval", extra="graph") from None


class _AttributesAreItems(ast.NodeTransformer):
    """`a.b` reads `a["b"]`, so that no attribute of anything is ever looked up."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """As the base class wants it named."""
        value = self.visit(node.value)
        return ast.copy_location(ast.Subscript(value=value, slice=ast.Constant(node.attr), ctx=node.ctx), node)


@functools.lru_cache(maxsize=1_024)
def parse(text: str) -> Expression:
    """Parse an expression, and check that it is one of this language. Raises BadExpression."""
    if len(text) > MAX_CHARS:
        raise BadExpression(f"it has {len(text)} characters, over {MAX_CHARS}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise BadExpression(f"it is no expression: {error.msg}") from None
    except (ValueError, MemoryError, RecursionError):
        raise BadExpression("it cannot be parsed") from None
    _check(tree, 0)
    return Expression(text, _AttributesAreItems().visit(tree))


def _check(node: ast.AST, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadExpression(f"it nests deeper than {MAX_DEPTH}")
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            if len(arguments) > _ARGUMENTS.get(name, 1):
                raise BadExpression(f"{name} takes {_ARGUMENTS.get(name, 1)} and no more")
        case ast.Call():
            raise BadExpression(f"{ast.unparse(node)[:60]} is no call of {', '.join(FUNCTIONS)}")
        case ast.Attribute(attr=name) if name.startswith("_"):
            raise BadExpression(f"{name} begins with an underscore")
        case ast.Constant(value=value) if value is not None and not isinstance(value, (bool, int, float, str)):
            raise BadExpression(f"{value!r:.60} is no number, text, True, False or None")
        case _ if not isinstance(node, _NODES):
            raise BadExpression(f"{type(node).__name__} is not part of this language")
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        _check(child, depth + 1)
