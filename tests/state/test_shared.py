"""`isolation_level="shared"`: written through, the last one wins, and what was overwritten unseen is told."""

from __future__ import annotations

from typing import Any

from propolis import Runtime
from propolis.messages import EventFilter

from ..runtime.support import PATIENCE, Gate
from .conftest import opened


def events(runtime: Runtime, *types: str) -> list[Any]:
    """Of these types, as the store has them."""
    return list(runtime.read(lambda store: store.events_after(0, EventFilter(types=types), 1_000)).get())


def test_a_write_over_what_somebody_else_changed_since_it_was_read_is_told(runtime: Runtime) -> None:
    """With whose it was; a write over what one has seen, or never looked at, is none."""
    read, written = Gate(), Gate()

    async def slow(ctx: Any, data: Any) -> None:
        value = await ctx.memory.read("n", 0, scope="global")
        await read.passed(ctx)
        await ctx.memory.write("n", value + 1, scope="global")  # over what the other wrote meanwhile
        await ctx.memory.write("n", value + 2, scope="global")  # its own

    async def quick(ctx: Any, data: Any) -> None:
        await ctx.memory.write("n", 10, scope="global")
        await ctx.memory.write("other", 1, scope="global")

    first, second = opened(runtime, slow, "shared", "slow"), opened(runtime, quick, "shared", "quick")
    written.open()
    slow_id = first.execute().get(timeout=PATIENCE)
    read.wait_for()
    quick_id = second.run().get(timeout=PATIENCE).execution_id
    read.open()
    first.wait_for_completion(slow_id).get(timeout=PATIENCE)
    (conflict,) = events(runtime, "state_conflict")
    assert (slow_id, "slow") == (conflict.execution_id, conflict.stream_id)
    about = {"scope": "global", "key": "n", "version": 2, "based_on": 0, "overwritten": quick_id}
    assert about == conflict.data
    changed = [
        (event.execution_id, event.data["key"], event.data["version"]) for event in events(runtime, "state_changed")
    ]
    assert [(quick_id, "n", 1), (quick_id, "other", 1), (slow_id, "n", 2), (slow_id, "n", 3)] == changed
    assert {"n": 2, "other": 1} == runtime.state().get(timeout=PATIENCE)


def test_updates_side_by_side_are_lost_and_told(runtime: Runtime) -> None:
    """Every lost one is a conflict: what is there in the end, and the conflicts, make up for all of them."""

    async def body(ctx: Any, times: int) -> None:
        for _ in range(times):
            await ctx.memory.update("n", lambda n: (n or 0) + 1, scope="global")

    stream = opened(runtime, body, "shared")
    runs = [stream.run(10) for _ in range(20)]
    assert all(run.get(timeout=PATIENCE).success for run in runs)
    conflicts = [event.data for event in events(runtime, "state_conflict")]
    assert 200 == len(events(runtime, "state_changed"))
    assert runtime.state().get(timeout=PATIENCE)["n"] < 200
    assert conflicts
    assert all(conflict["based_on"] < conflict["version"] - 1 for conflict in conflicts)


def test_a_subscriber_hears_of_every_change_with_its_number(runtime: Runtime) -> None:
    """As it is in the store."""
    heard: list[Any] = []
    runtime.subscribe(("state_changed", "state_conflict"), heard.append).get(timeout=PATIENCE)

    async def body(ctx: Any, data: Any) -> None:
        await ctx.memory.write_batch({"a": 1, "b": 2}, scope="stream")
        await ctx.memory.delete("a", scope="stream")

    opened(runtime, body, "shared").run().get(timeout=PATIENCE)
    from ..runtime.support import until

    until(lambda: len(heard) == 3)
    assert heard == events(runtime, "state_changed", "state_conflict")
    assert {"scope": "stream", "key": "a", "version": 2, "deleted": True} == heard[-1].data
