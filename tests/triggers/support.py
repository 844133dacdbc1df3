"""What the tests of triggers share: entry points with a trigger, time that passes for them, what they started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from propolis.actors.wakeup import LOOK_SECONDS

from propolis import EntryPoint, Runtime, Stream
from propolis.testing import ManualHost

from ..runtime.support import PATIENCE, until

__all__ = ["Log", "event_point", "inputs", "open_point", "pass_by", "timer"]


class Log:
    """An executor that keeps its inputs."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    async def __call__(self, ctx: Any, data: Any) -> Any:
        self.inputs.append(data)
        return data

    def due(self) -> list[datetime]:
        """The times of what a timer has started, in order."""
        return sorted(data["due_at"] for data in self.inputs)


def timer(id: str = "tick", fields: Any = None, **config: Any) -> EntryPoint:
    """An entry point with a timer."""
    return EntryPoint(id=id, trigger_type="timer", trigger_config=config, **(fields or {}))


def event_point(id: str = "react", fields: Any = None, **config: Any) -> EntryPoint:
    """An entry point that events start."""
    return EntryPoint(id=id, trigger_type="event", trigger_config=config, **(fields or {}))


def open_point(runtime: Runtime, point: EntryPoint, executor: Callable[..., Any]) -> Stream:
    """Open it."""
    return runtime.open_stream(point, executor).get(timeout=PATIENCE)


def pass_by(clock: ManualHost, seconds: float) -> None:
    """Let time pass for one timer, which looks at the clock now and then: wait until it does, each time."""
    left = seconds
    while left > 0:
        step = min(left, LOOK_SECONDS)
        clock.wait_for_timer(within=LOOK_SECONDS, timeout=PATIENCE)
        clock.advance(step)
        left -= step


def inputs(runtime: Runtime, stream: str, status: str | None = "completed") -> list[Any]:
    """The inputs of all executions of a stream in the store, once all have ended like this; the oldest first."""

    def read() -> Any:
        rows = runtime.executions(stream=stream, limit=10_000).get(timeout=PATIENCE)
        return rows if all(status in (row.status, None) for row in rows) else None

    return [row.input_data for row in reversed(until(read, f"the executions of {stream}"))]
