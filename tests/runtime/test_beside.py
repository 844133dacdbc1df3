"""Executions beside each other on one session: no update is lost, and what runs again finds its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from propolis import NonRetryable, Runtime, Stream
from propolis.messages import ExecutionResult

from .support import PATIENCE, Gate
from .test_sessions import open_with, session


def test_executions_beside_each_other_on_one_session_lose_no_update(
    runtime: Runtime, new_gate: Callable[[], Gate]
) -> None:
    """Each sees the memory that it began with and what it changes itself; the session has what all have changed."""
    gates = {name: new_gate() for name in ("holder", "one", "two")}

    async def work(ctx: Any, name: str) -> Any:
        await ctx.memory.write(name, 1)
        if name == "one":
            await ctx.memory.delete("gone")
        await ctx.checkpoint("half")
        await gates[name].passed(ctx)
        await ctx.memory.update(name, lambda n: n + 1)
        return sorted(await ctx.memory.read_all())

    holder = open_with(runtime, "asyncio", work, id="holder")
    beside = open_with(runtime, "asyncio", work, id="beside", session_policy="parallel")
    session_id = holder.execute("holder", memory={"gone": 1, "kept": 1}).get(timeout=PATIENCE)
    gates["holder"].wait_for(1)
    runs = {}
    for name in ("one", "two"):
        runs[name] = beside.run(name, session_id=session_id)
        gates[name].wait_for(1)
    gates["two"].open()
    assert ["holder", "kept", "one", "two"] == runs["two"].get(timeout=PATIENCE).output
    gates["holder"].open()
    result = holder.wait_for_completion(session_id).get(timeout=PATIENCE)
    assert result is not None
    assert ["gone", "holder", "kept"] == result.output
    gates["one"].open()
    assert ["holder", "kept", "one"] == runs["one"].get(timeout=PATIENCE).output
    assert {"holder": 2, "kept": 1, "one": 2, "two": 2} == session(runtime, session_id).memory


def test_a_replay_behind_a_join_beside_it_runs_no_recorded_step_again(
    runtime: Runtime, new_gate: Callable[[], Gate]
) -> None:
    """The one beside it began when the first had come half way, and ended when it had failed (D4)."""
    joined, failed, done = new_gate(), new_gate(), Counter[int]()

    async def work(ctx: Any, data: Any) -> int:
        first: int = await ctx.memory.read("n", 0)
        for n in range(first, 4):
            await ctx.step("do", done.update, [n])
            if n == 2:
                await joined.passed(ctx)
            if n == 3 and ctx.attempt == 1:
                raise NonRetryable("broken")
            await ctx.memory.write("n", n + 1)
            await ctx.checkpoint(f"behind {n}")
        return first

    async def join(ctx: Any, data: Any) -> Any:
        joined.open()
        await failed.passed(ctx)
        await ctx.memory.write("joined", True)
        return await ctx.memory.read("n")

    stream = open_with(runtime, "asyncio", work)
    beside = open_with(runtime, "asyncio", join, id="beside", session_policy="parallel")
    session_id = stream.execute().get(timeout=PATIENCE)
    joined.wait_for(1)
    run = beside.run(session_id=session_id)
    assert "failed" == ended(stream, session_id).status
    failed.open()
    assert 2 == run.get(timeout=PATIENCE).output
    runtime.replay(session_id).get(timeout=PATIENCE)
    assert ("completed", 3) == (ended(stream, session_id).status, ended(stream, session_id).output)
    assert dict.fromkeys(range(4), 1) == done
    assert {"n": 4, "joined": True} == session(runtime, session_id).memory


def ended(stream: Stream, execution_id: str) -> ExecutionResult:
    """How it has ended."""
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    return result


def test_one_that_runs_beside_others_is_taken_over_with_what_it_began_with(file_store: str, gate: Gate) -> None:
    """And not with what the session has in the meantime: that is for those who come later."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "write":
            await ctx.memory.write("n", 2)
        if data == "wait":
            await gate.passed(ctx)
        return [ctx.attempt, await ctx.memory.read("n")]

    with Runtime(file_store) as runtime:
        stream = open_with(runtime, "asyncio", work, session_policy="parallel")
        session_id = stream.run("first", memory={"n": 1}).get(timeout=PATIENCE).session_id
        waiting = stream.execute("wait", session_id=session_id).get(timeout=PATIENCE)
        gate.wait_for(1)
        assert [1, 2] == stream.run("write", session_id=session_id).get(timeout=PATIENCE).output
    gate.open()
    with Runtime(file_store) as runtime:
        stream = open_with(runtime, "asyncio", work, session_policy="parallel")
        assert [2, 1] == ended(stream, waiting).output
        assert [1, 2] == stream.run("look", session_id=session_id).get(timeout=PATIENCE).output
