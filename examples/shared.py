"""Executions share a stock: each takes one piece, none takes a piece twice, and the last ones find it empty."""

from __future__ import annotations

import asyncio

from propolis import Backoff, Context, EntryPoint, RestartPolicy, Runtime

PIECES = 8


async def buy(ctx: Context, customer: str) -> str:
    """Take a piece from the stock, then fail once: what was taken stays taken, and is not taken again."""
    left: int = await ctx.memory.update("stock", lambda stock: max(stock - 1, -1), default=PIECES, scope="stream")
    if ctx.attempt == 1:
        raise ConnectionError("the line to the shop was cut")
    if left < 0:
        return f"{customer} gets nothing"
    await ctx.memory.write(f"piece {left}", customer, scope="global", expected=None)  # nobody else has it
    return f"{customer} gets piece {left}"


async def main() -> None:
    """Ten customers at once, for eight pieces."""
    point = EntryPoint(
        id="shop",
        isolation_level="synchronized",
        restart=RestartPolicy(backoff=Backoff(initial=0.0)),
    )
    async with Runtime() as runtime:
        stream = await runtime.open_stream(point, buy)
        results = await asyncio.gather(*[stream.run(f"customer {n}") for n in range(PIECES + 2)])
        empty = sum(str(result.output).endswith("nothing") for result in results)
        print(f"{len(await runtime.state())} pieces sold, {empty} customers got nothing")
        print(f"stock: {await runtime.state('stream', stream='shop')}")
        first = (await runtime.state_history("stock", scope="stream", stream="shop"))[-1]
        print(f"it began with {first.value} left, in version {first.version}")


if __name__ == "__main__":
    asyncio.run(main())
