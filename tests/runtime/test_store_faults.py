"""A store in trouble (D7): acknowledgements stop, what waits is bounded, it is said, and it all goes on afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pykka
import pytest
from sqlalchemy import event

from propolis import EntryPoint, Runtime, RuntimeConfig, Stream
from propolis.actors import Host, open_store
from propolis.messages import StoreUnavailable, StreamSaturated
from propolis.testing import FailingStore

from .support import PATIENCE, Gate, Recorder, point, until
from .test_recovery import program

QUICK = RuntimeConfig(lease_seconds=1.5, grace_seconds=1.0)

Break: TypeAlias = Callable[[], AbstractContextManager[None]]


class Breakable:
    """A real store in a file whose connections get a pragma, when the test says so: SQLite's own errors."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pragma = ""
        self.store: Any = None

    def open(self, host: Host) -> Any:
        """For `Runtime(...)`."""
        self.store = open_store(self.url, host=host)
        event.listen(self.store._engine, "checkout", self._taken)
        return self.store

    def _taken(self, connection: Any, _: Any, __: Any) -> None:
        for pragma in ("PRAGMA max_page_count=4294967294", "PRAGMA query_only=0", self.pragma):
            connection.execute(pragma).fetchall()

    @contextlib.contextmanager
    def under(self, pragma: str) -> Iterator[None]:
        """Whoever takes a connection meanwhile gets it."""
        self.pragma = pragma
        self._connect_anew()
        try:
            yield
        finally:
            self.pragma = ""
            self._connect_anew()

    def _connect_anew(self) -> None:
        with self.store._writing:
            self.store._drop_writer()


@contextlib.contextmanager
def locked_by_another(path: Path) -> Iterator[None]:
    """Another program has a transaction open for writing."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30.0)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """No byte is left on the disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if os.name != "posix" or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only who may mount file systems can have a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(params=["full by its page count", "read-only", "locked by another", "slow"])
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """How to open a store, and how to break it."""
    monkeypatch.setattr("propolis.actors.stores.sql.PATIENCE", 0.1)
    path = tmp_path / "store.db"
    breakable = Breakable(f"sqlite:///{path}")
    failing = FailingStore(f"sqlite:///{path}")

    @contextlib.contextmanager
    def slow() -> Iterator[None]:
        with failing.hold_commit() as held:
            held.wait_reached(PATIENCE)
            yield

    ways: dict[str, tuple[Any, Break, str]] = {
        "full by its page count": (breakable.open, lambda: breakable.under("PRAGMA max_page_count=1"), "full"),
        "read-only": (breakable.open, lambda: breakable.under("PRAGMA query_only=1"), "readonly"),
        "locked by another": (breakable.open, lambda: locked_by_another(path), "locked"),
        "slow": (failing.open, slow, "a commit has taken"),
    }
    return ways[request.param]


async def double(_ctx: Any, n: int) -> int:
    """An executor."""
    return 2 * n


def opened(runtime: Runtime, **fields: Any) -> Stream:
    """A stream of `double`."""
    return runtime.open_stream(point("asyncio", **fields), double).get(timeout=PATIENCE)


def work_until(stream: Stream, condition: Callable[[], object]) -> list[Any]:
    """Hand in work until something is so: a full store takes what fits into half empty pages."""
    calls: list[Any] = []

    def another() -> object:
        calls.append(stream.execute(len(calls)))
        return condition()

    until(another)
    return calls


def test_nothing_is_acknowledged_meanwhile_and_everything_afterwards(broken: Any) -> None:
    """An event and the stats say so; beyond the queue callers are told at once; what was accepted before is there."""
    store, breaks, said = broken
    seen = Recorder()
    with Runtime(store, config=QUICK) as runtime:
        runtime.subscribe(("store_unavailable", "store_available"), seen).get(timeout=PATIENCE)
        stream = opened(runtime, max_concurrent=10, max_pending=40)
        before = [stream.run(n).get(timeout=PATIENCE) for n in range(5)]
        with breaks():
            calls = [stream.execute(n) for n in range(100)]
            assert said in seen.wait_for("store_unavailable").data["reason"]
            until(lambda: sum(call.done() for call in calls) == 50)
            for call in calls[50:]:
                with pytest.raises(StreamSaturated):
                    call.get(timeout=PATIENCE)
            assert not any(call.done() for call in calls[:50])
            stats = runtime.stats().get(timeout=PATIENCE)
            assert not stats.store_available
            assert 50 <= stats.writes_waiting < 60
            assert not [record for record in runtime.sessions().get(timeout=PATIENCE) if record.status == "active"]
        seen.wait_for("store_available")
        ids = [call.get(timeout=PATIENCE) for call in calls[:50]]
        results = [stream.wait_for_completion(id).get(timeout=PATIENCE) for id in ids]
        assert [2 * n for n in range(50)] == [result.output for result in results if result is not None]
        durable = {record.session_id for record in runtime.sessions(limit=1_000).get(timeout=PATIENCE)}
        assert durable == {*ids, *(result.session_id for result in before)}
        assert runtime.stats().get(timeout=PATIENCE).store_available


def test_with_no_room_to_wait_a_caller_is_told_at_once(broken: Any) -> None:
    """As soon as it is known; those whose write was under way by then wait, for nobody knows what became of it."""
    store, breaks, said = broken
    seen = Recorder()
    config = QUICK.model_copy(update={"max_waiting_for_store": 0})
    with Runtime(store, config=config) as runtime:
        runtime.subscribe(("store_unavailable",), seen).get(timeout=PATIENCE)
        stream = opened(runtime)
        stream.run(1).get(timeout=PATIENCE)
        with breaks():
            waiting = work_until(stream, seen.types)
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match=said):
                    stream.execute(2).get(timeout=PATIENCE)
        for call in waiting:
            with contextlib.suppress(StoreUnavailable):
                result = stream.wait_for_completion(call.get(timeout=PATIENCE)).get(timeout=PATIENCE)
                assert result is not None
                assert result.success
        until(lambda: runtime.stats().get(timeout=PATIENCE).store_available)
        assert 4 == stream.run(2).get(timeout=PATIENCE).output
        assert 10 == stream.get_stats().get(timeout=PATIENCE).available_slots  # who was refused holds none


def test_what_waits_is_bounded_where_newcomers_push_out_others(broken: Any) -> None:
    """`drop_oldest` never says no by itself: every newcomer would be one more write that waits."""
    store, breaks, _ = broken
    seen = Recorder()
    config = QUICK.model_copy(update={"max_waiting_for_store": 50})
    with Runtime(store, config=config) as runtime:
        runtime.subscribe(("store_unavailable",), seen).get(timeout=PATIENCE)
        stream = opened(runtime, max_concurrent=1, max_pending=5, on_full="drop_oldest")
        stream.run(1).get(timeout=PATIENCE)
        with breaks():
            calls = work_until(stream, seen.types)
            calls += [stream.execute(n) for n in range(500)]
            until(lambda: sum(call.done() for call in calls) >= 300)  # the bound is a soft one
            assert runtime.stats().get(timeout=PATIENCE).writes_waiting <= 200 + len(calls) - 500
        ended: dict[str, int] = {}
        for call in calls:
            try:
                result = stream.wait_for_completion(call.get(timeout=PATIENCE)).get(timeout=PATIENCE)
            except StoreUnavailable:
                ended["refused"] = ended.get("refused", 0) + 1
            else:
                assert result is not None
                ended[result.status] = ended.get(result.status, 0) + 1
        assert ended["refused"] >= 300
        assert ended["completed"] >= 6
        assert sum(ended.values()) == len(calls)


def test_an_executor_waits_in_its_checkpoint_and_goes_on(broken: Any, gate: Gate) -> None:
    """Nothing of its run is lost or done twice."""
    store, breaks, _ = broken
    seen = Recorder()
    passed: list[int] = []

    async def body(ctx: Any, data: Any) -> int:
        for n in range(3):
            await gate.passed(ctx)
            await ctx.checkpoint(f"c{n}", memory={"n": n})
            passed.append(n)
        return int(ctx.attempt)

    with Runtime(store, config=QUICK) as runtime:
        runtime.subscribe(("store_unavailable",), seen).get(timeout=PATIENCE)
        stream = runtime.open_stream(point("asyncio"), body).get(timeout=PATIENCE)
        run = stream.run()
        gate.wait_for(1)
        other = opened(runtime, id="other")
        other.run(1).get(timeout=PATIENCE)
        with breaks():
            work_until(other, seen.types)
            gate.open()
            gate.wait_for(1)
            until(lambda: runtime.stats().get(timeout=PATIENCE).writes_waiting)
            assert [] == passed
        result = run.get(timeout=PATIENCE)
        assert (1, {"n": 2}, [0, 1, 2]) == (result.output, result.session_state, passed)


def test_on_a_disk_that_is_full_nothing_acknowledged_is_lost_and_nobody_is_refused(disk: Path) -> None:
    """A real one: what was acknowledged before it was full is read on it meanwhile, by another process too."""
    url = f"sqlite:///{disk}/store.db"
    seen = Recorder()
    with Runtime(url, config=QUICK) as runtime:
        runtime.subscribe(("store_unavailable", "store_available"), seen).get(timeout=PATIENCE)
        stream = runtime.open_stream(EntryPoint(id="work"), double).get(timeout=PATIENCE)
        before = {stream.run(n).get(timeout=PATIENCE).session_id for n in range(20)}
        for round in range(3):
            with full(disk):
                calls = [stream.execute(n) for n in range(300)]
                until(lambda round=round: seen.types().count("store_unavailable") > round)  # type: ignore[misc]
                acknowledged = {call.get(timeout=0) for call in calls if call.done()}
                other = open_store(url, host=Host(), read_only=True)
                assert before | acknowledged <= {record.session_id for record in other.list_sessions(limit=10_000)}
                other.close()
            before |= {call.get(timeout=PATIENCE) for call in calls}
            for id in before:
                result = stream.wait_for_completion(id).get(timeout=PATIENCE)
                assert result is not None
                assert result.success
        assert before == {record.session_id for record in runtime.sessions(limit=10_000).get(timeout=PATIENCE)}


def test_a_file_that_may_not_grow_any_more_is_a_full_disk(file_store: str) -> None:
    """The limit of the process (RLIMIT_FSIZE): waits, says so, goes on when it is lifted."""
    with program("cramped", file_store, "-") as process:
        printed, _ = process.communicate(timeout=PATIENCE * 2)
        assert 0 == process.returncode
    told = json.loads(printed)
    assert told["unavailable"] > 0
    assert told["done before it was lifted"] < told["accepted"] == told["completed"] == 1_000


@pytest.mark.chaos
def test_a_lock_that_another_program_holds_for_thirty_seconds_is_borne(file_store: str) -> None:
    """With the patience and the lease that a runtime has by default; two of them, neither of which is declared lost."""
    path = Path(file_store.removeprefix("sqlite:///"))
    seen = Recorder()
    with Runtime(file_store) as one, Runtime(file_store) as two:
        for runtime in (one, two):
            runtime.subscribe(("store_unavailable", "runtime_rejoined"), seen).get(timeout=PATIENCE)
        streams = [opened(one), opened(two)]
        names = {runtime.stats().get(timeout=PATIENCE).runtime_id for runtime in (one, two)}
        with locked_by_another(path):
            calls = [stream.run(n) for n in range(50) for stream in streams]
            with pytest.raises(pykka.Timeout):
                calls[0].get(timeout=30.0)
            assert not any(call.done() for call in calls)
        assert {2 * n for n in range(50)} == {call.get(timeout=PATIENCE).output for call in calls}
        assert names == {runtime.stats().get(timeout=PATIENCE).runtime_id for runtime in (one, two)}
        assert "runtime_rejoined" not in seen.types()
        assert 2 <= seen.types().count("store_unavailable")
