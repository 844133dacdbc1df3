"""Sessions: pause and resume, joining, and what becomes of several that want one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from propolis import NonRetryable, Runtime, Stream
from propolis.messages import (
    AdvanceExecution,
    GetWhereabouts,
    InvalidInput,
    RecordSteps,
    SessionBusy,
    SessionNotFound,
    SessionRecord,
)
from propolis.testing import FailingStore

from .support import PATIENCE, Gate, executor_for, point, until


def open_with(runtime: Runtime, placement: str, body: Any, **fields: Any) -> Stream:
    """A stream with a body."""
    return runtime.open_stream(point(placement, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


def session(runtime: Runtime, session_id: str) -> SessionRecord:
    """A session that is there."""
    record = runtime.session(session_id).get(timeout=PATIENCE)
    assert record is not None
    return record


async def remember(ctx: Any, data: Any) -> list[Any]:
    seen = await ctx.memory.read("seen", [])
    await ctx.memory.write("seen", [*seen, data])
    await ctx.progress(len(seen) / 10, str(data))
    if data == "pause":
        await ctx.pause("here")
    return [*seen, data]


# -- pause and resume --------------------------------------------------------------------------------------------------


def test_a_pause_keeps_the_memory_and_a_resume_goes_on_with_it(any_runtime: Runtime, placement: str) -> None:
    """`ctx.pause()` is a checkpoint and the end; a paused execution has ended, for its waiters too."""
    stream = open_with(any_runtime, placement, remember)
    paused = stream.run("pause", memory={"seen": ["before"]}).get(timeout=PATIENCE)
    assert ("paused", "here", False) == (paused.status, paused.paused_at, paused.success)
    assert "paused" == session(any_runtime, paused.session_id).status
    execution_id = stream.resume(paused.session_id, input_data="after").get(timeout=PATIENCE)
    assert execution_id != paused.execution_id
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ["before", "pause", "after"] == result.output
    record = session(any_runtime, paused.session_id)
    assert ("completed", execution_id) == (record.status, record.execution_id)


def test_a_pause_behind_a_checkpoint_is_what_a_resume_starts_from(any_runtime: Runtime, placement: str) -> None:
    """Not the checkpoint before it. And the place where it paused is told."""

    async def work(ctx: Any, data: Any) -> Any:
        if ctx.resumed_from is None:
            await ctx.memory.write("a", 1)
            await ctx.checkpoint("first")
            await ctx.memory.write("b", 2)
            await ctx.pause("second")
        return [ctx.resumed_from, await ctx.memory.read_all()]

    stream = open_with(any_runtime, placement, work)
    paused = stream.run().get(timeout=PATIENCE)
    execution_id = stream.resume(paused.session_id, memory={"c": 3}).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ["second", {"a": 1, "b": 2, "c": 3}] == result.output


def test_a_running_execution_pauses_at_its_next_checkpoint(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """It does not get to the next line."""

    async def work(ctx: Any, data: Any) -> str:
        await gate.passed(ctx)
        await ctx.checkpoint("mark", memory={"k": 1})
        return "too far"

    stream = open_with(any_runtime, placement, work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    assert stream.pause_execution(execution_id).get(timeout=PATIENCE)
    gate.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ("paused", "mark", {"k": 1}) == (result.status, result.paused_at, result.session_state)
    assert not stream.pause_execution(execution_id).get(timeout=PATIENCE)


def test_a_pending_execution_pauses_at_once_and_can_be_resumed(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """Without having run."""

    async def work(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return [data, await ctx.memory.read("m")]

    stream = open_with(any_runtime, placement, work, max_concurrent=1)
    stream.execute("first").get(timeout=PATIENCE)
    second = stream.execute("second", memory={"m": 1}).get(timeout=PATIENCE)
    assert stream.pause_execution(second).get(timeout=PATIENCE)
    paused = stream.wait_for_completion(second).get(timeout=PATIENCE)
    assert paused is not None
    assert "paused" == paused.status
    gate.open()
    again = stream.resume(paused.session_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(again).get(timeout=PATIENCE)
    assert result is not None
    assert ["second", 1] == result.output


def test_a_completed_session_is_resumed_from_a_named_checkpoint_only(any_runtime: Runtime, placement: str) -> None:
    """And from the checkpoint's memory, not from that of the end."""

    async def work(ctx: Any, data: Any) -> Any:
        before = await ctx.memory.read_all()
        await ctx.memory.write("n", len(before) + 1)
        await ctx.checkpoint("half")
        await ctx.memory.write("end", True)
        return before

    stream = open_with(any_runtime, placement, work)
    done = stream.run().get(timeout=PATIENCE)
    with pytest.raises(SessionBusy, match="checkpoint"):
        stream.resume(done.session_id).get(timeout=PATIENCE)
    with pytest.raises(SessionNotFound, match="'cp_none'"):
        stream.resume(done.session_id, checkpoint_id="cp_none").get(timeout=PATIENCE)
    with pytest.raises(SessionNotFound, match="'nobody'"):
        stream.resume("nobody").get(timeout=PATIENCE)
    checkpoint_id = session(any_runtime, done.session_id).checkpoint_id
    again = stream.resume(done.session_id, checkpoint_id=checkpoint_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(again).get(timeout=PATIENCE)
    assert result is not None
    assert {"n": 1} == result.output


def test_of_two_resumes_of_one_session_one_gets_it(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """The other is told, and the bookkeeping is the winner's. Also while it is active there is no resume."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "pause":
            await ctx.pause()
        await gate.passed(ctx)
        return data

    stream = open_with(any_runtime, placement, work)
    paused = stream.run("pause").get(timeout=PATIENCE)
    calls = [stream.resume(paused.session_id, input_data=n) for n in range(10)]
    won: list[str] = []
    for call in calls:
        try:
            won.append(call.get(timeout=PATIENCE))
        except SessionBusy:
            continue
    assert 1 == len(won)
    gate.wait_for(1)
    with pytest.raises(SessionBusy):
        stream.resume(paused.session_id).get(timeout=PATIENCE)
    gate.open()
    result = stream.wait_for_completion(won[0]).get(timeout=PATIENCE)
    assert result is not None
    record = session(any_runtime, paused.session_id)
    assert (won[0], "completed", result) == (record.execution_id, record.status, record.result)
    assert 1 == gate.arrived


def test_a_session_is_resumed_on_the_stream_that_opened_it(runtime: Runtime) -> None:
    """Another one refuses."""
    first = open_with(runtime, "asyncio", remember, id="first")
    second = open_with(runtime, "asyncio", remember, id="second")
    paused = first.run("pause").get(timeout=PATIENCE)
    with pytest.raises(SessionBusy, match="'first'"):
        second.resume(paused.session_id).get(timeout=PATIENCE)


def test_progress_and_memory_of_a_session_are_never_torn(any_runtime: Runtime, placement: str) -> None:
    """Whoever reads the session while it works sees memory and progress of one and the same commit."""

    async def work(ctx: Any, data: Any) -> None:
        for n in range(1, 40):
            await ctx.progress(n / 40, f"{n}")
            await ctx.checkpoint(f"{n}", memory={"n": n})

    stream = open_with(any_runtime, placement, work)
    run = stream.run()
    until(lambda: stream.active_execution_ids)
    (execution_id,) = stream.active_execution_ids
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    seen = set()
    while not run.done():
        record = session(any_runtime, context.session_id)
        if record.memory:
            assert str(record.memory["n"]) == record.progress["note"] == record.checkpoint_node
            seen.add(record.memory["n"])
    assert "39" == session(any_runtime, context.session_id).progress["note"]


def test_progress_is_in_the_write_that_it_belongs_to(placement: str) -> None:
    """With its checkpoint, and with the end; never in one of its own, which could land without the other."""
    failing = FailingStore()

    async def work(ctx: Any, data: Any) -> None:
        await ctx.progress(0.5, "half")
        await ctx.checkpoint("half", memory={"n": 1})
        await ctx.progress(1.0, "whole")
        if data == "fail":
            raise NonRetryable("no")

    with Runtime(failing.open) as runtime:
        stream = open_with(runtime, placement, work)
        for how in ("end", "fail"):
            result = stream.run(how).get(timeout=PATIENCE)
            record = session(runtime, result.session_id)
            assert ("whole", 1.0, "half") == (
                record.progress["note"],
                record.progress["fraction"],
                record.checkpoint_node,
            )
        told: list[Any] = []
        for write in (write for batch in failing.batches for write in batch):
            if isinstance(write, (AdvanceExecution, RecordSteps)) and write.progress is not None:
                of = write.status if isinstance(write, AdvanceExecution) else write.ordinal
                told.append((of, write.progress.value()["note"]))
        assert [(1, "half"), ("completed", "whole"), (1, "half"), ("failed", "whole")] == told


def test_an_owner_goes_on_where_it_was_paused_whoever_has_joined_since(runtime: Runtime) -> None:
    """Who joins saves checkpoints of its own, and they are the session's last; but they are no place of the owner's."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "join":
            await ctx.memory.write("joined", True)
            await ctx.checkpoint("elsewhere")
        elif ctx.resumed_from is None:
            await ctx.memory.write("mine", 1)
            await ctx.pause("approval")
        return [ctx.resumed_from, await ctx.memory.read_all()]

    stream = open_with(runtime, "asyncio", work)
    paused = stream.run("pause").get(timeout=PATIENCE)
    joined = stream.run("join", session_id=paused.session_id).get(timeout=PATIENCE)
    assert [None, {"mine": 1, "joined": True}] == joined.output
    execution_id = stream.resume(paused.session_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert ["approval", {"mine": 1, "joined": True}] == result.output


# -- joining -----------------------------------------------------------------------------------------------------------


def test_a_join_sees_the_memory_and_leaves_the_record_alone(any_runtime: Runtime, placement: str) -> None:
    """From another stream: own id, own result, the session's memory; status, progress, result, entry point stay."""
    first = open_with(any_runtime, placement, remember, id="first")
    second = open_with(any_runtime, placement, remember, id="second")
    opened = first.run("one").get(timeout=PATIENCE)
    joined = second.run("two", session_id=opened.session_id).get(timeout=PATIENCE)
    assert ["one", "two"] == joined.output
    assert opened.session_id == joined.session_id
    record = session(any_runtime, opened.session_id)
    assert ("completed", "one", "first", opened.execution_id, opened) == (
        record.status,
        record.progress["note"],
        record.entry_point,
        record.execution_id,
        record.result,
    )
    assert {"seen": ["one", "two"]} == record.memory
    with pytest.raises(SessionNotFound, match="'nobody'"):
        first.execute("x", session_id="nobody").get(timeout=PATIENCE)


def test_executions_of_one_session_run_one_at_a_time_in_order(any_runtime: Runtime, placement: str) -> None:
    """However many slots there are; waiting for the session holds none. A cancelled one is passed over."""
    running = [0, 0]

    async def work(ctx: Any, data: Any) -> Any:
        running[0] += 1
        running[1] = max(running)
        seen = await ctx.memory.read("seen", [])
        await ctx.memory.write("seen", [*seen, data])
        await first_gate.passed(ctx)
        running[0] -= 1
        return data

    first_gate = Gate()
    stream = open_with(any_runtime, placement, work, max_concurrent=4)
    first = stream.execute(0).get(timeout=PATIENCE)
    first_gate.wait_for(1)
    context = stream.get_context(first).get(timeout=PATIENCE)
    assert context is not None
    ids = [stream.execute(n, session_id=context.session_id).get(timeout=PATIENCE) for n in range(1, 9)]
    until(lambda: stream.get_active_count().get(timeout=PATIENCE) == 1)
    assert "cancelled" == stream.cancel_execution(ids[3]).get(timeout=PATIENCE).outcome
    later = [stream.run(n, session_id=context.session_id) for n in range(9, 12)]
    first_gate.open()
    for call in later:
        assert call.get(timeout=PATIENCE).success
    assert 1 == running[1]
    assert [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11] == session(any_runtime, context.session_id).memory["seen"]


def test_a_latecomer_does_not_overtake_those_who_wait_for_a_session(any_runtime: Runtime, placement: str) -> None:
    """Even when it comes in the moment at which the session is free."""

    async def work(ctx: Any, data: Any) -> Any:
        seen = await ctx.memory.read("seen", [])
        await ctx.memory.write("seen", [*seen, data])

    stream = open_with(any_runtime, placement, work, max_concurrent=4)
    opened = stream.run(-1).get(timeout=PATIENCE)
    runs: list[Any] = []
    for n in range(60):
        runs.append(stream.run(n, session_id=opened.session_id))
        if n >= 3:
            runs[n - 3].get(timeout=PATIENCE)
    for run in runs:
        run.get(timeout=PATIENCE)
    assert list(range(-1, 60)) == session(any_runtime, opened.session_id).memory["seen"]


def test_the_joiners_policy_decides_about_a_session_in_use(
    any_runtime: Runtime, placement: str, new_gate: Callable[[], Gate]
) -> None:
    """`reject` is told at once, `parallel` runs beside it."""
    gate = new_gate()

    async def held(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return data

    async def quick(ctx: Any, data: Any) -> Any:
        return await ctx.memory.read("k")

    holder = open_with(any_runtime, placement, held, id="holder")
    rejecting = open_with(any_runtime, placement, quick, id="rejecting", session_policy="reject")
    parallel = open_with(any_runtime, placement, quick, id="parallel", session_policy="parallel")
    execution_id = holder.execute(memory={"k": 7}).get(timeout=PATIENCE)
    gate.wait_for(1)
    context = holder.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    with pytest.raises(SessionBusy, match=execution_id):
        rejecting.execute(session_id=context.session_id).get(timeout=PATIENCE)
    assert 7 == parallel.run(session_id=context.session_id).get(timeout=PATIENCE).output
    gate.open()
    until(lambda: not holder.active_execution_ids)
    assert 7 == rejecting.run(session_id=context.session_id).get(timeout=PATIENCE).output


def test_one_in_the_queue_of_a_stopped_stream_holds_nobody_up(runtime: Runtime, new_gate: Callable[[], Gate]) -> None:
    """Whoever waits behind it on the session has its turn."""
    gate, slots = new_gate(), new_gate()

    async def held(ctx: Any, data: Any) -> Any:
        await (slots if data == "slot" else gate).passed(ctx)
        return data

    owner = open_with(runtime, "asyncio", held, id="owner")
    stopped = open_with(runtime, "asyncio", held, id="stopped", max_concurrent=1)
    other = open_with(runtime, "asyncio", held, id="other")
    execution_id = owner.execute().get(timeout=PATIENCE)
    context = owner.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    stopped.execute("slot").get(timeout=PATIENCE)
    stopped.execute(session_id=context.session_id).get(timeout=PATIENCE)
    waiting = other.run("other", session_id=context.session_id)
    until(lambda: other.active_execution_ids)
    stopped.stop().get(timeout=PATIENCE)
    gate.open()
    assert "other" == waiting.get(timeout=PATIENCE).output


@pytest.mark.parametrize("bad", ["../etc", "", ".hidden", "a b", "x" * 129, "a/b", "ä", "a\n"])
def test_an_id_that_is_none_is_refused(runtime: Runtime, bad: str) -> None:
    """By name, wherever it comes in."""
    stream = open_with(runtime, "asyncio", remember)
    for call in (
        stream.execute("x", session_id=bad),
        stream.execute("x", correlation_id=bad),
        stream.resume(bad),
    ):
        with pytest.raises(InvalidInput, match="_id"):
            call.get(timeout=PATIENCE)
    assert 0 == stream.get_stats().get(timeout=PATIENCE).total_executions


def test_a_replay_waits_for_who_has_joined_the_session_meanwhile(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """Executions of one session run one at a time, and what fails and is to run again is one of them."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "fail" and ctx.attempt == 1:
            raise NonRetryable("broken")
        if data == "hold":
            await gate.passed(ctx)
            await ctx.memory.write("held", True)
        return [ctx.attempt, await ctx.memory.read("held", False)]

    stream = open_with(any_runtime, placement, work)
    failed = stream.run("fail").get(timeout=PATIENCE)
    joined = stream.run("hold", session_id=failed.session_id)
    gate.wait_for(1)
    any_runtime.replay(failed.session_id).get(timeout=PATIENCE)
    until(lambda: why_waits(stream, failed.execution_id) == "aside", "the replay to wait for its turn")
    gate.open()
    assert [1, True] == joined.get(timeout=PATIENCE).output
    result = stream.wait_for_completion(failed.execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert [2, True] == result.output


def test_a_replay_of_what_never_began_waits_too(runtime: Runtime, gate: Gate) -> None:
    """It ended before its first attempt, and by the time it is replayed somebody has joined its session."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "hold":
            await gate.passed(ctx)
            await ctx.memory.write("held", True)
        return [ctx.attempt, await ctx.memory.read("held", False)]

    async def stubborn(ctx: Any, data: Any) -> Any:
        with suppress(asyncio.CancelledError):
            await gate.passed(ctx)
        await gate.passed(ctx)  # a timeout ends it no sooner, and its slot is taken

    stream = open_with(runtime, "asyncio", stubborn, max_concurrent=1, total_timeout=0.02)
    holding = open_with(runtime, "asyncio", work, id="holding")
    blocking = stream.execute("hold").get(timeout=PATIENCE)
    failed = stream.run("late").get(timeout=PATIENCE)
    assert "failed" == failed.status
    gate.open()
    stream.wait_for_completion(blocking).get(timeout=PATIENCE)
    runtime.close_stream(stream.id).get(timeout=PATIENCE)
    stream = open_with(runtime, "asyncio", work)
    gate.close()
    before = gate.arrived
    joined = holding.run("hold", session_id=failed.session_id)
    gate.wait_for(before + 1)
    runtime.replay(failed.session_id).get(timeout=PATIENCE)
    until(lambda: why_waits(stream, failed.execution_id) == "aside", "the replay to wait for its turn")
    gate.open()
    assert [1, True] == joined.get(timeout=PATIENCE).output
    result = stream.wait_for_completion(failed.execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert [1, True] == result.output


def why_waits(stream: Stream, execution_id: str) -> str | None:
    """In which place of the stream an execution is."""
    where: Any = stream.ref.ask(GetWhereabouts(execution_id=execution_id), timeout=PATIENCE)
    place: str | None = where.place
    return place
