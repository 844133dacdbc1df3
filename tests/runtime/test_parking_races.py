"""Parking, where something else happens at the same moment: a failure, a second end, a signal for a new attempt."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from propolis import Backoff, RestartPolicy, Runtime, RuntimeConfig
from propolis.messages import AdvanceExecution, AnswerQuestion, Payload, QuestionAnswered
from propolis.testing import FailingStore, ManualHost

from .support import GRACE, PATIENCE, Gate, pass_time, pass_time_until, point, until
from .test_parking import until_parked
from .test_waiting_for_others import open_with, output

AT_ONCE = RestartPolicy(max_restarts=3, backoff=Backoff(initial=0.0))


def test_a_failure_overtakes_the_commit_that_parks_it() -> None:
    """The answer to that commit finds another attempt, which has a slot and keeps it."""
    failing, begins, fails, gate = FailingStore(), Gate(), Gate(), Gate()

    async def work(ctx: Any, data: str) -> Any:
        if data == "first" and ctx.attempt == 1:
            await begins.passed(ctx)
            sleeping = asyncio.create_task(ctx.sleep(60.0))
            await fails.passed(ctx)
            sleeping.cancel()
            raise OSError("again")
        await gate.passed(ctx)
        return data

    with Runtime(failing.open) as runtime:
        stream = open_with(runtime, "asyncio", work, max_concurrent=1, restart=AT_ONCE)
        first, second = (stream.execute(data).get(timeout=PATIENCE) for data in ("first", "second"))
        begins.wait_for()
        with failing.hold_commit() as held:
            begins.open()
            held.wait_reached()
            assert any(isinstance(write, AdvanceExecution) for write in failing.batches[-1])
            fails.open()
            until(lambda: stream.get_context(first).get(timeout=PATIENCE).attempt == 2)  # type: ignore[union-attr]
        gate.wait_for()
        assert 1 == stream.get_stats().get(timeout=PATIENCE).queue_depth  # the second has no slot
        gate.open()
        assert ["first", "second"] == [output(stream, id) for id in (first, second)]


def test_a_wait_that_ends_while_another_has_its_attempt_counted_is_not_forgotten(clock: ManualHost) -> None:
    """The executor is run again for the one, comes to the other, and finds that over."""
    failing = FailingStore()

    def work(ctx: Any, data: Any) -> int:
        with contextlib.suppress(BaseException):  # a way to wait for both
            ctx.sleep(10.0)
        ctx.sleep(20.0)
        return int(ctx.attempt)

    config = RuntimeConfig(grace_seconds=GRACE, lease_seconds=3_000_000.0)
    runtime = Runtime(failing.open, config=config, host=clock)
    runtime.start().get(timeout=PATIENCE)
    try:
        stream = runtime.open_stream(point("thread"), work).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        until_parked(stream, execution_id)
        with failing.hold_commit() as held:
            pass_time(clock, 10.0)
            held.wait_reached()
            clock.advance(10.0)
            stream.get_context(execution_id).get(timeout=PATIENCE)
        pass_time_until(clock, lambda: not stream.active_execution_ids, step=0.01)
        assert output(stream, execution_id) in (2, 3)
    finally:
        stopping = runtime.stop()
        pass_time_until(clock, stopping.done, step=0.01)


def test_a_signal_is_not_taken_by_a_wait_of_an_attempt_that_is_gone(any_runtime: Runtime) -> None:
    """It failed beside that wait. The next attempt, which has not come to it yet, gets the signal."""
    fails, gate = Gate(), Gate()

    async def work(ctx: Any, data: str) -> Any:
        if data == "first" and ctx.attempt == 1:
            waiting = asyncio.create_task(ctx.receive("news"))
            await fails.passed(ctx)
            waiting.cancel()
            raise OSError("again")
        if data == "first":
            await gate.passed(ctx)
        return await ctx.receive("news")

    stream = open_with(any_runtime, "asyncio", work, restart=AT_ONCE)
    first, second = (stream.execute(data).get(timeout=PATIENCE) for data in ("first", "second"))
    until_parked(stream, first, second)
    fails.open()
    gate.wait_for()
    for execution_id in (first, second):
        stream.send(execution_id, "news", execution_id).get(timeout=PATIENCE)
    assert second == output(stream, second)  # so the first has heard of its own
    gate.open()
    assert first == output(stream, first)


def test_receives_side_by_side_have_a_signal_each(any_runtime: Runtime) -> None:
    """Of those, too, that were there before anybody asked."""
    gate = Gate()

    async def work(ctx: Any, data: str) -> Any:
        if data == "fence":
            return await ctx.receive("news")
        await gate.passed(ctx)
        return await asyncio.gather(*(ctx.receive("news") for _ in range(3)))

    stream = open_with(any_runtime, "asyncio", work)
    first, fence = (stream.execute(data).get(timeout=PATIENCE) for data in ("first", "fence"))
    gate.wait_for()
    for n in range(3):
        stream.send(first, "news", n).get(timeout=PATIENCE)
    stream.send(fence, "news", 0).get(timeout=PATIENCE)
    output(stream, fence)  # so the other has heard of its own
    gate.open()
    assert [0, 1, 2] == sorted(output(stream, first))


def test_an_answer_that_was_left_in_time_counts_where_the_deadline_has_passed_meanwhile(
    timed_runtime: Runtime, clock: ManualHost, placement: str
) -> None:
    """While there is no slot to go on with the default, say. One that is left after the deadline is refused."""
    gate, due = Gate(), clock.now() + timedelta(seconds=60)

    async def work(ctx: Any, data: str) -> Any:
        if data == "other":
            return await gate.passed(ctx)
        return await ctx.ask_human("Well?", deadline=due, default="nobody said")

    stream = open_with(timed_runtime, placement, work, max_concurrent=1)
    asking = stream.execute("asks").get(timeout=PATIENCE)
    until_parked(stream, asking)
    (question,) = stream.open_questions().get(timeout=PATIENCE)
    other = stream.execute("other").get(timeout=PATIENCE)
    gate.wait_for()
    in_time = clock.now()
    pass_time(clock, 60.0)
    until(lambda: stream.get_stats().get(timeout=PATIENCE).queue_depth == 1)  # its time is over, and it has no slot
    with pytest.raises(QuestionAnswered, match="time is over"):
        stream.answer(question.id, "too late").get(timeout=PATIENCE)
    answer = AnswerQuestion(question_id=question.id, value=Payload.of("somebody said"), created_at=in_time)
    timed_runtime.sessions_ref.ask(answer, timeout=PATIENCE)
    gate.open()
    pass_time_until(clock, lambda: not stream.active_execution_ids, step=0.01)
    assert "somebody said" == output(stream, asking)
    output(stream, other)


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after the signal has come"])
def test_a_signal_passes_by_a_wait_that_was_cancelled(any_runtime: Runtime, taken: bool) -> None:
    """As of `asyncio.wait_for`, or of the slower of two. The executor that goes on, and waits anew, has it."""
    gives_up, other_gate, given_up = Gate(), Gate(), Gate()
    given_up.open()

    async def work(ctx: Any, data: str) -> Any:
        if data == "other":
            return await other_gate.passed(ctx)
        waiting = asyncio.create_task(ctx.receive("news"))
        await gives_up.passed(ctx)
        waiting.cancel()
        await asyncio.wait([waiting])
        await given_up.passed(ctx)
        return await ctx.receive("news")

    stream = open_with(any_runtime, "asyncio", work, max_concurrent=1)
    first = stream.execute("first").get(timeout=PATIENCE)
    until_parked(stream, first)
    other = stream.execute("other").get(timeout=PATIENCE)
    other_gate.wait_for()
    if taken:
        stream.send(first, "news", 1).get(timeout=PATIENCE)
        until(lambda: stream.get_stats().get(timeout=PATIENCE).queue_depth == 1)  # the wait is over, and has no slot
        gives_up.open()
        given_up.wait_for()
        other_gate.open()
    else:
        gives_up.open()
        given_up.wait_for()
        other_gate.open()
        stream.send(first, "news", 1).get(timeout=PATIENCE)
    assert 1 == output(stream, first)
    output(stream, other)


def test_who_gave_its_only_wait_up_is_no_longer_parked(any_runtime: Runtime) -> None:
    """It has a slot again. (Taken over as one that is parked, it would wait for what it has given up.)"""
    given_up, ends = Gate(), Gate()

    async def work(ctx: Any, _: str) -> Any:
        waiting = asyncio.create_task(ctx.receive("news"))
        await given_up.passed(ctx)
        waiting.cancel()
        await ends.passed(ctx)
        return "went on"

    stream = open_with(any_runtime, "asyncio", work, max_concurrent=1)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until_parked(stream, execution_id)
    given_up.open()
    ends.wait_for()
    until(lambda: stream.get_active_count().get(timeout=PATIENCE) == 1, "it has its slot")
    until(lambda: "running" == any_runtime.executions(limit=10).get(timeout=PATIENCE)[0].status)
    ends.open()
    assert "went on" == output(stream, execution_id)


def test_a_wait_that_is_being_written_while_another_one_is_over_is_not_forgotten(clock: ManualHost) -> None:
    """The execution runs again by then, and does not wait any less."""
    failing, waits = FailingStore(), Gate()

    async def work(ctx: Any, _: Any) -> Any:
        sleeping = asyncio.create_task(ctx.sleep(10.0))
        await waits.passed(ctx)
        news = await ctx.receive("news")
        await sleeping
        return news

    config = RuntimeConfig(grace_seconds=GRACE, lease_seconds=3_000_000.0)
    runtime = Runtime(failing.open, config=config, host=clock)
    runtime.start().get(timeout=PATIENCE)
    try:
        stream = runtime.open_stream(point("asyncio"), work).get(timeout=PATIENCE)
        execution_id = stream.execute().get(timeout=PATIENCE)
        until_parked(stream, execution_id)
        with failing.hold_commit() as held:
            waits.open()
            held.wait_reached()
            pass_time(clock, 10.0)
            until(lambda: stream.get_active_count().get(timeout=PATIENCE) == 1, "it has its slot again")
        stream.send(execution_id, "news", 1).get(timeout=PATIENCE)
        pass_time_until(clock, lambda: not stream.active_execution_ids, step=0.01)
        assert 1 == output(stream, execution_id)
    finally:
        stopping = runtime.stop()
        pass_time_until(clock, stopping.done, step=0.01)


@pytest.mark.parametrize("ends", ["pause", "cancel"])
def test_an_answer_that_has_no_slot_to_go_on_with_is_there_for_the_resume(
    any_runtime: Runtime, placement: str, ends: str
) -> None:
    """It was acknowledged, and a second one would be refused. The same with a signal."""
    gate = Gate()

    async def work(ctx: Any, data: str) -> Any:
        if data == "other":
            return await gate.passed(ctx)
        if data == "asks":
            return await ctx.ask_human("Well?")
        return await ctx.receive("news")

    stream = open_with(any_runtime, placement, work, max_concurrent=1)
    asking, receiving = (stream.execute(data).get(timeout=PATIENCE) for data in ("asks", "receives"))
    until_parked(stream, asking, receiving)
    other = stream.execute("other").get(timeout=PATIENCE)
    gate.wait_for()
    (question,) = stream.open_questions().get(timeout=PATIENCE)
    stream.answer(question.id, 1).get(timeout=PATIENCE)
    stream.send(receiving, "news", 2).get(timeout=PATIENCE)
    until(lambda: stream.get_stats().get(timeout=PATIENCE).queue_depth == 2)
    resumed = []
    for execution_id in (asking, receiving):
        if ends == "pause":
            assert stream.pause_execution(execution_id).get(timeout=PATIENCE)
        else:
            assert stream.cancel_execution(execution_id).get(timeout=PATIENCE)
        stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        resumed.append(stream.resume(execution_id).get(timeout=PATIENCE))
    gate.open()
    assert [1, 2] == [output(stream, execution_id) for execution_id in resumed]
    output(stream, other)
