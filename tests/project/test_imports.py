"""Imports run one way: messages <- actors <- propolis."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .layout import ROOT, modules, tree

# What each folder may import absolutely from this project. Everything of its own it imports relatively.
ALLOWED: dict[str, frozenset[str]] = {
    "messages": frozenset(),
    "actors": frozenset({"propolis.messages"}),
    "propolis": frozenset({"propolis.messages", "propolis.actors"}),
}
OURS = frozenset({"actors", "messages", "propolis", "tests", "benchmarks", "examples"})


def violations(module: Path, syntax: ast.Module) -> Iterator[str]:
    """A sentence for every import in `syntax` that `module` may not have."""
    allowed = ALLOWED[module.parts[0]]
    remedy = f"may import {', '.join(sorted(allowed)) or 'nothing of ours'}, and its own folder relatively"
    for node in ast.walk(syntax):
        match node:
            case ast.Import(names=names):
                imported = {alias.name for alias in names}
            case ast.ImportFrom(level=level) if level:
                if level >= len(module.parts):
                    yield f"{module}:{node.lineno}: a relative import leaves {module.parts[0]}/; it {remedy}"
                continue
            case ast.ImportFrom(module="propolis", names=names):
                imported = {f"propolis.{alias.name}" for alias in names}
            case ast.ImportFrom(module=str(name)):
                imported = {name}
            case _:
                continue
        for name in sorted(imported - allowed):
            if name.partition(".")[0] in OURS:
                yield f"{module}:{node.lineno}: imports {name}; it {remedy}"


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_of_a_folder_run_one_way(folder: str) -> None:
    """Across folders through the public face only, inside a folder relatively only."""
    found = [sentence for module in modules(folder) for sentence in violations(module, tree(module))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("messages/base.py", "import propolis.actors"),
        ("messages/base.py", "from propolis.messages import Message"),
        ("messages/base.py", "import messages"),
        ("messages/base.py", "from .. import actors"),
        ("actors/core/loop.py", "from propolis.messages.codec import encode"),
        ("actors/core/loop.py", "from propolis import Runtime"),
        ("actors/core/loop.py", "from propolis.actors import Loop"),
        ("actors/core/loop.py", "from ...messages import Message"),
        ("actors/core/loop.py", "def f():\n    import actors.root"),
        ("propolis/cli/main.py", "import propolis"),
        ("propolis/cli/main.py", "from propolis.runtime import Runtime"),
        ("propolis/runtime.py", "from actors import RuntimeActor"),
        ("propolis/runtime.py", "import tests.helpers"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    """The walk above is worth something only if it sees these."""
    assert 1 == len(list(violations(Path(module), ast.parse(source))))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("messages/base.py", "from . import codec\nfrom .codec import encode\nimport msgpack"),
        (
            "actors/core/loop.py",
            "from propolis.messages import Message\nfrom ..host import Host\nfrom . import mailbox",
        ),
        ("actors/core/loop.py", "from propolis import messages"),
        ("propolis/cli/main.py", "from ..runtime import Runtime\nfrom propolis.actors import RuntimeActor"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    """And only if it lets these be."""
    assert [] == list(violations(Path(module), ast.parse(source)))


@pytest.mark.parametrize("folder", [".", "tests"])
def test_bare_names_are_never_imported(folder: str) -> None:
    """Also not from the root, where a bare `actors` would be found."""
    script = (
        "import sys, propolis, propolis.actors, propolis.messages, propolis.cli\n"
        "print(propolis.actors.__name__, propolis.actors.__file__)\n"
        "print(sorted({'actors', 'messages'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT / folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [f"propolis.actors {ROOT / 'actors' / '__init__.py'}", "[]"] == ran.stdout.splitlines()
