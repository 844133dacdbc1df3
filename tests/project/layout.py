"""Where things are in this project: what the tests beside this file walk through."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("messages", "actors", "propolis")


def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def modules(*folders: str) -> list[Path]:
    """Every Python file in `folders` (the three source folders unless said), relative to the root, sorted."""
    return sorted(path.relative_to(ROOT) for folder in folders or FOLDERS for path in (ROOT / folder).rglob("*.py"))


def tree(module: Path) -> ast.Module:
    """The syntax tree of a file given relative to the root."""
    return ast.parse((ROOT / module).read_bytes(), filename=str(module))


def own_files() -> Iterator[Path]:
    """Every file that is tracked by git or would be by `git add .`, absolute."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return (path for name in listed.split("\0") if name and (path := ROOT / name).is_file())
