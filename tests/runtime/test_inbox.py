"""The inbox: how another process, or anybody but the owner, has an execution cancelled or paused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from propolis import Runtime, RuntimeConfig
from propolis.actors import Host, open_store
from propolis.messages import AdvanceExecution, CancelOutcome, InboxRow, Payload, PostToInbox
from propolis.testing import FailingStore, ManualHost

from .support import PATIENCE, Gate, executor_for, point, until
from .test_recovery import program

ROOT_LOOKS_NEVER = RuntimeConfig(lease_seconds=3_000_000.0, grace_seconds=20.0)


def stream_at(runtime: Runtime, gate: Gate, placement: str = "asyncio", **fields: Any) -> Any:
    """A stream whose executions wait at a gate."""

    async def body(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        await ctx.checkpoint("after the gate")
        return data

    return runtime.open_stream(point(placement, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


def post(store: str, execution_id: str, kind: str, body: Any = None) -> None:
    """As another program would."""
    opened = open_store(store, host=Host())
    payload = None if body is None else Payload.of(body)
    opened.post(PostToInbox(execution_id=execution_id, kind=kind, body=payload, created_at=datetime.now(UTC)))
    opened.close()


def left_in(runtime: Runtime) -> list[tuple[Any, ...]]:
    """All rows of the inbox, whoever owns what they are for."""
    return list(
        runtime._running()
        .threads.read(lambda store: store.run_read(lambda c: c.exec_driver_sql("SELECT * FROM inbox").all()))
        .get(timeout=PATIENCE)
    )


def test_a_cancel_reaches_what_another_runtime_runs(file_store: str, placement: str, gate: Gate) -> None:
    """It is gone before the answer says so, and the row with it."""
    with Runtime(file_store) as owner, Runtime(file_store) as other:
        mine, yours = stream_at(owner, gate, placement), stream_at(other, gate, placement)
        execution_id = mine.execute(1).get(timeout=PATIENCE)
        gate.wait_for(1)
        waiting = mine.wait_for_completion(execution_id)
        outcome = yours.cancel_execution(execution_id, grace=PATIENCE, reason="enough").get(timeout=PATIENCE)
        assert CancelOutcome(execution_id=execution_id, outcome="cancelled") == outcome
        assert "cancelled" == waiting.get(timeout=PATIENCE).status
        (event,) = owner.executions(status="cancelled").get(timeout=PATIENCE)
        assert execution_id == event.id
        with owner.events(0, types=("execution_cancelled",)) as events:
            assert "enough" == next(events).data["reason"]
        assert [] == left_in(owner)


def test_a_cancel_reaches_what_is_queued_in_another_runtime(file_store: str, gate: Gate) -> None:
    """It never begins."""
    with Runtime(file_store) as owner, Runtime(file_store) as other:
        mine, yours = stream_at(owner, gate, max_concurrent=1), stream_at(other, gate, max_concurrent=1)
        first, second = (mine.execute(n).get(timeout=PATIENCE) for n in range(2))
        gate.wait_for(1)
        assert "cancelled" == yours.cancel_execution(second, grace=PATIENCE).get(timeout=PATIENCE).outcome
        assert (first,) == mine.active_execution_ids
        context = mine.get_context(second).get(timeout=PATIENCE)
        assert ("cancelled", 0) == (context.status, context.attempt)
        assert [] == left_in(owner)


def test_what_ignores_a_foreign_cancel_is_said_to_be_still_at_it(file_store: str, gate: Gate) -> None:
    """Truthfully: after the grace; and when it ends at last, it ends as cancelled."""

    def deaf(ctx: Any, data: Any) -> None:
        gate.block()

    with Runtime(file_store) as owner, Runtime(file_store) as other:
        mine = owner.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
        yours = other.open_stream(point("thread"), deaf).get(timeout=PATIENCE)
        execution_id = mine.execute().get(timeout=PATIENCE)
        gate.wait_for(1)
        assert "cancelling" == yours.cancel_execution(execution_id, grace=0.5).get(timeout=PATIENCE).outcome
        until(lambda: mine.get_stats().get(timeout=PATIENCE).detached)  # the owner heard of it meanwhile
        assert 1 == len(left_in(owner))  # not before its effect is committed
        gate.open()
        assert "cancelled" == yours.wait_for_completion(execution_id).get(timeout=PATIENCE).status
        assert [] == left_in(owner)


def test_a_pause_reaches_what_another_runtime_runs_and_what_it_queues(file_store: str, gate: Gate) -> None:
    """The one at its next checkpoint, the other at once."""
    with Runtime(file_store, config=RuntimeConfig(grace_seconds=PATIENCE)) as owner, Runtime(file_store) as other:
        mine, yours = stream_at(owner, gate, max_concurrent=1), stream_at(other, gate)
        first, second = (mine.execute(n).get(timeout=PATIENCE) for n in range(2))
        gate.wait_for(1)
        assert yours.pause_execution(second).get(timeout=PATIENCE)
        assert "paused" == mine.wait_for_completion(second).get(timeout=PATIENCE).status
        asked = yours.pause_execution(first)
        until(lambda: [row for row in left_in(owner) if row[1] == first])
        until(lambda: mine.ref.proxy().children().get(timeout=PATIENCE)[first].actor_inbox.actor._life.pausing)
        gate.open()
        assert asked.get(timeout=PATIENCE)
        result = mine.wait_for_completion(first).get(timeout=PATIENCE)
        assert ("paused", "after the gate") == (result.status, result.paused_at)
        assert [] == left_in(owner)


def test_what_has_ended_or_is_unknown_or_of_another_stream_cannot_be_reached(file_store: str, gate: Gate) -> None:
    """Each is told apart, and nothing is left lying."""
    gate.open()
    with Runtime(file_store) as owner, Runtime(file_store) as other:
        mine, yours = stream_at(owner, gate), stream_at(other, gate)
        elsewhere = stream_at(other, gate, id="elsewhere")
        ended = mine.run(1).get(timeout=PATIENCE).execution_id
        assert "ended" == yours.cancel_execution(ended).get(timeout=PATIENCE).outcome
        assert not yours.pause_execution(ended).get(timeout=PATIENCE)
        assert "not_found" == elsewhere.cancel_execution(ended).get(timeout=PATIENCE).outcome
        assert "not_found" == yours.cancel_execution("nobody").get(timeout=PATIENCE).outcome
        cancelled = stream_at(owner, Gate(), id="third")
        second = cancelled.execute().get(timeout=PATIENCE)
        assert "cancelled" == cancelled.cancel_execution(second).get(timeout=PATIENCE).outcome
        third = stream_at(other, gate, id="third")
        assert "ended" == third.cancel_execution(second).get(timeout=PATIENCE).outcome  # not by this call
        assert [] == left_in(owner)


@pytest.mark.parametrize("kind", ["cancel", "pause"])
def test_what_was_asked_while_nobody_had_it_is_done_before_it_runs(file_store: str, gate: Gate, kind: str) -> None:
    """Code that takes its process down must not get another try before its cancel is heard."""
    with Runtime(file_store) as first:
        ids = [stream_at(first, gate, max_concurrent=1).execute(1).get(timeout=PATIENCE)]
        ids.append(first.stream("work").execute(2).get(timeout=PATIENCE))  # type: ignore[union-attr]
        gate.wait_for(1)
        first.stop(grace=0.0).get(timeout=PATIENCE)
    for id in ids:
        post(file_store, id, kind)
    with Runtime(file_store) as second:
        stream = stream_at(second, gate, max_concurrent=1)
        results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
        status = {"cancel": "cancelled", "pause": "paused"}[kind]
        assert [status, status] == [result.status for result in results]
        assert [] == left_in(second)
    assert 1 == gate.arrived


def test_a_cancel_that_an_owner_heard_and_did_not_live_to_carry_out_is_carried_out_by_the_next(
    file_store: str, gate: Gate
) -> None:
    """The row goes with its effect and not before."""
    with program("deaf", file_store, "-") as process:
        assert process.stdout is not None
        execution_id = process.stdout.readline().strip()
        with Runtime(file_store) as other:
            stream = stream_at(other, gate)
            stream.cancel_execution(execution_id, grace=0.0).get(timeout=PATIENCE)
            assert "heard\n" == process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            process.wait()
            result = stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
            assert "cancelled" == result.status
            assert [] == left_in(other)
    assert 0 == gate.arrived


def test_a_row_of_ones_own_runtime_is_heard_at_once(clock: ManualHost, gate: Gate) -> None:
    """Without a look at the clock, which stands still here."""
    with Runtime(config=ROOT_LOOKS_NEVER, host=clock) as runtime:
        stream = stream_at(runtime, gate)
        execution_id = stream.execute(1).get(timeout=PATIENCE)
        gate.wait_for(1)
        row = PostToInbox(execution_id=execution_id, kind="cancel", created_at=clock.now())
        runtime.sessions_ref.ask(row, timeout=PATIENCE)
        assert "cancelled" == stream.wait_for_completion(execution_id).get(timeout=PATIENCE).status


@pytest.mark.parametrize(
    "body", [None, 7, {"reason": 5, "grace": "long"}, {"grace": -1}, {"grace": True}, [], Payload(b"\xc1")]
)
def test_a_cancel_with_an_odd_body_is_a_cancel(runtime: Runtime, gate: Gate, body: Any) -> None:
    """Anybody may have left it."""
    stream = stream_at(runtime, gate)
    execution_id = stream.execute(1).get(timeout=PATIENCE)
    gate.wait_for(1)
    payload = body if body is None or isinstance(body, Payload) else Payload.of(body)
    now = datetime.now(UTC)
    runtime.sessions_ref.ask(
        PostToInbox(execution_id=execution_id, kind="cancel", body=payload, created_at=now), timeout=PATIENCE
    )
    assert "cancelled" == stream.wait_for_completion(execution_id).get(timeout=PATIENCE).status


def test_rows_reach_their_execution_in_order_and_once_and_unknown_ones_wait_for_its_end(
    runtime: Runtime, gate: Gate
) -> None:
    """However often the table is read. What nobody knows (an older version, say) goes with the execution."""
    stream = stream_at(runtime, gate)
    execution_id = stream.execute(1).get(timeout=PATIENCE)
    gate.wait_for(1)
    now = datetime.now(UTC)
    for n in range(5):
        row = PostToInbox(execution_id=execution_id, kind=f"k{n}", body=Payload.of(n), created_at=now)
        runtime.sessions_ref.ask(row, timeout=PATIENCE)
    actor = stream.ref.proxy().children().get(timeout=PATIENCE)[execution_id].actor_inbox.actor

    def heard() -> list[str]:
        return [row.kind for row in actor._life.inbox or ()]

    until(lambda: len(heard()) == 5)
    first = actor._life.inbox[0]
    assert isinstance(first, InboxRow)
    for _ in range(3):
        stream.ref.tell(first)
    stream.get_context(execution_id).get(timeout=PATIENCE)
    assert [f"k{n}" for n in range(5)] == heard()
    assert 5 == len(left_in(runtime))
    gate.open()
    assert 1 == stream.wait_for_completion(execution_id).get(timeout=PATIENCE).output
    assert [] == left_in(runtime)


def test_a_row_over_which_its_actor_crashed_is_heard_by_the_next_instance(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next look at all of the inbox, a third of a lease later."""
    from propolis.actors.streams.interrupting import Interrupting

    crashed: list[str] = []
    begin_cancel = Interrupting.begin_cancel

    def crash_once(self: Any, reason: str, grace: float) -> None:
        if not crashed:
            crashed.append(reason)
            raise RuntimeError("a bug")
        begin_cancel(self, reason, grace)

    monkeypatch.setattr(Interrupting, "begin_cancel", crash_once)
    with Runtime(config=RuntimeConfig(lease_seconds=1.5)) as runtime:
        stream = stream_at(runtime, gate)
        execution_id = stream.execute(1).get(timeout=PATIENCE)
        gate.wait_for(1)
        row = PostToInbox(execution_id=execution_id, kind="cancel", created_at=datetime.now(UTC))
        runtime.sessions_ref.ask(row, timeout=PATIENCE)
        assert "cancelled" == stream.wait_for_completion(execution_id).get(timeout=PATIENCE).status
    assert ["cancelled"] == crashed


def test_the_effect_and_the_row_are_one_transaction(new_gate: Callable[[], Gate]) -> None:
    """The commit that ends the execution names the row."""
    failing, gate = FailingStore(), new_gate()
    with Runtime(failing.open) as runtime:
        stream = stream_at(runtime, gate)
        execution_id = stream.execute(1).get(timeout=PATIENCE)
        gate.wait_for(1)
        row = PostToInbox(execution_id=execution_id, kind="cancel", created_at=datetime.now(UTC))
        runtime.sessions_ref.ask(row, timeout=PATIENCE)
        stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
        ends = [
            write.inbox
            for batch in failing.batches
            for write in batch
            if isinstance(write, AdvanceExecution) and write.status == "cancelled"
        ]
        assert [(1,)] == ends
