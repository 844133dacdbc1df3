"""Event triggers on a runtime: one execution for each event, through restarts, death and several runtimes; loops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propolis import EntryPoint, RestartPolicy, Runtime, Stream
from propolis.messages import EventFilter, InvalidInput, Payload, StreamSaturated
from propolis.testing import ManualHost

from ..processes import unmeasured
from ..runtime.support import PATIENCE, Gate, Recorder, until
from . import program
from .support import Log, event_point, inputs, open_point

ROOT = Path(__file__).parents[2]
Start = Callable[..., Runtime]


async def emit(ctx: Any, data: Any) -> Any:
    """Emit the events that the input names."""
    for type, content in data:
        await ctx.emit(type, content)
    return data


async def fail(ctx: Any, data: Any) -> None:
    """Fail, for good."""
    raise ValueError("no")


def source(runtime: Runtime, id: str = "source", **fields: Any) -> Stream:
    """A stream whose executions emit what they are told."""
    return open_point(runtime, EntryPoint(id=id, **fields), emit)


def say(stream: Stream, *events: tuple[str, dict[str, Any]]) -> Any:
    """Have these emitted; the result of the execution that did."""
    return stream.run(list(events)).get(timeout=PATIENCE)


def heard(log: Log) -> list[Any]:
    """The data of the events that were reacted to, in order of their numbers."""
    return [data["event"]["data"] for data in sorted(log.inputs, key=lambda data: data["event"]["seq"])]


def test_each_matching_event_starts_one_execution_which_gets_it(start: Start) -> None:
    """With all that the event says, under its correlation id; of other types nothing is heard."""
    log, runtime = Log(), start()
    stream = source(runtime, graph_id="g")
    open_point(runtime, event_point(event_types=["order"]), log)
    result = say(stream, ("order", {"n": 1}), ("noise", {"n": 2}), ("order", {"n": 3}))
    until(lambda: len(log.inputs) == 2)
    assert [{"n": 1}, {"n": 3}] == heard(log)
    event = log.inputs[0]["event"]
    assert ("order", "source", result.execution_id, result.session_id, "g", None) == (
        event["type"],
        event["stream_id"],
        event["execution_id"],
        event["session_id"],
        event["graph_id"],
        event["node_id"],
    )
    stored = {e.seq: e for e in read_events(runtime)}
    assert (stored[event["seq"]].timestamp, result.execution_id) == (event["timestamp"], event["correlation_id"])
    (one, _) = runtime.executions(stream="react").get(timeout=PATIENCE)
    assert result.execution_id == one.correlation_id


def read_events(runtime: Runtime, *types: str) -> list[Any]:
    """The stored events of these types, or of all."""

    def read(store: Any) -> Any:
        return store.events_after(0, EventFilter(types=types), 10_000)

    return list(runtime.read(read).get(timeout=PATIENCE))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"filter_stream": "two"}, [2]),
        ({"filter_graph": "g"}, [1]),
        ({"filter_node": "n"}, [3]),
        ({"exclude_own_graph": True}, [1, 2, 3]),
        ({}, [1, 2, 3, 4]),
    ],
)
def test_filters_choose_among_the_events_of_a_type(start: Start, config: dict[str, Any], expected: list[int]) -> None:
    """By stream, node and graph; and one's own graph can be left out."""
    log, runtime = Log(), start()

    async def at_node(ctx: Any, data: Any) -> None:
        await ctx.emit("order", {"n": 3}, node_id="n")

    streams = [source(runtime, "one", graph_id="g"), source(runtime, "two"), source(runtime, "own", graph_id="mine")]
    noded = open_point(runtime, EntryPoint(id="three"), at_node)
    open_point(runtime, event_point(event_types="order", fields={"graph_id": "mine"}, **config), log)
    for _ in range(2):  # when all of the second round are heard, those of the first were looked at
        say(streams[0], ("order", {"n": 1}), ("other", {}))
        say(streams[1], ("order", {"n": 2}))
        noded.run().get(timeout=PATIENCE)
        say(streams[2], ("order", {"n": 4}))
    until(lambda: len(log.inputs) >= 2 * len(expected))
    assert [{"n": n} for n in 2 * expected] == heard(log)


def settle(runtime: Runtime) -> None:
    """Wait until every event trigger has looked at every event that it might react to."""

    def seen() -> bool:
        last = max((event.seq for event in read_events(runtime, "order")), default=0)
        return all(row.position >= last for row in runtime.triggers().get(timeout=PATIENCE))

    until(seen)


def test_without_a_graph_it_is_the_own_stream_that_is_left_out(start: Start) -> None:
    """Or an entry point that reacts to what its like do would react to itself."""
    seen, runtime = Recorder(), start()
    runtime.subscribe("trigger_loop", seen).get(timeout=PATIENCE)
    stream = source(runtime)
    point = event_point(event_types=["execution_completed"], exclude_own_graph=True)
    log = Log()
    open_point(runtime, point, log)
    for n in range(3):
        say(stream, ("x", {"n": n}))
    until(lambda: len(log.inputs) == 3)
    say(stream, ("x", {}))
    until(lambda: len(log.inputs) == 4)
    assert {"source"} == {data["event"]["stream_id"] for data in log.inputs}
    assert [] == seen.events


def test_it_begins_with_its_opening_or_where_it_is_told_to(start: Start) -> None:
    """What was before is not reacted to, unless `from_seq` says so."""
    now, from_start, runtime = Log(), Log(), start()
    stream = source(runtime)
    say(stream, ("order", {"n": 1}), ("order", {"n": 2}))
    open_point(runtime, event_point("now", event_types=["order"]), now)
    open_point(runtime, event_point("all", event_types=["order"], from_seq=0), from_start)
    say(stream, ("order", {"n": 3}))
    until(lambda: len(now.inputs) == 1 and len(from_start.inputs) == 3)
    assert ([{"n": 3}], [{"n": n} for n in (1, 2, 3)]) == (heard(now), heard(from_start))


def test_what_happens_while_it_is_closed_is_reacted_to_when_it_is_open_again(start: Start, file_store: str) -> None:
    """Its place is in the store."""
    log = Log()
    first = start(file_store)
    open_point(first, event_point(event_types=["order"]), log)
    first.stop().get(timeout=PATIENCE)
    second = start(file_store)
    stream = source(second)
    for n in range(70):
        say(stream, ("order", {"n": n}))
    assert [] == log.inputs
    open_point(second, event_point(event_types=["order"]), log)
    until(lambda: len(log.inputs) == 70)
    assert [{"n": n} for n in range(70)] == heard(log)


def test_with_join_session_it_works_on_the_session_of_the_event(start: Start) -> None:
    """When that one is through: executions of one session run one at a time."""
    runtime = start()

    async def note(ctx: Any, data: Any) -> Any:
        return {"session": ctx.session_id, "found": await ctx.memory.read("left"), "own": ctx.execution_id}

    async def leave(ctx: Any, data: Any) -> None:
        await ctx.emit("order", {})
        await ctx.memory.write("left", data)

    stream = open_point(runtime, EntryPoint(id="source"), leave)
    react = open_point(runtime, event_point(event_types=["order"], join_session=True), note)
    result = stream.run(7).get(timeout=PATIENCE)
    (execution,) = until(lambda: runtime.executions(stream="react").get(timeout=PATIENCE))
    ended = react.wait_for_completion(execution.id).get(timeout=PATIENCE)
    assert ended is not None
    assert {"session": result.session_id, "found": 7, "own": execution.id} == ended.output
    assert execution.id != result.execution_id


def test_several_runtimes_with_it_open_start_one_execution_for_each_event(file_store: str) -> None:
    """Whoever of them emits it."""
    logs = [Log() for _ in range(3)]
    with Runtime(file_store) as one, Runtime(file_store) as two, Runtime(file_store) as three:
        runtimes = (one, two, three)
        for runtime, log in zip(runtimes, logs, strict=True):
            open_point(runtime, event_point(event_types=["order"]), log)
        streams = [source(runtime, f"source{n}") for n, runtime in enumerate(runtimes)]
        for n in range(30):
            say(streams[n % 3], ("order", {"n": n}))
        until(lambda: sum(len(log.inputs) for log in logs) >= 30)
        settle(one)
        assert list(range(30)) == sorted(data["event"]["data"]["n"] for data in inputs(one, "react"))
    assert 30 == sum(len(log.inputs) for log in logs)


def test_an_entry_point_that_starts_itself_is_stopped_and_named(start: Start) -> None:
    """Every end of an execution of it is an event that it reacts to: three times, and no more."""
    seen, log, runtime = Recorder(), Log(), start()
    runtime.subscribe(("trigger_loop",), seen).get(timeout=PATIENCE)
    stream = source(runtime)
    open_point(runtime, event_point(event_types=["execution_completed"], max_depth=3), log)
    first = say(stream, ("x", {}))
    event = seen.wait_for("trigger_loop")
    assert 3 == len(log.inputs)
    assert (4, ["react"] * 4, "react") == (event.data["depth"], event.data["chain"], event.data["entry_point"])
    assert first.execution_id == event.correlation_id
    assert "execution_completed" == event.data["event"]["type"]
    say(stream, ("x", {}))
    seen.wait_for("trigger_loop", 2)
    assert 6 == len(log.inputs)
    assert (2, 2) == (seen.types().count("trigger_loop"), len(read_events(runtime, "trigger_loop")))


def test_a_loop_of_two_is_named_with_its_way(start: Start) -> None:
    """Ping starts pong, pong starts ping: ten executions in a chain, unless said otherwise."""
    seen, runtime = Recorder(), start()
    runtime.subscribe(("trigger_loop",), seen).get(timeout=PATIENCE)

    async def ping(ctx: Any, data: Any) -> None:
        await ctx.emit("ball", {})

    async def pong(ctx: Any, data: Any) -> None:
        await ctx.emit("back", {})

    open_point(runtime, event_point("pong", event_types=["ball"]), pong)
    open_point(runtime, event_point("ping", event_types=["back"]), ping)
    stream = source(runtime)
    say(stream, ("ball", {}))
    event = seen.wait_for("trigger_loop")
    assert ["pong", "ping"] * 5 + ["pong"] == event.data["chain"]
    assert 10 == len(runtime.executions(stream="ping").get(timeout=PATIENCE)) + len(
        runtime.executions(stream="pong").get(timeout=PATIENCE)
    )


def test_a_stream_that_is_full_delays_and_loses_none(start: Start, clock: ManualHost) -> None:
    """They are offered until they are taken."""
    gate, log, runtime = Gate(), Log(), start()

    async def held(ctx: Any, data: Any) -> None:
        await gate.passed(ctx)
        await log(ctx, data)

    point = event_point(event_types=["order"], fields={"max_concurrent": 1, "max_pending": 0})
    react = open_point(runtime, point, held)
    stream = source(runtime)
    say(stream, *[("order", {"n": n}) for n in range(8)])
    try:
        gate.wait_for(1)
        with pytest.raises(StreamSaturated):
            react.execute({}).get(timeout=PATIENCE)
        clock.advance(0.3)
        assert 1 == gate.arrived
    finally:
        gate.open()

    def all_there() -> bool:
        clock.advance(0.1)
        return len(log.inputs) >= 8

    until(all_there)
    assert [{"n": n} for n in range(8)] == heard(log)


def test_what_can_never_be_started_is_told_and_passed_by(start: Start) -> None:
    """A session that admits nobody, here; the next event has its turn."""
    seen, gate, runtime = Recorder(), Gate(), start()
    runtime.subscribe("trigger_refused", seen).get(timeout=PATIENCE)

    async def keep(ctx: Any, data: Any) -> None:
        await ctx.emit("order", {"n": 1})
        await gate.passed(ctx)
        await ctx.emit("other", {})

    log = Log()
    point = event_point(event_types=["order"], join_session=True, fields={"session_policy": "reject"})
    open_point(runtime, point, log)
    stream = open_point(runtime, EntryPoint(id="source"), keep)
    try:
        running = stream.run()
        event = seen.wait_for("trigger_refused")
        assert "order" == event.data["event"]["type"]
        assert event.data["error"]
    finally:
        gate.open()
    running.get(timeout=PATIENCE)
    assert [] == log.inputs


def test_an_event_that_makes_no_input_is_told_and_passed_by(start: Start) -> None:
    """Its data nest as deep as data may, and would be deeper in an input. It must not come back for ever."""
    log, seen, runtime = Log(), Recorder(), start()
    runtime.subscribe("trigger_refused", seen).get(timeout=PATIENCE)
    open_point(runtime, event_point(event_types=["order"]), log)

    async def emit_deep(ctx: Any, data: Any) -> None:
        deep: Any = None
        while (deeper := [deep]) and can_be_encoded({"deep": deeper}):
            deep = deeper
        await ctx.emit("order", {"deep": deep})

    open_point(runtime, EntryPoint(id="deep"), emit_deep).run().get(timeout=PATIENCE)
    assert "nests too deep" in seen.wait_for("trigger_refused").data["error"]
    say(source(runtime), ("order", {"n": 1}))
    until(lambda: log.inputs)
    assert [{"n": 1}] == heard(log)


def can_be_encoded(value: Any) -> bool:
    """Whether it can."""
    try:
        Payload.of(value)
    except InvalidInput:
        return False
    return True


def test_failures_can_be_reacted_to(start: Start) -> None:
    """A lifecycle event is an event."""
    log, runtime = Log(), start()
    open_point(runtime, event_point(event_types=["execution_failed"], filter_stream="broken"), log)
    broken = open_point(runtime, EntryPoint(id="broken", restart=RestartPolicy(strategy="temporary")), fail)
    result = broken.run().get(timeout=PATIENCE)
    until(lambda: log.inputs)
    assert [result.execution_id] == [data["event"]["execution_id"] for data in log.inputs]


def test_killed_between_a_start_and_its_bookkeeping_no_event_is_lost_or_started_twice(file_store: str) -> None:
    """Four processes die before or behind the commit of a start, or of its bookkeeping; the next one goes on."""
    command = [sys.executable, "-m", "tests.triggers.program", "events", file_store, "4"]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=300, check=True)
    assert [-signal.SIGKILL] * 4 == json.loads(ran.stdout)
    with Runtime(file_store) as runtime:
        open_point(runtime, EntryPoint(id="source"), program.emit)
        until(lambda: not runtime.sessions(stream="source", status="active").get(timeout=PATIENCE))
        open_point(runtime, program.react(), program.body)
        settle(runtime)
        orders = [event.seq for event in read_events(runtime, "order")]
        assert len(orders) >= 4
        assert orders == sorted(data["event"]["seq"] for data in inputs(runtime, "react"))
