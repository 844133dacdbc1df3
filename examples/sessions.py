"""Two streams share a session: the second execution finds what the first one remembered."""

from __future__ import annotations

import asyncio

from propolis import Context, EntryPoint, Runtime


async def chat(ctx: Context, line: str) -> str:
    """Opens a session, or adds to one."""
    lines: list[str] = await ctx.memory.update("lines", lambda before: [*before, line], default=[])
    return f"line {len(lines)}"


async def summarise(ctx: Context, _: None) -> str:
    """Another entry point, with other code and other limits, on the same memory."""
    lines: list[str] = await ctx.memory.read("lines", [])
    return " / ".join(lines)


async def main() -> None:
    """Open a session, join it from the same stream and from another one."""
    async with Runtime() as runtime:
        chats = await runtime.open_stream(EntryPoint(id="chat"), chat)
        summaries = await runtime.open_stream(EntryPoint(id="summary", max_concurrent=1), summarise)

        first = await chats.run("hello")
        session_id = first.session_id  # an execution that names no session opens one
        print(first.output)

        # All accepted at once. Executions of one session run one at a time, in the order they came, and see what the
        # one before them committed; those of other sessions do not wait for them.
        more = await asyncio.gather(*[chats.run(line, session_id=session_id) for line in ("are you", "there?")])
        print(*(result.output for result in more), sep="\n")
        print((await summaries.run(session_id=session_id)).output)

        record = await runtime.session(session_id)
        assert record is not None
        executions = await runtime.executions(session=session_id)
        print(f"{len(executions)} executions on one session, which belongs to {record.stream_id!r}")


if __name__ == "__main__":
    asyncio.run(main())
