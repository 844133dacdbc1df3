"""What an execution leaves behind in memory once it has ended and its result has been let go of: nothing.

A million of them are the matter of `make soak`; here a few of every kind come and go, and everything that can be
reached from the runtime is counted before and after.
"""

from __future__ import annotations

import asyncio
import gc
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import pytest
from pykka.messages import ProxyCall

from propolis import (
    Backoff,
    GraphExecutor,
    GraphSpec,
    NodeSpec,
    NonRetryable,
    RestartPolicy,
    Runtime,
    RuntimeConfig,
    Stream,
)
from propolis.messages import SessionBusy

from .support import PATIENCE, Gate, executor_for, point, until


async def work(ctx: Any, data: Any) -> Any:
    match data:
        case "fail":
            raise NonRetryable("no")
        case "restart" if ctx.attempt == 1:
            raise ValueError("again")
        case "pause" if ctx.resumed_from is None:
            await ctx.pause("here")
        case "busy":
            await ctx.progress(0.5, "half")
            await ctx.emit("custom", {})
            await ctx.checkpoint("here", memory={"k": 1})
        case "forever":
            if hasattr(ctx, "ctx"):  # on a thread
                until(lambda: ctx.cancelled)
                await ctx.heartbeat()
            await asyncio.Event().wait()
    return data


def a_round(stream: Stream, n: int) -> None:
    """One execution of each kind, and every way to wait for one; twelve executions."""
    runs = [stream.run(kind) for kind in ("ok", "fail", "restart", "busy")]
    opened = stream.run("ok", idempotency_key=f"k{n}").get(timeout=PATIENCE)
    assert opened == stream.run("ok", idempotency_key=f"k{n}").get(timeout=PATIENCE)
    runs += [stream.run("ok", session_id=opened.session_id) for _ in range(2)]
    with pytest.raises(SessionBusy):
        stream.resume(opened.session_id).get(timeout=PATIENCE)
    paused = stream.run("pause").get(timeout=PATIENCE)
    stream.wait_for_completion(stream.resume(paused.session_id).get(timeout=PATIENCE)).get(timeout=PATIENCE)
    endless = stream.execute("forever").get(timeout=PATIENCE)
    assert stream.wait_for_completion(endless, timeout=0.001).get(timeout=PATIENCE) is None
    child = stream.ref.proxy().children().get(timeout=PATIENCE)[endless]
    child.tell(ProxyCall(("no_such_method",), (), {}))  # crashed, it runs again
    joined = stream.execute("ok", session_id=endless).get(timeout=PATIENCE)  # its session is in use
    for execution_id in (joined, endless):
        assert stream.cancel_execution(execution_id).get(timeout=PATIENCE)
    until(lambda: endless not in stream.active_execution_ids)  # on a busy machine the grace may have been too short
    assert not stream.cancel_execution(endless).get(timeout=PATIENCE)
    for run in runs:
        run.get(timeout=PATIENCE)
    until(lambda: not stream.active_execution_ids)


_CONTAINERS = (dict, list, tuple, set, frozenset, deque, OrderedDict)
_BETWEEN = (types.MethodType, types.FunctionType, types.CellType)


def reachable(*roots: Any) -> int:
    """How many things our own objects hold, all together: what stands in them, and in their lists, dicts and sets."""
    seen: dict[int, Any] = {}
    waiting = list(roots)
    held = 0
    while waiting:
        thing = waiting.pop()
        ours = type(thing).__module__.startswith("propolis") and not isinstance(thing, type)
        if id(thing) in seen or not (ours or isinstance(thing, (*_CONTAINERS, *_BETWEEN))):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, _CONTAINERS):
            held += len(thing)
        if isinstance(thing, types.FunctionType):  # not its globals: they lead everywhere
            waiting += [thing.__closure__ or (), thing.__defaults__ or ()]
        else:
            waiting += gc.get_referents(thing)
    return held


def test_executions_of_every_kind_leave_nothing_behind(placement: str) -> None:
    """In no book, no queue, no list of waiters, whatever way they ended."""
    restart = RestartPolicy(backoff=Backoff(initial=0.0))
    with Runtime(config=RuntimeConfig(grace_seconds=0.01)) as runtime:
        fields: dict[str, Any] = {"restart": restart, "result_retention_max": 8}
        stream = runtime.open_stream(point(placement, **fields), executor_for(placement, work)).get(timeout=PATIENCE)
        roots = (runtime, stream, runtime.ref.actor_inbox)
        for run in [stream.run("ok") for _ in range(1_100)]:  # what is bounded is full then: latencies, for one
            run.get(timeout=PATIENCE)
        for n in range(5):
            a_round(stream, n)
        gc.collect()
        before = reachable(*roots)
        assert before > 1_100
        rounds = 20
        for n in range(rounds):
            a_round(stream, 5 + n)
        until(lambda: reachable(*roots) < before + rounds, f"{before} things, and no more")


async def one(ctx: Any, data: Any) -> Any:
    return await ctx.step("same", same, data)


async def same(data: Any) -> Any:
    return data


def plain(ctx: Any, data: Any) -> Any:
    return data


async def node(ctx: Any, inputs: dict[str, Any]) -> int:
    number: int = inputs["number"]
    return number


GRAPH = GraphSpec(
    id="one", entry_node="a", nodes=[NodeSpec(id="a", function=node, input_keys=["number"], output_keys=["number"])]
)


@pytest.mark.parametrize("executor", [one, plain, GraphExecutor(GRAPH)], ids=["async", "thread", "graph"])
def test_an_execution_that_has_ended_is_no_work_for_the_garbage_collector(executor: Any) -> None:
    """Nothing of it is in a cycle, so it is gone with the last reference. What the collector has to find costs several
    looks at it, and at all else that lives: a cycle through the task of each attempt took 7 % of all time.
    """
    executions = 40
    with Runtime() as runtime:
        placement = "thread" if executor is plain else "asyncio"
        stream = runtime.open_stream(point(placement), executor).get(timeout=PATIENCE)
        stream.run({"number": 1}).get(timeout=PATIENCE)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(executions):
                assert stream.run({"number": 1}).get(timeout=PATIENCE).success
            gc.collect()
            found = [type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith("propolis")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert len(found) < executions, found


def test_a_wait_that_is_answered_early_leaves_no_alarm_behind(runtime: Runtime, new_gate: Callable[[], Gate]) -> None:
    """They are swept out while others come, though their hour is far off."""

    async def held(ctx: Any, data: Any) -> None:
        await gates[data].passed(ctx)

    gates = [new_gate() for _ in range(40)]
    stream = runtime.open_stream(point("asyncio"), held).get(timeout=PATIENCE)
    for n, gate in enumerate(gates):
        execution_id = stream.execute(n).get(timeout=PATIENCE)
        waits = [stream.wait_for_completion(execution_id, timeout=3_600.0) for _ in range(100)]
        gate.open()
        for wait in waits:
            assert wait.get(timeout=PATIENCE) is not None
    wakeups = runtime.ref.proxy().children().get(timeout=PATIENCE)["wakeups"]
    assert len((wakeups.actor_inbox.kept or {})["by_seconds"]) < 2_100


def test_what_was_queued_leaves_no_alarm_of_its_time_behind(runtime: Runtime) -> None:
    """Nor, with that, its input: a total_timeout may be a day."""

    async def work(ctx: Any, data: Any) -> None:
        pass

    stream = runtime.open_stream(point("asyncio", max_concurrent=1, total_timeout=86_400.0), work).get(timeout=PATIENCE)
    for run in [stream.run(n) for n in range(20)]:
        assert run.get(timeout=PATIENCE).success
    wakeups = runtime.ref.proxy().children().get(timeout=PATIENCE)["wakeups"]
    assert (wakeups.actor_inbox.kept or {})["by_day"].first() is None


def test_waits_that_were_cancelled_do_not_add_up(runtime: Runtime, new_gate: Callable[[], Gate]) -> None:
    """Until their execution ends, which may be parked for days. Who waits on, or comes back, is answered."""
    gate = new_gate()

    async def held(ctx: Any, data: Any) -> Any:
        await gate.passed(ctx)
        return data

    stream = runtime.open_stream(point("asyncio"), held).get(timeout=PATIENCE)
    execution_id = stream.execute(1).get(timeout=PATIENCE)

    async def come_and_go() -> list[Any]:
        steady = asyncio.ensure_future(stream.wait_for_completion(execution_id))
        gone = []
        for _ in range(1_000):
            reply = stream.wait_for_completion(execution_id)
            gone.append(weakref.ref(reply))
            wait = asyncio.ensure_future(reply)
            del reply
            await asyncio.sleep(0)
            wait.cancel()
        back = stream.wait_for_completion(execution_id)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(back, 0.001)
        gc.collect()
        kept = sum(each() is not None for each in gone)
        gate.open()
        return [kept, await steady, await back]

    kept, *results = asyncio.run(come_and_go())
    assert kept < 300
    assert [1, 1] == [result.output for result in results]
