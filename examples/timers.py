"""A timer that fires three times, whose failure an event trigger hears of; closed for a while, it makes up for it."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime
from itertools import pairwise
from typing import Any

from propolis import Context, EntryPoint, NonRetryable, Runtime

EVERY = 0.3
timer = EntryPoint(
    id="report",
    trigger_type="timer",
    trigger_config={"interval_seconds": EVERY, "misfire": "all", "input_data": {"title": "sales"}},
)
alarm = EntryPoint(
    id="alarm",
    trigger_type="event",
    trigger_config={"event_types": ["execution_failed"], "filter_stream": "report"},
)

times: list[datetime] = []
alarms: list[str] = []


async def report(ctx: Context, due: dict[str, Any]) -> None:
    """Gets the input_data, and the time that it is for, however late it runs."""
    times.append(due["due_at"])
    if len(times) == 2:
        raise NonRetryable(f"no figures for {due['title']}")


async def sound(ctx: Context, cause: dict[str, Any]) -> None:
    """Gets the event."""
    event = cause["event"]
    alarms.append(f"{event['type']} in {event['stream_id']}: {event['data']['error']}")


async def grown(things: list[Any], count: int) -> None:
    """Wait until there are so many. (Executors run on an event loop of their own.)"""
    while len(things) < count:  # noqa: ASYNC110 - an asyncio.Event belongs to one loop
        await asyncio.sleep(0.01)


async def main() -> None:
    """Open it, close it, open it again: each of its times fires once."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/reports.db"
        async with Runtime(store) as runtime:
            await runtime.open_stream(alarm, sound)
            await runtime.open_stream(timer, report)
            await grown(times, 2)
            await grown(alarms, 1)
        before = len(times)
        await asyncio.sleep(3 * EVERY)
        async with Runtime(store) as runtime:
            await runtime.open_stream(timer, report)
            await grown(times, before + 2)
    print(alarms[0])
    fired = sorted(set(times))  # what a stop interrupts runs again
    gaps = {round((later - earlier).total_seconds() / EVERY) for earlier, later in pairwise(fired)}
    print(f"from one time to the next: {gaps} intervals, though nobody was there for three of them")


if __name__ == "__main__":
    asyncio.run(main())
