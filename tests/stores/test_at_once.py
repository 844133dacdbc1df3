"""A batch of plain writes goes in as one statement, and writes what the long way writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.stores import Committed, open_store
from propolis.actors.stores.schema import metadata
from propolis.actors.stores.sql import SqlStore
from sqlalchemy import select

from propolis.messages import (
    Appended,
    AppendEvents,
    Checkpoint,
    Failure,
    Payload,
    RecordedStep,
    StaleWriter,
    Write,
)

from .builders import START, Client, StillHost, advance, event, opening, recorded, recovery, steps


def saved(
    execution_id: str, ordinal: int, memory: Any, *, node: str | None = "n", created_at: datetime = START, **prune: Any
) -> Write:
    """A checkpoint of an execution that goes on."""
    point = Checkpoint(
        checkpoint_id=Checkpoint.id_of(execution_id, ordinal),
        execution_id=execution_id,
        node=node,
        created_at=created_at,
        memory=Payload.of(memory),
        ordinal=ordinal,
    )
    return advance(execution_id, "running", to_epoch=1).model_copy(update={"checkpoint": point, **prune})


PLAIN: tuple[Sequence[Write], ...] = (
    (),
    (opening("e1"),),
    (opening("e1", events=1), opening("e2", events=3, started=False, key="k"), opening("e3", memory={"a": 1})),
    (opening("e1", events=1), advance("e1", events=1), opening("e2"), advance("e2", "running", to_epoch=2, owner=None)),
    (
        opening("e1", events=[("execution_started", "node", b"\x80")]),
        advance("e1", "failed", events=8, quarantined=True, restarts=2, lost_attempts=1, output={"x": b"\xc1"}),
        AppendEvents(events=(event("custom", "e1", {"n": 1}), event("custom"))),
    ),
    (opening("e1"), AppendEvents(events=(event("custom", "e1"),), execution_id="e1", expected_epoch=1)),
    tuple(opening(f"e{n}", events=1) for n in range(20)),
    (opening("e1"), steps("e1", RecordedStep(name="a"), events=2), steps("e1", RecordedStep(name="a", status="begun"))),
    (
        opening("e1"),
        steps(
            "e1",
            RecordedStep(name="a", call=1, digest=b"\xc1", value=Payload.of(1), about=Payload.of("x")),
            RecordedStep(name="b", segment=2, kind="sleep", due_at=START, inherited=True),
            RecordedStep(name="c", status="failed", failure=Failure(kind="E", message="m")),
        ),
        advance("e1").model_copy(update={"steps": (RecordedStep(name="d"),)}),
    ),
    (opening("e1", memory={"a": 1}), advance("e1", memory={"a": 2}, progress={"fraction": 1.0}, events=2)),
    (opening("e1"), advance("e1", progress={"fraction": 0.5}), opening("e2"), advance("e2", memory={"b": 1})),
    (
        opening("e1"),
        *(saved("e1", ordinal, {"n": ordinal}) for ordinal in range(4)),
        saved("e1", 3, {"n": "paused"}, node=None),
        advance("e1", "running", to_epoch=1, progress={"fraction": 0.5}),
        opening("e2"),
        advance("e2", memory={"k": 1}),
    ),
    (
        opening("e1"),
        *(saved("e1", ordinal, {"n": ordinal}) for ordinal in range(1, 7)),
        saved("e1", 7, {}, keep_checkpoints=3),
        opening("e2"),
        saved("e2", 1, {}, created_at=START - timedelta(hours=1)),
        saved("e2", 2, {}, keep_checkpoints=3, drop_checkpoints_before=START),
        saved("e2", 0, {}, keep_checkpoints=1),
    ),
    (
        opening("e1"),
        recorded("e1", 1, {"n": 1}, events=3),
        recorded("e1", 2, {"n": 2}, progress=Payload.of({"fraction": 0.5}), steps=(RecordedStep(name="a"),)),
        opening("e2", memory={"k": 1}),
        recorded("e2", 7, {"n": 7}, events=1),
        steps("e2").model_copy(update={"progress": Payload.of({"fraction": 0.1})}),
        advance("e1", memory={"n": 3}, events=1),
    ),
    (
        opening("e1"),
        *(recorded("e1", ordinal, {"n": ordinal}) for ordinal in range(1, 7)),
        recorded("e1", 7, {}, keep_checkpoints=3, drop_checkpoints_before=START),
    ),
)


@pytest.fixture(params=["memory:", "sqlite:///{}/store.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store is."""
    return str(request.param).format(tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store."""
    with closing(open_store(url, host=StillHost())) as store:
        yield store


def traced(store: SqlStore) -> list[str]:
    """What the connection of a store executes from here on: a statement again for each one of its triggers."""
    said: list[str] = []
    store.run_write(lambda connection: connection.connection.driver_connection.set_trace_callback(said.append))  # type: ignore[union-attr]
    said.clear()
    return said


def rows_of(store: SqlStore) -> dict[str, list[Any]]:
    """Everything in a store."""
    tables = metadata.sorted_tables
    return {table.name: store.run_read(lambda c, t=table: [*map(tuple, c.execute(select(t)))]) for table in tables}  # type: ignore[misc]


@pytest.mark.parametrize("writes", PLAIN, ids=range(len(PLAIN)))
def test_a_plain_batch_is_one_statement_and_writes_what_many_statements_do(
    store: SqlStore, writes: Sequence[Write]
) -> None:
    """What takes over beside it cannot be done at once, so there the same writes go the long way."""
    client = Client(store)
    client.one(opening("before", events=1))
    said = traced(store)
    outcomes = client.commit(*writes)
    assert {"INSERT INTO batch"} == {sql[:17] for sql in said}
    with closing(open_store("memory:", host=StillHost())) as other:
        long = Client(other)
        long.one(opening("before", events=1))
        said = traced(other)
        assert outcomes == long.commit(*writes, recovery(entry_point="nobody's"))[:-1]
        assert "BEGIN IMMEDIATE" in said
        assert rows_of(other) == rows_of(store)


def test_one_stale_write_fails_alone(store: SqlStore) -> None:
    """The statement is undone, and the batch goes the long way."""
    client = Client(store)
    client.opened(opening("e1", events=1), opening("e2", events=1))
    first, second, third = client.commit(
        advance("e1", epoch=7, events=1), advance("e2", events=1), opening("e3", events=1)
    )
    assert isinstance(first, StaleWriter)
    assert (Committed(3), Committed(4)) == (second, third)
    assert [Committed(5)] == client.commit(advance("e1", events=1))
    assert 5 == store.last_seq()


def test_runtimes_that_take_turns_on_one_file_number_events_without_a_gap(tmp_path: Path) -> None:
    """Each is outrun by the other every time, and prepares its batch anew: still at once."""
    url = f"sqlite:///{tmp_path}/store.db"
    with closing(open_store(url, host=StillHost())) as one, closing(open_store(url, host=StillHost())) as two:
        clients = [Client(one, "r1"), Client(two, "r2")]
        said = [traced(one), traced(two)]
        outcomes = [clients[turn % 2].one(opening(f"e{turn}", events=2, memory={"turn": turn})) for turn in range(10)]
        assert [Committed(1 + 2 * turn) for turn in range(10)] == outcomes
        assert 20 == one.last_seq()
        assert not [sql for sql in said[0] + said[1] if sql.startswith("BEGIN")]


def test_a_batch_of_any_size_lands_whole(store: SqlStore) -> None:
    """The statement is made for a few sizes only; what is left over in it is no row."""
    client = Client(store)
    sizes = (1, 7, 8, 9, 255, 256, 257, 1_000)
    for size in sizes:
        client.opened(*(opening(f"e{size}-{n}", events=1) for n in range(size)))
    assert ({"running": sum(sizes)}, sum(sizes)) == (store.count_executions(), store.last_seq())


def test_more_values_than_one_statement_takes_go_the_long_way(store: SqlStore) -> None:
    """SQLite takes 32,766; a write may bring any number of events."""
    client = Client(store)
    many = AppendEvents(events=tuple(event("custom", data=n) for n in range(3_500)))
    assert [Committed(1), Appended(first_seq=2)] == client.commit(opening("e1", events=1), many)
    assert [Committed(3_502)] == client.commit(advance("e1", events=1))
    assert 3_502 == store.last_seq()


def test_a_step_of_a_stale_epoch_is_refused_and_the_others_are_recorded(store: SqlStore) -> None:
    """D5, in one statement too."""
    client = Client(store)
    client.opened(opening("e1"), opening("e2"))
    client.one(advance("e1", "running", to_epoch=2))
    stale, recorded = client.commit(steps("e1", RecordedStep(name="a")), steps("e2", RecordedStep(name="a")))
    assert isinstance(stale, StaleWriter)
    assert Committed(None) == recorded
    assert ["e2"] == [run for run, *_ in rows_of(store)["steps"]]


def test_a_store_in_memory_commits_where_it_is_asked_unless_that_would_wait(store: SqlStore) -> None:
    """On an actor loop: a file has to be waited for, and so has a read of what is in memory."""
    client = Client(store)
    writes = [opening("e1")]
    if store.name != "memory:":
        assert store.commit_here("r1", 1, writes) is None
        assert {} == store.count_executions()
        return
    assert store.commit_here("r1", 1, [recovery()]) is None
    with ThreadPoolExecutor(1) as reader:
        reading, go_on = threading.Event(), threading.Event()

        def read(_: object) -> None:
            reading.set()
            assert go_on.wait(10)

        read_through = reader.submit(store.run_read, read)
        assert reading.wait(10)
        assert store.commit_here("r1", 1, writes) is None
        go_on.set()
        read_through.result(10)
    assert [Committed(None)] == store.commit_here("r1", 1, writes)
    client.batch = 1
    assert isinstance(client.commit(opening("e2"))[0], Committed)
    assert {"running": 2} == store.count_executions()
