"""A runtime that was declared lost and has joined again: its triggers go on, and nothing is done twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from propolis.actors.triggers.triggering import REJOIN_SECONDS, retry_after

from propolis import EntryPoint, Runtime
from propolis.actors import Host, open_store
from propolis.messages import InvalidInput, LeaseLost, SessionBusy, StreamSaturated, StreamTripped

from ..runtime.support import PATIENCE, Recorder, until
from .support import Log, event_point, inputs, open_point, timer


def declare_lost(store: str, runtime: Runtime) -> None:
    """As a peer would."""
    opened = open_store(store, host=Host())
    opened.forget((runtime.stats().get(timeout=PATIENCE).runtime_id,))
    opened.close()


def test_triggers_of_a_runtime_that_was_declared_lost_go_on_when_it_has_joined_again(file_store: str) -> None:
    """Every time of the timer once, also those in between; every event, too."""
    ticks, reactions, seen = Log(), Log(), Recorder()

    async def emit(ctx: Any, data: Any) -> None:
        await ctx.emit("order", {"n": data})

    with Runtime(file_store) as runtime:
        runtime.subscribe("runtime_rejoined", seen).get(timeout=PATIENCE)
        open_point(runtime, event_point(event_types=["order"]), reactions)
        open_point(runtime, timer(interval_seconds=0.5, misfire="all", run_immediately=True), ticks)
        source = open_point(runtime, EntryPoint(id="source"), emit)
        source.run(1).get(timeout=PATIENCE)
        until(lambda: ticks.inputs and reactions.inputs)
        declare_lost(file_store, runtime)
        source.run(2).get(timeout=PATIENCE)
        seen.wait_for("runtime_rejoined")
        before = len(ticks.inputs)
        source.run(3).get(timeout=PATIENCE)
        until(lambda: len(ticks.inputs) >= before + 3 and len(reactions.inputs) >= 3)
        runtime.close_stream("tick").get(timeout=PATIENCE)
        times = sorted(data["due_at"] for data in inputs(runtime, "tick", None))
        reacted = sorted(data["event"]["data"]["n"] for data in inputs(runtime, "react", None))
    assert [times[0] + n * timedelta(seconds=0.5) for n in range(len(times))] == times
    assert [1, 2, 3] == reacted


@pytest.mark.parametrize(
    ("error", "tries", "wait"),
    [
        (StreamSaturated(stream_id="x", max_pending=1), 0, 0.1),
        (StreamSaturated(stream_id="x", max_pending=1), 2, 0.4),
        (StreamSaturated(stream_id="x", max_pending=1), 1_000, 5.0),
        (StreamTripped(stream_id="x", retry_after=60.0), 0, 60.0),
        (LeaseLost(runtime_id="r"), 3, REJOIN_SECONDS),
        (SessionBusy(session_id="x", reason="in use"), 0, None),
        (InvalidInput(what="x", reason="y"), 0, None),
    ],
)
def test_what_is_refused_is_tried_again_after_a_while_or_never(error: Exception, tries: int, wait: float) -> None:
    """Longer and longer, up to five seconds; a tripped stream says itself when."""
    assert wait == retry_after(error, tries)


def test_a_refusal_that_no_stream_makes_is_a_bug() -> None:
    """It crashes the trigger, whose supervisor hears of it."""
    with pytest.raises(ZeroDivisionError):
        retry_after(ZeroDivisionError(), 0)
