"""Timers on a runtime: when they fire, what a changed clock does, several runtimes, restarts, death in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pykka.messages import ProxyCall

from propolis import Runtime
from propolis.messages import InvalidInput, StoreUnavailable, StreamSaturated
from propolis.testing import FailingStore, ManualHost

from ..processes import unmeasured
from ..runtime.support import PATIENCE, Gate, Recorder, until
from . import program
from .support import Log, inputs, open_point, pass_by, timer

ROOT = Path(__file__).parents[2]
SECOND, MINUTE, HOUR = (timedelta(seconds=s) for s in (1, 60, 3_600))
Start = Callable[..., Runtime]


def test_an_interval_fires_at_each_of_its_times(start: Start, clock: ManualHost) -> None:
    """The input is that of the trigger_config, and the time it was due."""
    log, began = Log(), clock.now()
    open_point(start(), timer(interval_seconds=60, input_data={"kind": ["nightly"]}), log)
    pass_by(clock, 59)
    assert [] == log.inputs
    for n in range(1, 4):
        pass_by(clock, 60 if n > 1 else 1)
        until(lambda n=n: len(log.inputs) == n)
    assert [{"kind": ["nightly"], "due_at": began + n * MINUTE} for n in range(1, 4)] == log.inputs


def test_an_execution_of_a_timer_is_one_as_any_other(start: Start, clock: ManualHost) -> None:
    """It is in the store, with its input; another one of the stream may be started by hand."""
    log = Log()
    runtime = start()
    stream = open_point(runtime, timer(delay=5), log)
    assert {"x": 1} == stream.run({"x": 1}).get(timeout=PATIENCE).output
    pass_by(clock, 5)
    until(lambda: len(log.inputs) == 2)
    until(lambda: not stream.active_execution_ids)
    assert [{"x": 1}, {"due_at": clock.now()}] == inputs(runtime, "tick")


def test_run_immediately_fires_at_once_and_then_as_usual(start: Start, clock: ManualHost) -> None:
    """And not again when the stream is opened again."""
    log, began, store = Log(), clock.now(), "memory:"
    runtime = start(store)
    open_point(runtime, timer(interval_seconds=60, run_immediately=True), log)
    until(lambda: [began] == log.due())
    pass_by(clock, 60)
    until(lambda: [began, began + MINUTE] == log.due())
    runtime.close_stream("tick").get(timeout=PATIENCE)
    open_point(runtime, timer(interval_seconds=60, run_immediately=True), log)
    pass_by(clock, 60)
    until(lambda: [began, began + MINUTE, began + 2 * MINUTE] == log.due())


@pytest.mark.parametrize("config", [{"delay": 30}, {"run_at": "2026-01-01T00:00:30+00:00"}])
def test_a_single_firing_happens_once_in_the_life_of_the_store(
    start: Start, file_store: str, config: dict[str, Any]
) -> None:
    """Also when it is opened again, a day later."""
    host = ManualHost(datetime(2026, 1, 1, tzinfo=UTC))
    log = Log()
    first = start(file_store, host)
    open_point(first, timer(**config), log)
    pass_by(host, 30)
    until(lambda: [datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)] == log.due())
    until(lambda: position_of(first) is None)
    first.stop().get(timeout=PATIENCE)
    host.advance(86_400)
    again = start(file_store, host)
    stream = open_point(again, timer(**config), log)
    stream.run({"due_at": datetime(2030, 1, 1, tzinfo=UTC)}).get(timeout=PATIENCE)
    assert 2 == len(log.inputs)


def position_of(runtime: Runtime) -> int | None:
    """Where the row of the timer stands."""
    (row,) = runtime.triggers().get(timeout=PATIENCE)
    return row.position


@pytest.mark.parametrize("misfire", ["once", "all", "skip"])
def test_what_was_missed_while_it_was_closed_is_done_as_misfire_says(
    start: Start, clock: ManualHost, file_store: str, misfire: str
) -> None:
    """Four times are missed, the fifth comes after the opening."""
    log, began, seen = Log(), clock.now(), Recorder()
    first = start(file_store)
    open_point(first, timer(interval_seconds=60, misfire=misfire), log)
    first.stop().get(timeout=PATIENCE)
    clock.advance(4.5 * 60)
    second = start(file_store)
    second.subscribe("timer_misfired", seen).get(timeout=PATIENCE)
    open_point(second, timer(interval_seconds=60, misfire=misfire), log)
    times = {"once": [4], "all": [1, 2, 3, 4], "skip": []}[misfire]
    until(lambda: [began + n * MINUTE for n in times] == log.due())
    pass_by(clock, 30)
    until(lambda: [began + n * MINUTE for n in (*times, 5)] == log.due())
    if misfire == "all":
        assert [] == seen.events
    else:
        event = seen.wait_for("timer_misfired")
        last = began + (3 if misfire == "once" else 4) * MINUTE
        assert {"entry_point": "tick", "first": began + MINUTE, "last": last, "misfire": misfire} == event.data


def test_a_clock_that_is_set_forward_fires_what_it_has_jumped_over_as_misfire_says(
    start: Start, clock: ManualHost
) -> None:
    """As is a machine that has slept: noticed within ten seconds of its waking."""
    log, began = Log(), clock.now()
    open_point(start(), timer(interval_seconds=60, misfire="all"), log)
    clock.wait_for_timer(within=10.0, timeout=PATIENCE)
    clock.jump(600)
    assert [] == log.inputs
    pass_by(clock, 10)
    until(lambda: [began + n * MINUTE for n in range(1, 11)] == log.due())


def test_a_clock_that_is_set_back_fires_nothing_twice(start: Start, clock: ManualHost) -> None:
    """It waits until the clock has come to where it was, and a minute further."""
    log, began = Log(), clock.now()
    open_point(start(), timer(interval_seconds=60), log)
    pass_by(clock, 60)
    until(lambda: [began + MINUTE] == log.due())
    clock.jump(-45)
    pass_by(clock, 60 + 44)
    assert 1 == len(log.inputs)
    pass_by(clock, 1)
    until(lambda: [began + MINUTE, began + 2 * MINUTE] == log.due())


def test_four_runtimes_and_a_clock_that_jumps_fire_each_time_of_a_cron_once(
    start: Start, clock: ManualHost, file_store: str
) -> None:
    """Forward and back, through the end of daylight saving: every minute is there, from first to last, once."""
    clock.jump((datetime(2026, 10, 25, 0, 50, 30, tzinfo=UTC) - clock.now()).total_seconds())
    logs = [Log() for _ in range(4)]
    config = {"cron": "* * * * *", "timezone": "Europe/Vienna", "misfire": "all"}
    for log in logs:
        open_point(start(file_store), timer(**config), log)
    first = datetime(2026, 10, 25, 0, 51, tzinfo=UTC)
    reached = clock.now()

    def due() -> list[datetime]:
        return sorted(time for log in logs for time in log.due())

    def expected() -> list[datetime]:
        return [first + n * MINUTE for n in range((reached - first) // MINUTE + 1)]

    def caught_up() -> bool:
        clock.advance(0.25)  # in small steps: who has yet to set its alarm is not left behind
        return len(due()) >= len(expected())

    for jump in (40.0, 300.0, -120.0, 600.0, -900.0, 930.0, 61.0):
        clock.jump(jump)
        reached = max(reached, clock.now())
        until(caught_up)
    reached = max(reached, clock.now())
    until(caught_up)
    reached = clock.now()  # while it was waited for, time went on
    until(caught_up)
    assert expected() == due()[: len(expected())]
    runtime = start(file_store)
    recorded: list[Any] = []

    def all_recorded() -> bool:
        clock.advance(0.01)  # who finds the file locked waits on this clock, too
        recorded[:] = runtime.executions(stream="tick", limit=1_000).get(timeout=PATIENCE)
        return all(execution.status == "completed" for execution in recorded)

    until(all_recorded)
    times = sorted(execution.input_data["due_at"] for execution in recorded)
    assert [first + n * MINUTE for n in range(len(times))] == times
    assert len(times) >= len(expected())


def test_another_schedule_in_the_code_takes_effect_when_it_is_opened(
    start: Start, clock: ManualHost, file_store: str
) -> None:
    """It begins anew, from now; another input is taken over as it is."""
    log = Log()
    first = start(file_store)
    open_point(first, timer(interval_seconds=3_600), log)
    first.stop().get(timeout=PATIENCE)
    began = clock.now()
    second = start(file_store)
    open_point(second, timer(interval_seconds=30, input_data={"new": True}), log)
    pass_by(clock, 30)
    until(lambda: [{"new": True, "due_at": began + 30 * SECOND}] == log.inputs)


def test_who_still_has_the_old_schedule_open_stands_down(start: Start, clock: ManualHost, file_store: str) -> None:
    """Two versions of a program, for the time of a deployment: the one that came last is the valid one."""
    old, new = Log(), Log()
    open_point(start(file_store), timer(interval_seconds=60), old)
    clock.wait_for_timer(within=10.0, timeout=PATIENCE)
    began = clock.now()
    second = start(file_store)
    open_point(second, timer(interval_seconds=45), new)

    def fired() -> bool:
        clock.advance(1.0)
        return len(new.inputs) + len(old.inputs) == 3

    until(fired)
    until(lambda: len(inputs(second, "tick")) == 3)
    assert [began + n * 45 * SECOND for n in (1, 2, 3)] == [data["due_at"] for data in inputs(second, "tick")]
    assert [] == old.inputs


def test_a_stream_that_is_full_delays_a_firing_and_loses_none(start: Start, clock: ManualHost) -> None:
    """It is tried again until there is room."""
    gate, log = Gate(), Log()

    async def held(ctx: Any, data: Any) -> None:
        await gate.passed(ctx)
        await log(ctx, data)

    runtime, began = start(), clock.now()
    point = timer(interval_seconds=60, fields={"max_concurrent": 1, "max_pending": 0}, misfire="all")
    stream = open_point(runtime, point, held)
    try:
        pass_by(clock, 60)
        gate.wait_for(1)
        with pytest.raises(StreamSaturated):
            stream.execute({}).get(timeout=PATIENCE)
        clock.wait_for_timer(within=10.0, timeout=PATIENCE)
        clock.advance(10.0)
        for _ in range(20):
            clock.wait_for_timer(within=10.0, timeout=PATIENCE)
            clock.advance(5.0)
        assert 1 == gate.arrived
    finally:
        gate.open()

    def all_there() -> bool:
        clock.advance(0.1)
        return len(log.inputs) >= 2

    until(all_there)
    assert [began + MINUTE, began + 2 * MINUTE] == log.due()[:2]


def test_a_stream_that_was_stopped_fires_again_when_it_is_started(start: Start, clock: ManualHost) -> None:
    """What came due meanwhile is late; none of it is lost."""
    log, began = Log(), clock.now()
    stream = open_point(start(), timer(interval_seconds=60, misfire="all"), log)
    stream.stop().get(timeout=PATIENCE)
    for _ in range(20):
        clock.wait_for_timer(within=10.0, timeout=PATIENCE)
        clock.advance(5.0)
    assert [] == log.inputs
    stream.start().get(timeout=PATIENCE)

    def fired() -> bool:
        clock.advance(0.5)
        return bool(log.inputs)

    until(fired)
    assert began + MINUTE == log.due()[0]


def test_a_closed_stream_fires_no_more(start: Start, clock: ManualHost) -> None:
    """Its timer is gone from the tree."""
    log = Log()
    runtime = start()
    open_point(runtime, timer(interval_seconds=60), log)
    runtime.close_stream("tick").get(timeout=PATIENCE)
    until(
        lambda: not [actor for actor in runtime.supervision_tree().get(timeout=PATIENCE).actors if "tick" in actor.path]
    )
    clock.advance(200)
    assert [] == log.inputs


def test_a_timer_that_crashes_goes_on(start: Start, clock: ManualHost) -> None:
    """Behind the same reference, from the row in the store."""
    log, began, runtime = Log(), clock.now(), start()
    open_point(runtime, timer(interval_seconds=60), log)
    clock.wait_for_timer(within=10.0, timeout=PATIENCE)
    trigger = runtime.ref.proxy().children().get(timeout=PATIENCE)["trigger:tick"]
    trigger.ask(ProxyCall(("no_such_method",), (), {}), block=False)
    until(lambda: 1 == trigger.actor_inbox.restarts)
    pass_by(clock, 60)
    until(lambda: [began + MINUTE] == log.due())


def test_a_store_that_is_away_at_the_time_delays_the_firing(start: Start, clock: ManualHost) -> None:
    """It is accepted once, when the store is back."""
    failing, log, began = FailingStore(), Log(), clock.now()
    open_point(start(failing.open), timer(interval_seconds=60), log)
    pass_by(clock, 59)
    failing.next_commit(StoreUnavailable(store="memory:", reason="the disk is full"), times=3)

    def fired() -> bool:
        clock.advance(0.5)
        return bool(log.inputs)

    until(fired)
    assert [began + MINUTE] == log.due()


class Night(BaseModel):
    """What a nightly executor takes."""

    due_at: datetime
    tables: list[str]


async def nightly(ctx: Any, night: Night) -> None:
    """Do nothing."""


def test_input_data_that_does_not_fit_the_executor_is_refused_when_it_is_opened(start: Start) -> None:
    """And not by an execution that fails every night."""
    runtime = start()
    with pytest.raises(InvalidInput, match=r"input_data\.tables"):
        runtime.open_stream(timer(delay=1), nightly).get(timeout=PATIENCE)
    open_point(runtime, timer(delay=1, input_data={"tables": ["a"]}), nightly)


def test_killed_between_a_firing_and_its_bookkeeping_nothing_is_lost_and_nothing_doubled(file_store: str) -> None:
    """Four processes die before or behind the commit of a firing, or of its bookkeeping; the next one goes on."""
    rounds = 4
    command = [sys.executable, "-m", "tests.triggers.program", "timers", file_store, str(rounds)]
    ran = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=300, check=True)
    assert [-signal.SIGKILL] * rounds == json.loads(ran.stdout)
    end = program.BEGAN + rounds * program.EACH_ROUND * SECOND
    with Runtime(file_store, host=program.RoundHost(rounds)) as runtime:
        stream = open_point(runtime, program.tick(), program.body)
        until(lambda: position_of(runtime) == (end + SECOND).timestamp() * 1e6)
        stream.drain().get(timeout=PATIENCE)
        times = [data["due_at"] for data in inputs(runtime, "tick")]
    assert [program.BEGAN + n * SECOND for n in range(rounds * program.EACH_ROUND + 1)] == sorted(times)
