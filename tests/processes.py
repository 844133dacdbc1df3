"""What tests that start processes of their own share."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ROOT", "is_gone", "marked", "unmeasured"]

ROOT = Path(__file__).resolve().parents[1]


def unmeasured() -> dict[str, str]:
    """The environment of a process that coverage leaves alone, where the tests themselves run under it.

    Measuring makes a process take twice as long, and one that is killed has no time to write down what was measured.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def is_gone(pid: int) -> bool:
    """Whether no process of that number runs; a zombie that its new parent has yet to bury does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def marked(mark: str) -> set[int]:
    """Every process whose environment, when it began or when its ancestor that was no fork did, had this in it."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if mark.encode() in (folder / "environ").read_bytes() and not is_gone(int(folder.name)):
                    found.add(int(folder.name))
            except OSError:
                continue
    return found
