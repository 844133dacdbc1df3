"""Whether a store's file is still the one that was opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from propolis.messages import StoreUnavailable

__all__ = ["StoreFile"]


class StoreFile:
    """A path, and which file it was when first looked at.

    A process that has a file open goes on writing into it when it is deleted or replaced; what it acknowledges then is
    gone with the process (D1). SQLite's own advice is not to do that to a database (sqlite.org/howtocorrupt.html, 4);
    somebody will.
    """

    def __init__(self, path: Path, store: str) -> None:
        self.path: Final = path
        self._store: Final = store
        self._first: tuple[int, int] | None = None

    def look(self) -> None:
        """Raise StoreUnavailable when the file is not there, or not the one that was."""
        try:
            found = self.path.stat()
        except OSError as error:
            reason = f"its file is gone ({error.strerror}); put it back, or restart"
            raise StoreUnavailable(store=self._store, reason=reason) from error
        file = (found.st_dev, found.st_ino)
        if self._first is None:
            self._first = file
        elif file != self._first:
            raise StoreUnavailable(store=self._store, reason="another file has its place; put it back, or restart")
