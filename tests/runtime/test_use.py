"""How it is used: executors of every form, threads, event loops, forks; and what is refused."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pydantic import BaseModel

from propolis import EntryPoint, Placement, Runtime, SyncContext
from propolis.actors import Host
from propolis.messages import (
    DuplicateStream,
    ForkedRuntime,
    GetTree,
    InvalidInput,
    RuntimeStopped,
    StoreCorrupt,
    StreamNotFound,
)
from propolis.testing import no_leaks

from ..processes import ROOT
from .support import PATIENCE, until


class Ticket(BaseModel):
    """An input."""

    number: int


@dataclass
class Order:
    """Another one."""

    number: int


def plain(ctx: Any, ticket: Ticket) -> int:
    return ticket.number


async def awaited(ctx: Any, ticket: Ticket) -> int:
    return ticket.number


def of_dataclass(ctx: Any, order: Order) -> int:
    return order.number


def unannotated(ctx, data):  # type: ignore[no-untyped-def]
    return data["number"]


def with_option(option: int, ctx: Any, ticket: Ticket) -> int:
    return ticket.number + option


class Counting:
    """Made anew for every attempt."""

    def __init__(self) -> None:
        self.calls = 0

    async def execute(self, ctx: Any, ticket: Ticket) -> int:
        """The work."""
        self.calls += 1
        assert 1 == self.calls
        return ticket.number


class Blocking:
    """One instance."""

    def execute(self, ctx: Any, ticket: Ticket) -> int:
        """The work."""
        return ticket.number


@pytest.mark.parametrize(
    "executor",
    [plain, awaited, of_dataclass, unannotated, functools.partial(with_option, 0), Counting, Blocking, Blocking()],
    ids=["def", "async def", "dataclass", "unannotated", "partial", "class", "blocking class", "instance"],
)
def test_every_form_of_executor_runs(runtime: Runtime, executor: Any) -> None:
    """With the placement that fits it."""
    stream = runtime.open_stream(EntryPoint(id="work"), executor).get(timeout=PATIENCE)
    for _ in range(2):
        assert 7 == stream.run({"number": 7}).get(timeout=PATIENCE).output
    if executor is not unannotated:
        with pytest.raises(InvalidInput, match=r"input_data\.number"):
            stream.run({"number": "many"})
    assert 2 == stream.get_stats().get(timeout=PATIENCE).total_executions


class OwnNames:
    """Has methods that are called as some of ours are, and take what they like."""

    def prepare(self, ctx: Any, ticket: Ticket) -> int:
        """A part of the work."""
        return ticket.number

    async def announce(self) -> None:
        """Another one."""

    async def execute(self, ctx: Any, ticket: Ticket) -> int:
        """The work."""
        await self.announce()
        return self.prepare(ctx, ticket)


@pytest.mark.parametrize(
    "executor",
    [OwnNames, OwnNames(), mock.AsyncMock(return_value=7), mock.Mock(return_value=7)],
    ids=["class", "instance", "async mock", "mock"],
)
def test_an_executor_may_have_any_names_of_its_own(runtime: Runtime, executor: Any) -> None:
    """Nothing is looked for in it but `execute`; and a mock, which has that too, is called."""
    stream = runtime.open_stream(EntryPoint(id="work"), executor).get(timeout=PATIENCE)
    assert 7 == stream.run({"number": 7}).get(timeout=PATIENCE).output


class NoExecute:
    """No executor."""


class Touchy:
    """Raises when it is looked at."""

    @property
    def execute(self) -> Any:
        """Never there."""
        raise ValueError("do not look")


@pytest.mark.parametrize(
    "executor",
    [None, 3, "name", NoExecute, NoExecute(), lambda: 1, lambda ctx: 1, Touchy()],
    ids=["None", "int", "str", "class", "instance", "no parameter", "one parameter", "touchy"],
)
def test_what_is_no_executor_is_refused_and_the_runtime_goes_on(runtime: Runtime, executor: Any) -> None:
    """Whatever looking at it raises."""
    with pytest.raises((InvalidInput, ValueError)):
        runtime.open_stream(EntryPoint(id="work"), executor).get(timeout=PATIENCE)
    stream = runtime.open_stream(EntryPoint(id="work"), plain).get(timeout=PATIENCE)
    assert 1 == stream.run({"number": 1}).get(timeout=PATIENCE).output


def test_bad_uses_get_an_error_with_the_name_of_the_thing(runtime: Runtime) -> None:
    """And change nothing."""
    with pytest.raises(InvalidInput, match="entry_point"):
        runtime.open_stream("work", plain).get(timeout=PATIENCE)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="blocking function"):
        runtime.open_stream(EntryPoint(id="work", placement=Placement.asyncio()), plain).get(timeout=PATIENCE)
    stream = runtime.open_stream(EntryPoint(id="work"), plain).get(timeout=PATIENCE)
    with pytest.raises(DuplicateStream, match="'work'"):
        runtime.open_stream(EntryPoint(id="work"), plain).get(timeout=PATIENCE)
    with pytest.raises(StreamNotFound, match="'other'"):
        runtime.close_stream("other").get(timeout=PATIENCE)
    bad: list[dict[str, Any]] = [
        {"priority": "high"},
        {"idempotency_key": 3},
        {"session_id": 3},
        {"memory": [1]},
        {"memory": {1: 2}},
    ]
    for options in bad:
        with pytest.raises(InvalidInput, match=next(iter(options))):
            stream.execute({"number": 1}, **options)
    for key in ("", "x" * 513):
        with pytest.raises(InvalidInput, match="idempotency_key"):
            stream.execute({"number": 1}, idempotency_key=key).get(timeout=PATIENCE)
    for timeout in (-1, float("nan"), "1", True):
        with pytest.raises(InvalidInput, match="timeout"):
            stream.wait_for_completion("x", timeout=timeout)  # type: ignore[arg-type]
    assert 0 == stream.get_stats().get(timeout=PATIENCE).total_executions


@pytest.mark.parametrize("output", [object(), {1, object()}, {"a": [lambda: 1]}, threading.Lock()])
def test_output_that_cannot_be_encoded_fails_once_with_its_path(runtime: Runtime, output: Any) -> None:
    """Running it again would not help."""

    def work(ctx: Any, data: Any) -> Any:
        return output

    stream = runtime.open_stream(EntryPoint(id="work"), work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert ("failed", 0, "invalid_input") == (result.status, result.restarts, result.failure.code)  # type: ignore[union-attr]
    assert "output" in result.failure.message  # type: ignore[union-attr]


def test_it_is_used_from_threads_and_from_several_event_loops_at_once(runtime: Runtime) -> None:
    """One API for all of them; no loop is blocked meanwhile."""
    stream = runtime.open_stream(EntryPoint(id="work"), awaited).get(timeout=PATIENCE)
    failures: list[BaseException] = []

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        results = await asyncio.gather(*(stream.run({"number": n}) for n in range(50)))
        ticking.cancel()
        assert list(range(50)) == [result.output for result in results]
        assert ticks > 1

    def in_thread() -> None:
        for n in range(20):
            assert n == stream.run({"number": n}).get(timeout=PATIENCE).output

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    jobs = [in_thread, in_thread, lambda: asyncio.run(main()), lambda: asyncio.run(main())]
    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [] == failures


def test_it_is_a_context_manager_of_both_kinds() -> None:
    """And refuses by name before and after."""

    async def main() -> int:
        async with Runtime() as runtime:
            stream = await runtime.open_stream(EntryPoint(id="work"), plain)
            output: int = (await stream.run({"number": 3})).output
            return output

    assert 3 == asyncio.run(main())
    runtime = Runtime()
    with pytest.raises(RuntimeStopped, match="not started"):
        runtime.streams()
    with runtime:
        assert () == runtime.streams()
    with pytest.raises(RuntimeStopped, match="stopped"):
        runtime.streams()


def test_a_runtime_that_is_lost_without_a_stop_says_so() -> None:
    """Whoever holds it by a stream has not lost it. What runs goes on, until its root is stopped by the reference."""

    def lose(store: str) -> tuple[Any, Any]:
        runtime = Runtime(store).start().get(timeout=PATIENCE)
        stream = runtime.open_stream(EntryPoint(id="jobs"), unannotated).get(timeout=PATIENCE)
        assert stream.run({"number": 1}).get(timeout=PATIENCE).success
        return runtime.ref, stream

    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always")
        ref, stream = lose("memory:")
        gc.collect()
        assert [] == lost
        assert stream.run({"number": 2}).get(timeout=PATIENCE).success
        del stream
        until(lambda: (gc.collect(), lost)[1])
    (warning,) = lost
    assert warning.category is ResourceWarning
    assert "<Runtime on memory:> was never stopped" in str(warning.message)
    assert "stop()" in str(warning.message)
    assert ref.is_alive()
    ref.stop()  # and with it go the threads of the runtime, which the leak check looks for


def test_a_program_that_ends_without_a_stop_says_so_once() -> None:
    """Of the runtime that it has not stopped, and not in a fork of it."""
    code = """
import os
from propolis import Runtime
Runtime("sqlite:///no/such/folder.db").start().on_done(lambda: None)
with Runtime():
    kept = Runtime().start().get()
    if pid := os.fork():
        os.waitpid(pid, 0)
"""
    command = [sys.executable, "-W", "always", "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2, check=False, cwd=ROOT)
    assert 1 == ended.stderr.count("<Runtime on memory:> was never stopped"), ended.stderr


def test_a_program_may_have_closed_its_standard_streams(file_store: str) -> None:
    """What is opened next would get their numbers: uvloop aborts when it closes one, and a print would go anywhere."""
    code = f"""
import os
os.closerange(0, 3)
from propolis import EntryPoint, Runtime
with Runtime({file_store!r}) as runtime:
    stream = runtime.open_stream(EntryPoint(id="jobs"), lambda ctx, data: print(data, flush=True) or data).get()
    assert 1 == stream.run(1).get().output
    assert 3 == len([fd for fd in range(3) if os.readlink(f"/proc/self/fd/{{fd}}") == os.devnull])
"""
    command = [sys.executable, "-c", code]
    assert 0 == subprocess.run(command, timeout=PATIENCE * 2, check=False, cwd=ROOT).returncode


def test_a_store_that_cannot_be_opened_is_the_callers_error(tmp_path: Path) -> None:
    """No thread is left, and the runtime can be tried again."""
    file = tmp_path / "store.db"
    file.write_bytes(b"this is no database at all, whatever its name says" * 100)
    runtime = Runtime(f"sqlite:///{file}")
    for _ in range(3):
        with pytest.raises(StoreCorrupt):
            runtime.start().get(timeout=PATIENCE)
        runtime.stop().get(timeout=PATIENCE)
    file.unlink()
    with runtime:
        assert () == runtime.streams()
    for url in ("nonsense", "mysql://x", 3):
        with pytest.raises(InvalidInput):
            Runtime(url).start().get(timeout=PATIENCE)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_that_the_runtime_is_not_its_own(runtime: Runtime) -> None:
    """Whatever it touches, the end of `with` included; it may have a runtime of its own."""
    stream = runtime.open_stream(EntryPoint(id="work"), plain).get(timeout=PATIENCE)
    followed = runtime.events()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for touch in (
                runtime.streams,
                runtime.stats,
                runtime.start,
                runtime.stop,
                stream.get_stats,
                lambda: stream.run({"number": 1}),
                lambda: next(followed),
                lambda: asyncio.run(asyncio.wait_for(anext(followed), PATIENCE)),
            ):
                try:
                    touch()
                except ForkedRuntime:
                    continue
                break
            else:
                with Runtime() as own:
                    mine = own.open_stream(EntryPoint(id="work"), plain).get(timeout=PATIENCE)
                    code = 0 if mine.run({"number": 1}).get(timeout=PATIENCE).output == 1 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
    assert 1 == stream.run({"number": 1}).get(timeout=PATIENCE).output
    followed.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_an_executor_forks_is_told_so_by_its_context(runtime: Runtime) -> None:
    """As multiprocessing makes one. Nobody would answer it: it would hang, and the executor that waits for it."""
    ref = runtime.ref

    def forks(ctx: SyncContext, data: Any) -> int:
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE))
            told = 0
            for call in (
                ctx.checkpoint,
                lambda: ctx.step("s", int),
                lambda: ctx.emit("said"),
                lambda: ctx.memory.write("key", 1, scope="global"),
                lambda: ref.ask(GetTree()),
                ref.stop,
            ):
                try:
                    call()
                except ForkedRuntime:
                    told += 1
            os._exit(told)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    stream = runtime.open_stream(EntryPoint(id="work", isolation_level="shared"), forks).get(timeout=PATIENCE)
    assert 6 == stream.run().get(timeout=PATIENCE).output


def test_a_start_that_nobody_waits_for_any_more_is_taken_back(file_store: str) -> None:
    """Cancelled, or interrupted, on the way into `with`: its end would never come, and the threads would stay."""

    async def is_cancelled() -> None:
        async with Runtime(file_store):
            raise AssertionError("it was cancelled before")

    async def main() -> None:
        task = asyncio.create_task(is_cancelled())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with no_leaks():
        asyncio.run(main())


def test_what_is_passed_on_by_name_is_passed_on_whole(runtime: Runtime) -> None:
    """By `trigger()`, and by the events of a stream."""
    stream = runtime.open_stream(EntryPoint(id="tickets"), plain).get(timeout=PATIENCE)
    execution_id = runtime.trigger("tickets", {"number": 1}, correlation_id="c", priority=2).get(timeout=PATIENCE)
    with pytest.raises(TypeError, match="prio"):
        runtime.trigger("tickets", {"number": 1}, prio=2)  # type: ignore[call-arg]
    stream.wait_for_completion(execution_id).get(timeout=PATIENCE)
    with stream.events(0, types="execution_completed", execution=execution_id, session=execution_id) as events:
        assert ("c", "tickets") == ((event := next(events)).correlation_id, event.stream_id)


def test_a_signal_that_stops_it_may_come_in_the_middle_of_its_start() -> None:
    """Its handler runs on the thread that starts it. The stop then counts as one of before."""

    class Interrupted(Host):
        def spawn_worker(self, name: str) -> Any:
            assert () == runtime.stop().get(timeout=PATIENCE)
            return super().spawn_worker(name)

    runtime = Runtime(host=Interrupted())
    starting = threading.Thread(target=lambda: runtime.start().get(timeout=PATIENCE), daemon=True)
    starting.start()
    starting.join(PATIENCE)
    assert not starting.is_alive()
    runtime.stop().get(timeout=PATIENCE)
