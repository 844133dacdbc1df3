"""Records of whatever library say which execution they come from."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from propolis import Context, EntryPoint, Placement, Runtime, SyncContext, log_context
from propolis.ids_in_logs import LogContext
from propolis.messages import InvalidInput

from ..runtime.support import PATIENCE, until
from . import workers_log

library = logging.getLogger("some.library")

IDS = ("stream_id", "execution_id", "session_id", "correlation_id")


class Kept(logging.Handler):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Any thread."""
        self.records.append(record)

    def ids(self) -> dict[str, tuple[Any, ...]]:
        """Of each message."""
        return {record.getMessage(): tuple(getattr(record, name) for name in IDS) for record in self.records}


@pytest.fixture
def kept() -> Iterator[Kept]:
    """On a logger that knows nothing of us."""
    handler = Kept()
    library.addHandler(handler)
    before, library.level = library.level, logging.INFO
    library.manager._clear_cache()  # type: ignore[attr-defined]
    yield handler
    library.removeHandler(handler)
    library.setLevel(before)


def test_code_of_an_async_executor_is_known_wherever_it_awaits(runtime: Runtime, kept: Kept) -> None:
    """In child tasks, on threads of asyncio's, in steps; beside another execution on the same loop."""
    log_context(kept)

    async def later(who: str) -> None:
        await asyncio.sleep(0)
        library.info("task of %s", who)

    async def work(ctx: Context, who: str) -> None:
        await asyncio.gather(later(who), asyncio.to_thread(library.info, "thread of %s", who))
        await ctx.step("step", lambda: library.info("step of %s", who))
        library.info("self of %s", who)

    stream = runtime.open_stream(EntryPoint(id="work"), work).get(timeout=PATIENCE)
    runs = {who: stream.run(who, correlation_id=f"for-{who}") for who in ("a", "b")}
    expected: dict[str, tuple[Any, ...]] = {}
    for who, run in runs.items():
        result = run.get(timeout=PATIENCE)
        ids = ("work", result.execution_id, result.session_id, f"for-{who}")
        expected |= {f"{what} of {who}": ids for what in ("task", "thread", "step", "self")}
    assert expected == kept.ids()


def test_a_thread_that_serves_one_execution_after_another_belongs_to_each_in_turn(runtime: Runtime, kept: Kept) -> None:
    """And to none afterwards, nor does a thread that was started bare."""
    log_context(kept)

    def work(ctx: SyncContext, number: int) -> str:
        library.info("self of %s", number)
        bare = threading.Thread(target=library.info, args=("bare of %s", number))
        bare.start()
        bare.join()
        return ctx.execution_id

    def hears(event: Any) -> None:
        library.info("handler after %s", event.data["attempt"])

    runtime.subscribe("execution_completed", hears).get(timeout=PATIENCE)  # on a thread that has served one
    stream = runtime.open_stream(EntryPoint(id="work", max_concurrent=1), work).get(timeout=PATIENCE)
    ids = [stream.run(number).get(timeout=PATIENCE).output for number in range(2)]
    library.info("outside")
    until(lambda: "handler after 1" in kept.ids())
    nothing = (None, None, None, None)
    assert {
        "self of 0": ("work", ids[0], ids[0], ids[0]),
        "bare of 0": nothing,
        "self of 1": ("work", ids[1], ids[1], ids[1]),
        "bare of 1": nothing,
        "outside": nothing,
        "handler after 1": nothing,
    } == kept.ids()


def test_a_record_that_has_such_a_field_keeps_it(runtime: Runtime, kept: Kept) -> None:
    """`ctx.log`'s own, and a library's `extra`, which must not fail either."""
    log_context(kept)

    async def work(ctx: Context, _: Any) -> None:
        library.info("mine", extra={"session_id": "of the shop"})

    stream = runtime.open_stream(EntryPoint(id="work"), work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert "completed" == result.status
    assert ("work", result.execution_id, "of the shop", result.execution_id) == kept.ids()["mine"]


def test_a_worker_process_knows_it_too(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    """There by the one call; and what it logs comes to this process with its ids as before."""
    log_context(kept)
    monkeypatch.setenv("TEST_LOG_FILE", str(tmp_path / "log"))
    point = EntryPoint(id="work", placement=Placement.process(workers=1, warm=0))
    stream = runtime.open_stream(point, workers_log.work).get(timeout=PATIENCE)
    result = stream.run().get(timeout=PATIENCE)
    assert result.output == result.execution_id
    assert f"a word of {result.execution_id} in work\n" == (tmp_path / "log").read_text()
    assert ("work", result.execution_id, result.session_id, result.execution_id) == kept.ids()["a word"]


def test_it_is_added_once_where_it_is_told_to_and_nowhere_else(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed by importing or starting anything."""
    assert [] == kept.filters
    log_context(kept)
    log_context(kept)
    assert [LogContext] == [type(each) for each in kept.filters]
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(InvalidInput, match="basicConfig"):
        log_context()
    with pytest.raises(InvalidInput, match="is no logging"):
        log_context(library)  # type: ignore[arg-type]
    monkeypatch.setattr(logging.getLogger(), "handlers", [other := Kept()])
    log_context()
    assert [LogContext] == [type(each) for each in other.filters]
