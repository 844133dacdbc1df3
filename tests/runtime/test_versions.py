"""Executions that began under another version of the code: they run, wait for it, or fail, and visibly so."""

from __future__ import annotations

from typing import Any

import pytest

from propolis import Runtime, Stream
from propolis.messages import AdvanceExecution, SessionBusy
from propolis.testing import FailingStore

from .support import PATIENCE, Gate, point, until


def opened(runtime: Runtime, gate: Gate, version: str | None, on_version_mismatch: str = "run") -> Stream:
    """A stream under a version, whose executions say which one ran them."""

    async def body(ctx: Any, data: Any) -> Any:
        await ctx.checkpoint("begun")
        await gate.passed(ctx)
        return version

    entry_point = point("asyncio", version=version, on_version_mismatch=on_version_mismatch, max_concurrent=1)
    return runtime.open_stream(entry_point, body).get(timeout=PATIENCE)


@pytest.fixture
def left(file_store: str, gate: Gate) -> tuple[str, str]:
    """One execution that has begun under version 1, and one that has not; nobody owns them. The gate is open then."""
    with Runtime(file_store) as runtime:
        stream = opened(runtime, gate, "1")
        ids = stream.execute("begun").get(timeout=PATIENCE), stream.execute("queued").get(timeout=PATIENCE)
        gate.wait_for(1)
        runtime.stop(grace=0.0).get(timeout=PATIENCE)
    gate.open()
    return ids


def outputs(stream: Stream, *ids: str) -> list[Any]:
    """Of these, when they have ended."""
    return [stream.wait_for_completion(id).get(timeout=PATIENCE).output for id in ids]  # type: ignore[union-attr]


def wait_until_parked(stream: Stream, id: str) -> None:
    """It has been left to its version."""
    until(lambda: stream.get_context(id).get(timeout=PATIENCE).status == "parked")  # type: ignore[union-attr]


@pytest.mark.parametrize(("version", "policy"), [("2", "run"), (None, "run"), ("1", "park"), ("1", "fail")])
def test_it_runs_under_its_own_version_or_where_any_will_do(
    file_store: str, gate: Gate, left: tuple[str, str], version: str | None, policy: str
) -> None:
    """That is the default."""
    with Runtime(file_store) as runtime:
        assert [version, version] == outputs(opened(runtime, gate, version, policy), *left)


def test_it_waits_for_its_version_and_is_run_by_the_first_that_has_it(
    file_store: str, gate: Gate, left: tuple[str, str]
) -> None:
    """An event says so, the record names the version as its owner; what had not begun runs. Nobody else takes it."""
    begun, queued = left
    with Runtime(file_store) as second:
        stream = opened(second, gate, "2", "park")
        assert ["2"] == outputs(stream, queued)
        with second.events(0, types=("execution_parked",)) as events:
            assert {"reason": "version_mismatch", "version": "1", "this_version": "2"} == next(events).data
        record = second.session(begun).get(timeout=PATIENCE)
        assert record is not None
        assert ("active", "@version:1", "1") == (record.status, record.owner, record.version)
        context = stream.get_context(begun).get(timeout=PATIENCE)
        assert context is not None
        assert "parked" == context.status
        why = second.why_stuck(begun).get(timeout=PATIENCE)
        assert why is not None
        assert ("other_version", True) == (why.reason, "version '1'" in why)
        epoch = record.epoch
        waiting = stream.wait_for_completion(begun)
        with Runtime(file_store) as third:
            opened(third, gate, "3", "park")
            again = third.session(begun).get(timeout=PATIENCE)
            assert again is not None
            assert epoch == again.epoch
        with Runtime(file_store) as first:
            assert ["1"] == outputs(opened(first, gate, "1", "park"), begun)
        assert "1" == waiting.get(timeout=PATIENCE).output  # type: ignore[union-attr]


def test_a_wait_for_what_is_left_to_its_version_keeps_its_timeout(
    file_store: str, gate: Gate, left: tuple[str, str]
) -> None:
    """Asked while the stream still has it."""
    failing = FailingStore(file_store)
    entry_point = point("thread", version="2", on_version_mismatch="park")
    with Runtime(failing.open) as second, failing.hold_commit(skip=1) as held:
        stream = second.open_stream(entry_point, lambda ctx, data: data).get(timeout=PATIENCE)
        held.wait_reached()
        assert any(isinstance(write, AdvanceExecution) for write in failing.batches[-1])
        waiting = stream.wait_for_completion(left[0], timeout=0.3)
        stream.get_stats().get(timeout=PATIENCE)  # behind it in the mailbox
        held.release()
        assert waiting.get(timeout=PATIENCE) is None


def test_what_waits_for_its_version_can_be_run_under_another_one(
    file_store: str, gate: Gate, left: tuple[str, str]
) -> None:
    """By `replay()`, when somebody says so."""
    begun, _ = left
    with Runtime(file_store) as runtime:
        stream = opened(runtime, gate, "2", "park")
        wait_until_parked(stream, begun)
        assert begun == runtime.replay(begun).get(timeout=PATIENCE)
        assert ["2"] == outputs(stream, begun)
        with pytest.raises(SessionBusy):
            runtime.replay(begun).get(timeout=PATIENCE)


def test_what_was_replayed_under_another_version_is_of_that_one(
    file_store: str, gate: Gate, left: tuple[str, str]
) -> None:
    """The next runtime with that version goes on with it, and leaves it to nobody."""
    begun, queued = left
    with Runtime(file_store) as runtime:
        stream = opened(runtime, gate, "2", "park")
        assert ["2"] == outputs(stream, queued)
        wait_until_parked(stream, begun)
        gate.close()
        runtime.replay(begun).get(timeout=PATIENCE)
        gate.wait_for(3)
        runtime.stop(grace=0.0).get(timeout=PATIENCE)
    gate.open()
    with Runtime(file_store) as runtime:
        assert ["2"] == outputs(opened(runtime, gate, "2", "park"), begun)


def test_what_waits_for_its_version_can_be_cancelled(file_store: str, gate: Gate, left: tuple[str, str]) -> None:
    """Though no runtime owns it."""
    begun, queued = left
    with Runtime(file_store) as runtime:
        stream = opened(runtime, gate, "2", "park")
        outputs(stream, queued)
        wait_until_parked(stream, begun)
        assert "cancelled" == stream.cancel_execution(begun).get(timeout=PATIENCE).outcome
        assert "cancelled" == stream.wait_for_completion(begun).get(timeout=PATIENCE).status  # type: ignore[union-attr]
        stats = stream.get_stats().get(timeout=PATIENCE)
        assert (2, 2, 1) == (stats.total_executions, stats.completed_executions, stats.available_slots)


def test_it_fails_with_a_code_of_its_own_and_can_be_replayed(
    file_store: str, gate: Gate, left: tuple[str, str]
) -> None:
    """Both versions are named."""
    begun, _ = left
    with Runtime(file_store) as runtime:
        stream = opened(runtime, gate, "2", "fail")
        result = stream.wait_for_completion(begun).get(timeout=PATIENCE)
        assert result is not None
        assert result.failure is not None
        assert ("failed", "version_mismatch") == (result.status, result.failure.code)
        assert "version '1' of 'work', and this is version '2'" in result.failure.message
        runtime.replay(begun).get(timeout=PATIENCE)
        assert ["2"] == outputs(stream, begun)
