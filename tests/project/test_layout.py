"""How the code is laid out: short files, and __init__.py files that hold re-exports only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .layout import ROOT, modules, tree

LINES = 400


def test_no_file_is_past_the_limit() -> None:
    """A file that long has two roles. (An __init__.py has one, however much there is to name.)"""
    written = [module for module in modules() if module.name != "__init__.py"]
    lengths = {str(module): len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in written}
    assert {} == {name: length for name, length in lengths.items() if length > LINES}, f"past {LINES} lines: split it"


def test_init_files_hold_reexports_and_a_sorted_all() -> None:
    """Nothing else: what a package does lives in a file whose name says so."""
    found = [
        f"{module}: {sentence}"
        for module in modules()
        if module.name == "__init__.py"
        for sentence in blemishes(tree(module))
    ]
    assert not found, "\n" + "\n".join(found)


def blemishes(syntax: ast.Module) -> Iterator[str]:
    """A sentence for everything in an __init__.py that should not be there."""
    imported: set[str] = set()
    exported: list[str] = []
    for position, node in enumerate(syntax.body):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) if position == 0:
                continue
            case ast.ImportFrom(module="__future__"):
                continue
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                imported.update(alias.asname or alias.name for alias in names)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as value):
                exported = ast.literal_eval(value)
            case _:
                yield f"line {node.lineno}: only a docstring, imports and __all__ belong here"
    if list(exported) != sorted(exported):
        yield f"__all__ is not sorted; as it should be: {sorted(exported)}"
    if imported != set(exported):
        yield f"__all__ and the imports differ in {sorted(imported ^ set(exported))}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Doc."""\nfrom .a import X, y\n\n__all__ = ["X", "y"]', 0),
        ('"""Doc."""', 0),
        ('from .a import X, y\n__all__ = ["y", "X"]', 1),
        ('from .a import X\n__all__ = ["X", "Y"]', 1),
        ("from .a import X", 1),
        ("VERSION = 1", 1),
        ("def f(): pass", 1),
    ],
)
def test_a_blemish_is_found(source: str, expected: int) -> None:
    """The check above is worth something only if it sees these."""
    assert expected == len(list(blemishes(ast.parse(source))))


def test_tests_wait_for_conditions_and_do_not_sleep() -> None:
    """A sleep is too short on a loaded machine and too long on every other one. Also not in a script in a string."""
    names = ("time." + "sleep", "from time import " + "sleep")
    found = {
        str(path.relative_to(ROOT))
        for path in Path(ROOT, "tests").rglob("*.py")
        for name in names
        if name in path.read_text("utf-8")
    }
    assert set() == found, "wait for a condition with a deadline, or hold a manual clock"
