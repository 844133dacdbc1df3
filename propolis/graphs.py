"""Opening the streams that a graph itself asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from propolis.actors import Reply
from propolis.messages import DuplicateStream

from .calls import Call
from .runtime import Runtime
from .stream import Stream

__all__ = ["open_entry_points"]


def open_entry_points(runtime: Runtime, executor: Any) -> Call[tuple[Stream, ...]]:
    """Open a stream for each of the `async_entry_points` of a graph; the reply has them in their order.

    `executor`: a GraphExecutor, or a subclass of it. All of them are open in the end, or none.

    Raises (from the reply):
        DuplicateStream: one of these ids is open already.
        Whatever `open_stream` does.
    """
    made: Any = executor() if inspect.isclass(executor) else executor
    points = made.spec.async_entry_points
    reply: Call[tuple[Stream, ...]] = Call()
    for point in points:
        if runtime.stream(point.id) is not None:  # it is somebody else's, and stays open
            reply.set_error(DuplicateStream(stream_id=point.id))
            return reply
    opening = [runtime.open_stream(point, executor) for point in points]

    def opened() -> None:
        errors = [error for error in map(_error_of, opening) if error is not None]
        if not errors:
            reply.set(tuple(call.result() for call in opening))
            return
        there = [call.result().id for call in opening if _error_of(call) is None]
        _when_all([runtime.close_stream(stream_id) for stream_id in there], lambda: reply.set_error(errors[0]))

    _when_all(opening, opened)
    return reply


def _error_of(call: Call[Any]) -> Exception | None:
    try:
        call.result()
    except Exception as error:  # noqa: BLE001 - it is the caller's
        return error
    return None


def _when_all(calls: Sequence[Reply[Any]], then: Callable[[], None]) -> None:
    """Call a function once all of them are answered."""
    left = list(calls)

    def look() -> None:
        while left:
            if not left[-1].done():
                left[-1].on_done(look)
                return
            left.pop()
        then()

    look()
