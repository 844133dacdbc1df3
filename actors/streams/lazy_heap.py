"""A heap whose items may be gone by the time they come up."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["LazyHeap"]

_Key: TypeAlias = tuple[int, int, int]
_SMALL = 64


class LazyHeap:
    """Ids by a key whose last part is the number of the ticket. `is_current(id, number)` says whether it still holds.

    Nothing is removed when it is cancelled: an item that is out of date is skipped when it comes up, and all are swept
    out once they may be the majority. So push, first and a cancel take O(log n), on average over many of them.
    """

    def __init__(self) -> None:
        self._items: list[tuple[_Key, str]] = []
        self._sweep_at = _SMALL

    def __len__(self) -> int:
        return len(self._items)

    def push(self, key: _Key, id: str, is_current: Callable[[str, int], bool]) -> None:
        """Put an id in."""
        heapq.heappush(self._items, (key, id))
        if len(self._items) > self._sweep_at:
            self._items = [item for item in self._items if is_current(item[1], item[0][2])]
            heapq.heapify(self._items)
            self._sweep_at = max(_SMALL, 2 * len(self._items))

    def first(self, is_current: Callable[[str, int], bool]) -> str | None:
        """The id of the least key that is up to date; None when there is none. It stays in."""
        while self._items:
            key, first = self._items[0]
            if is_current(first, key[2]):
                return first
            heapq.heappop(self._items)
        return None
