"""Executors that decide. A worker process can import them; `_plainly` behind a name is the same as a `def`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from ..runtime.support import run_plainly

Body = Callable[[Any, Any], Awaitable[Any]]


def both(body: Body) -> Body:
    """Define the plain one beside it."""

    @functools.wraps(body)
    def plainly(ctx: Any, data: Any) -> Any:
        return run_plainly(body, ctx, data)

    del plainly.__wrapped__  # type: ignore[attr-defined]
    plainly.__name__ = plainly.__qualname__ = f"{body.__name__}_plainly"
    plainly.__annotations__ = dict(body.__annotations__)
    globals()[plainly.__name__] = plainly
    return body


@both
async def decide_and_fail_twice(ctx: Any, data: Any) -> Any:
    """Decide, fail; in the third attempt come to an end."""
    decision = await ctx.decide(
        intent="label",
        options=[{"id": "refund", "cost": 5}, {"id": "ignore"}],
        chosen="refund",
        reasoning=f"attempt {ctx.attempt}",
        context={"ticket": data},
    )
    if ctx.attempt == 1:
        raise OSError("between the decision and its outcome")
    await ctx.record_outcome(
        decision, success=True, result={"paid": 5}, summary="paid", tokens=30, latency_ms=100.0 * ctx.attempt
    )
    problem = await ctx.report_problem("warning", "slow", decision_id=decision, suggested_fix="wait")
    if ctx.attempt == 2:
        raise OSError("behind them")
    return {"decision": decision, "problem": problem}


@both
async def decide_as_told(ctx: Any, data: Any) -> Any:
    """Decide what the input says; the outcome is what it says, too."""
    if "of" in data:
        await ctx.record_outcome(data["of"], success=True)
    decision = await ctx.decide(intent=data.get("intent", "act"), options=["a", "b"], chosen=data.get("chosen", "a"))
    if "success" in data:
        await ctx.record_outcome(decision, success=data["success"], tokens=data.get("tokens", 0))
    return data.get("output", decision)


@both
async def record_for_another(ctx: Any, data: Any) -> Any:
    """Record the outcome of a decision that somebody else made."""
    await ctx.record_outcome(data, success=False, error="it came back")
