"""What runs in the drawn worlds: as its order says, telling the log of everything that it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .log import Log

__all__ = ["executor"]


def executor(log: Log, process: str, *, blocking: bool) -> Any:
    """An executor for the streams of a process, as an `async def` or a `def`."""
    return _blocking(log, process) if blocking else _async(log, process)


def effect_of(log: Log, ctx: Any) -> Callable[[str, int], int]:
    """What a step of this attempt does to the world outside."""

    def effect(execution_id: str, n: int) -> int:
        log.take_effect(execution_id, n, ctx.epoch)
        return n

    return effect


def _async(log: Log, process: str) -> Any:

    async def step(ctx: Any, order: dict[str, Any], n: int) -> None:
        await asyncio.sleep(order["seconds"])
        if order["records"]:
            log.recorded(ctx, n, await ctx.step("effect", effect_of(log, ctx), ctx.execution_id, n))
        if order["sleeps"] == n:
            await ctx.sleep(0.2)
        await ctx.memory.write(ctx.execution_id, n + 1)
        await ctx.checkpoint(f"step {n}")
        log.saved(ctx, n + 1)

    async def work(ctx: Any, order: dict[str, Any]) -> dict[str, Any]:
        done = (await ctx.memory.read(ctx.execution_id)) or 0
        body = log.begin(process, ctx, done)
        try:
            for n in range(done, order["steps"]):
                await step(ctx, order, n)
                if ctx.attempt <= order["fails"]:
                    raise ValueError("again")
            if order["emits"]:
                await ctx.emit("custom", {"n": 1})
            return {"steps": order["steps"]}
        finally:
            log.end(body)

    return work


def _blocking(log: Log, process: str) -> Any:
    def step(ctx: Any, order: dict[str, Any], n: int) -> None:
        if order["records"]:
            log.recorded(ctx, n, ctx.step("effect", effect_of(log, ctx), ctx.execution_id, n))
        if order["sleeps"] == n:
            ctx.sleep(0.2)
        ctx.memory.write(ctx.execution_id, n + 1)
        ctx.checkpoint(f"step {n}")
        log.saved(ctx, n + 1)

    def block(ctx: Any, order: dict[str, Any]) -> dict[str, Any]:
        done = ctx.memory.read(ctx.execution_id) or 0
        body = log.begin(process, ctx, done)
        try:
            for n in range(done, order["steps"]):
                step(ctx, order, n)
                if ctx.attempt <= order["fails"]:
                    raise ValueError("again")
            return {"steps": order["steps"]}
        finally:
            log.end(body)

    return block
