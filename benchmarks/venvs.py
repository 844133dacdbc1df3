"""The venvs of the peers, made once under `.venv-peers/` in the checkout: theirs is not ours to install beside us."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Venv

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-peers"
PACKAGES: dict[str, tuple[str, ...]] = {
    "peers": ("dbos", "langgraph", "langgraph-checkpoint-sqlite", "pykka", "matplotlib"),
    "casty": ("casty", "uvloop"),
}
CASTY_NEEDS = (3, 12)


class Unavailable(Exception):
    """A venv that cannot be made here, with the reason."""


class Venvs:
    """Finds the Python of a venv, and makes the venv when somebody asks for it first."""

    def __init__(self) -> None:
        self._found: dict[Venv, Path | Unavailable] = {"project": Path(sys.executable)}

    def python(self, venv: Venv) -> Path:
        """The interpreter of a venv. Raises Unavailable, each time, when it could not be made."""
        if venv not in self._found:
            try:
                self._found[venv] = _make(venv, Path(sys.executable) if venv == "peers" else _newer_python())
            except Unavailable as error:
                self._found[venv] = error
        found = self._found[venv]
        if isinstance(found, Unavailable):
            raise found
        return found


def _make(venv: Venv, base: Path) -> Path:
    folder = FOLDER / venv
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join(PACKAGES[venv])
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder.relative_to(ROOT)}: {', '.join(PACKAGES[venv])}", file=sys.stderr)
    _call(base, "-m", "venv", "--clear", str(folder))
    _call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[venv])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _call(python: Path, *arguments: str) -> None:
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise Unavailable(f"{python.name} {' '.join(arguments[:2])} failed: {last}")


def _newer_python() -> Path:
    for candidate in _candidates():
        probe = "import sys; print(*sys.version_info[:2])"
        done = subprocess.run([str(candidate), "-c", probe], capture_output=True, text=True, check=False)
        if done.returncode == 0 and tuple(map(int, done.stdout.split())) >= CASTY_NEEDS:
            return candidate
    raise Unavailable("casty needs Python 3.12 or newer, and there is none here")


def _candidates() -> Iterator[Path]:
    """Interpreters worth a look: this one, those on PATH, those that pyenv built."""
    yield Path(sys.executable)
    for minor in (12, 13, 14):
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    yield from sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-9]*/bin/python"))
