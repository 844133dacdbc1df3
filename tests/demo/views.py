"""What the demo's tests look with: a console that keeps its text, a view that keeps its snapshots."""

from __future__ import annotations

import io
from typing import Self

from rich.console import Console

from propolis.demo import Snapshot


def text_console(*, terminal: bool = False) -> Console:
    """A console that keeps what is printed."""
    return Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None, legacy_windows=False)


def printed(console: Console) -> str:
    """What was printed so far."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class Seen:
    """A view that keeps what it is shown, and can do something at that."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.snapshots: list[Snapshot] = []
        self._interrupt_at = interrupt_at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        if len(self.snapshots) == self._interrupt_at:
            raise KeyboardInterrupt
