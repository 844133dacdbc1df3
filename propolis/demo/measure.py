"""How big, how branched and how well described a module is. Pure: a syntax tree in, figures out."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

__all__ = ["FunctionMeasures", "ModuleMeasures", "decode_source", "measure_module"]

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEEPER = frozenset(
    {ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match}
)
_BRANCHES = frozenset(
    {ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.match_case, ast.comprehension}
)
# Half of all nodes, and nothing below them counts.
_LEAVES = frozenset({ast.Name, ast.Load, ast.Store, ast.Del, ast.Constant, ast.Pass, ast.alias})


class FunctionMeasures(BaseModel):
    """A function, or with the name `<module>` the code outside of any."""

    model_config = ConfigDict(frozen=True)

    name: str
    line: int
    complexity: int = 1
    """Ways through it, as McCabe counts: 1, and 1 for each `if`, loop, `except`, `case`, comprehension, and/or."""
    nesting: int = 0
    """How many blocks its deepest statement stands in."""


class ModuleMeasures(BaseModel):
    """A module in figures."""

    model_config = ConfigDict(frozen=True)

    lines: int
    functions: int
    classes: int
    complexity: int
    """Of all its functions and of the code outside of them, added up."""
    nesting: int
    documented: int
    documentable: int
    """The module itself and its public functions, methods and classes; `documented` of these have a docstring."""
    worst: FunctionMeasures
    """The one with the highest complexity; of several the first."""


def decode_source(data: bytes) -> str:
    """The text of a source file, by its byte order mark or its coding line, else UTF-8.

    Raises:
        SyntaxError: no such encoding, two that disagree, or no UTF-8 in the first lines.
        UnicodeDecodeError: bytes further down that the encoding does not have.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)


def measure_module(tree: ast.Module, source: str) -> ModuleMeasures:
    """Measure a parsed module. Does not recurse, so depth is no limit."""
    count = _Count()
    count.walk(tree)
    functions = [function.frozen() for function in count.functions]
    documented, documentable = count.documentation(tree)
    return ModuleMeasures(
        lines=len(source.splitlines()),
        functions=len(functions) - 1,
        classes=count.classes,
        complexity=sum(function.complexity for function in functions),
        nesting=max(function.nesting for function in functions),
        documented=documented,
        documentable=documentable,
        worst=max(functions, key=lambda function: function.complexity),
    )


class _Function:
    """A function while it is being measured."""

    __slots__ = ("complexity", "line", "name", "nesting")

    def __init__(self, name: str, line: int) -> None:
        self.name = name
        self.line = line
        self.complexity = 1
        self.nesting = 0

    def frozen(self) -> FunctionMeasures:
        return FunctionMeasures(name=self.name, line=self.line, complexity=self.complexity, nesting=self.nesting)


class _Count:
    """One walk over a tree. The stack holds what is still to be seen: a node, the function it is in, how deep."""

    def __init__(self) -> None:
        self.functions = [_Function("<module>", 1)]
        self.classes = 0
        self._stack: list[tuple[ast.AST, _Function, str, int]] = []

    def walk(self, tree: ast.Module) -> None:
        self._stack.append((tree, self.functions[0], "", 0))
        while self._stack:
            node, function, scope, depth = self._stack.pop()
            kind = type(node)
            if isinstance(node, _DEFINITIONS):
                name = f"{scope}.{node.name}" if scope else node.name
                if isinstance(node, ast.ClassDef):
                    self.classes += 1
                else:
                    function = _Function(name, node.lineno)
                    self.functions.append(function)
                    depth = 0
                scope = name
            elif kind in _DEEPER:
                depth += 1
                function.nesting = max(function.nesting, depth)
            if kind in _BRANCHES:
                function.complexity += 1
            if isinstance(node, ast.BoolOp):
                function.complexity += len(node.values) - 1
            elif isinstance(node, ast.comprehension):
                function.complexity += len(node.ifs)
            elif isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                # an `elif` stands beside its `if`, not in it
                self._push((node.test, *node.body), function, scope, depth)
                self._stack.append((node.orelse[0], function, scope, depth - 1))
                continue
            self._push(ast.iter_child_nodes(node), function, scope, depth)

    def _push(
        self, nodes: Iterator[ast.AST] | tuple[ast.AST, ...], function: _Function, scope: str, depth: int
    ) -> None:
        self._stack.extend([(node, function, scope, depth) for node in nodes if type(node) not in _LEAVES])

    def documentation(self, tree: ast.Module) -> tuple[int, int]:
        """How many of the module and its public definitions have a docstring, and how many there are."""
        waiting: list[ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = [tree]
        documented = documentable = 0
        while waiting:
            node = waiting.pop()
            documentable += 1
            documented += ast.get_docstring(node, clean=False) is not None
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                waiting.extend(
                    inner for inner in node.body if isinstance(inner, _DEFINITIONS) and not inner.name.startswith("_")
                )
        return documented, documentable
