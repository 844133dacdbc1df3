"""Executors that say which span they run below; as a program, one that is killed while one of them runs."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from propolis import Context, EntryPoint, Runtime, SyncContext


def here() -> list[str]:
    """The trace and the span that are current, in hex: a number of 128 bits does not travel."""
    context = trace.get_current_span().get_span_context()
    return [f"{context.trace_id:032x}", f"{context.span_id:016x}"]


async def work(ctx: Context, _: Any) -> dict[str, Any]:
    """Before, in and behind a step."""
    before = here()
    return {"executor": before, "step": await ctx.step("look", here), "after": here()}


def work_plainly(ctx: SyncContext, _: Any) -> dict[str, Any]:
    """The same."""
    before = here()
    return {"executor": before, "step": ctx.step("look", here), "after": here()}


def main(url: str) -> None:
    """Say the span that asks, and run what never ends."""
    started = threading.Event()

    async def hangs(ctx: Context, _: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    provider = TracerProvider()
    with Runtime(url, tracer_provider=provider) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), hangs).get()
        with provider.get_tracer("program").start_as_current_span("request") as span:
            stream.execute().get()
        context = span.get_span_context()
        sys.stdout.write(f"00-{context.trace_id:032x}-{context.span_id:016x}-01\n")
        started.wait()
        sys.stdout.write("it runs\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
