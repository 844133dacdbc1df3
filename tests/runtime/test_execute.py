"""Execute, run, wait, look: the everyday calls."""

from __future__ import annotations

import re
from typing import Any

import pytest

from propolis import Runtime, RuntimeConfig
from propolis.messages import (
    Accepted,
    DuplicateStream,
    GetStats,
    InvalidInput,
    Payload,
    PayloadTooLarge,
    RuntimeStopped,
    StartExecution,
    StreamNotFound,
    WaitForCompletion,
)

from .support import PATIENCE, Gate, executor_for, point, until


async def double(ctx: Any, n: int) -> dict[str, int]:
    return {"twice": 2 * n}


def test_run_gives_the_result_of_the_executor(any_runtime: Runtime, placement: str) -> None:
    """The whole way: accepted, run, committed, answered, readable afterwards."""
    stream = any_runtime.open_stream(point(placement), executor_for(placement, double)).get(timeout=PATIENCE)
    result = stream.run(21, correlation_id="c-1").get(timeout=PATIENCE)
    assert ("completed", True, {"twice": 42}, None) == (result.status, result.success, result.output, result.error)
    assert result.is_clean_success
    record = any_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert ("completed", "c-1", 21, 1, 0) == (
        record.status,
        record.correlation_id,
        record.input_data,
        record.attempt,
        record.lost_attempts,
    )
    assert record.result == result


def test_execute_answers_with_an_id_before_the_work_is_done(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """The id is known, active, and its context readable, while the executor is still at it."""

    async def held(ctx: Any, data: Any) -> str:
        await gate.passed(ctx)
        return ctx.execution_id

    stream = any_runtime.open_stream(point(placement), executor_for(placement, held)).get(timeout=PATIENCE)
    execution_id = stream.execute("x").get(timeout=PATIENCE)
    assert (execution_id,) == stream.active_execution_ids
    gate.wait_for(1)
    context = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert context is not None
    assert ("running", 1, "x", "work") == (context.status, context.attempt, context.input_data, context.stream_id)
    assert stream.get_result(execution_id).get(timeout=PATIENCE) is None
    assert 1 == stream.get_active_count().get(timeout=PATIENCE)
    gate.open()
    result = stream.wait_for_completion(execution_id, timeout=PATIENCE).get(timeout=PATIENCE)
    assert result is not None
    assert execution_id == result.output
    assert () == stream.active_execution_ids
    assert result == stream.get_result(execution_id).get(timeout=PATIENCE)
    ended = stream.get_context(execution_id).get(timeout=PATIENCE)
    assert ended is not None
    assert "completed" == ended.status


def test_waiting_no_time_looks_and_returns_at_once(runtime: Runtime, placement: str, gate: Gate) -> None:
    """timeout=0 of what runs is None, of what has ended its result, of what is unknown None."""

    async def held(ctx: Any, data: Any) -> int:
        await gate.passed(ctx)
        return 1

    stream = runtime.open_stream(point(placement), executor_for(placement, held)).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    assert stream.wait_for_completion(execution_id, timeout=0).get(timeout=PATIENCE) is None
    assert stream.wait_for_completion("nobody", timeout=0).get(timeout=PATIENCE) is None
    assert stream.wait_for_completion("nobody").get(timeout=PATIENCE) is None
    gate.open()
    until(lambda: not stream.active_execution_ids)
    result = stream.wait_for_completion(execution_id, timeout=0).get(timeout=PATIENCE)
    assert result is not None
    assert 1 == result.output


def test_a_wait_that_takes_too_long_gives_none_and_leaves_the_execution_alone(runtime: Runtime, gate: Gate) -> None:
    """The one waiter gives up; another gets the result."""

    async def held(ctx: Any, data: Any) -> int:
        await gate.passed(ctx)
        return 1

    stream = runtime.open_stream(point("asyncio"), held).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    patient = stream.wait_for_completion(execution_id)
    assert stream.wait_for_completion(execution_id, timeout=0.02).get(timeout=PATIENCE) is None
    gate.open()
    result = patient.get(timeout=PATIENCE)
    assert result is not None
    assert result.success


def test_what_is_unknown_reads_none_and_cancels_falsy(runtime: Runtime) -> None:
    """Looking something up that is not there gives None or falsy."""
    stream = runtime.open_stream(point("asyncio"), double).get(timeout=PATIENCE)
    assert stream.get_result("nobody").get(timeout=PATIENCE) is None
    assert stream.get_context("nobody").get(timeout=PATIENCE) is None
    outcome = stream.cancel_execution("nobody").get(timeout=PATIENCE)
    assert ("not_found", False) == (outcome.outcome, bool(outcome))
    assert not stream.pause_execution("nobody").get(timeout=PATIENCE)
    assert runtime.session("nobody").get(timeout=PATIENCE) is None
    assert runtime.stream("nobody") is None
    assert not runtime.delete_session("nobody").get(timeout=PATIENCE)
    assert not runtime.unsubscribe("nobody").get(timeout=PATIENCE)


def test_a_fresh_session_has_an_id_of_the_documented_form(runtime: Runtime) -> None:
    """session_YYYYMMDD_HHMMSS_ and 16 hex digits."""
    stream = runtime.open_stream(point("asyncio"), double).get(timeout=PATIENCE)
    result = stream.run(1).get(timeout=PATIENCE)
    assert re.fullmatch(r"session_\d{8}_\d{6}_[0-9a-f]{16}", result.session_id)


def test_trigger_goes_to_the_stream_of_that_id(runtime: Runtime) -> None:
    """And raises the name of what is missing."""
    runtime.open_stream(point("asyncio"), double).get(timeout=PATIENCE)
    execution_id = runtime.trigger("work", 2).get(timeout=PATIENCE)
    stream = runtime.stream("work")
    assert stream is not None
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert {"twice": 4} == result.output
    waited = runtime.trigger_and_wait("work", 3, timeout=PATIENCE).get(timeout=PATIENCE)
    assert waited is not None
    assert {"twice": 6} == waited.output
    with pytest.raises(StreamNotFound, match="'nothing'"):
        runtime.trigger("nothing").get(timeout=PATIENCE)


def test_what_was_passed_in_can_be_changed_afterwards(runtime: Runtime, placement: str, gate: Gate) -> None:
    """Input is encoded in the calling thread; everybody reads a fresh copy."""

    async def change(ctx: Any, data: dict[str, Any]) -> dict[str, Any]:
        await gate.passed(ctx)
        data["list"].append("executor")
        return data

    stream = runtime.open_stream(point(placement), executor_for(placement, change)).get(timeout=PATIENCE)
    data: dict[str, Any] = {"list": []}
    running = stream.run(data)
    gate.wait_for(1)
    data["list"].append("caller")
    gate.open()
    result = running.get(timeout=PATIENCE)
    result.output["list"].append("reader")
    assert {"list": ["executor"]} == result.output
    record = runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert {"list": []} == record.input_data


def test_messages_to_the_reference_do_what_the_handle_does(runtime: Runtime) -> None:
    """From pykka: `ref.ask(StartExecution(...))`."""
    stream = runtime.open_stream(point("asyncio"), double).get(timeout=PATIENCE)
    accepted = stream.ref.ask(StartExecution(input_data=Payload.of(5)), timeout=PATIENCE)
    assert isinstance(accepted, Accepted)
    result = stream.wait_for_completion(accepted.execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert {"twice": 10} == result.output
    assert 1 == stream.ref.ask(GetStats(), timeout=PATIENCE).completed_executions
    assert 0 == stream.ref.proxy().running_count().get(timeout=PATIENCE)


def test_a_stream_started_by_its_class_takes_work_at_once(runtime: Runtime) -> None:
    """`StreamActor.start(...)` gives a reference that can be asked right away."""
    from propolis.actors import StreamActor

    refs = {"sessions": runtime.sessions_ref, "events": runtime.events_ref}
    ref = StreamActor.start(point("asyncio", "own"), double, **refs)
    with pytest.raises(DuplicateStream):
        StreamActor.start(point("asyncio", "own"), double, **refs)
    with pytest.raises(InvalidInput):
        StreamActor.start(point("asyncio", "other"), 5, **refs)
    accepted = ref.ask(StartExecution(input_data=Payload.of(5)), timeout=PATIENCE)
    until(lambda: runtime.session(accepted.session_id).get(timeout=PATIENCE).status == "completed")  # type: ignore[union-attr]
    assert ref.stop(timeout=PATIENCE)
    again = StreamActor.start(point("asyncio", "own"), double, **refs)
    runtime.stop().get(timeout=PATIENCE)
    assert not again.is_alive()
    with pytest.raises(RuntimeStopped):
        StreamActor.start(point("asyncio", "own"), double, **refs)


def test_a_stream_started_by_its_class_is_no_less_than_any_other(runtime: Runtime) -> None:
    """What others leave for its executions reaches them, its trigger starts some, it is in the tree and the stats."""
    from propolis.actors import StreamActor

    refs = {"sessions": runtime.sessions_ref, "events": runtime.events_ref}

    async def ask(ctx: Any, data: Any) -> Any:
        return await ctx.ask_human("Why?")

    timer = {"interval_seconds": 3600.0, "run_immediately": True}
    ref = StreamActor.start(point("asyncio", "own", trigger_type="timer", trigger_config=timer), ask, **refs)
    (question,) = until(lambda: runtime.open_questions().get(timeout=PATIENCE), "the timer to start one that asks")
    runtime.answer(question.id, "because").get(timeout=PATIENCE)
    result = ref.ask(WaitForCompletion(execution_id=question.execution_id, timeout=PATIENCE), timeout=PATIENCE)
    assert "because" == result.output
    assert ["own"] == [stats.stream_id for stats in runtime.stats().get(timeout=PATIENCE).streams]


def test_input_that_is_too_large_or_cannot_be_encoded_is_refused_with_its_path() -> None:
    """Nothing of it is accepted."""
    with Runtime(config=RuntimeConfig(max_payload_bytes=1_000)) as runtime:
        stream = runtime.open_stream(point("asyncio"), double).get(timeout=PATIENCE)
        with pytest.raises(PayloadTooLarge, match="input_data"):
            stream.execute("x" * 2_000)
        with pytest.raises(InvalidInput, match=r"input_data\.a\[1\]"):
            stream.execute({"a": [1, object()]})
        deep: Any = 1
        for _ in range(10_000):
            deep = [deep]
        with pytest.raises(InvalidInput, match="input_data"):
            stream.execute(deep)
        assert 0 == stream.get_stats().get(timeout=PATIENCE).total_executions
