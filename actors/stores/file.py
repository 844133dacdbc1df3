"""Whether a store's file is still the one that was opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from propolis.messages import InvalidInput, StoreUnavailable

from ..forks import Identity, closed_here, opened_here, was_inherited

__all__ = ["StoreFile"]

REMEDY: Final = "put it back, or restart"


class StoreFile:
    """A path, and which file it was when first looked at; with it, while we write, the two that SQLite keeps beside it.

    A process that has a file open goes on writing into it when it is deleted or replaced; what it acknowledges then is
    gone with the process (D1). SQLite's own advice is not to do that to a database (sqlite.org/howtocorrupt.html, 4);
    somebody will.
    """

    def __init__(self, path: Path, store: str) -> None:
        self.path: Final = path
        self._store: Final = store
        self._parts: Final = {part: path.with_name(f"{path.name}{part}") for part in ("", "-wal", "-shm")}
        self._first: dict[str, Identity] = {}

    def open(self) -> None:
        """Before it is opened. Raises InvalidInput in a process that was forked while it was open.

        SQLite keeps count of its locks in memory: it takes those of the parent for the child's own, and takes none. The
        parent then finds itself alone, and removes the log at its end, into which the child goes on writing.
        """
        if was_inherited(_identity(self.path)):
            raise InvalidInput(
                what=f"store {self._store!r}",
                reason="forked while its parent had the file open, this process has none of SQLite's locks on it",
                remedy='Start the process by "spawn" or "forkserver", or fork it before the runtime is started.',
            )
        opened_here(self)

    def close(self) -> None:
        """It is not open here any more."""
        closed_here(self)

    @property
    def identity(self) -> Identity | None:
        """Which file it is; None when there is none."""
        return self._first.get("") or _identity(self.path)

    def look(self, *, writing: bool) -> None:
        """Raise StoreUnavailable when it is not there, or not the one that was. `writing`: a connection is open that
        has written, so nobody may take the log away.
        """
        for part, path in self._parts.items():
            if part and not writing:
                self._first.pop(part, None)  # who closes a file last removes them, and the next one makes others
                continue
            found = _identity(path)
            if found is None and (not part or part in self._first):
                raise StoreUnavailable(store=self._store, reason=f"its file {path.name} is gone; {REMEDY}")
            if found is not None and found != self._first.setdefault(part, found):
                raise StoreUnavailable(store=self._store, reason=f"another file has the place of {path.name}; {REMEDY}")


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
