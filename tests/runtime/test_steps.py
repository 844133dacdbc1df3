"""Recorded steps: what runs once, what a re-run gets, and what is in doubt."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.stores.at_once import is_plain

from propolis import Backoff, Done, EntryPoint, NonRetryable, RestartPolicy, Runtime, Stream
from propolis.messages import (
    AdvanceExecution,
    InvalidInput,
    OpenExecution,
    RecordSteps,
    RecoverExecutions,
    ReplayMismatch,
    StepInDoubt,
)
from propolis.testing import FailingStore

from ..processes import unmeasured
from .support import PATIENCE, Gate, executor_for, point

QUICK = RestartPolicy(max_restarts=5, backoff=Backoff(initial=0.0))


def open_with(runtime: Runtime, placement: str, body: Any, **fields: Any) -> Stream:
    """A stream with a body whose restarts do not wait."""
    fields.setdefault("restart", QUICK)
    return runtime.open_stream(point(placement, **fields), executor_for(placement, body)).get(timeout=PATIENCE)


class Effects:
    """Functions that count how often each was called. Any thread."""

    def __init__(self) -> None:
        self.called: list[Any] = []

    def plain(self, value: Any) -> Any:
        self.called.append(value)
        return {"got": value}

    async def suspended(self, value: Any) -> Any:
        await asyncio.sleep(0)
        self.called.append(value)
        return {"got": value}


@pytest.fixture
def effects() -> Effects:
    """Counted functions."""
    return Effects()


def types(runtime: Runtime, execution_id: str) -> list[str]:
    """Of the stored events of an execution that has ended."""
    found = []
    for event in runtime.events(0, execution=execution_id):
        found.append(event.type)
        if event.type in ("execution_completed", "execution_failed", "execution_cancelled"):
            return found
    raise AssertionError


@pytest.mark.parametrize("kind", ["plain", "suspended"])
def test_a_recorded_step_does_not_run_again(any_runtime: Runtime, placement: str, effects: Effects, kind: str) -> None:
    """Whatever fails behind it: the re-run gets what it gave (D4)."""
    function = getattr(effects, kind)

    async def work(ctx: Any, data: Any) -> Any:
        one = await ctx.step("one", function, 1)
        two = await ctx.step("two", function, 2)
        if ctx.attempt < 3:
            raise OSError("again")
        return [one, two]

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert [{"got": 1}, {"got": 2}] == result.output
    assert [1, 2] == effects.called
    assert 2 == types(any_runtime, result.execution_id).count("step_completed")


def test_a_step_is_committed_before_the_next_line_runs(placement: str, effects: Effects) -> None:
    """While its commit is under way, the executor waits."""
    failing = FailingStore()
    passed = threading.Event()
    gate = Gate()

    async def work(ctx: Any, data: Any) -> None:
        await gate.passed(ctx)
        await ctx.step("one", effects.plain, 1)
        passed.set()

    with Runtime(failing.open) as runtime:
        running = open_with(runtime, placement, work).run()
        gate.wait_for()
        with failing.hold_commit() as held:
            gate.open()
            held.wait_reached()
            assert any(isinstance(write, RecordSteps) for write in failing.batches[-1])
            assert ([1], False) == (effects.called, passed.is_set())
        running.get(timeout=PATIENCE)
    assert passed.is_set()


def test_values_are_plain_and_the_same_in_the_first_run_and_in_a_re_run(any_runtime: Runtime, placement: str) -> None:
    """A tuple stays one, and nobody else has it."""
    value = {"t": (1, {2}), "n": None}
    seen: list[Any] = []

    async def work(ctx: Any, data: Any) -> Any:
        got = await ctx.step("one", lambda: value)
        seen.append(got)
        got["n"] = "changed"
        if ctx.attempt == 1:
            raise OSError("again")
        return got

    open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert value == {"t": (1, {2}), "n": None}
    assert [value | {"n": "changed"}] * 2 == seen
    assert seen[0] is not seen[1]


def test_calls_of_one_name_are_told_apart_and_may_run_side_by_side(any_runtime: Runtime, effects: Effects) -> None:
    """`asyncio.gather` over steps is replayed too."""

    async def work(ctx: Any, data: Any) -> Any:
        got = await asyncio.gather(*(ctx.step("many", effects.plain, n) for n in range(10)))
        if ctx.attempt == 1:
            raise OSError("again")
        return [each["got"] for each in got]

    result = open_with(any_runtime, "asyncio", work).run().get(timeout=PATIENCE)
    assert list(range(10)) == result.output == sorted(effects.called)


def test_other_arguments_under_the_same_key_are_a_mismatch(any_runtime: Runtime, placement: str) -> None:
    """Which is not retried: the code is not what recorded it."""

    async def work(ctx: Any, data: Any) -> Any:
        await ctx.step("one", str, ctx.attempt)
        raise OSError("again")

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert ("failed", "replay_mismatch", 1) == (result.status, result.failure.code, result.restarts)  # type: ignore[union-attr]
    assert "'one'" in str(ReplayMismatch(execution_id="e", step="one"))


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_re_run_that_does_not_look_passes_its_checkpoints_by(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """An ordinary function, run from its top: each step once, each checkpoint once."""

    async def work(ctx: Any, data: Any) -> Any:
        for n in range(5):
            await ctx.step("one", effects.plain, n)
            await ctx.checkpoint(f"after-{n}", memory={"n": n})
            if ctx.attempt == n + 1:
                raise OSError("again")
        return await ctx.memory.read("n")

    policy = RestartPolicy(max_restarts=9, backoff=Backoff(initial=0.0))
    result = open_with(any_runtime, placement, work, restart=policy).run().get(timeout=PATIENCE)
    assert ("completed", 4, 5) == (result.status, result.output, result.restarts)
    assert [0, 1, 2, 3, 4] == effects.called
    kept = any_runtime.checkpoints(result.session_id).get(timeout=PATIENCE)
    assert [5, 4, 3, 2, 1] == [each.ordinal for each in kept]
    assert [{"n": 4}, "after-4"] == [kept[0].memory, kept[0].node]


def test_a_re_run_that_looks_at_its_memory_goes_on_behind_the_checkpoint(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """The same call in the next round is another step, also with the same arguments."""

    async def work(ctx: Any, data: Any) -> Any:
        done = await ctx.memory.read("done", 0)
        while done < 4:
            await ctx.step("tick", effects.plain, "x")
            done += 1
            await ctx.checkpoint(memory={"done": done})
            if done == 2 and ctx.attempt == 1:
                raise OSError("again")
        return done

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert 4 == result.output
    assert ["x"] * 4 == effects.called


def test_a_pause_that_a_re_run_comes_by_again_is_not_made_again(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """A resume of an ordinary function goes on behind it."""

    async def work(ctx: Any, data: Any) -> Any:
        await ctx.step("before", effects.plain, "before")
        await ctx.pause("here")
        return await ctx.step("behind", effects.plain, "behind")

    stream = open_with(any_runtime, placement, work)
    paused = stream.run().get(timeout=PATIENCE)
    assert "paused" == paused.status
    resumed = stream.wait_for_completion(stream.resume(paused.session_id).get(timeout=PATIENCE)).get(timeout=PATIENCE)
    assert resumed is not None
    assert ("completed", {"got": "behind"}) == (resumed.status, resumed.output)
    assert ["before", "behind"] == effects.called


# -- what fails --------------------------------------------------------------------------------------------------------


def test_an_exception_that_was_caught_is_raised_again_by_a_re_run(any_runtime: Runtime, placement: str) -> None:
    """Of the same class, so that the same way is taken; the function is not called again."""
    called = []

    def declined(order: int) -> None:
        called.append(order)
        raise LookupError("declined", order)

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.step("charge", declined, 7)
        except LookupError as error:
            said = error.args
        if ctx.attempt == 1:
            raise OSError("again")
        return said

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert ("declined", 7) == result.output
    assert [7] == called


def test_a_step_whose_failure_ended_the_attempt_runs_again_with_it(any_runtime: Runtime, placement: str) -> None:
    """Or no restart could ever mend it. Also when it was wrapped on its way."""
    called: list[int] = []

    def flaky() -> str:
        called.append(len(called))
        if len(called) < 4:
            raise ConnectionError("not yet")
        return "at last"

    async def work(ctx: Any, data: Any) -> Any:
        try:
            return await ctx.step("flaky", flaky)
        except ConnectionError as error:
            if ctx.attempt == 2:
                raise RuntimeError("wrapped") from error
            raise

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert ("at last", 3) == (result.output, result.restarts)
    assert 4 == len(called)


def test_retries_call_it_again_before_anything_is_recorded(any_runtime: Runtime, placement: str) -> None:
    """What never_on names is not tried again."""
    called: list[int] = []

    def flaky() -> int:
        called.append(1)
        if len(called) < 3:
            raise ConnectionError("not yet")
        return len(called)

    def hopeless() -> None:
        called.append(1)
        raise NonRetryable("never")

    async def work(ctx: Any, data: Any) -> Any:
        got = await ctx.step("flaky", flaky, retries=5, backoff=Backoff(initial=0.001))
        try:
            await ctx.step("hopeless", hopeless, retries=5, backoff=Backoff(initial=0.001))
        except NonRetryable:
            return got
        raise AssertionError

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert (3, 0) == (result.output, result.restarts)
    assert 4 == len(called)


def test_a_step_with_a_timeout_fails_when_it_takes_longer(any_runtime: Runtime, placement: str, gate: Gate) -> None:
    """A blocking one is left behind on its thread, an async one is cancelled."""

    async def work(ctx: Any, data: Any) -> Any:
        try:
            await ctx.step("slow", gate.block, timeout=0.05)
        except TimeoutError as error:
            return str(error)
        raise AssertionError

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert "0.05" in result.output
    gate.open()


def test_a_value_that_cannot_be_encoded_fails_with_its_path(any_runtime: Runtime, placement: str) -> None:
    """And is no reason to restart."""

    async def work(ctx: Any, data: Any) -> Any:
        await ctx.step("odd", lambda: {"thing": object()})

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert ("failed", "invalid_input") == (result.status, result.failure.code)  # type: ignore[union-attr]
    assert "step 'odd'.thing" in (result.error or "")


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        (("", str), {}, "step"),
        ((5, str), {}, "step"),
        (("\ud800", str), {}, "step"),
        (("x", "not callable"), {}, "step 'x'"),
        (("x", str), {"on_doubt": "never"}, "on_doubt"),
        (("x", str), {"retries": -1}, "retries"),
        (("x", str), {"retries": True}, "retries"),
        (("x", str), {"timeout": 0}, "timeout"),
        (("x", str), {"timeout": float("nan")}, "timeout"),
        (("x", str), {"timeout": 1e300}, "timeout"),
        (("x", str), {"backoff": 5}, "backoff"),
    ],
)
def test_a_bad_argument_is_refused_by_name(
    runtime: Runtime, placement: str, arguments: Any, options: Any, named: str
) -> None:
    """Nothing is called, nothing recorded."""

    async def work(ctx: Any, data: Any) -> Any:
        with pytest.raises(InvalidInput) as caught:
            await ctx.step(*arguments, **options)
        return str(caught.value)

    result = open_with(runtime, placement, work).run().get(timeout=PATIENCE)
    assert named in result.output
    assert "step_completed" not in types(runtime, result.execution_id)


def test_a_cancel_during_a_blocking_step_waits_for_it_and_keeps_what_it_gave(any_runtime: Runtime, gate: Gate) -> None:
    """`cancelled` is never said of what still runs, and a resume does not run it again."""
    called: list[int] = []

    def slow() -> str:
        called.append(1)
        gate.block()
        return "done"

    async def work(ctx: Any, data: Any) -> Any:
        got = await ctx.step("slow", slow)
        if ctx.resumed_from is None and len(called) == 1 and data == "first":
            return "too far"
        return got

    stream = open_with(any_runtime, "asyncio", work)
    execution_id = stream.execute("first").get(timeout=PATIENCE)
    gate.wait_for()
    cancelling = stream.cancel_execution(execution_id, grace=PATIENCE)
    assert "running" == stream.get_context(execution_id).get(timeout=PATIENCE).status  # type: ignore[union-attr]
    gate.open()
    assert "cancelled" == cancelling.get(timeout=PATIENCE).outcome
    again = stream.resume(execution_id).get(timeout=PATIENCE)
    result = stream.wait_for_completion(again).get(timeout=PATIENCE)
    assert result is not None
    assert "completed" == result.status
    assert [1] == called


def test_the_key_of_a_step_is_the_same_in_every_try(any_runtime: Runtime, placement: str) -> None:
    """And there is none outside of a step's function."""
    keys: list[str | None] = []

    async def work(ctx: Any, data: Any) -> Any:
        def note() -> None:
            keys.append(ctx.step_key)
            if len(keys) < 3:
                raise OSError("again")

        assert ctx.step_key is None
        await ctx.step("note", note)

    result = open_with(any_runtime, placement, work).run().get(timeout=PATIENCE)
    assert "completed" == result.status
    assert 3 == len(keys)
    assert {f"{result.execution_id}:0:note:0"} == set(keys)


# -- in doubt ----------------------------------------------------------------------------------------------------------


def doubtful(runtime: Runtime, placement: str, effects: Effects, on_doubt: Any) -> Any:
    """The result of an execution whose first attempt was cut short inside of a step, by a stop of its stream."""
    gate = Gate()

    async def work(ctx: Any, data: Any) -> Any:
        def cut(value: Any) -> Any:
            if not gate.is_open():
                gate.block()
                return None  # nobody hears it any more
            return effects.plain(value)

        async def cut_softly(value: Any) -> Any:
            if not gate.is_open():
                gate.arrived += 1
                await asyncio.Event().wait()
            return effects.plain(value)

        return await ctx.step("cut", cut_softly if placement == "asyncio" else cut, "x", on_doubt=on_doubt)

    stream = open_with(runtime, placement, work)
    execution_id = stream.execute().get(timeout=PATIENCE)
    gate.wait_for()
    stream.stop(grace=0.01).get(timeout=PATIENCE)
    gate.open()
    effects.called.clear()
    stream.start().get(timeout=PATIENCE)
    return stream.wait_for_completion(execution_id).get(timeout=PATIENCE)


def test_a_step_in_doubt_fails_when_it_is_to(runtime: Runtime, placement: str, effects: Effects) -> None:
    """Not retried, and told with what to do."""
    result = doubtful(runtime, placement, effects, "fail")
    assert ("failed", "step_in_doubt") == (result.status, result.failure.code)
    assert StepInDoubt.sentence.format(step="cut", execution_id=result.execution_id) in result.error


def test_a_step_in_doubt_is_reconciled(runtime: Runtime, placement: str, effects: Effects) -> None:
    """The function gets the arguments, and what it says was done is not done again."""
    result = doubtful(runtime, placement, effects, lambda value: Done({"found": value}))
    assert {"found": "x"} == result.output
    assert [] == effects.called


def test_a_step_in_doubt_that_was_not_done_is_done(runtime: Runtime, placement: str, effects: Effects) -> None:
    """Once."""
    result = doubtful(runtime, placement, effects, lambda value: None)
    assert ({"got": "x"}, ["x"]) == (result.output, effects.called)


def test_without_a_word_a_step_in_doubt_runs_again(runtime: Runtime, placement: str, effects: Effects) -> None:
    """The default."""
    result = doubtful(runtime, placement, effects, "rerun")
    assert {"got": "x"} == result.output


# -- resume, fork, replay ----------------------------------------------------------------------------------------------


def test_a_resume_after_a_failure_does_not_repeat_what_was_recorded(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """With an input of its own, steps with the same arguments are kept, others are made anew."""

    async def work(ctx: Any, data: Any) -> Any:
        await ctx.step("same", effects.plain, "same")
        await ctx.step("input", effects.plain, data)
        if data == "bad":
            raise NonRetryable("bad")
        return data

    stream = open_with(any_runtime, placement, work)
    failed = stream.run("bad").get(timeout=PATIENCE)
    assert "failed" == failed.status
    again = stream.resume(failed.session_id).get(timeout=PATIENCE)
    assert "failed" == stream.wait_for_completion(again).get(timeout=PATIENCE).status  # type: ignore[union-attr]
    assert ["same", "bad"] == effects.called
    good = stream.resume(failed.session_id, input_data="good").get(timeout=PATIENCE)
    result = stream.wait_for_completion(good).get(timeout=PATIENCE)
    assert result is not None
    assert ("completed", "good") == (result.status, result.output)
    assert ["same", "bad", "good"] == effects.called


def run_rounds(runtime: Runtime, placement: str, effects: Effects) -> Any:
    """A session with four checkpoints, and its stream."""

    async def rounds(ctx: Any, data: Any) -> Any:
        at = await ctx.memory.read("at", 0)
        mark = await ctx.memory.read("mark", "first")
        while at < 4:
            await ctx.step("round", effects.plain, f"{mark}-{at}")
            at += 1
            await ctx.checkpoint(f"round-{at}", memory={"at": at})
        return [mark, at]

    stream = open_with(runtime, placement, rounds)
    return stream, stream.run().get(timeout=PATIENCE)


def test_a_completed_session_is_resumed_from_a_checkpoint_that_is_named(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """With its memory, changed as was asked for, and without what came behind it."""
    stream, first = run_rounds(any_runtime, placement, effects)
    kept = any_runtime.checkpoints(first.session_id).get(timeout=PATIENCE)
    assert ["round-4", "round-3", "round-2", "round-1"] == [each.node for each in kept]
    effects.called.clear()
    again = stream.resume(first.session_id, checkpoint_id=kept[2].checkpoint_id, memory={"mark": "again"})
    result = stream.wait_for_completion(again.get(timeout=PATIENCE)).get(timeout=PATIENCE)
    assert result is not None
    assert ["again", 4] == result.output
    assert ["again-2", "again-3"] == effects.called


def test_a_fork_is_a_session_of_its_own(any_runtime: Runtime, placement: str, effects: Effects) -> None:
    """The other one is left as it is."""
    stream, first = run_rounds(any_runtime, placement, effects)
    before = any_runtime.session(first.session_id).get(timeout=PATIENCE)
    checkpoint = any_runtime.checkpoints(first.session_id).get(timeout=PATIENCE)[1]
    effects.called.clear()
    forked = stream.fork(first.session_id, checkpoint_id=checkpoint.checkpoint_id, memory={"mark": "fork"})
    result = stream.wait_for_completion(forked.get(timeout=PATIENCE)).get(timeout=PATIENCE)
    assert result is not None
    assert result.session_id == result.execution_id != first.session_id
    assert (["fork", 4], ["fork-3"]) == (result.output, effects.called)
    after = any_runtime.session(first.session_id).get(timeout=PATIENCE)
    assert before is not None
    assert after is not None
    assert (before.memory, before.execution_id, before.status) == (after.memory, after.execution_id, after.status)
    forks = any_runtime.checkpoints(result.session_id).get(timeout=PATIENCE)
    assert [4, 3] == [each.ordinal for each in forks]


def test_deleting_a_session_takes_its_steps_and_checkpoints_along(
    any_runtime: Runtime, placement: str, effects: Effects
) -> None:
    """Nothing is left of it."""
    _, first = run_rounds(any_runtime, placement, effects)
    store = any_runtime._running().threads.store
    assert store is not None
    assert 4 == len(store.history(first.execution_id).steps)
    assert any_runtime.delete_session(first.session_id).get(timeout=PATIENCE)
    assert ((), 0) == (store.history(first.execution_id).steps, store.history(first.execution_id).segment)


def test_checkpoints_are_pruned_by_count(any_runtime: Runtime, placement: str) -> None:
    """So that a session's size does not grow with the number of its checkpoints."""
    from propolis import CheckpointConfig

    async def work(ctx: Any, data: Any) -> Any:
        for n in range(23):
            await ctx.checkpoint(memory={"n": n})

    config = CheckpointConfig(keep=3, prune_every=5)
    result = open_with(any_runtime, placement, work, checkpoint=config).run().get(timeout=PATIENCE)
    kept = any_runtime.checkpoints(result.session_id).get(timeout=PATIENCE)
    assert [23, 22, 21, 20, 19, 18] == [each.ordinal for each in kept]


# -- beyond the process ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["asyncio", "thread"])
def test_steps_outlive_the_process(file_store: str, tmp_path: Path, kind: str) -> None:
    """SIGKILL in the middle of a step, again and again: each effect once, but for the one in flight."""
    effects = tmp_path / "effects"
    command = [sys.executable, "-m", "tests.runtime.program", "steps", file_store, f"{kind},{effects}"]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE * 2, check=True, env=unmeasured())
    told, ends = map(json.loads, ended.stdout.splitlines())
    assert {"status": "completed", "output": 10} == told
    assert [-signal.SIGKILL, -signal.SIGKILL, 0] == ends
    lines = effects.read_text().split()
    assert {f"line-{n}" for n in range(10)} == set(lines)
    assert 10 <= len(lines) <= 12
    assert all(lines.count(line) == 1 for line in lines if line not in ("line-3", "line-6"))


def test_an_entry_point_takes_its_checkpoints_as_told() -> None:
    """True and False are short for the usual ones, and none."""
    assert EntryPoint(id="a").checkpoints is not None
    assert EntryPoint(id="a", checkpoint=False).checkpoints is None


def test_what_an_execution_with_steps_and_checkpoints_writes_is_plain(placement: str, effects: Effects) -> None:
    """So its commits are single statements; a field that `at_once` does not know would send them the long way."""
    failing = FailingStore()

    async def work(ctx: Any, data: Any) -> Any:
        for _ in range(12):  # and every now and then old checkpoints go
            await ctx.checkpoint("here", memory={"k": 1})
        await ctx.memory.write("k", 2)
        return await ctx.step("one", effects.plain, data)

    with Runtime(failing.open) as runtime:
        stream = open_with(runtime, placement, work)
        assert {"got": 1} == stream.run(1).get(timeout=PATIENCE).output
        writes = [write for batch in failing.batches for write in batch if not isinstance(write, RecoverExecutions)]
    assert {OpenExecution, RecordSteps, AdvanceExecution} <= set(map(type, writes))
    assert [] == [write for write in writes if not is_plain(write)]
