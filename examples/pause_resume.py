"""An execution is paused at a checkpoint, and its session taken up again by a later runtime."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from propolis import Context, EntryPoint, Runtime

POINT = EntryPoint(id="report")
CHAPTERS = ("sales", "costs", "outlook", "summary")


async def write_report(ctx: Context, year: int) -> list[str]:
    """A chapter at a time. Pausing, and going on, both happen at `checkpoint`."""
    written: list[str] = await ctx.memory.read("written", [])
    if ctx.resumed_from is not None:
        print(f"goes on behind chapter {ctx.resumed_from!r}")
    for chapter in CHAPTERS[len(written) :]:
        await asyncio.sleep(0.2)  # the work
        written.append(f"{chapter} of {year}")
        await ctx.checkpoint(chapter, memory={"written": written})  # does not return if a pause was asked for
    return written


async def main() -> None:
    """Pause after the first chapter that gets done; go on in another runtime on the same file."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder, 'reports.db')}"
        async with Runtime(store) as runtime:
            stream = await runtime.open_stream(POINT, write_report)
            execution_id = await stream.execute(2026)
            await stream.pause_execution(execution_id)
            paused = await stream.wait_for_completion(execution_id)
            assert paused is not None
            print(f"{paused.status} at {paused.paused_at!r}")

        async with Runtime(store) as runtime:  # tomorrow, in another process
            stream = await runtime.open_stream(POINT, write_report)
            execution_id = await stream.resume(paused.session_id)
            result = await stream.wait_for_completion(execution_id)
            assert result is not None
            print(f"{result.status}: {', '.join(result.output)}")


if __name__ == "__main__":
    asyncio.run(main())
