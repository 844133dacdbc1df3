"""Executors that have something to tell, for every placement."""

from __future__ import annotations

import logging
from typing import Any

from propolis import Context, NonRetryable, SyncContext

library = logging.getLogger("some.library")


def double(number: int) -> int:
    """A step's function."""
    return 2 * number


def breaks(_: int) -> None:
    """A step's function that fails."""
    raise NonRetryable("the scale is broken")


async def weigh(ctx: Context, number: int) -> int:
    """A step, a tool call, a word."""
    doubled: int = await ctx.step("double", double, number)
    await ctx.emit("tool_call_started", {"tool_name": "scale", "tool_use_id": "t1"})
    await ctx.emit("tool_call_completed", {"tool_name": "scale", "tool_use_id": "t1", "result": doubled})
    ctx.log.info("weighed %s", number)
    ctx.log.debug("nobody wants to know")
    return doubled


def weigh_plainly(ctx: SyncContext, number: int) -> int:
    """The same."""
    doubled: int = ctx.step("double", double, number)
    ctx.emit("tool_call_started", {"tool_name": "scale", "tool_use_id": "t1"})
    ctx.emit("tool_call_completed", {"tool_name": "scale", "tool_use_id": "t1", "result": doubled})
    ctx.log.info("weighed %s", number)
    ctx.log.debug("nobody wants to know")
    return doubled


async def fails(ctx: Context, number: int) -> Any:
    """A step that fails, and with it the execution."""
    return await ctx.step("breaks", breaks, number)
