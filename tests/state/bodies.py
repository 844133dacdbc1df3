"""Executors that share memory, importable by worker processes; one body for every placement."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ..runtime.support import run_plainly


def one_more(value: Any) -> Any:
    return (value or 0) + 1


async def count(ctx: Any, times: int) -> None:
    """Increment the global counter so often."""
    for _ in range(times):
        await ctx.memory.update("n", one_more, scope="global")


async def every_call(ctx: Any, data: Any) -> list[Any]:
    """Each call once; what each gave."""
    memory = ctx.memory
    await memory.write("own", 1)
    await memory.write("ours", {"t": (1, b"x")}, scope="stream")
    await memory.write_batch({"a": 1, "b": None}, scope="global")
    return [
        await memory.update("a", one_more, scope="global"),
        await memory.read("b", "none", scope="global"),
        await memory.read("ours"),
        await memory.read("no", "none"),
        await memory.read_all(scope="global"),
        await memory.read_all(),
        await memory.delete("b", scope="global"),
        await memory.delete("b", scope="global"),
        await memory.read("b", "none"),
    ]


async def dies_between(ctx: Any, data: dict[str, Any]) -> int:
    """Three changes, and, the first time, the death of the process behind each of them."""
    folder = Path(data["folder"])
    for number in range(3):
        await ctx.memory.update("n", one_more, scope="global")
        await ctx.memory.write(f"k{number}", number, scope="stream")
        mark = folder / f"{number}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    value: int = await ctx.memory.read("n", scope="global")
    return value


def count_plainly(ctx: Any, times: int) -> None:
    run_plainly(count, ctx, times)


def every_call_plainly(ctx: Any, data: Any) -> list[Any]:
    result: list[Any] = run_plainly(every_call, ctx, data)
    return result


async def dies_in_its_turn(ctx: Any, data: Any) -> None:
    """While others wait for it."""
    await ctx.memory.update("n", lambda _: os._exit(3), scope="global")
