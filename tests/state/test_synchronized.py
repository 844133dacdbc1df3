"""`isolation_level="synchronized"`: no update is lost, whoever makes them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from propolis import Backoff, Placement, RestartPolicy, Runtime
from propolis.messages import StateConflict

from ..runtime.support import PATIENCE, Gate, until
from . import bodies
from .conftest import CONFIG, QUICK, Opener, opened
from .test_shared import events


def test_no_update_is_lost_in_any_placement(placed: Opener, runtime: Runtime) -> None:
    """And each is one change, told once."""
    stream = placed("count", "synchronized")
    runs = [stream.run(10) for _ in range(10)]
    for run in runs:
        assert run.get(timeout=PATIENCE).success
    assert {"n": 100} == runtime.state().get(timeout=PATIENCE)
    assert list(range(1, 101)) == [event.data["version"] for event in events(runtime, "state_changed")]
    assert not events(runtime, "state_conflict")


def test_two_runtimes_on_one_store_lose_no_update(store: str) -> None:
    """Neither knows of the other: the versions in the store are the last word."""

    async def body(ctx: Any, times: int) -> None:
        for _ in range(times):
            await ctx.memory.update("n", lambda n: (n or 0) + 1, scope="global")

    with Runtime(store, config=CONFIG) as one, Runtime(store, config=CONFIG) as two:
        streams = [opened(one, body, "synchronized", "one"), opened(two, body, "synchronized", "two")]
        runs = [stream.run(10) for _ in range(5) for stream in streams]
        for run in runs:
            assert run.get(timeout=PATIENCE).success
        assert {"n": 100} == one.state().get(timeout=PATIENCE) == two.state().get(timeout=PATIENCE)


def test_what_another_runtime_wrote_is_read_at_once(store: str) -> None:
    """Nothing is remembered that could be old."""

    async def body(ctx: Any, data: Any) -> Any:
        return await ctx.memory.read("k", scope="global")

    with Runtime(store, config=CONFIG) as one, Runtime(store, config=CONFIG) as two:
        stream = opened(one, body, "synchronized")
        for n in range(3):
            two.set_state({"k": n}).get(timeout=PATIENCE)
            assert n == stream.run().get(timeout=PATIENCE).output


def test_a_write_over_what_somebody_else_changed_since_it_was_read_is_refused(runtime: Runtime) -> None:
    """Read again, it goes; what was never read may be overwritten."""

    async def body(ctx: Any, data: Any) -> list[Any]:
        before = await ctx.memory.read("n", scope="global")
        await gate.passed(ctx)
        with pytest.raises(StateConflict, match=r"'n' in scope 'global'.*version 2") as refused:
            await ctx.memory.write_batch({"other": 1, "n": before + 1}, scope="global")
        assert ("global", "n", 2) == (refused.value.scope, refused.value.key, refused.value.version)
        again = await ctx.memory.read("n", scope="global")
        await ctx.memory.write_batch({"other": 1, "n": again + 1}, scope="global")
        await ctx.memory.write("blind", 1, scope="global")
        return [before, again]

    gate = Gate()
    runtime.set_state({"n": 5, "blind": 0}).get(timeout=PATIENCE)
    stream = opened(runtime, body, "synchronized")
    run = stream.run()
    gate.wait_for()
    runtime.set_state({"n": 7, "blind": 7}).get(timeout=PATIENCE)
    assert {"n": 7, "blind": 7} == runtime.state().get(timeout=PATIENCE)
    gate.open()
    result = run.get(timeout=PATIENCE)
    assert (None, [5, 7]) == (result.error, result.output)
    assert {"n": 8, "blind": 1, "other": 1} == runtime.state().get(timeout=PATIENCE)


@pytest.mark.parametrize("level", ["isolated", "shared", "synchronized"])
def test_compare_and_set_is_one_with_the_look(runtime: Runtime, level: str) -> None:
    """In every scope that an execution has."""
    scope = "execution" if level == "isolated" else "global"

    async def body(ctx: Any, data: Any) -> Any:
        memory = ctx.memory
        await memory.write("k", {"a": 1, "b": 2}, scope=scope, expected=None)  # it was not there
        with pytest.raises(StateConflict):
            await memory.write("k", 0, scope=scope, expected=None)
        await memory.write("k", 2, scope=scope, expected={"b": 2, "a": 1})
        with pytest.raises(StateConflict):
            await memory.update("k", 0, scope=scope, expected=3)
        with pytest.raises(StateConflict):
            await memory.write_batch({"k": 9, "l": 9}, scope=scope, expected={"k": 2, "l": 1})
        assert 3 == await memory.update("k", 3, scope=scope, expected=2)
        return await memory.update("k", lambda k: k + 1, scope=scope, expected=3), await memory.read_all(scope=scope)

    assert (4, {"k": 4}) == opened(runtime, body, level).run().get(timeout=PATIENCE).output


def test_of_those_who_compare_and_set_the_same_one_wins(runtime: Runtime) -> None:
    """A lock in three lines."""

    async def body(ctx: Any, data: Any) -> bool:
        try:
            await ctx.memory.write("owner", ctx.execution_id, scope="stream", expected=None)
        except StateConflict:
            return False
        return True

    stream = opened(runtime, body, "synchronized")
    won = [run.get(timeout=PATIENCE).output for run in [stream.run() for _ in range(20)]]
    assert 1 == won.count(True)


def test_who_does_not_come_back_from_his_turn_is_passed_by(store: str) -> None:
    """After five seconds, on the test's clock. When he comes back he gets another turn, with what is there then."""
    from propolis.testing import ManualHost

    from ..runtime.support import pass_time_until

    clock, stuck, go = ManualHost(), threading.Event(), threading.Event()

    def held(ctx: Any, data: Any) -> list[int]:
        seen: list[int] = []

        def change(value: int) -> int:
            seen.append(value)
            if len(seen) == 1:
                stuck.set()
                go.wait(PATIENCE)
            return value + 1

        ctx.memory.update("n", change, default=0, scope="global")
        return seen

    async def quick(ctx: Any, data: Any) -> Any:
        return await ctx.memory.update("n", lambda n: n + 10, default=0, scope="global")

    runtime = Runtime(store, host=clock)
    runtime.start().get(timeout=PATIENCE)
    try:
        first = opened(runtime, held, "synchronized", "held").run()
        assert stuck.wait(PATIENCE)
        second = opened(runtime, quick, "synchronized", "quick").run()
        until(lambda: runtime.state_ref.actor_inbox.instance()._lines.all()[0][1].waiting)
        assert not second.done()
        pass_time_until(clock, second.done, step=0.5)
        assert 10 == second.get(timeout=PATIENCE).output
        go.set()
        assert [0, 10] == first.get(timeout=PATIENCE).output
        assert {"n": 11} == runtime.state().get(timeout=PATIENCE)
    finally:
        go.set()
        stopping = runtime.stop(grace=0.0)
        pass_time_until(clock, stopping.done, step=0.05)


def test_a_turn_ends_with_the_attempt_that_has_it(runtime: Runtime) -> None:
    """Whether its function fails, or it is cancelled while it has it, or while it waits for it."""

    async def fails(ctx: Any, data: Any) -> None:
        await ctx.memory.update("n", lambda n: n + "x", default=0, scope="global")

    def holds(ctx: Any, data: Any) -> None:
        def change(value: int) -> int:
            gate.block()
            raise LookupError

        ctx.memory.update("n", change, default=0, scope="global")

    async def adds(ctx: Any, data: Any) -> Any:
        return await ctx.memory.update("n", lambda n: n + 1, default=0, scope="global")

    gate = Gate()
    adding = opened(runtime, adds, "synchronized", "adds")
    assert "TypeError" in (opened(runtime, fails, "synchronized", "fails").run().get(timeout=PATIENCE).error or "")
    holding = opened(runtime, holds, "synchronized", "holds").run()
    gate.wait_for()
    waiting = adding.execute().get(timeout=PATIENCE)
    until(lambda: runtime.state_ref.actor_inbox.instance()._lines.all()[0][1].waiting)
    assert "cancelled" == adding.cancel_execution(waiting).get(timeout=PATIENCE).outcome
    second = adding.run()
    gate.open()
    assert "LookupError" in (holding.get(timeout=PATIENCE).error or "")
    assert 1 == second.get(timeout=PATIENCE).output
    until(lambda: not len(runtime.state_ref.actor_inbox.instance()._lines))


def test_a_worker_that_dies_in_its_turn_holds_up_nobody(runtime: Runtime) -> None:
    """Also while it is to be run again, in an hour."""
    hour = RestartPolicy(backoff=Backoff(initial=3_600.0, maximum=3_600.0, immediate_first=False))
    placement = Placement.process(workers=1, warm=0)
    stream = opened(runtime, bodies.dies_in_its_turn, "synchronized", placement=placement, restart=hour)
    execution_id = stream.execute().get(timeout=PATIENCE)
    until(lambda: events(runtime, "execution_restarted"))
    until(lambda: not len(runtime.state_ref.actor_inbox.instance()._lines))
    assert stream.cancel_execution(execution_id).get(timeout=PATIENCE)


def test_a_crash_of_the_state_actor_loses_no_turn_and_no_change(runtime: Runtime) -> None:
    """Those who wait go on waiting; nobody's change is made twice."""
    from pykka.messages import ProxyCall

    async def body(ctx: Any, times: int) -> None:
        for _ in range(times):
            await ctx.memory.update("n", lambda n: (n or 0) + 1, scope="global")

    stream = opened(runtime, body, "synchronized", restart=QUICK)
    runs = [stream.run(20) for _ in range(10)]
    for _ in range(3):
        so_far = runtime.state().get(timeout=PATIENCE).get("n", 0)
        until(lambda before=so_far: runtime.state().get(timeout=PATIENCE).get("n", 0) > before)
        runtime.state_ref.tell(ProxyCall(("no_such_method",), (), {}))
    for run in runs:
        result = run.get(timeout=PATIENCE)
        assert result.success, result.error
    assert {"n": 200} == runtime.state().get(timeout=PATIENCE)
    restarts = {actor.kind: actor.restarts for actor in runtime.supervision_tree().get(timeout=PATIENCE).actors}
    assert 3 == restarts["StateActor"]
