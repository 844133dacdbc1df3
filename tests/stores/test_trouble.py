"""Files that are full, locked, damaged, foreign, too new; commits in doubt; several processes on one file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.forks import wait_before_forks
from propolis.actors.stores import Committed, open_store
from propolis.actors.stores.migrations import LATEST
from propolis.actors.stores.sql import SqlStore

from propolis.messages import (
    EventFilter,
    InvalidInput,
    StoreCorrupt,
    StoreTooNew,
    StoreUnavailable,
    encode,
)

from ..processes import unmeasured
from .builders import Client, StillHost, advance, opening, recovery


class HastyHost(StillHost):
    """A world where every pause takes a second, and somebody may do something meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(1.0)
        self.meanwhile()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "store.db"


@pytest.fixture
def host() -> HastyHost:
    """The world of the store."""
    return HastyHost()


@pytest.fixture
def store(path: Path, host: HastyHost) -> Iterator[SqlStore]:
    """A store in a file."""
    store = open_store(f"sqlite:///{path}", host=host)
    yield store
    store.close()


# --- opening ---


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no URL"),
        ("store.db", "no URL"),
        ("sqlite://", "no URL"),
        ("sqlite:///", "no URL"),
        ("sqlite://host/x.db", "no URL"),
        ("mysql://x/y", "no URL"),
        ("postgresql://x/y", "not built yet"),
        ("postgresql+psycopg://x/y", "not built yet"),
        ("sqlite:///nowhere/at/all/x.db", "no folder"),
        ("sqlite:///.", "is a folder"),
        ("sqlite:///:memory:", "a file of that name"),
        ("sqlite:///store.db?timeout=20", "options are not taken"),
        ("sqlite:///" + "x" * 5_000, "no file can be named so"),
        ("sqlite:///\ud800.db", "no file can be named so"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_a_remedy(url: str, said: str, tmp_path: Path) -> None:
    """It says what is wrong with it, and what would do."""
    with pytest.raises(InvalidInput, match=said) as caught:
        open_store(url, host=StillHost())
    assert caught.value.remedy


def test_a_relative_url_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays there when the process goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///odd ?name#1%.db", host=StillHost())
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert 0 == store.last_seq()
    Client(store).one(opening("e1"))
    store.close()
    assert ["below", "odd ?name#1%.db"] == sorted(entry.name for entry in tmp_path.iterdir())


def test_what_was_committed_is_there_after_opening_again(path: Path, store: SqlStore) -> None:
    """Opening an existing store changes nothing in it."""
    Client(store).one(opening("e1", events=1))
    store.close()
    again = open_store(f"sqlite:///{path}", host=StillHost())
    assert (1, ["e1"]) == (again.last_seq(), [record.session_id for record in again.list_sessions()])
    again.close()


def test_every_commit_is_synced_and_readers_never_block_a_writer(store: SqlStore) -> None:
    """D1: in the mode of write-ahead logging only FULL syncs at each."""

    def pragma(name: str) -> Any:
        return store.run_write(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    assert (2, "wal") == (pragma("synchronous"), pragma("journal_mode"))


def test_a_file_that_is_no_database_is_corrupt_and_left_alone(path: Path) -> None:
    """Whatever it is, it is not ours to write to."""
    path.write_bytes(b"precious notes " * 100)
    for read_only in (False, True):
        with pytest.raises(StoreCorrupt):
            open_store(f"sqlite:///{path}", host=StillHost(), read_only=read_only)
    assert b"precious notes " * 100 == path.read_bytes()


@pytest.mark.parametrize(
    "script", ["CREATE TABLE t (x)", "CREATE TABLE meta (key, value); CREATE TABLE executions (x)"]
)
def test_a_database_of_somebody_else_is_refused_and_left_alone(path: Path, script: str) -> None:
    """No table of ours appears in it, and its journal stays as it was."""
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="none of Propolis"):
        open_store(f"sqlite:///{path}", host=StillHost())
    assert before == path.read_bytes()


def test_a_store_of_a_newer_version_is_refused(path: Path, store: SqlStore) -> None:
    """It says which version it found and which it knows."""
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'schema_version'")
    connection.close()
    with pytest.raises(StoreTooNew) as caught:
        open_store(f"sqlite:///{path}", host=StillHost())
    assert (99, LATEST) == (caught.value.found, caught.value.supported)


def test_a_damaged_store_is_corrupt_when_the_damage_is_read(path: Path, store: SqlStore) -> None:
    """A torn page, and a row whose bytes are no message."""
    client = Client(store)
    client.commit(*[opening(f"e{i}") for i in range(200)])
    store.run_write(lambda connection: connection.exec_driver_sql("UPDATE executions SET spec = x'00' WHERE id = 1"))
    with pytest.raises(StoreCorrupt, match="a row holds"):
        store.get_execution("e0")
    assert store.get_execution("e1") is not None
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)

    def read_damaged() -> None:
        damaged = open_store(f"sqlite:///{path}", host=StillHost())
        try:
            damaged.list_executions()
        finally:
            damaged.close()

    with pytest.raises(StoreCorrupt):
        read_damaged()


def test_a_damaged_row_is_left_out_of_lists_and_named(
    path: Path, store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad number hides no other session, and reading that one says what is wrong."""
    Client(store).commit(*[opening(f"e{i}", events=1) for i in range(3)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE executions SET accepted_at = 'abc', epoch = 'abc' WHERE execution_id = 'e1'")
    connection.close()
    assert ["e2", "e0"] == [record.session_id for record in store.list_sessions()]
    assert ["e2", "e0"] == [spec.execution_id for spec, _ in store.list_executions()]
    assert ["e0", "e2"] == [spec.execution_id for spec, _ in store.list_unfinished()]
    assert 3 == caplog.text.count("'e1'")
    for read in (store.get_session, store.get_execution):
        with pytest.raises(StoreCorrupt, match="doctor"):
            read("e1")


def test_a_damaged_row_is_not_mended_by_a_takeover(path: Path, store: SqlStore) -> None:
    """SQLite adds to text as if it were 0: the row would look whole, under an epoch that it has had already."""
    client = Client(store)
    client.commit(*[opening(f"e{i}") for i in range(2)])
    damaged = "SELECT epoch, lost_attempts FROM executions ORDER BY id"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE executions SET epoch = 'abc', lost_attempts = 0.5 WHERE execution_id = 'e1'")
    store.forget([client.runtime_id])
    with closing(sqlite3.connect(path)) as connection:
        assert [(2, 1), ("abc", 0.5)] == connection.execute(damaged).fetchall()
    recovered = Client(store, "r2").one(recovery())
    with closing(sqlite3.connect(path)) as connection:
        assert [(3, 1), ("abc", 0.5)] == connection.execute(damaged).fetchall()
    assert [True, False] == [bool(found.encoded_spec) for found in recovered.executions]


def test_tables_of_a_later_version_than_the_store_says_are_corrupt(path: Path, store: SqlStore) -> None:
    """Who has put a store together by hand, or restored half of it, hears so."""
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 1 WHERE key = 'schema_version'")
    connection.close()
    with pytest.raises(StoreCorrupt, match="schema version says 1"):
        open_store(f"sqlite:///{path}", host=StillHost())


@pytest.mark.parametrize("words", [b"execution_started", b"goals"])
def test_text_that_is_none_any_more_is_damage(path: Path, words: bytes) -> None:
    """In a row, and in the schema: the driver has no code of SQLite's for that."""
    store = open_store(f"sqlite:///{path}", host=StillHost())
    Client(store).commit(opening("e0", started=False, events=1))
    store.close()
    data = path.read_bytes()
    assert words in data
    path.write_bytes(data.replace(words, words[:-1] + b"\xff"))

    def read_damaged() -> None:
        damaged = open_store(f"sqlite:///{path}", host=StillHost())
        try:
            damaged.events_after(0, EventFilter())
        finally:
            damaged.close()

    with pytest.raises(StoreCorrupt, match="no text"):
        read_damaged()


# --- reading only ---


def test_reading_only_creates_nothing(path: Path) -> None:
    """A file that is not there stays away, and a store in memory has nothing to read."""
    for url in (f"sqlite:///{path}", "memory:"):
        with pytest.raises(InvalidInput):
            open_store(url, host=StillHost(), read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreUnavailable, match="version is 0"):
        open_store(f"sqlite:///{path}", host=StillHost(), read_only=True)
    assert 0 == path.stat().st_size


def test_a_reader_sees_a_running_store_and_cannot_write(path: Path, store: SqlStore) -> None:
    """Its reads do not hold up the writer."""
    client = Client(store)
    reader = open_store(f"sqlite:///{path}", host=StillHost(), read_only=True)
    client.one(opening("e1", events=1))
    assert (1, {"running": 1}) == (reader.last_seq(), reader.count_executions())
    with pytest.raises(StoreUnavailable, match="reading only"):
        reader.release("r1")
    reader.close()


def test_a_reader_sees_what_a_killed_runtime_had_committed(path: Path, store: SqlStore, tmp_path: Path) -> None:
    """It lies in the write-ahead log still."""
    Client(store).one(opening("e1"))
    (tmp_path / "left").mkdir()
    for file in tmp_path.glob("store.db*"):
        shutil.copy(file, tmp_path / "left")
    reader = open_store(f"sqlite:///{tmp_path}/left/store.db", host=StillHost(), read_only=True)
    assert ["e1"] == [record.session_id for record in reader.list_sessions()]
    reader.close()


# --- full, locked, in doubt ---


@pytest.mark.parametrize("url", ["memory:", "file"])
def test_a_full_disk_refuses_a_batch_and_loses_nothing(url: str, path: Path) -> None:
    """The same batch under the same number lands once there is room."""
    store = open_store("memory:" if url == "memory:" else f"sqlite:///{path}", host=StillHost())

    def limit_pages(count: int) -> None:
        store.run_write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={count}").scalar())

    try:
        client = Client(store)
        client.one(opening("e1", events=1))
        limit_pages(1)  # SQLite takes the size that the file has
        writes = [opening(f"big{i}", input_data="x" * 10_000, events=1) for i in range(20)]
        with pytest.raises(StoreUnavailable, match="FULL"):
            client.commit(*writes)
        assert (1, {"running": 1}) == (store.last_seq(), store.count_executions())
        limit_pages(10_000)
        outcomes = store.commit("r1", client.batch, writes)
        assert [Committed] * 20 == [type(outcome) for outcome in outcomes]
        assert (21, {"running": 21}) == (store.last_seq(), store.count_executions())
    finally:
        store.close()


def test_a_store_that_can_only_be_read_is_unavailable_and_takes_the_batch_when_it_can(store: SqlStore) -> None:
    """As on a disk that was mounted anew for reading only."""
    client = Client(store)
    store.run_write(lambda connection: connection.exec_driver_sql("PRAGMA query_only=ON"))
    writes = [opening("e1", events=1)]
    with pytest.raises(StoreUnavailable, match="READONLY"):
        client.commit(*writes)
    assert {} == store.count_executions()
    (outcome,) = store.commit("r1", client.batch, writes)  # by a new connection
    assert isinstance(outcome, Committed)


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
connection.close()
print("free", flush=True)
"""


@pytest.fixture
def locker(path: Path, store: SqlStore) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store locked until it reads a line."""
    command = [sys.executable, "-c", LOCKER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=unmeasured()
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.communicate("\n")


def test_a_store_locked_for_long_is_unavailable_but_can_be_read(
    store: SqlStore, locker: subprocess.Popen[str], host: HastyHost
) -> None:
    """After five seconds; readers are not concerned."""
    with pytest.raises(StoreUnavailable, match="locked"):
        store.forget(["x"])
    assert 5.0 == host.slept
    assert 0 == store.last_seq()


def test_a_commit_waits_for_a_lock_that_is_let_go(store: SqlStore, path: Path, host: HastyHost) -> None:
    """It is tried again after a pause, from the start."""
    client = Client(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    host.meanwhile = lambda: host.slept >= 2 and other.close()  # type: ignore[assignment, func-returns-value]
    assert isinstance(client.one(opening("e1")), Committed)
    assert 2.0 == host.slept


def break_commit(store: SqlStore, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Let the next COMMIT fail, before or after it has landed."""
    dialect = store._engine.dialect
    commit = dialect.do_commit

    def broken(connection: Any) -> None:
        monkeypatch.setattr(dialect, "do_commit", commit)
        if after:
            commit(connection)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    monkeypatch.setattr(dialect, "do_commit", broken)


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("kind", ["memory:", "file"])
def test_a_commit_in_doubt_lands_exactly_once(
    kind: str, landed: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears that it failed, calls again, and gets the outcomes either way."""
    store = open_store("memory:" if kind == "memory:" else f"sqlite:///{path}", host=StillHost())
    try:
        client = Client(store)
        writes = [opening("e1", events=2), advance("nobody"), opening("e2", events=1)]
        break_commit(store, monkeypatch, after=landed)
        with pytest.raises(StoreUnavailable):
            client.commit(*writes)
        assert landed == (store.last_seq() == 3)
        first, stale, second = store.commit("r1", client.batch, writes)
        assert [1, "StaleWriter", 3] == [first.first_seq, type(stale).__name__, second.first_seq]  # type: ignore[union-attr]
        assert [1, 2, 3] == [event.seq for event in store.events_after(0, EventFilter())]
        assert 1 == store.runtimes()[0].beat
        assert isinstance(client.one(advance("e1")), Committed)
    finally:
        store.close()


def test_a_bug_is_no_error_of_the_store_and_leaves_it_usable(store: SqlStore) -> None:
    """It crashes whoever made it; nothing stays open."""
    client = Client(store)
    with pytest.raises(KeyError):
        client.commit(opening("e1"), "no write at all")  # type: ignore[arg-type]
    assert isinstance(client.one(opening("e1")), Committed)


def test_closing_waits_for_the_read_under_way(store: SqlStore) -> None:
    """No connection is pulled away from under it."""
    reading, go_on = threading.Event(), threading.Event()

    def slow_read(connection: Any) -> int:
        reading.set()
        assert go_on.wait(10)
        value: int = connection.exec_driver_sql("SELECT 42").scalar_one()
        return value

    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(store.run_read(slow_read)))
    reader.start()
    assert reading.wait(10)
    closer = threading.Thread(target=store.close)
    closer.start()
    go_on.set()
    closer.join(10)
    reader.join(10)
    assert [42] == found


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("DROP TABLE inbox", "no table 'inbox'"),
        ("ALTER TABLE executions DROP COLUMN overlay", "'executions' has no column 'overlay'"),
        ("DELETE FROM meta WHERE key = 'last_seq'", "counter"),
    ],
)
def test_a_store_with_a_part_missing_is_corrupt_when_it_is_opened(
    path: Path, store: SqlStore, script: str, said: str
) -> None:
    """And not at the first write that needs the part."""
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    for read_only in (False, True):
        with pytest.raises(StoreCorrupt, match=said):
            open_store(f"sqlite:///{path}", host=StillHost(), read_only=read_only)


def test_a_file_that_is_deleted_or_replaced_takes_no_more_commits_until_it_is_back(path: Path, store: SqlStore) -> None:
    """SQLite would go on with the file that nobody can open any more, and what was acknowledged would be lost."""
    client = Client(store)
    client.one(opening("e1"))
    aside = path.rename(path.with_name("aside.db"))
    writes = [opening("e2")]
    with pytest.raises(StoreUnavailable, match="is gone"):
        client.commit(*writes)
    path.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="another file"):
        client.commit(*writes)
    aside.replace(path)
    assert [Committed(None)] == client.commit(*writes)
    assert {"running": 2} == store.count_executions()


@pytest.mark.parametrize("part", ["-wal", "-shm"])
def test_without_the_files_beside_it_no_more_is_committed(path: Path, store: SqlStore, part: str) -> None:
    """What is acknowledged would be in a log that nobody can open any more. Who closes a store last may remove them."""
    client = Client(store)
    client.one(opening("e1"))
    log = path.with_name(f"{path.name}{part}")
    aside = log.rename(path.with_name("aside"))
    writes = [opening("e2")]
    with pytest.raises(StoreUnavailable, match=f"{part} is gone"):
        client.commit(*writes)
    log.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match=f"another file has the place of .*{part}"):
        client.commit(*writes)
    aside.replace(log)
    assert [Committed(None)] == client.commit(*writes)
    store.close()
    again = open_store(f"sqlite:///{path}", host=StillHost())
    assert {"running": 2} == again.count_executions()
    assert isinstance(Client(again, "r2").one(opening("e3")), Committed)
    again.close()


# --- several processes ---

OPENER = """
import sys
from propolis.actors.host import Host
from propolis.actors.stores import open_store
from propolis.messages import Opened
from tests.stores.builders import Client, opening
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1], host=Host())
client = Client(store, f"r{sys.argv[2]}")
for n in range(10):
    own = f"e{sys.argv[2]}-{n}"
    opened = client.one(opening(own, key=f"k{n}", events=1))
    print(opened.execution_id if isinstance(opened, Opened) else own, flush=True)
store.close()
"""


def test_processes_that_open_one_new_file_at_once_share_one_store(path: Path) -> None:
    """One creates the tables; every key has one execution, whoever was first."""
    root = Path(__file__).resolve().parents[2]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, f"sqlite:///{path}", str(i)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        for i in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [0, 0, 0] == [process.returncode for process in processes]
    assert said[0] == said[1] == said[2]
    store = open_store(f"sqlite:///{path}", host=StillHost())
    assert ({"running": 10}, 10, 3) == (store.count_executions(), store.last_seq(), len(store.runtimes()))
    assert sorted(said[0]) == sorted(spec.execution_id for spec, _ in store.list_executions())
    store.close()


def test_a_result_is_stored_byte_for_byte(store: SqlStore) -> None:
    """The same bytes go to the waiters and to the store."""
    client = Client(store)
    client.one(opening("e1"))
    write = advance("e1", output={"x": [1, (2,)]})
    client.one(write)
    record = store.get_session("e1")
    assert record is not None
    assert record.result is not None
    assert write.result == encode(record.result)


class SeenLock:
    """A lock that says what is done with it."""

    def __init__(self, *, free: bool = True) -> None:
        self.free = free
        self.said: list[str] = []

    def acquire(self, timeout: float) -> bool:
        self.said.append("taken" if self.free else "waited for")
        return self.free

    def release(self) -> None:
        self.said.append("released")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_waits_for_the_commit_under_way(store: SqlStore) -> None:
    """Or the child, where nobody else is left, would find SQLite's own locks locked for ever. It does not wait long."""
    free, stalled = SeenLock(), SeenLock(free=False)
    wait_before_forks(free)
    wait_before_forks(stalled)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if (["taken", "released"], ["waited for"]) == (free.said, stalled.said):
                store.run_write(lambda _: None)  # its lock is free here, too
                code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
    assert (["taken", "released"], ["waited for"]) == (free.said, stalled.said)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_file_that_was_open_at_a_fork_is_not_opened_in_the_child(path: Path, store: SqlStore) -> None:
    """SQLite would take no locks on it: its parent removes the log at its end, which the child goes on writing to."""
    closed = path.with_name("closed.db")
    open_store(f"sqlite:///{closed}", host=StillHost()).close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for read_only in (False, True):
                with pytest.raises(InvalidInput, match="forked while its parent"):
                    open_store(f"sqlite:///{path}", host=StillHost(), read_only=read_only)
            Client(open_store(f"sqlite:///{closed}", host=StillHost())).one(opening("e1"))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
    open_store(f"sqlite:///{path}", host=StillHost()).close()  # it is no matter here
