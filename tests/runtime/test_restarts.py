"""Restarts: when, how often, from what memory, and what comes after the last one."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import Backoff, NonRetryable, RestartPolicy, Runtime, Stream
from propolis.actors import Host
from propolis.messages import AdvanceExecution, SessionBusy, SessionNotFound
from propolis.testing import FailingStore

from .support import PATIENCE, Gate, Recorder, executor_for, point, until

QUICK = Backoff(initial=0.001, maximum=0.01)


def open_with(runtime: Runtime, placement: str, body: Any, **fields: Any) -> Stream:
    """A stream with a body, restarted quickly."""
    fields.setdefault("restart", RestartPolicy(backoff=QUICK))
    return runtime.open_stream(point(placement, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


def test_a_crashed_executor_is_run_again_as_a_new_instance(any_runtime: Runtime, placement: str) -> None:
    """With the same id and a growing attempt and epoch; the result says that it was restarted."""
    instances = []

    async def work(ctx: Any, data: Any) -> list[Any]:
        instances.append((ctx.execution_id, ctx.attempt, ctx.epoch))
        if ctx.attempt < 3:
            raise OSError("not yet")
        return [ctx.attempt]

    stream = open_with(any_runtime, placement, work)
    result = stream.run().get(timeout=PATIENCE)
    assert ("completed", [3], 2) == (result.status, result.output, result.restarts)
    assert (True, False) == (result.is_degraded_success, result.is_clean_success)
    assert [(result.execution_id, n) for n in (1, 2, 3)] == [instance[:2] for instance in instances]
    epochs = [epoch for _, _, epoch in instances]
    assert sorted(set(epochs)) == epochs
    record = any_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert (3, 2, 0) == (record.attempt, record.restarts, record.lost_attempts)
    assert 2 == stream.get_stats().get(timeout=PATIENCE).restarts


def test_the_first_restart_is_immediate_and_the_next_waits(runtime: Runtime, placement: str) -> None:
    """As its events say. With immediate_first=False the first one waits, too."""
    seen = Recorder()
    runtime.subscribe("execution_restarted", seen).get(timeout=PATIENCE)

    async def fail(ctx: Any, data: Any) -> None:
        raise ValueError("again")

    for id, first, expected in (("a", True, [0.0, 0.01, 0.02]), ("b", False, [0.01, 0.02, 0.04])):
        backoff = Backoff(initial=0.01, maximum=1.0, jitter=0.0, immediate_first=first)
        stream = open_with(runtime, placement, fail, id=id, restart=RestartPolicy(backoff=backoff))
        assert "failed" == stream.run().get(timeout=PATIENCE).status
        until(lambda: len(seen.events) == 3)
        assert expected == [event.data["after"] for event in seen.events]
        seen.events.clear()


def test_the_jitter_of_a_wait_is_drawn_from_the_host(placement: str) -> None:
    """As every chance is, so that a test can hold it still."""

    class Certain(Host):
        def draw(self) -> float:
            return 1.0

    async def fail(ctx: Any, data: Any) -> None:
        raise ValueError("again")

    seen = Recorder()
    backoff = Backoff(initial=0.01, maximum=1.0, jitter=0.5, immediate_first=False)
    with Runtime(host=Certain()) as runtime:
        runtime.subscribe("execution_restarted", seen).get(timeout=PATIENCE)
        stream = open_with(runtime, placement, fail, restart=RestartPolicy(backoff=backoff, max_restarts=2))
        stream.run().get(timeout=PATIENCE)
        seen.wait_for("execution_restarted", 2)
    assert [0.015, 0.03] == [event.data["after"] for event in seen.events]


def test_a_restart_is_counted_before_it_runs(placement: str, gate: Gate) -> None:
    """D2: so that one which kills its process is counted, too."""
    failing = FailingStore()
    attempts: list[int] = []

    async def work(ctx: Any, data: Any) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await gate.passed(ctx)
            raise ValueError("again")

    with Runtime(failing.open) as runtime:
        stream = open_with(runtime, placement, work)
        run = stream.run()
        gate.wait_for(1)
        with failing.hold_commit() as held:
            gate.open()
            held.wait_reached()
            stream.get_stats().get(timeout=PATIENCE)
            assert [1] == attempts
        assert run.get(timeout=PATIENCE).success
        assert [1, 2] == attempts
        counted = [
            write.attempt
            for batch in failing.batches
            for write in batch
            if isinstance(write, AdvanceExecution) and write.status == "running"
        ]
        assert [2] == counted


def test_backing_off_holds_no_slot(runtime: Runtime, placement: str) -> None:
    """Another one runs meanwhile."""

    async def work(ctx: Any, data: Any) -> Any:
        if data == "fail":
            raise ValueError("later")
        return data

    backoff = Backoff(initial=60.0, maximum=60.0, immediate_first=False)
    stream = open_with(runtime, placement, work, max_concurrent=1, restart=RestartPolicy(backoff=backoff))
    failing = stream.execute("fail").get(timeout=PATIENCE)
    assert "other" == stream.run("other").get(timeout=PATIENCE).output
    assert (failing,) == stream.active_execution_ids


class Mine(Exception):
    """A user's own."""


@pytest.mark.parametrize(
    ("policy", "error", "restarts"),
    [
        (RestartPolicy(backoff=QUICK, max_restarts=2), ValueError("x"), 2),
        (RestartPolicy(backoff=QUICK, max_restarts=0), ValueError("x"), 0),
        (RestartPolicy(backoff=QUICK, strategy="temporary"), ValueError("x"), 0),
        (RestartPolicy(backoff=QUICK, retry_on=(OSError,)), ValueError("x"), 0),
        (RestartPolicy(backoff=QUICK, retry_on=(OSError,), max_restarts=1), ConnectionError("x"), 1),
        (RestartPolicy(backoff=QUICK, never_on=(Mine,)), Mine("x"), 0),
        (RestartPolicy(backoff=QUICK), NonRetryable("x"), 0),
        (RestartPolicy(backoff=QUICK), SystemExit(3), 0),
        (RestartPolicy(backoff=QUICK, max_restarts=1, retry_on=(SystemExit,)), SystemExit(3), 1),
    ],
)
def test_the_policy_decides_how_often(
    runtime: Runtime, placement: str, policy: RestartPolicy, error: BaseException, restarts: int
) -> None:
    """Judged beside the live exception; only used-up restarts quarantine."""

    async def fail(ctx: Any, data: Any) -> None:
        raise error

    stream = open_with(runtime, placement, fail, restart=policy)
    result = stream.run().get(timeout=PATIENCE)
    assert ("failed", restarts, type(error).__name__) == (result.status, result.restarts, result.failure.kind)  # type: ignore[union-attr]
    used_up = policy.strategy == "transient" and policy.retryable(error)
    quarantined = [record.session_id for record in runtime.quarantined().get(timeout=PATIENCE)]
    assert ([result.session_id] if used_up else []) == quarantined
    assert int(used_up) == stream.get_stats().get(timeout=PATIENCE).quarantined


def test_a_restart_rolls_the_memory_back_to_the_last_checkpoint(any_runtime: Runtime, placement: str) -> None:
    """At first to the start; what was written behind a checkpoint is gone, what is in it is there."""
    seen = []

    async def work(ctx: Any, data: Any) -> None:
        seen.append(await ctx.memory.read_all())
        if ctx.attempt == 1:
            await ctx.memory.write("lost", 1)
            raise OSError
        if ctx.attempt == 2:
            await ctx.checkpoint("cp", memory={"kept": 2})
            await ctx.memory.write("lost", 2)
            raise OSError
        await ctx.memory.write("end", 3)

    stream = open_with(any_runtime, placement, work)
    result = stream.run(memory={"start": 0}).get(timeout=PATIENCE)
    assert [{"start": 0}, {"start": 0}, {"start": 0, "kept": 2}] == seen
    assert {"start": 0, "kept": 2, "end": 3} == result.session_state
    record = any_runtime.session(result.session_id).get(timeout=PATIENCE)
    assert record is not None
    assert {"start": 0, "kept": 2, "end": 3} == record.memory


def test_a_failed_execution_leaves_nothing_registered(any_runtime: Runtime, placement: str) -> None:
    """No actor, no waiter, no slot."""

    async def fail(ctx: Any, data: Any) -> None:
        raise NonRetryable("no")

    stream = open_with(any_runtime, placement, fail)
    for _ in range(20):
        assert "failed" == stream.run().get(timeout=PATIENCE).status
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert (20, 20, 0, 10) == (
        stats.total_executions,
        stats.completed_executions,
        stats.active,
        stats.available_slots,
    )
    tree = any_runtime.supervision_tree().get(timeout=PATIENCE)
    assert [] == [actor.path for actor in tree.actors if "exec_" in actor.path]


def test_a_quarantined_execution_gets_a_new_budget_from_replay(any_runtime: Runtime, placement: str) -> None:
    """Under its own id, from its last checkpoint; and only a failed one can be replayed."""
    broken = [True]

    async def work(ctx: Any, data: Any) -> Any:
        await ctx.checkpoint("cp", memory={"tries": await ctx.memory.read("tries", 0) + 1})
        if broken[0]:
            raise ValueError("broken")
        return await ctx.memory.read("tries")

    stream = open_with(any_runtime, placement, work, restart=RestartPolicy(backoff=QUICK, max_restarts=1))
    failed = stream.run().get(timeout=PATIENCE)
    (record,) = any_runtime.quarantined().get(timeout=PATIENCE)
    assert (failed.session_id, "failed", True) == (record.session_id, record.status, record.quarantined)
    again = any_runtime.replay(failed.session_id).get(timeout=PATIENCE)
    assert failed.execution_id == again
    result = stream.wait_for_completion(again).get(timeout=PATIENCE)
    assert result is not None
    assert ("failed", 1) == (result.status, result.restarts)
    broken[0] = False
    any_runtime.replay(failed.session_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(again).get(timeout=PATIENCE)
    assert result is not None
    assert ("completed", 5) == (result.status, result.output)
    assert () == any_runtime.quarantined().get(timeout=PATIENCE)
    with pytest.raises(SessionBusy, match="failed"):
        any_runtime.replay(failed.session_id).get(timeout=PATIENCE)
    with pytest.raises(SessionNotFound):
        any_runtime.replay("nobody").get(timeout=PATIENCE)
    stats = stream.get_stats().get(timeout=PATIENCE)
    assert stats.total_executions == stats.completed_executions
