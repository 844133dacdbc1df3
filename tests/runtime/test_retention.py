"""Retention: what goes, what never does, how gently, and that nobody reads past a gap without being told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from propolis.actors.retention import EVENTS_AT_ONCE, SESSIONS_AT_ONCE

from propolis import EntryPoint, RestartPolicy, Runtime, RuntimeConfig, Stream
from propolis.actors import Host, check_store, open_store
from propolis.messages import Event, EventFilter, StoreUnavailable
from propolis.testing import ManualHost

from .support import PATIENCE, Gate, pass_time_until, until

Start = Callable[..., Runtime]


@pytest.fixture
def start(clock: ManualHost, any_store: str) -> Iterator[Start]:
    """Starts a runtime with some retention, on the test's clock."""
    started: list[Runtime] = []

    def make(store: Any = any_store, **retention: Any) -> Runtime:
        config = RuntimeConfig(grace_seconds=0.1, lease_seconds=3e9, retention_every_seconds=10.0, **retention)
        runtime = Runtime(store, config=config, host=clock)
        runtime.start().get(timeout=PATIENCE)
        started.append(runtime)
        return runtime

    yield make
    for runtime in started:
        pass_time_until(clock, runtime.stop().done, step=0.05)


def opened(runtime: Runtime, gate: Gate | None = None, id: str = "work", **fields: Any) -> Stream:
    """A stream whose executions do as their input says."""

    async def body(ctx: Any, data: Any) -> Any:
        await ctx.emit("said", {"data": data})
        if data == "fail":
            raise ValueError("no")
        if data == "pause":
            await ctx.pause("approval")
        if data == "hold" and gate is not None:
            await gate.passed(ctx)
        return data

    return runtime.open_stream(EntryPoint(id=id, **fields), body).get(timeout=PATIENCE)


def ran(stream: Stream, data: Any) -> str:
    """The session of an execution that has ended."""
    return str(stream.run(data).get(timeout=PATIENCE).session_id)


def kept(runtime: Runtime) -> set[str]:
    """The sessions that are there."""
    return {record.session_id for record in runtime.sessions(limit=10_000).get(timeout=PATIENCE)}


def events_of(runtime: Runtime, *types: str) -> list[Event]:
    """The events that are there."""
    return list(
        runtime.read(lambda store: store.events_after(0, EventFilter(types=types), 100_000)).get(timeout=PATIENCE)
    )


def swept(clock: ManualHost, condition: Callable[[], bool]) -> None:
    """Let time pass until a sweep has had its effect."""
    pass_time_until(clock, condition, step=0.5)


def swept_twice(runtime: Runtime, clock: ManualHost) -> None:
    """Let two more sweeps pass: a session made for that has gone, and another one after it."""
    for _ in range(2):
        mark = ran(opened(runtime, id="mark"), "x")
        runtime.close_stream("mark").get(timeout=PATIENCE)
        swept(clock, lambda mark=mark: mark not in kept(runtime))


def test_without_settings_everything_is_kept_and_nobody_looks(timed_runtime: Runtime) -> None:
    """The default is for ever."""
    paths = [actor.path for actor in timed_runtime.supervision_tree().get(timeout=PATIENCE).actors]
    assert "runtime/retention" not in paths


def test_sessions_go_when_they_have_ended_for_so_long(start: Start, clock: ManualHost) -> None:
    """With their executions and events, and whatever their keys look like; a younger one stays."""
    runtime = start(session_retention_seconds=60.0)
    stream = opened(runtime)
    old = [ran(stream, n) for n in range(3)]
    old += [stream.run(4, idempotency_key=f"call:run:{10**20}:1").get(timeout=PATIENCE).session_id]
    clock.advance(40.0)
    young = ran(stream, "young")
    assert {*old, young} == kept(runtime)
    swept(clock, lambda: not kept(runtime) & set(old))
    assert {young} <= kept(runtime)
    assert {young} == {event.session_id for event in events_of(runtime) if event.session_id is not None}
    assert runtime.executions(session=old[0]).get(timeout=PATIENCE) == ()
    swept(clock, lambda: not kept(runtime))


def test_of_ended_sessions_so_many_stay(start: Start, clock: ManualHost, any_store: str) -> None:
    """The last begun."""
    runtime = start(session_retention_max=4)
    stream = opened(runtime)
    ids = [ran(stream, n) for n in range(10)]
    swept(clock, lambda: kept(runtime) == set(ids[-4:]))
    newer = ran(stream, "newer")
    swept(clock, lambda: kept(runtime) == {*ids[-3:], newer})
    if any_store.startswith("sqlite"):  # nothing is left of those that are gone
        assert not [finding for finding in check_store(any_store, Host()) if finding.is_open]


def test_what_is_unfinished_paused_or_quarantined_never_goes(start: Start, clock: ManualHost) -> None:
    """Nor a session that has ended, on which another execution still works."""
    runtime, gate = start(session_retention_seconds=1.0, session_retention_max=0, event_retention_seconds=1.0), Gate()
    stream = opened(runtime, gate)
    strict = opened(runtime, gate, "strict", restart=RestartPolicy(max_restarts=0))
    other = opened(runtime, gate, "other")
    try:
        ended = ran(stream, "x")
        running = stream.execute("hold").get(timeout=PATIENCE)
        paused, quarantined = ran(stream, "pause"), ran(strict, "fail")
        joined = ran(stream, "y")
        joiner = other.execute("hold", session_id=joined).get(timeout=PATIENCE)
        gate.wait_for(2)
        swept(clock, lambda: ended not in kept(runtime))
        swept_twice(runtime, clock)
        assert {running, paused, quarantined, joined} == kept(runtime)
        sessions = [event.session_id for event in events_of(runtime, "said")]
        assert {running, paused, quarantined, joined} == set(sessions)
    finally:
        gate.open()
    other.wait_for_completion(joiner).get(timeout=PATIENCE)
    resumed = stream.resume(paused, input_data="z").get(timeout=PATIENCE)
    stream.wait_for_completion(resumed).get(timeout=PATIENCE)
    swept(clock, lambda: kept(runtime) == {quarantined})


def test_what_an_unfinished_execution_has_called_stays_until_it_has_the_answer(start: Start, clock: ManualHost) -> None:
    """It is known by its key: without that it would be called a second time, when the caller is taken up again."""
    runtime, gate = start(session_retention_seconds=1.0), Gate()
    child = opened(runtime, gate)

    async def calls(ctx: Any, _: Any) -> Any:
        return await ctx.call("work", "hold")

    caller = runtime.open_stream(EntryPoint(id="caller"), calls).get(timeout=PATIENCE)
    calling = caller.execute().get(timeout=PATIENCE)
    gate.wait_for(1)
    caller.stop().get(timeout=PATIENCE)
    (called,) = child.active_execution_ids
    gate.open()
    child.wait_for_completion(called).get(timeout=PATIENCE)
    other = ran(child, "x")
    swept(clock, lambda: other not in kept(runtime))
    assert {calling, called} == kept(runtime)
    caller.start().get(timeout=PATIENCE)
    result = caller.wait_for_completion(calling).get(timeout=PATIENCE)
    assert result is not None
    assert ("completed", "hold") == (result.status, result.output)
    assert [called] == [event.session_id for event in events_of(runtime, "said") if event.data == {"data": "hold"}]
    swept(clock, lambda: not kept(runtime))


def test_events_go_by_age_and_by_number(start: Start, clock: ManualHost) -> None:
    """Their sessions stay; the numbers go on."""
    runtime = start(event_retention_max=5, event_retention_seconds=3_600.0)
    stream = opened(runtime)
    ids = [ran(stream, n) for n in range(10)]
    last = events_of(runtime)[-1].seq
    swept(clock, lambda: len(events_of(runtime)) == 5)
    assert last == events_of(runtime)[-1].seq
    assert set(ids) == kept(runtime)
    clock.advance(3_600.0)
    swept(clock, lambda: events_of(runtime) == [])
    ran(stream, "next")
    assert last is not None
    assert last + 1 == events_of(runtime)[0].seq


def test_who_reads_from_a_number_that_was_pruned_is_told_first(start: Start, clock: ManualHost) -> None:
    """Once, with the numbers between which events are missing; from there on it is as ever."""
    runtime = start(event_retention_max=4)
    stream = opened(runtime)
    for n in range(6):
        ran(stream, n)
    before = [event.seq for event in events_of(runtime)]
    swept(clock, lambda: len(events_of(runtime)) == 4)
    pruned = before[-5]
    with runtime.events(2) as reading:
        told = next(reading)
        assert ("events_pruned", None, {"after": 2, "through": pruned}) == (told.type, told.seq, told.data)
        assert before[-4:] == [next(reading).seq for _ in range(4)]
        ran(stream, "more")
        assert "execution_started" == next(reading).type
    with runtime.events(pruned) as reading:
        assert before[-4:] == [next(reading).seq for _ in range(4)]
    with runtime.events(0, types="said") as reading:
        assert ["events_pruned", "said"] == [next(reading).type for _ in range(2)]


def test_who_follows_and_is_overtaken_is_told_too(start: Start, clock: ManualHost) -> None:
    """In the `async for` form; a reader that has everything is told nothing."""
    runtime = start(event_retention_max=2)
    stream = opened(runtime)

    async def follow() -> None:
        slow, quick = runtime.events(0), runtime.events(0)
        assert 1 == (await anext(slow)).seq
        seen = [await anext(quick)]
        for n in range(200):
            await stream.run(n)
        count = len(events_of(runtime))
        assert count > 500  # more than a reader has in hand at once
        while len(seen) < count:
            seen.append(await anext(quick))
        swept(clock, lambda: len(events_of(runtime)) == 2)
        await stream.run("end")
        assert "events_pruned" not in {event.type for event in seen}
        assert "execution_started" == (await anext(quick)).type
        types: list[str] = []
        while "events_pruned" not in types:
            types.append((await anext(slow)).type)
        slow.close()
        quick.close()

    asyncio.run(follow())


def test_what_an_event_trigger_has_yet_to_see_is_kept_for_it(start: Start, clock: ManualHost) -> None:
    """Though it is closed: for a week, after which it is told that it has missed some."""
    runtime = start(session_retention_max=0, event_retention_max=0)
    seen: list[Any] = []

    async def react(ctx: Any, data: Any) -> None:
        seen.append(data["event"]["data"]["data"])

    point = EntryPoint(id="react", trigger_type="event", trigger_config={"event_types": ["said"]})
    runtime.open_stream(point, react).get(timeout=PATIENCE)
    runtime.close_stream("react").get(timeout=PATIENCE)
    stream = opened(runtime)
    waiting = [ran(stream, n) for n in range(3)]
    for _ in range(60):
        clock.wait_for_timer(within=10.0, timeout=PATIENCE)
        clock.advance(0.5)
    assert set(waiting) <= kept(runtime)
    runtime.open_stream(point, react).get(timeout=PATIENCE)
    until(lambda: len(seen) == 3)
    swept(clock, lambda: not kept(runtime) & set(waiting))
    runtime.close_stream("react").get(timeout=PATIENCE)
    ran(stream, "late")
    clock.advance(8 * 86_400.0)
    swept(clock, lambda: not kept(runtime))
    swept(clock, lambda: not events_of(runtime, "said"))
    runtime.open_stream(point, react).get(timeout=PATIENCE)

    def told() -> bool:
        clock.advance(0.5)
        return runtime.triggers().get(timeout=PATIENCE)[0].position > 0 and missed()

    def missed() -> bool:
        return bool(telling)

    telling: list[Any] = []
    runtime.subscribe("trigger_missed", telling.append).get(timeout=PATIENCE)
    if not events_of(runtime, "trigger_missed"):
        until(told)
    assert [0, 1, 2] == seen


class Watched:
    """A store that says how much was deleted in each transaction, and fails the first time."""

    def __init__(self, store: Any, log: list[Any]) -> None:
        self._store, self.log = store, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def prune_sessions(self, ids: Sequence[str], bounds: Any) -> int:
        """Once the store is away; then it goes on where it was."""
        self.log.append(("sessions", len(ids)))
        if len(self.log) == 1:
            raise StoreUnavailable(store="memory:", reason="the disk is full")
        return int(self._store.prune_sessions(ids, bounds))

    def prune_events(self, seqs: Sequence[int]) -> int:
        """So many."""
        self.log.append(("events", len(seqs)))
        return int(self._store.prune_events(seqs))

    def commit(self, *args: Any) -> Any:
        """One in between."""
        self.log.append(("commit", len(args[2])))
        return self._store.commit(*args)


def test_a_sweep_deletes_little_at_a_time_and_lets_commits_in_between(start: Start, clock: ManualHost) -> None:
    """Two hundred sessions: no transaction has more than its share; one that failed is made good by the next sweep."""
    log: list[Any] = []
    runtime = start(lambda host: Watched(open_store("memory:", host=host), log), session_retention_max=0)
    stream = opened(runtime, max_concurrent=50)
    runs = [stream.run(n) for n in range(200)]
    for run in runs:
        run.get(timeout=PATIENCE)
    log.clear()
    done = threading.Event()

    def gone() -> bool:
        if not done.is_set() and len(log) > 3:
            done.set()
            stream.execute("in between").get(timeout=PATIENCE)
        return len(kept(runtime)) <= 1

    swept(clock, gone)
    sizes = [size for kind, size in log if kind == "sessions"]
    assert max(sizes) <= SESSIONS_AT_ONCE
    assert sum(sizes) >= 200
    assert "commit" in {kind for kind, _ in log[:-1]}


def test_events_go_little_at_a_time_too(start: Start, clock: ManualHost) -> None:
    """A thousand of them."""
    log: list[Any] = [("commit", 0)]
    runtime = start(lambda host: Watched(open_store("memory:", host=host), log), event_retention_max=0)
    stream = opened(runtime, max_concurrent=50)
    for run in [stream.run(n) for n in range(300)]:
        run.get(timeout=PATIENCE)
    swept(clock, lambda: not events_of(runtime))
    sizes = [size for kind, size in log if kind == "events"]
    assert max(sizes) <= EVENTS_AT_ONCE
    assert sum(sizes) >= 900


@pytest.mark.parametrize("field", ["session_retention_seconds", "event_retention_seconds", "retention_every_seconds"])
def test_settings_that_make_no_sense_are_refused(field: str) -> None:
    """By their name."""
    with pytest.raises(Exception, match=field):
        RuntimeConfig(**{field: 0.0})
