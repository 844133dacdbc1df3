"""Crashes of our own actors: what they supervise goes on, who waits is answered, and the root's end has a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka
import pytest
from pykka.messages import ProxyCall

from propolis import Backoff, RestartPolicy, Runtime, Stream
from propolis.messages import ActorRestarted, GetContext, RuntimeStopped, SlotGranted
from propolis.testing import FailingStore

from .support import PATIENCE, Gate, Recorder, executor_for, point, until


def crash(ref: pykka.ActorRef[Any]) -> None:
    """Have an actor fail in the middle of a message."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it dies of
        ref.ask(ProxyCall(("no_such_method",), (), {}), timeout=PATIENCE)


def restarts(runtime: Runtime, path: str) -> int:
    """How often the actor at a path has been restarted."""
    tree = runtime.supervision_tree().get(timeout=PATIENCE)
    return next((actor.restarts for actor in tree.actors if actor.path == path and actor.alive), -1)


def held_stream(runtime: Runtime, placement: str, gate: Gate, **fields: Any) -> Stream:
    """A stream whose executions wait at a gate."""

    async def held(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        await ctx.checkpoint("through")
        return [data, ctx.attempt, await ctx.memory.read("m")]

    fields.setdefault("restart", RestartPolicy(backoff=Backoff(initial=0.001, maximum=0.01)))
    return runtime.open_stream(point(placement, **fields), executor_for(placement, held)).get(timeout=PATIENCE)


def test_a_stream_that_crashes_keeps_its_executions_running_and_its_waiters(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """Running ones are adopted, queued ones are queued again, waits go on and end at their time; stats stay."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=2)
    runs = [stream.run(n, memory={"m": n}) for n in range(6)]
    until(lambda: len(stream.active_execution_ids) == 6)
    gate.wait_for(2)
    ids = stream.active_execution_ids
    waits = [stream.wait_for_completion(id) for id in ids]
    timed = stream.wait_for_completion(ids[0], timeout=0.3)
    crash(stream.ref)
    until(lambda: restarts(any_runtime, "runtime/stream:work") == 1)
    assert timed.get(timeout=PATIENCE) is None
    assert ids == stream.active_execution_ids
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (True, 6, 0, 4) == (stats.running, stats.total_executions, stats.available_slots, stats.queue_depth)
    assert 2 == gate.arrived
    late = stream.run(6, memory={"m": 6})
    gate.open()
    assert [[n, 1, n] for n in range(7)] == [run.get(timeout=PATIENCE).output for run in (*runs, late)]
    assert list(range(6)) == [wait.get(timeout=PATIENCE).output[0] for wait in waits]  # type: ignore[union-attr]
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (7, 7, 2) == (stats.total_executions, stats.completed_executions, stats.available_slots)


def test_a_stream_that_crashes_learns_which_of_its_executions_hold_no_slot(
    runtime: Runtime, placement: str, gate: Gate
) -> None:
    """One that backs off keeps none from the next; one that waits for a slot gets it when there is one."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "hold":
            await gate.passed(ctx)
        elif data != "ok" and ctx.attempt == 1:
            raise ValueError("again")
        return [data, ctx.attempt]

    def opened(id: str, backoff: Backoff) -> Stream:
        restart = RestartPolicy(backoff=backoff)
        entry_point = point(placement, id, restart=restart, max_concurrent=1)
        return runtime.open_stream(entry_point, executor_for(placement, work)).get(timeout=PATIENCE)

    long = opened("long", Backoff(initial=3_600.0, maximum=3_600.0, immediate_first=False))
    failing = long.execute("fail").get(timeout=PATIENCE)
    until(lambda: long.get_active_count().get(timeout=PATIENCE) == 0)
    crash(long.ref)
    assert ["ok", 1] == long.run("ok").get(timeout=PATIENCE).output
    assert (failing,) == long.active_execution_ids

    short = opened("short", Backoff(initial=0.001, maximum=0.001, immediate_first=False))
    runs = [short.run("fail"), short.run("hold")]
    gate.wait_for(1)

    def is_queued() -> bool:
        stats = short.get_stats().get(timeout=PATIENCE)
        return (stats.active, stats.queue_depth, stats.available_slots) == (2, 1, 0)

    until(is_queued)
    crash(short.ref)
    until(is_queued)
    gate.open()
    assert [["fail", 2], ["hold", 1]] == [run.get(timeout=PATIENCE).output for run in runs]


def test_a_slot_that_was_granted_for_an_earlier_request_starts_nothing(
    runtime: Runtime, placement: str, new_gate: Callable[[], Gate]
) -> None:
    """An execution that crashes asks for its slot anew; the grant that was on its way then was given back by that."""
    failing, holding = new_gate(), new_gate()

    async def work(ctx: Any, data: Any) -> Any:
        if data == "hold":
            await holding.passed(ctx)
        elif ctx.attempt == 1:
            await failing.passed(ctx)
            raise ValueError("again")
        return ctx.attempt

    restart = RestartPolicy(backoff=Backoff(initial=0.001, maximum=0.001, immediate_first=False))
    stream = runtime.open_stream(
        point(placement, restart=restart, max_concurrent=1), executor_for(placement, work)
    ).get(timeout=PATIENCE)
    waiting = stream.execute("fail").get(timeout=PATIENCE)
    runs = [stream.wait_for_completion(waiting), stream.run("hold")]
    until(lambda: len(stream.active_execution_ids) == 2)
    failing.open()
    holding.wait_for(1)
    until(lambda: stream.get_stats().get(timeout=PATIENCE).queue_depth == 1, "the other one to want its slot again")
    child = stream.ref.actor_inbox.children[waiting].ref  # type: ignore[index]
    child.tell(SlotGranted())
    context = child.ask(GetContext(execution_id=waiting), timeout=PATIENCE)
    assert ("restarting", 1) == (context.status, context.attempt)
    holding.open()
    assert [2, 1] == [run.get(timeout=PATIENCE).output for run in runs]  # type: ignore[union-attr]


def test_a_stream_that_crashes_under_load_answers_everybody(any_runtime: Runtime, placement: str) -> None:
    """With its result, or with the crash by name; whatever was accepted ends."""
    gate = Gate()
    gate.open()
    stream = held_stream(any_runtime, placement, gate, max_concurrent=4)
    for _ in range(3):
        runs = [stream.run(n, memory={"m": n}) for n in range(60)]
        stream.ref.tell(ProxyCall(("no_such_method",), (), {}))
        runs += [stream.run(n, memory={"m": n}) for n in range(60)]
        for n, run in enumerate(runs):
            try:
                output = run.get(timeout=PATIENCE).output
                assert [n % 60, n % 60] == [output[0], output[2]]
            except (ActorRestarted, AttributeError):
                continue
        until(lambda: not stream.active_execution_ids)
        until(lambda: restarts(any_runtime, "runtime/stream:work") >= 0)
    statuses = {row.status for row in any_runtime.executions(limit=1_000).get(timeout=PATIENCE)}
    assert {"completed"} == statuses
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert stats.total_executions == stats.completed_executions
    assert 4 == stats.available_slots


def test_a_stream_that_crashes_while_it_stops_stops(runtime: Runtime, new_gate: Callable[[], Gate]) -> None:
    """It does not begin anew."""
    gate = new_gate()

    def deaf(ctx: Any, data: Any) -> None:
        gate.block()

    stream = runtime.open_stream(point("thread", max_concurrent=1), deaf).get(timeout=PATIENCE)
    ids = [stream.execute(n).get(timeout=PATIENCE) for n in range(3)]
    gate.wait_for(1)
    stopping = stream.stop(grace=0.3)
    crash(stream.ref)
    assert (ids[0],) == stopping.get(timeout=PATIENCE).stragglers
    assert () == stream.active_execution_ids
    assert not stream.get_stats().get(timeout=PATIENCE).running


def test_a_cancel_that_a_crash_of_the_stream_comes_between_is_answered(runtime: Runtime, gate: Gate) -> None:
    """And the execution ends."""

    async def stubborn(ctx: Any, data: Any) -> None:
        try:
            await gate.passed(ctx)
        finally:
            await slow.passed(ctx)

    slow = Gate()
    stream = runtime.open_stream(point("asyncio"), stubborn).get(timeout=PATIENCE)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    cancelling = stream.cancel_execution(execution_id, grace=PATIENCE)
    slow.wait_for(1)
    crash(stream.ref)
    with pytest.raises(ActorRestarted):
        cancelling.get(timeout=PATIENCE)
    slow.open()
    result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    assert result is not None
    assert "cancelled" == result.status


def test_an_execution_whose_actor_crashes_is_run_again(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """The attempt that was under way is fenced off; neighbours do not notice."""
    stream = held_stream(any_runtime, placement, gate)
    victim, neighbour = stream.run(1), stream.run(2)
    gate.wait_for(2)
    children: dict[str, Any] = {}
    until(lambda: len(stream.active_execution_ids) == 2)
    children = stream.ref.proxy().children().get(timeout=PATIENCE)
    first = min(children)
    which = stream.get_context(first).get(timeout=PATIENCE).input_data  # type: ignore[union-attr]
    crash(children[first])
    gate.wait_for(3)
    gate.open()
    outputs = {run.get(timeout=PATIENCE).output[0]: run.get().output[1] for run in (victim, neighbour)}
    assert {which: 2, 3 - which: 1} == outputs


def test_the_attempt_of_a_crashed_actor_is_interrupted(runtime: Runtime, placement: str, gate: Gate) -> None:
    """Another has its place; it does not go on beside that one for longer than it must."""
    told: list[str] = []

    async def work(ctx: Any, data: Any) -> int:
        if ctx.attempt == 1:
            try:
                await gate.passed(ctx)
            except BaseException as error:
                told.append(type(error).__name__)
                raise
        attempt: int = ctx.attempt
        return attempt

    stream = runtime.open_stream(point(placement), executor_for(placement, work)).get(timeout=PATIENCE)
    run = stream.run()
    gate.wait_for(1)
    (child,) = stream.ref.proxy().children().get(timeout=PATIENCE).values()
    crash(child)
    assert 2 == run.get(timeout=PATIENCE).output
    until(lambda: told)
    assert [{"asyncio": "CancelledError", "thread": "Cancelled"}[placement]] == told


def test_the_writer_that_crashes_writes_everything_once(any_runtime: Runtime, placement: str) -> None:
    """What was not acknowledged is committed by its next instance."""
    gate = Gate()
    gate.open()
    stream = held_stream(any_runtime, placement, gate, max_concurrent=4)
    for _ in range(3):
        runs = [stream.run(n) for n in range(40)]
        any_runtime.sessions_ref.tell(ProxyCall(("no_such_method",), (), {}))
        assert list(range(40)) == [run.get(timeout=PATIENCE).output[0] for run in runs]
    rows = any_runtime.executions(limit=1_000).get(timeout=PATIENCE)
    assert (120, {"completed"}) == (len(rows), {row.status for row in rows})


def test_the_publisher_and_the_clock_come_back_too(runtime: Runtime, gate: Gate) -> None:
    """Subscribers and alarms outlive a crash."""
    seen = Recorder()
    runtime.subscribe("execution_completed", seen).get(timeout=PATIENCE)
    stream = held_stream(runtime, "asyncio", gate)
    execution_id = stream.execute().get(timeout=PATIENCE)
    waiting = stream.wait_for_completion(execution_id, timeout=0.3)
    stream.get_stats().get(timeout=PATIENCE)
    crash(runtime.events_ref)
    children = runtime.ref.proxy().children().get(timeout=PATIENCE)
    crash(children["wakeups"])
    assert waiting.get(timeout=PATIENCE) is None
    gate.open()
    seen.wait_for("execution_completed")


def test_a_root_that_fails_stops_the_runtime_and_says_why(file_store: str, placement: str, gate: Gate) -> None:
    """Waiters hear RuntimeStopped; the store keeps the work; the runtime can be started again."""
    runtime = Runtime(file_store)
    runtime.start().get(timeout=PATIENCE)
    stream = held_stream(runtime, placement, gate)
    running = stream.run(1)
    gate.wait_for(1)
    crash(runtime.ref)
    with pytest.raises(RuntimeStopped):
        running.get(timeout=PATIENCE)
    with pytest.raises(RuntimeStopped, match="failed: AttributeError"):
        runtime.check_usable()
    runtime.stop().get(timeout=PATIENCE)
    gate.open()
    with runtime:
        stream = held_stream(runtime, placement, gate)
        until(lambda: not stream.active_execution_ids)
        (row,) = runtime.executions().get(timeout=PATIENCE)
        assert "completed" == row.status


def test_a_stop_that_a_crash_of_the_root_comes_between_is_answered(
    file_store: str, new_gate: Callable[[], Gate]
) -> None:
    """At once, and everything is released: the next runtime goes on."""
    gate = new_gate()

    def deaf(ctx: Any, data: Any) -> Any:
        gate.block()
        return data

    runtime = Runtime(file_store)
    runtime.start().get(timeout=PATIENCE)
    stream = runtime.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
    waiting = stream.run(1)
    gate.wait_for(1)
    root = runtime.ref
    stopping = runtime.stop(grace=3_600.0)
    crash(root)
    stopping.get(timeout=PATIENCE)
    with pytest.raises(RuntimeStopped):
        waiting.get(timeout=PATIENCE)
    gate.open()
    with runtime:
        stream = runtime.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
        until(lambda: not stream.active_execution_ids)
        (row,) = runtime.executions().get(timeout=PATIENCE)
        assert "completed" == row.status


@pytest.mark.parametrize("what", ["drain", "open"])
def test_whoever_waits_for_the_root_hears_of_its_crash(what: str, gate: Gate) -> None:
    """With the reason."""
    failing = FailingStore()
    with Runtime(failing.open) as runtime:
        stream = held_stream(runtime, "asyncio", gate)
        stream.execute(1).get(timeout=PATIENCE)
        gate.wait_for(1)
        with failing.hold_commit() as held:
            if what == "drain":
                waiting: Any = runtime.drain()
            else:
                waiting = runtime.open_stream(point("thread", "other"), lambda ctx, data: data)
                held.wait_reached()
            crash(runtime.ref)
            with pytest.raises(RuntimeStopped, match="failed: AttributeError"):
                waiting.get(timeout=PATIENCE)


@pytest.mark.parametrize("how", ["crash", "leave"])
def test_a_thread_that_waits_for_a_commit_is_told_when_its_actor_goes(placement: str, how: str, gate: Gate) -> None:
    """It would wait for ever: nobody else knows of its question. It is refused, and the other attempt goes on."""
    failing = FailingStore()
    late: list[BaseException] = []

    async def work(ctx: Any, data: Any) -> Any:
        if ctx.attempt == 1:
            await gate.passed(ctx)
            try:
                await ctx.checkpoint("here")
            except BaseException as error:
                late.append(error)
                raise
        return ctx.attempt

    restart = RestartPolicy(backoff=Backoff(initial=0.0))
    with Runtime(failing.open) as runtime:
        stream = runtime.open_stream(point(placement, restart=restart), executor_for(placement, work)).get(
            timeout=PATIENCE
        )
        execution_id = stream.execute().get(timeout=PATIENCE)
        gate.wait_for(1)
        with failing.hold_commit() as held:
            gate.open()
            held.wait_reached()
            if how == "crash":
                crash(stream.ref.proxy().children().get(timeout=PATIENCE)[execution_id])
            else:
                stream.stop(grace=0.0).get(timeout=PATIENCE)
            until(lambda: late)
        assert type(late[0]).__name__ in ("StaleWriter", "Cancelled", "CancelledError")
        stream.start().get(timeout=PATIENCE)
        result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        assert result is not None
        assert ("completed", 2) == (result.status, result.output)


def test_a_child_that_crashes_too_often_takes_the_runtime_down(runtime: Runtime) -> None:
    """Escalation, with the child and its last error in the reason."""
    ref = runtime.events_ref
    for _ in range(20):
        if not ref.is_alive():
            break
        ref.tell(ProxyCall(("no_such_method",), (), {}))
    until(lambda: not ref.is_alive())

    def reason() -> str:
        try:
            runtime.check_usable()
        except RuntimeStopped as error:
            return error.reason
        return ""

    until(lambda: "events" in reason())


def test_the_host_programs_stop_all_ends_everything_cleanly(file_store: str, placement: str, gate: Gate) -> None:
    """Waiters are told, the store keeps the work, no thread is left."""
    runtime = Runtime(file_store)
    runtime.start().get(timeout=PATIENCE)
    stream = held_stream(runtime, placement, gate)
    running = stream.run(1)
    gate.wait_for(1)
    pykka.ActorRegistry.stop_all(timeout=PATIENCE)
    with pytest.raises(RuntimeStopped):
        running.get(timeout=PATIENCE)
    runtime.stop().get(timeout=PATIENCE)
    gate.open()
    with Runtime(file_store) as again:
        stream = held_stream(again, placement, gate)
        until(lambda: not stream.active_execution_ids)
        (row,) = again.executions().get(timeout=PATIENCE)
        assert "completed" == row.status


def test_an_execution_whose_actor_keeps_crashing_ends_as_failed(
    any_runtime: Runtime, placement: str, gate: Gate
) -> None:
    """It does not stay running for ever: its waiters hear, the record says why, a neighbour is untouched."""
    stream = held_stream(any_runtime, placement, gate, max_concurrent=2)
    run, neighbour = stream.run("doomed", memory={"m": 0}), stream.run("other", memory={"m": 0})
    gate.wait_for(2)
    cell = next(child for child in (stream.ref.actor_inbox.children or {}).values())
    until(lambda: cell.stopped.is_set() or _poison(cell.ref))
    result = run.get(timeout=PATIENCE)
    assert result.failure is not None
    assert ("failed", "actor_crashed") == (result.status, result.failure.code)
    record = any_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert ("failed", result) == (record.status, record.result)
    gate.open()
    assert "other" == neighbour.get(timeout=PATIENCE).output[0]


def _poison(ref: pykka.ActorRef[Any]) -> bool:
    try:
        ref.tell(ProxyCall(("no_such_method",), (), {}))
    except pykka.ActorDeadError:
        return True
    return False
