import asyncio

from propolis import Backoff, Context, EntryPoint, RestartPolicy, Runtime


async def pack(ctx: Context, boxes: int) -> str:
    packed: int = await ctx.memory.read("packed", 0)
    print(f"attempt {ctx.attempt} begins behind box {packed}")
    for box in range(packed + 1, boxes + 1):
        if box == 2 * ctx.attempt:
            raise ConnectionError(f"lost the scanner at box {box}")
        await ctx.checkpoint(memory={"packed": box})
    return f"{boxes} boxes"


async def main() -> None:
    policy = RestartPolicy(max_restarts=3, backoff=Backoff(initial=0.1))
    async with Runtime("sqlite:///orders.db") as runtime:
        stream = await runtime.open_stream(EntryPoint(id="orders", restart=policy), pack)
        result = await stream.run(5)
    print(f"{result.status}: {result.output} with {result.restarts} restarts")


if __name__ == "__main__":
    asyncio.run(main())
