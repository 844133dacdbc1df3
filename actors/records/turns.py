"""Whose turn it is on a session that several executions want. Pure bookkeeping, in order of acceptance."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

__all__ = ["Turns"]


class Turns:
    """A queue for each session that is wanted; a session that nobody queues for takes no room."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def waits(self, session_id: str, *, besides: Collection[str]) -> bool:
        """Whether anybody besides these is in the queue of a session."""
        return any(id not in besides for id in self._queues.get(session_id, ()))

    def join(self, session_id: str, execution_id: str) -> bool:
        """Queue up. True if that makes it the first."""
        queue = self._queues.setdefault(session_id, deque())
        if execution_id not in queue:
            queue.append(execution_id)
        return queue[0] == execution_id

    def leave(self, session_id: str, execution_id: str) -> None:
        """Leave the queue, from whatever place; nothing happens when it is in none."""
        queue = self._queues.get(session_id)
        if queue is None:
            return
        if execution_id in queue:
            queue.remove(execution_id)
        if not queue:
            del self._queues[session_id]

    def first(self, session_id: str) -> str | None:
        """Whose turn it is."""
        queue = self._queues.get(session_id)
        return queue[0] if queue else None

    def firsts(self) -> list[str]:
        """Whose turn it is, over all sessions."""
        return [queue[0] for queue in self._queues.values()]
