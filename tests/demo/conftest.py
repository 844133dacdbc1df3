"""A small library to audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from .small import BAD, GOOD


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with GOOD and BAD, and things that are no modules of it."""
    folder = tmp_path / "library"
    for name, data in (GOOD | BAD | {"site-packages/other.py": b"", "notes.txt": b""}).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder
