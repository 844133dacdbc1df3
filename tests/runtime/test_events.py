"""Events, subscriptions and the circuit."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import UTC, datetime
from typing import Any

import pykka
import pytest

from propolis import Runtime, RuntimeConfig, StreamPolicy
from propolis.actors import AsyncioActor, HandlerSubscriber
from propolis.messages import Event, EventFilter, EventsMissed, InvalidInput, StreamTripped
from propolis.testing import FailingStore, ManualHost

from .support import PATIENCE, Gate, Recorder, executor_for, point, until


async def emit(ctx: Any, n: int) -> int:
    await ctx.emit("custom", {"n": n})
    await ctx.progress(0.5, "half")
    return n


def seqs(events: list[Event]) -> list[int]:
    """The numbers of what is stored."""
    return [event.seq for event in events if event.seq is not None]


def test_events_from_now_on_miss_nothing_however_late_the_store_is_read(any_runtime: Runtime) -> None:
    """Where they begin is settled by the call, which waits for nothing; what was there before is not told."""
    stream = any_runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
    stream.run(1).get(timeout=PATIENCE)
    go_on = threading.Event()
    reading = any_runtime.read(lambda _: go_on.wait())
    try:
        events = stream.events()
        execution_id = stream.run(2).get(timeout=PATIENCE).execution_id
    finally:
        go_on.set()
    stream.run(3).get(timeout=PATIENCE)
    with events:
        first = next(event for event in events if event.seq is not None)
    assert ("execution_started", execution_id) == (first.type, first.execution_id)
    assert reading.get(timeout=PATIENCE)


def test_events_are_followed_where_nothing_may_block(runtime: Runtime) -> None:
    """In an executor and in a handler on the loop of user code, from now on as from the start."""

    async def follows(ctx: Any, _: None) -> list[str]:
        async with runtime.events(execution=ctx.execution_id) as events:
            await ctx.emit("custom", {})
            return [(await anext(events)).type]

    handled: list[str] = []

    async def handler(event: Event) -> None:
        runtime.events().close()
        handled.append(event.type)

    runtime.subscribe("execution_completed", handler).get(timeout=PATIENCE)
    stream = runtime.open_stream(point("asyncio"), follows).get(timeout=PATIENCE)
    assert ["custom"] == stream.run().get(timeout=PATIENCE).output
    until(lambda: handled == ["execution_completed"])


@pytest.mark.parametrize("style", ["for", "async for"])
def test_events_replay_and_follow_without_gap_or_repeat(any_runtime: Runtime, style: str) -> None:
    """From the start of the store, while others write, until all are there."""
    stream = any_runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
    for n in range(30):
        stream.run(n).get(timeout=PATIENCE)
    runs = [stream.run(n) for n in range(30, 60)]

    def is_last(event: Event, seen: list[Event]) -> bool:
        return sum(one.type == "execution_completed" for one in [*seen, event]) == 60

    def plainly() -> list[Event]:
        seen: list[Event] = []
        with any_runtime.events(0) as events:
            for event in events:
                last = is_last(event, seen)
                seen.append(event)
                if last:
                    break
        return seen

    async def awaited() -> list[Event]:
        seen: list[Event] = []
        async with any_runtime.events(0) as events:
            async for event in events:
                last = is_last(event, seen)
                seen.append(event)
                if last:
                    break
        return seen

    seen = plainly() if style == "for" else asyncio.run(asyncio.wait_for(awaited(), PATIENCE))
    assert list(range(1, len(seqs(seen)) + 1)) == seqs(seen)
    for run in runs:
        run.get(timeout=PATIENCE)
    with any_runtime.events(seqs(seen)[10]) as events:
        assert seqs(seen)[11] == next(events).seq


def test_who_follows_and_is_lost_without_a_close_is_subscribed_no_longer(runtime: Runtime) -> None:
    """As a web request whose client has gone: left by a `break`, cancelled, or never looked at."""
    stream = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
    session = stream.run(1).get(timeout=PATIENCE).session_id

    async def follow() -> None:
        async for _ in runtime.events(types="nothing_of_the_kind"):
            pass

    async def cancelled() -> None:
        following = asyncio.create_task(follow())
        await asyncio.to_thread(until, lambda: subscribers() == 2)
        following.cancel()
        await asyncio.wait([following])

    def subscribers() -> int:
        return runtime.stats().get(timeout=PATIENCE).subscribers

    with stream.events() as kept:
        for _ in runtime.events(after=0):
            break
        runtime.logs(session, follow=True)
        stream.run(2).get(timeout=PATIENCE)
        until(lambda: (gc.collect(), subscribers() == 1)[1])
        asyncio.run(cancelled())
        runtime.events()
        stream.run(3).get(timeout=PATIENCE)
        until(lambda: (gc.collect(), subscribers() == 1)[1])
        assert "execution_started" == next(event for event in kept if event.seq is not None).type


def test_events_are_filtered_and_end_with_the_runtime() -> None:
    """By type, stream and execution; the iteration ends."""
    with Runtime() as runtime:
        stream = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
        runtime.open_stream(point("asyncio", "other"), emit).get(timeout=PATIENCE)
        mine = stream.run(1).get(timeout=PATIENCE).execution_id
        runtime.trigger_and_wait("other", 2).get(timeout=PATIENCE)
        with stream.events(0, types="custom") as events:
            assert {"n": 1} == next(events).data
        with runtime.events(0, types=["execution_started", "custom"], execution=mine) as events:
            assert ["execution_started", "custom"] == [next(events).type, next(events).type]
        following = runtime.events()
        ended = threading.Thread(target=lambda: list(following))
        ended.start()
        with pytest.raises(InvalidInput, match="after"):
            runtime.events(-1)
    ended.join(PATIENCE)
    assert not ended.is_alive()


def test_live_events_are_published_and_not_stored(runtime: Runtime) -> None:
    """Progress has no number and is not replayed."""
    seen = Recorder()
    runtime.subscribe((), seen).get(timeout=PATIENCE)
    stream = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
    stream.run(1).get(timeout=PATIENCE)
    progress = seen.wait_for("execution_progress")
    assert (None, {"fraction": 0.5, "note": "half"}) == (progress.seq, progress.data)
    seen.wait_for("execution_completed")
    with runtime.events(0) as events:
        stored = [next(events).type for _ in range(4)]
    assert ["stream_started", "execution_started", "custom", "execution_completed"] == stored


class Ours(AsyncioActor):
    """Keeps what it gets."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.seen = seen

    def on_receive(self, message: Any) -> None:
        """Keep it."""
        self.seen.append(message)


class Plain(pykka.ThreadingActor):
    """As `Ours`, on a thread of its own."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.seen = seen

    def on_receive(self, message: Any) -> None:
        """Keep it."""
        self.seen.append(message)


def test_actors_of_both_kinds_get_events_as_messages(runtime: Runtime) -> None:
    """Until they unsubscribe; one that has stopped disturbs nobody, and is forgotten."""
    ours: list[Any] = []
    plain: list[Any] = []
    refs = [runtime.ref.actor_inbox.loop.spawn(Ours, ours), Plain.start(plain)]
    ids = [runtime.subscribe("custom", ref).get(timeout=PATIENCE) for ref in refs]
    stream = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
    stream.run(1).get(timeout=PATIENCE)
    until(lambda: len(ours) == len(plain) == 1)
    assert [{"n": 1}, {"n": 1}] == [ours[0].data, plain[0].data]
    assert runtime.unsubscribe(ids[0]).get(timeout=PATIENCE)
    refs[1].stop(timeout=PATIENCE)
    stream.run(2).get(timeout=PATIENCE)
    assert not runtime.unsubscribe(ids[0]).get(timeout=PATIENCE)
    assert (1, 1) == (len(ours), len(plain))
    assert 0 == runtime.stats().get(timeout=PATIENCE).subscribers
    refs[0].stop(timeout=PATIENCE)


def test_what_a_handler_returns_is_awaited_or_nobodys(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    """A lambda returns what stands in it: a number, or a call on the runtime."""
    first = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
    second = runtime.open_stream(point("asyncio", id="second"), emit).get(timeout=PATIENCE)
    seen: list[Event] = []
    runtime.subscribe("custom", lambda event: seen.append(event) or len(seen), stream=first.id).get(timeout=PATIENCE)
    runtime.subscribe("custom", lambda event: second.execute(1), stream=first.id).get(timeout=PATIENCE)
    first.run(1).get(timeout=PATIENCE)
    first.run(2).get(timeout=PATIENCE)
    until(lambda: len(seen) == 2 and second.get_stats().get(timeout=PATIENCE).completed_executions == 2)
    assert [] == [record.message for record in caplog.records]


def test_a_subscriber_is_told_what_it_missed(gate: Gate) -> None:
    """Its own queue overflows, the oldest go; what it got and what it missed is all there was."""
    with Runtime(config=RuntimeConfig(subscriber_queue=5)) as runtime:
        got: list[Any] = []

        def slow(event: Any) -> None:
            gate.block()
            got.append(event)

        runtime.subscribe("custom", slow).get(timeout=PATIENCE)
        stream = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
        for n in range(50):
            stream.run(n).get(timeout=PATIENCE)
        runtime.events_ref.proxy().count().get(timeout=PATIENCE)
        gate.open()
        until(lambda: got and isinstance(got[-1], Event) and got[-1].data == {"n": 49})
        missed = sum(event.count for event in got if isinstance(event, EventsMissed))
        assert {"custom", "events_missed"} >= {event.type for event in got}
        events = [event for event in got if isinstance(event, Event)]
        assert 50 == missed + len(events)
        assert missed >= 40


def test_an_actor_that_is_behind_is_told_what_it_missed(gate: Gate) -> None:
    """Its mailbox holds no more than anybody's queue."""

    class Slow(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> None:
            gate.block()
            got.append(message)

    got: list[Any] = []
    with Runtime(config=RuntimeConfig(subscriber_queue=5)) as runtime:
        slow = Slow.start()
        try:
            runtime.subscribe("custom", slow).get(timeout=PATIENCE)
            stream = runtime.open_stream(point("asyncio"), emit).get(timeout=PATIENCE)
            for n in range(50):
                stream.run(n).get(timeout=PATIENCE)
            runtime.events_ref.proxy().count().get(timeout=PATIENCE)
            assert slow.actor_inbox.qsize() <= 5
            gate.open()
            until(lambda: len(got) >= 5)
            stream.run(50).get(timeout=PATIENCE)
            until(lambda: isinstance(got[-1], Event) and got[-1].data == {"n": 50})
        finally:
            gate.open()
            slow.stop(timeout=PATIENCE)
        missed = sum(event.count for event in got if isinstance(event, EventsMissed))
        assert 51 == missed + sum(isinstance(event, Event) for event in got)
        assert missed >= 40


def test_an_event_that_comes_as_a_handler_finishes_the_last_one_is_handled_too() -> None:
    """Between its last look into the queue and its saying so."""
    event = Event(type="custom", timestamp=datetime.now(UTC))
    late = [event, event]

    class Racing(HandlerSubscriber):
        def next_for(self, number: int) -> Any:
            taken = super().next_for(number)
            if taken is None and late:
                self.offer(late.pop())
            return taken

    seen: list[Any] = []
    pumps: list[Any] = []
    subscriber = Racing(EventFilter(), seen.append, 10, lambda pump, lost: pumps.append(pump))
    subscriber.offer(event)
    while pumps:
        asyncio.run(pumps.pop()())
    assert [event] * 3 == seen


def test_an_emitted_event_is_committed_before_the_next_line_runs(placement: str, gate: Gate) -> None:
    """D3: also for the executor itself."""
    failing = FailingStore()
    passed: list[str] = []

    async def work(ctx: Any, data: Any) -> None:
        await gate.passed(ctx)
        await ctx.emit("custom", {})
        passed.append("emit")
        await ctx.checkpoint("here")
        passed.append("checkpoint")

    with Runtime(failing.open) as runtime:
        stream = runtime.open_stream(point(placement), executor_for(placement, work)).get(timeout=PATIENCE)
        run = stream.run()
        gate.wait_for(1)
        with failing.hold_commit() as emitting, failing.hold_commit() as saving:
            gate.open()
            emitting.wait_reached()
            stream.get_stats().get(timeout=PATIENCE)
            assert [] == passed
            emitting.release()
            saving.wait_reached()
            assert ["emit"] == passed
        assert run.get(timeout=PATIENCE).success


def test_a_subscription_to_nothing_that_can_hear_is_refused(runtime: Runtime) -> None:
    """By name."""
    with pytest.raises(InvalidInput, match="subscribe"):
        runtime.subscribe("custom", 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="types"):
        runtime.subscribe([3], print)  # type: ignore[list-item]


def test_a_circuit_trips_refuses_and_half_opens(clock: ManualHost, placement: str) -> None:
    """One trial after the wait: its failure opens it again, its success closes it."""

    async def work(ctx: Any, data: Any) -> None:
        if data == "bad":
            raise SystemExit

    seen = Recorder()
    policy = StreamPolicy(max_failures=2, within=60.0, open_seconds=20.0, factor=1.0)
    with Runtime(host=clock) as runtime:
        runtime.subscribe(["stream_tripped", "stream_recovered"], seen).get(timeout=PATIENCE)
        stream = runtime.open_stream(point(placement, circuit=policy), executor_for(placement, work)).get(
            timeout=PATIENCE
        )
        for _ in range(3):
            stream.run("bad").get(timeout=PATIENCE)
        for trial in ("bad", "good"):
            clock.advance(19.9)
            with pytest.raises(StreamTripped, match="'work'"):
                stream.run("good").get(timeout=PATIENCE)
            assert "open" == stream.get_stats().get(timeout=PATIENCE).circuit.state
            clock.advance(0.2)
            assert 0.0 == stream.get_stats().get(timeout=PATIENCE).circuit.retry_after
            assert (trial == "good") == stream.run(trial).get(timeout=PATIENCE).success
        assert "closed" == stream.get_stats().get(timeout=PATIENCE).circuit.state
        until(lambda: seen.types() == ["stream_tripped", "stream_tripped", "stream_recovered"])


def test_a_trial_that_tells_nothing_makes_way_for_the_next(clock: ManualHost, placement: str, gate: Gate) -> None:
    """Cancelled, say; and a resume is work like any other, so it is refused while the circuit is open."""

    async def work(ctx: Any, data: Any) -> Any:
        match data:
            case "bad":
                raise SystemExit
            case "hold":
                await gate.passed(ctx)
            case "pause":
                await ctx.pause("here")
        return data

    policy = StreamPolicy(max_failures=0, within=60.0, open_seconds=60.0)
    with Runtime(host=clock) as runtime:
        stream = runtime.open_stream(point(placement, circuit=policy), executor_for(placement, work)).get(
            timeout=PATIENCE
        )
        paused = stream.run("pause").get(timeout=PATIENCE)
        stream.run("bad").get(timeout=PATIENCE)
        for refused in (stream.execute("good"), stream.resume(paused.session_id)):
            with pytest.raises(StreamTripped):
                refused.get(timeout=PATIENCE)
        clock.advance(61.0)
        trial = stream.execute("hold").get(timeout=PATIENCE)
        gate.wait_for(1)
        with pytest.raises(StreamTripped):
            stream.execute("good").get(timeout=PATIENCE)
        assert stream.cancel_execution(trial).get(timeout=PATIENCE)
        assert stream.run("good").get(timeout=PATIENCE).success
        assert "closed" == stream.get_stats().get(timeout=PATIENCE).circuit.state
