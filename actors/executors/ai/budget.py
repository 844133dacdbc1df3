"""How many tokens a session may use: counted in its memory, so that a death of the process forgets none of them."""

from __future__ import annotations

from typing import Any, Final

from propolis.messages import TokensExhausted

from ..context import Context
from ..remembering import Memory
from ..replay import SCOPE

__all__ = ["TOKENS", "Budget"]

TOKENS: Final = "__tokens__"
"""Where in the memory of a session its tokens are counted."""

MORE: Final = {"type": "integer", "minimum": 0, "description": "tokens more; 0 to stop here"}


class Budget:
    """As one visit of a node sees it: what the session had used before, and what the visit adds.

    What a visit adds is written under the visit's own name, in place of what it wrote before: a visit that is tried
    again comes by the same answers once more, and they count once.
    """

    def __init__(self, ctx: Context, node_id: str, limit: int | None) -> None:
        self._ctx = ctx
        self._memory = Memory(ctx._attempt)  # the session's own, and not what a node may see of it
        self._node_id = node_id
        self._limit = limit
        scope = SCOPE.get()
        self._visit = ctx.execution_id if scope is None else f"{scope.segment}.{scope.first_call}"
        self._here = [0, 0]
        """Spent, granted."""

    async def admit(self) -> None:
        """Before a request: ask a person, when all is spent.

        Raises:
            TokensExhausted: the answer is 0.
        """
        while self._limit is not None:
            spent, granted = await self._known()
            allowed = self._limit + granted
            if spent < allowed:
                return
            prompt = (
                f"Session {self._ctx.session_id} has used {spent} tokens of {allowed}, and is at node "
                f"{self._node_id!r}. How many more may it use? 0 stops it."
            )
            more = await self._ctx.ask_human(prompt, node_id=self._node_id, schema=MORE)
            if not more:
                raise TokensExhausted(node_id=self._node_id, spent=spent, budget=allowed)
            self._here[1] += more
            await self._write()

    async def spend(self, tokens: int) -> None:
        """Behind a request."""
        self._here[0] += tokens
        if self._limit is not None:
            await self._write()

    async def close(self) -> None:
        """The visit has succeeded, and is not made again: its name is no longer needed."""

        def fold(counts: dict[str, Any] | None) -> dict[str, Any]:
            counts = counts or _nothing()
            counts["visits"].pop(self._visit, None)
            counts["total"] = _sums(counts["total"], self._here)
            return counts

        if self._limit is not None:
            await self._memory.update(TOKENS, fold)

    async def _known(self) -> list[int]:
        counts = await self._memory.read(TOKENS, scope="execution") or _nothing()
        others = [pair for visit, pair in counts["visits"].items() if visit != self._visit]
        return _sums(counts["total"], self._here, *others)

    async def _write(self) -> None:
        def note(counts: dict[str, Any] | None) -> dict[str, Any]:
            counts = counts or _nothing()
            counts["visits"][self._visit] = self._here
            return counts

        await self._memory.update(TOKENS, note)


def _nothing() -> dict[str, Any]:
    return {"total": [0, 0], "visits": {}}


def _sums(*pairs: list[int]) -> list[int]:
    return [sum(column) for column in zip(*pairs, strict=True)]
