"""What there is to audit: the modules below a folder, each with the key that makes its audit happen once."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from propolis.messages import InvalidInput

__all__ = ["Module", "catalogue", "standard_library"]

_LEFT_OUT = frozenset({"site-packages", "dist-packages", "__pycache__"})


class Module(BaseModel):
    """One module file: the input of one execution."""

    model_config = ConfigDict(frozen=True)

    path: str
    """With forward slashes, as in "json/decoder.py"."""
    library: str
    """The folder that `path` starts from, absolute."""
    digest: str
    """Of the contents when it was entered here: a file that has changed is another module."""
    python: str
    """The version that reads it: another one may find other errors."""

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.library, self.path)

    @property
    def key(self) -> str:
        """Its idempotency key: unchanged, it is audited once in a store, however often that is asked for."""
        return f"{self.python} {self.digest} {self.library}/{self.path}"


def standard_library() -> Path:
    """The folder of the running Python's own standard library."""
    return Path(sysconfig.get_path("stdlib")).resolve()


def catalogue(library: Path, limit: int | None = None) -> tuple[Module, ...]:
    """The modules below `library` (installed packages left out), in order of their paths.

    `limit` takes that many, evenly spread. Reads every file that it takes, once.

    Raises:
        InvalidInput: there is no such folder, or no module in it.
    """
    library = library.resolve()
    if not library.is_dir():
        raise InvalidInput(what="library", reason=f"{library} is no folder", remedy="Name one with Python files in it.")
    files = sorted(_files(library), key=lambda file: file.relative_to(library).as_posix())
    if not files:
        raise InvalidInput(
            what="library", reason=f"there is no .py file below {library}", remedy="Name a folder that has some."
        )
    python = platform.python_version()
    return tuple(
        Module(library=str(library), path=file.relative_to(library).as_posix(), digest=_digest(file), python=python)
        for file in _spread(files, limit)
    )


def _files(library: Path) -> Iterator[Path]:
    for file in library.rglob("*.py"):
        if file.is_file() and _LEFT_OUT.isdisjoint(file.relative_to(library).parts):
            yield file


def _spread(files: Sequence[Path], limit: int | None) -> Iterator[Path]:
    if limit is None or limit >= len(files):
        return iter(files)
    return (files[position * len(files) // limit] for position in range(limit))


def _digest(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError:
        data = b""  # its own execution finds out, and says why
    return hashlib.blake2b(data, digest_size=12).hexdigest()
