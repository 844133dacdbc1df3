"""Replies that an actor has kept for later, so that none is forgotten when it goes."""

from __future__ import annotations

from typing import Any

from .future import Reply

__all__ = ["Owed"]


class Owed:
    """Holds a reply until it is given. On the actor loop; a reply may be given on any thread."""

    __slots__ = ("_replies",)

    def __init__(self) -> None:
        self._replies: dict[Reply[Any], None] = {}  # in their order

    def keep(self, reply: Reply[Any]) -> None:
        """Until it is given."""
        self._replies[reply] = None
        reply.on_done(lambda: self._replies.pop(reply, None))

    def refuse(self, error: BaseException) -> None:
        """Give this to everybody who still waits."""
        for reply in list(self._replies):
            reply.offer_error(error)
