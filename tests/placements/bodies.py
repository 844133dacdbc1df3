"""Executors that a worker process can import: each as `async def` and, with `_plainly` behind its name, as `def`."""

from __future__ import annotations

import asyncio
import decimal
import functools
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from propolis import Cancelled
from propolis.messages import ExecutionReport, Pairs

from ..runtime.support import Plain, run_plainly

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


def come(ctx: Any, gate: str) -> None:
    """Say by a file that an attempt has come, and which process it is in."""
    Path(f"{gate}.{ctx.attempt}.new").write_text(str(os.getpid()))
    Path(f"{gate}.{ctx.attempt}.new").rename(f"{gate}.{ctx.attempt}")


async def passed(ctx: Any, gate: str) -> None:
    """Say by a file that an attempt has come; wait until the file `gate` is there. A cancel gets through."""
    come(ctx, gate)
    while not os.path.exists(gate):  # noqa: ASYNC240, PTH110 - quick enough, here
        if isinstance(ctx, Plain):
            threading.Event().wait(0.005)
            if ctx.cancelled:
                raise Cancelled
        else:
            await asyncio.sleep(0.005)


class Order(BaseModel):
    """A declared input."""

    number: int


@both
async def echo(ctx: Any, data: Any) -> Any:
    return data


@both
async def takes_order(ctx: Any, data: Order) -> int:
    assert isinstance(data, Order)
    return data.number + 1


@both
async def fails(ctx: Any, data: Any) -> None:
    raise LookupError("not there")


@both
async def exits(ctx: Any, data: Any) -> None:
    raise SystemExit(3)


@both
async def interrupts(ctx: Any, data: Any) -> None:
    raise KeyboardInterrupt


@both
async def returns_object(ctx: Any, data: Any) -> Any:
    return {"thing": object()}


@both
async def counts(ctx: Any, data: int) -> list[Any]:
    """One box an attempt, each behind a checkpoint."""
    packed = await ctx.memory.read("packed", 0)
    if packed < data:
        await ctx.checkpoint(f"box {packed + 1}", memory={"packed": packed + 1})
        raise ConnectionError("again")
    return [ctx.attempt, packed, ctx.resumed_from]


def append(path: str, line: str) -> dict[str, str]:
    """A step with an effect that can be counted."""
    with Path(path).open("a") as file:
        file.write(f"{line}\n")
    return {"line": line}


async def append_async(path: str, line: str) -> dict[str, str]:
    """The same, awaited."""
    return append(path, line)


def _count(path: str) -> int:
    return len(Path(path).read_text().split())


@both
async def steps(ctx: Any, data: str) -> list[Any]:
    """Three steps with a checkpoint, a nap and a failure in between."""
    one = await ctx.step("one", append, data, "one")
    await ctx.checkpoint("mid", memory={"one": one})
    two = await ctx.step("two", append_async, data, "two")
    await ctx.sleep(0.2)
    if _count(data) == 2:
        await ctx.step("mark", append, data, "mark")
        raise ConnectionError("again")
    return [one, two, await ctx.step("three", append, data, "three"), ctx.step_key]


@both
async def tells(ctx: Any, data: Any) -> None:
    await ctx.heartbeat()
    await ctx.progress(0.25, "a quarter")
    await ctx.emit("custom", {"n": 1}, node_id="here")
    ctx.log.warning("from %s", "within")


@both
async def held(ctx: Any, gate: str) -> str:
    await passed(ctx, gate)
    return "through"


@both
async def pauses(ctx: Any, gate: str) -> str:
    if await ctx.memory.read("was", False):
        return "resumed"
    await passed(ctx, gate)
    await ctx.checkpoint("middle", memory={"was": True})
    return "not paused"


@both
async def pauses_itself(ctx: Any, data: Any) -> int:
    times: int = await ctx.memory.read("times", 0)
    if times == 0:
        await ctx.memory.write("times", 1)
        await ctx.pause("here")
    return times


@both
async def misuses(ctx: Any, data: Any) -> None:
    await ctx.progress(7.0, "")


@both
async def reports(ctx: Any, data: str) -> None:
    """Says how it went, up to its end, or up to a checkpoint that is followed by what `data` says."""
    await ctx.report(ExecutionReport(path=("a",), steps_executed=1, retry_details=Pairs({"a": 2}), total_tokens=7))
    await ctx.checkpoint("a")
    if data == "exit":
        os._exit(3)
    await ctx.report(ExecutionReport(path=("a", "b"), steps_executed=2, nodes_with_failures=("b",)))
    if data == "fail":
        raise LookupError("not there")
    if data == "pause":
        await ctx.pause("b")


@both
async def prints(ctx: Any, data: Any) -> None:
    print("to stdout")  # noqa: T201 - that is what is tested
    print("to stderr", file=sys.stderr)  # noqa: T201
    logging.getLogger("some.library").info("to a %s", "logger")
    print("no end of line", end="")  # noqa: T201


@both
async def sets_precision(ctx: Any, data: Any) -> int:
    """A context variable of the standard library: what it was, and from here on is not."""
    before = decimal.getcontext().prec
    decimal.getcontext().prec = 5
    return before


class Counter:
    """The class form."""

    def __init__(self) -> None:
        self.runs = 0

    async def execute(self, ctx: Any, data: Any) -> int:
        self.runs += 1
        return self.runs


class CounterPlainly:
    """The same, blocking."""

    def __init__(self) -> None:
        self.runs = 0

    def execute(self, ctx: Any, data: Any) -> int:
        self.runs += 1
        return self.runs


COUNTER = CounterPlainly()
