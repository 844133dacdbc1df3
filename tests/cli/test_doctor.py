"""`propolis doctor`: what it finds in a store that was tampered with, what it puts right, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from propolis.actors.peers import machine, my_row, process_started

from propolis import EntryPoint, Runtime
from propolis.actors import Host

from .conftest import Recorded

Run = Callable[..., Result]

GHOST = "INSERT INTO runtimes VALUES ('rt_ghost', ?, ?, ?, 0, 5, 5)"


@pytest.fixture
def store(recorded: Recorded, tmp_path: Path) -> Path:
    """A store of one's own to spoil."""
    path = tmp_path / "copy.db"
    shutil.copy(recorded.url.removeprefix("sqlite:///"), path)
    return path


def spoil(path: Path, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    """Change it behind everybody's back."""
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))
    connection.close()


def look(propolis: Run, path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and the findings by kind."""
    result = propolis("doctor", "--store", f"sqlite:///{path}", "--json", *options)
    found = json.loads(result.stdout)
    return result.exit_code, {finding["kind"] + ":" + finding["subject"]: finding for finding in found}


def dead_pid() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def unfinish(id: str, owner: str | None) -> tuple[str, tuple[Any, ...]]:
    """An execution that was in the middle of it."""
    change = "UPDATE executions SET status = 'running', ended = 0, result = NULL, owner = ? WHERE execution_id = ?"
    return change, (owner, id)


def test_a_store_that_is_well_says_so(propolis: Run, store: Path) -> None:
    """With what is good to know: here, nothing that is a problem."""
    result = propolis("doctor", "--store", f"sqlite:///{store}")
    assert (0, True) == (result.exit_code, result.stdout.endswith("The store is well.\n"))
    status, found = look(propolis, store, "--thorough")
    assert 0 == status
    assert {"note"} >= {finding["severity"] for finding in found.values()}


def test_a_store_that_is_not_there_is_no_store(propolis: Run) -> None:
    """It is not made."""
    result = propolis("doctor", "--store", "sqlite:///none.db")
    assert (1, True) == (result.exit_code, "none.db" in result.stderr)
    assert [] == list(Path.cwd().iterdir())


def test_the_lease_of_a_dead_runtime_is_freed_and_what_it_had_goes_on(
    propolis: Run, store: Path, recorded: Recorded
) -> None:
    """A process that was killed: its execution is charged one lost attempt, under a new epoch."""
    spoil(store, (GHOST, (machine(), dead_pid(), 1)), unfinish(recorded.completed, "rt_ghost"))
    status, found = look(propolis, store)
    problem = found["dead_runtime:runtime rt_ghost"]
    assert (1, "problem", [recorded.completed], True, False) == (
        status,
        problem["severity"],
        problem["ids"],
        problem["repairable"],
        problem["repaired"],
    )
    before = row_of(store, recorded.completed)
    assert (1, found) == look(propolis, store)  # looking changes nothing
    assert before == row_of(store, recorded.completed)
    status, found = look(propolis, store, "--repair")
    assert (0, True) == (status, found["dead_runtime:runtime rt_ghost"]["repaired"])
    status, found = look(propolis, store)
    assert (0, {"unowned:entry point jobs"}) == (status, {key for key in found if "quarantined" not in key})
    assert (None, before[1] + 1, before[2] + 1) == row_of(store, recorded.completed)
    with Runtime(f"sqlite:///{store}") as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs"), lambda ctx, data: "again").get()
        result = stream.wait_for_completion(recorded.completed, timeout=30).get()
    assert result is not None
    assert "again" == result.output


def row_of(path: Path, id: str) -> Any:
    """Owner, epoch, lost attempts."""
    connection = sqlite3.connect(path)
    row = connection.execute(
        "SELECT owner, epoch, lost_attempts FROM executions WHERE execution_id = ?", (id,)
    ).fetchone()
    connection.close()
    return row


def test_what_belongs_to_no_runtime_of_the_store_is_freed(propolis: Run, store: Path, recorded: Recorded) -> None:
    """Nobody would ever take it over: its owner is neither alive nor anybody who could be declared dead."""
    spoil(store, unfinish(recorded.completed, "rt_nobody"))
    status, found = look(propolis, store)
    assert (1, [recorded.completed]) == (status, found["stuck:executions"]["ids"])
    status, found = look(propolis, store, "--repair")
    assert (0, True) == (status, found["stuck:executions"]["repaired"])
    assert row_of(store, recorded.completed)[0] is None


def test_nothing_of_a_live_runtime_is_touched(propolis: Run, store: Path, recorded: Recorded) -> None:
    """It is named, and keeps what it has, also with --repair, also where something else is put right."""
    row = my_row("rt_live", Host())
    lively = ("INSERT INTO runtimes VALUES ('rt_live', ?, ?, ?, 0, 5, 5)", (row.host, row.pid, row.pid_started))
    spoil(store, lively, unfinish(recorded.completed, "rt_live"), "UPDATE meta SET value = 0 WHERE key = 'last_seq'")
    before = row_of(store, recorded.completed)
    status, found = look(propolis, store, "--repair")
    assert 0 == status
    assert "note" == found["live_runtime:runtime rt_live"]["severity"]
    assert before == row_of(store, recorded.completed)


def test_beside_a_dead_runtime_the_living_and_the_unseen_keep_what_they_have(
    propolis: Run, store: Path, recorded: Recorded
) -> None:
    """One repair frees what one of three had; a row of the living that disagrees with itself is its own affair."""
    row = my_row("rt_live", Host())
    spoil(
        store,
        ("INSERT INTO runtimes VALUES ('rt_live', ?, ?, ?, 0, 5, 5)", (row.host, row.pid, row.pid_started)),
        ("INSERT INTO runtimes VALUES ('rt_away', 'elsewhere/boot/ns', 1, 1, 0, 5, 5)"),
        (GHOST, (machine(), dead_pid(), 1)),
        unfinish(recorded.completed, "rt_live"),
        unfinish(recorded.failed, "rt_away"),
        unfinish(recorded.paused, "rt_ghost"),
        ("UPDATE executions SET ended = 1 WHERE execution_id = ?", (recorded.completed,)),
        ("UPDATE executions SET ended = 1 WHERE execution_id = ?", (recorded.failed,)),
    )
    status, found = look(propolis, store, "--repair")
    assert (1, False) == (status, found["disagreement:executions"]["repaired"])
    owners = [row_of(store, id)[0] for id in (recorded.completed, recorded.failed, recorded.paused)]
    assert ["rt_live", "rt_away", None] == owners
    connection = sqlite3.connect(store)
    assert [("rt_away",), ("rt_live",)] == connection.execute("SELECT runtime_id FROM runtimes ORDER BY 1").fetchall()
    assert 2 == connection.execute("SELECT count(*) FROM executions WHERE ended = 1").fetchone()[0]
    connection.close()


def test_a_runtime_that_cannot_be_seen_keeps_what_it_has_unless_its_beat_stands_still(
    propolis: Run, store: Path, recorded: Recorded
) -> None:
    """On another machine: --wait looks at the beat twice."""
    spoil(store, (GHOST, ("elsewhere/boot/ns", 1, 1)), unfinish(recorded.completed, "rt_ghost"))
    status, found = look(propolis, store, "--repair")
    assert (0, "note") == (status, found["unseen_runtime:runtime rt_ghost"]["severity"])
    assert "rt_ghost" == row_of(store, recorded.completed)[0]
    status, found = look(propolis, store, "--repair", "--wait", "0.05")
    assert (0, True) == (status, found["dead_runtime:runtime rt_ghost"]["repaired"])
    assert row_of(store, recorded.completed)[0] is None


def test_a_beat_that_goes_on_is_a_sign_of_life(propolis: Run, store: Path, recorded: Recorded) -> None:
    """Though the process cannot be seen."""
    spoil(store, (GHOST, ("elsewhere/boot/ns", 1, 1)), unfinish(recorded.completed, "rt_ghost"))
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.01):
            spoil(store, "UPDATE runtimes SET beat = beat + 1")

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        _, found = look(propolis, store, "--repair", "--wait", "1")
    finally:
        done.set()
        beating.join()
    assert {"live_runtime:runtime rt_ghost"} == {key for key in found if "ghost" in key}
    assert "rt_ghost" == row_of(store, recorded.completed)[0]


def test_orphans_are_named_and_deleted(propolis: Run, store: Path, recorded: Recorded) -> None:
    """Events, rows of the inbox and sessions that belong to nothing; those that do are left."""
    spoil(
        store,
        "INSERT INTO events (seq, type, execution_id, timestamp) VALUES (9001, 'custom', 'nobody', 0)",
        "INSERT INTO events (seq, type, timestamp) VALUES (9002, 'store_available', 0)",
        "UPDATE meta SET value = 9002 WHERE key = 'last_seq'",
        "INSERT INTO inbox (id, execution_id, kind, created_at) VALUES (77, 'nobody', 'cancel', 0)",
        ("INSERT INTO inbox (id, execution_id, kind, created_at) VALUES (78, ?, 'cancel', 0)", (recorded.completed,)),
        "INSERT INTO sessions (session_id, owner_execution_id, holder, created_at, updated_at, revision, "
        "checkpoint_execution_id, checkpoint_memory) VALUES ('lonely', 'nobody', 'nobody', 0, 0, 0, 'nobody', x'80')",
    )
    spoil(
        store,
        "INSERT INTO steps (run, segment, kind, name, call, status, digest, inherited, at) "
        "VALUES ('nobody', 0, 'step', 'pay', 0, 'done', x'', 0, 0)",
        "INSERT INTO checkpoints (run, ordinal, execution_id, at, memory) VALUES ('nobody', 1, 'nobody', 0, x'80')",
    )
    status, found = look(propolis, store)
    assert 1 == status
    of_runs = {f"orphans:{table}": ["nobody"] for table in ("steps", "checkpoints")}
    assert of_runs | {"orphans:events": ["9001"], "orphans:inbox": ["77", "78"], "orphans:sessions": ["lonely"]} == {
        key: finding["ids"] for key, finding in found.items() if finding["severity"] == "problem"
    }
    assert 0 == look(propolis, store, "--repair")[0]
    status, found = look(propolis, store)
    assert (0, set()) == (status, {key for key in found if key.startswith("orphans")})
    connection = sqlite3.connect(store)
    assert [(9002,)] == connection.execute("SELECT seq FROM events WHERE seq > 9000").fetchall()
    assert 3 == connection.execute("SELECT count(*) FROM executions").fetchone()[0]
    connection.close()


def test_a_counter_behind_the_last_event_is_set_right(propolis: Run, store: Path) -> None:
    """Or the next event would have the number of one that is there."""
    spoil(store, "UPDATE meta SET value = 1 WHERE key = 'last_seq'")
    status, found = look(propolis, store)
    assert (1, "counter") == (status, found["counter:meta"]["kind"])
    assert 0 == look(propolis, store, "--repair")[0]
    with Runtime(f"sqlite:///{store}") as runtime:
        stream = runtime.open_stream(EntryPoint(id="more"), lambda ctx, data: data).get()
        assert stream.run(1).get(timeout=30).success


def test_a_row_that_disagrees_with_its_status_is_set_right(propolis: Run, store: Path, recorded: Recorded) -> None:
    """Ended by its word, unfinished by its mark: it would be taken over and run again."""
    spoil(store, ("UPDATE executions SET ended = 0 WHERE execution_id = ?", (recorded.completed,)))
    status, found = look(propolis, store)
    assert (1, [recorded.completed]) == (status, found["disagreement:executions"]["ids"])
    assert 0 == look(propolis, store, "--repair")[0]
    assert 0 == look(propolis, store)[0]


def test_what_waits_for_its_version_is_not_stuck(propolis: Run, store: Path, recorded: Recorded) -> None:
    """And a repair of something else leaves it where it is."""
    mine = "UPDATE executions SET ended = 0, status = 'parked', owner = ? WHERE execution_id = ?"
    spoil(store, (mine, ("@version:1", recorded.completed)))
    assert "stuck:executions" not in look(propolis, store)[1]
    spoil(store, (mine, ("rt_gone", recorded.failed)))
    assert [recorded.failed] == look(propolis, store, "--repair")[1]["stuck:executions"]["ids"]
    connection = sqlite3.connect(store)
    owners = "SELECT execution_id, owner FROM executions WHERE status = 'parked'"
    assert {recorded.completed: "@version:1", recorded.failed: None} == dict(connection.execute(owners))
    connection.close()


def test_a_limit_bounds_what_is_named_of_a_finding(propolis: Run, store: Path) -> None:
    """In the table, which says how many more there are, and in JSON, which has their number."""
    spoil(store, "UPDATE executions SET status = 'runnin?'")
    (finding,) = (found for key, found in look(propolis, store, "--limit", "2")[1].items() if "status" in key)
    assert (2, 3) == (len(finding["ids"]), finding["count"])
    line = propolis("doctor", "--store", f"sqlite:///{store}", "--limit", "1").stdout
    assert f"{finding['ids'][0]} and 2 more" in line
    assert finding["ids"][1] not in line


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE executions SET spec = x'93' WHERE execution_id = :id", "executions.spec"),
        ("UPDATE executions SET result = x'c1' WHERE execution_id = :id", "executions.result"),
        ("UPDATE sessions SET memory = x'81' WHERE session_id = :id", "sessions.memory"),
        ("UPDATE events SET data = x'c1' WHERE execution_id = :id", "events.data"),
        ("UPDATE executions SET result = 'text' WHERE execution_id = :id", "executions.result"),
        ("UPDATE executions SET status = 'runnin?' WHERE execution_id = :id", "executions.status"),
        ("UPDATE executions SET epoch = 'abc' WHERE execution_id = :id", "executions.epoch"),
    ],
)
def test_rows_that_cannot_be_read_are_named_and_never_deleted(
    propolis: Run, store: Path, recorded: Recorded, change: str, where: str
) -> None:
    """What is in them may still be worth something to somebody."""
    connection = sqlite3.connect(store)
    with connection:
        changed = connection.execute(change, {"id": recorded.completed}).rowcount
    before = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    assert changed > 0
    status, found = look(propolis, store, "--repair")
    finding = found[f"undecodable:{where}"]
    assert (1, changed, False) == (status, finding["count"], finding["repairable"])
    if where != "events.data":
        assert [recorded.completed] == finding["ids"]
    connection = sqlite3.connect(store)
    assert before == connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()


def test_a_damaged_file_is_a_finding_and_no_crash(propolis: Run, store: Path) -> None:
    """Pages in its middle are garbage; also when the very beginning is."""
    size = store.stat().st_size
    with store.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(8 * 4096)[: size // 3])
    status, found = look(propolis, store, "--repair")
    assert 1 == status
    assert any(key.startswith("damaged:") for key in found)
    with store.open("r+b") as file:
        file.write(b"no database at all")
    status, found = look(propolis, store)
    assert (1, {"damaged"}) == (status, {finding["kind"] for finding in found.values()})


def test_a_store_of_a_newer_version_is_a_finding(propolis: Run, store: Path) -> None:
    """There is nothing to look at for who does not know its tables."""
    spoil(store, "UPDATE meta SET value = 99 WHERE key = 'schema_version'")
    status, found = look(propolis, store, "--repair")
    assert (1, {"schema"}) == (status, {finding["kind"] for finding in found.values()})


def test_an_older_store_is_not_brought_up_by_looking_nor_by_a_repair(propolis: Run, store: Path) -> None:
    """A runtime does that."""
    spoil(store, "UPDATE meta SET value = 1 WHERE key = 'schema_version'")
    for options in ((), ("--repair",)):
        status, found = look(propolis, store, *options)
        assert (1, {"unavailable"}) == (status, {finding["kind"] for finding in found.values()})


def test_work_that_was_accepted_under_another_version_is_noted(propolis: Run, tmp_path: Path) -> None:
    """Beside the version of the last execution of the entry point."""
    url, begun = f"sqlite:///{tmp_path}/versions.db", threading.Event()

    def body(ctx: Any, data: Any) -> None:
        begun.set()
        while True:
            ctx.heartbeat()  # until it is interrupted
            threading.Event().wait(0.005)

    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs", version="a", max_concurrent=1), body).get()
        old = stream.execute().get()
        begun.wait(30)
        runtime.close_stream("jobs", grace=10.0).get()
        stream = runtime.open_stream(EntryPoint(id="jobs", version="b", max_concurrent=1), body).get()
        stream.execute().get()
        status, found = look(propolis, tmp_path / "versions.db", "--repair")
        runtime.stop(grace=10.0).get()
    note = found["version_mismatch:entry point jobs"]
    assert (0, [old], "note") == (status, note["ids"], note["severity"])
    assert "'a'" in note["detail"]
    assert "'b'" in note["detail"]


def test_the_table_names_what_to_do(propolis: Run, store: Path, recorded: Recorded) -> None:
    """For people: how many problems, and which of them a repair would put right."""
    spoil(store, unfinish(recorded.completed, "rt_nobody"), "UPDATE events SET data = x'c1' WHERE data IS NOT NULL")
    result = propolis("doctor", "--store", f"sqlite:///{store}")
    assert 1 == result.exit_code
    assert "Not well: 2 problems, 1 of which --repair puts right." in result.stdout
    assert recorded.completed in result.stdout
    result = propolis("doctor", "--repair", "--store", f"sqlite:///{store}")
    assert (1, True) == (result.exit_code, "Not well: 1 problem.\n" in result.stdout)
    assert "repaired" in result.stdout


def test_a_live_runtime_works_on_while_its_store_is_looked_at_and_repaired(propolis: Run, tmp_path: Path) -> None:
    """Nothing of it is lost, and nothing is in its way."""
    path = tmp_path / "live.db"
    gate = threading.Event()

    def body(ctx: Any, n: int) -> int:
        gate.wait(30)
        return n

    with Runtime(f"sqlite:///{path}") as runtime:
        stream = runtime.open_stream(EntryPoint(id="jobs", max_concurrent=2), body).get()
        ids = [stream.execute(n).get(timeout=30) for n in range(5)]
        spoil(path, "INSERT INTO events (seq, type, execution_id, timestamp) VALUES (900001, 'custom', 'nobody', 0)")
        status, found = look(propolis, path, "--repair")
        gate.set()
        results = [stream.wait_for_completion(id, timeout=30).get() for id in ids]
    assert [0, 1, 2, 3, 4] == [result.output for result in results if result is not None]
    assert (0, True) == (status, found["orphans:events"]["repaired"])


def test_why_says_what_the_store_tells(propolis: Run, store: Path, recorded: Recorded) -> None:
    """In a sentence, or as JSON with the evidence; of an unknown one nothing."""
    url = f"sqlite:///{store}"
    result = propolis("why", recorded.paused, "--store", url)
    assert (0, True) == (result.exit_code, "is paused at node 'approval'" in result.stdout)
    spoil(store, (GHOST, (machine(), dead_pid(), 1)), unfinish(recorded.completed, "rt_ghost"))
    answer = json.loads(propolis("why", recorded.completed, "--store", url, "--json").stdout)
    assert ("owner_dead", "dead") == (answer["reason"], answer["owner"]["liveness"])
    assert "is dead; one that has entry point 'jobs' open takes it over" in answer["answer"]
    unknown = propolis("why", "session_nope", "--store", url)
    assert (1, True) == (unknown.exit_code, "session_nope" in unknown.stderr)


def test_the_number_of_a_process_is_its_own(store: Path) -> None:
    """What this file makes its ghosts of."""
    assert process_started(dead_pid()) is None
    assert process_started(os.getpid())
