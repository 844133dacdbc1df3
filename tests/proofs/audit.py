"""What the store itself has seen, by triggers that the proofs put into it, and what has to hold in the end."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from propolis.messages import Payload

__all__ = ["Findings", "check", "watch"]

LOST_IN_A_ROW = 10
"""Attempts after which an execution is quarantined that its process has taken down with it each time."""

WATCH = """
CREATE TABLE audit_now (one INTEGER PRIMARY KEY, me TEXT);
INSERT INTO audit_now VALUES (1, '');
CREATE TABLE audit_wrong (what TEXT, id TEXT, before TEXT, after TEXT);
CREATE TABLE audit_owners (execution_id TEXT, epoch INTEGER, owner TEXT, PRIMARY KEY (execution_id, epoch, owner));

-- who commits: every transaction of a runtime begins with its own beat
CREATE TRIGGER audit_beat AFTER UPDATE OF beat ON runtimes BEGIN
    UPDATE audit_now SET me = NEW.runtime_id;
END;
CREATE TRIGGER audit_execution AFTER UPDATE ON executions BEGIN
    INSERT INTO audit_wrong SELECT 'the epoch went back', NEW.execution_id, OLD.epoch, NEW.epoch
        WHERE NEW.epoch < OLD.epoch;
    INSERT INTO audit_wrong SELECT 'it ended twice', NEW.execution_id, OLD.status, NEW.status
        WHERE OLD.ended = 1 AND (NEW.status <> OLD.status OR NEW.epoch <> OLD.epoch OR NEW.result IS NOT OLD.result);
    INSERT INTO audit_wrong SELECT 'an attempt was forgotten', NEW.execution_id, OLD.attempt, NEW.attempt
        WHERE NEW.attempt < OLD.attempt;
    INSERT INTO audit_wrong SELECT 'taken from an owner under its own epoch', NEW.execution_id, OLD.owner, NEW.owner
        WHERE OLD.owner IS NOT NULL AND NEW.owner IS NOT NULL AND OLD.owner <> NEW.owner AND NEW.epoch = OLD.epoch;
    INSERT INTO audit_wrong SELECT 'somebody else wrote it', NEW.execution_id, NEW.owner, (SELECT me FROM audit_now)
        WHERE NEW.ended = 0 AND NEW.owner IS NOT NULL AND NEW.owner <> (SELECT me FROM audit_now);
    INSERT INTO audit_wrong SELECT 'somebody else ended it', NEW.execution_id, OLD.owner, (SELECT me FROM audit_now)
        WHERE NEW.ended = 1 AND OLD.ended = 0 AND OLD.owner IS NOT (SELECT me FROM audit_now);
    INSERT INTO audit_wrong SELECT 'its owner is not there', NEW.execution_id, OLD.owner, NEW.owner
        WHERE NEW.ended = 0 AND NEW.owner IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM runtimes WHERE runtime_id = NEW.owner);
    INSERT OR IGNORE INTO audit_owners SELECT NEW.execution_id, NEW.epoch, NEW.owner WHERE NEW.owner IS NOT NULL;
END;
CREATE TRIGGER audit_step AFTER UPDATE ON steps WHEN OLD.status <> 'begun' BEGIN
    INSERT INTO audit_wrong SELECT 'a step was recorded twice', NEW.run || ' ' || NEW.name, OLD.status, NEW.status
        WHERE NEW.status <> OLD.status OR NEW.value IS NOT OLD.value;
END;
"""


class Findings(dict[str, Any]):
    """Figures of a store that has passed."""


def watch(folder: Path) -> None:
    """Put the triggers into a store that is there."""
    with sqlite3.connect(folder / "store.db") as connection:
        connection.executescript(WATCH)
    connection.close()


def check(folder: Path, words: list[list[Any]], kills: int) -> Findings:
    """Hold what the parent has heard, and what the steps have left, against the store. Raises AssertionError."""
    connection = sqlite3.connect(folder / "store.db")
    try:
        assert "ok" == connection.execute("PRAGMA integrity_check").fetchone()[0]
        wrong = connection.execute("SELECT * FROM audit_wrong").fetchall()
        assert [] == wrong, wrong[:5]
        rows = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT execution_id, idempotency_key, entry_point, status, attempt, lost_attempts FROM executions"
            )
        }
        _check_owners(connection)
        _check_words(words, rows)
        _check_events(connection, rows)
        counted = _check_shared(connection)
        repeated = _check_effects(connection, folder, rows, kills)
    finally:
        connection.close()
    statuses: dict[str, int] = defaultdict(int)
    for row in rows.values():
        statuses[row[2]] += 1
    return Findings(
        executions=len(rows),
        statuses=dict(statuses),
        acknowledged=len({word[2] for word in words if word[0] == "ack"}),
        results_heard=sum(word[0] == "end" for word in words),
        attempts=sum(row[3] for row in rows.values()),
        lost_attempts=sum(row[4] for row in rows.values()),
        repeated_in_flight=repeated,
        counted=counted,
    )


def _check_owners(connection: sqlite3.Connection) -> None:
    """At most one committing owner at any time: an epoch has one."""
    twice = connection.execute(
        "SELECT execution_id, epoch, group_concat(owner) FROM audit_owners GROUP BY 1, 2 HAVING count(*) > 1"
    ).fetchall()
    assert [] == twice, twice[:5]


def _check_words(words: list[list[Any]], rows: dict[str, Any]) -> None:
    """Acknowledged is a subset of durable, under one id; who heard an end heard the one that stands in the store."""
    keys: dict[str, str] = {}
    for word in words:
        match word:
            case ["ack", key, execution_id]:
                assert execution_id in rows, f"{execution_id} was acknowledged, and is not in the store"
                assert rows[execution_id][0] == key
                assert keys.setdefault(key, execution_id) == execution_id, f"key {key} has two executions"
            case ["end", execution_id, status, output]:
                assert rows[execution_id][2] == status, f"{execution_id} was {status}, and is {rows[execution_id][2]}"
                assert status != "completed" or output["key"] == rows[execution_id][0]
            case ["cancel", execution_id, outcome]:
                status = rows[execution_id][2]
                assert outcome != "cancelled" or status == "cancelled", f"{execution_id} is {status}"
    unfinished = {id: row[2] for id, row in rows.items() if row[2] not in ("completed", "failed", "cancelled")}
    assert {} == unfinished


def _check_events(connection: sqlite3.Connection, rows: dict[str, Any]) -> None:
    """Each end is told of once, and so is each step."""
    ends: dict[str, list[str]] = defaultdict(list)
    for execution_id, type in connection.execute(
        "SELECT execution_id, type FROM events "
        "WHERE type IN ('execution_completed', 'execution_failed', 'execution_cancelled')"
    ):
        ends[execution_id].append(type.removeprefix("execution_"))
    assert {id: [row[2]] for id, row in rows.items()} == dict(ends)
    # Ten attempts in a row that were killed before they recorded anything, as while their worker starts, are enough.
    failed = connection.execute("SELECT execution_id, data FROM events WHERE type = 'execution_failed'")
    for execution_id, data in failed:
        assert ("attempts_lost", True) == (Payload(data).value()["code"], rows[execution_id][4] >= LOST_IN_A_ROW)
    orders = connection.execute("SELECT count(*) FROM events WHERE type = 'order'").fetchone()[0]
    reactions = [row for row in rows.values() if row[1] == "react"]
    if any(row[1] == "tick" for row in rows.values()):
        assert orders == len(reactions)
        assert 1 == sum(row[1] == "tick" for row in rows.values())
    seqs = [row[0] for row in connection.execute("SELECT seq FROM events ORDER BY seq")]
    assert seqs == sorted(set(seqs))


def _check_shared(connection: sqlite3.Connection) -> int:
    """What executions have counted together: each count is recorded, told, and in the sum, once."""
    row = connection.execute("SELECT version, value FROM state WHERE scope = 'global' AND key = 'steps'").fetchone()
    version, value = row if row is not None else (0, b"\x00")
    recorded = connection.execute("SELECT count(*) FROM steps WHERE kind = 'state' AND status = 'done'").fetchone()[0]
    told = connection.execute("SELECT count(*) FROM events WHERE type = 'state_changed'").fetchone()[0]
    assert (version, version, version) == (recorded, told, Payload(value).value())
    return int(version)


def _check_effects(connection: sqlite3.Connection, folder: Path, rows: dict[str, Any], kills: int) -> int:
    """Once for each recorded step; again only for one that was in flight when the attempt before was cut short.

    Steps of an execution come one after the other, so the lines of an attempt count up by one, and those of the next
    one begin where it ended, at the step that it had not recorded, or behind it.
    """
    recorded: dict[str, set[int]] = defaultdict(set)
    counts: dict[tuple[str, int], int] = defaultdict(int)
    lines: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    file = folder / "effects"
    for line in file.read_text().splitlines() if file.exists() else ():
        execution_id, epoch, at = line.split()
        lines[execution_id][int(epoch)].append(int(at))
        counts[execution_id, int(at)] += 1
    steps = connection.execute("SELECT run, count(*) FROM steps WHERE kind = 'step' AND status = 'done' GROUP BY run")
    for run, count in steps:
        recorded[run] = set(range(count))
    for execution_id, epochs in lines.items():
        attempts = [epochs[epoch] for epoch in sorted(epochs)]
        for attempt in attempts:
            assert attempt == list(range(attempt[0], attempt[0] + len(attempt))), f"{execution_id}: {attempts}"
        for before, after in pairwise(attempts):
            assert after[0] in (before[-1], before[-1] + 1), f"{execution_id}: {attempts}"
        done = {at for attempt in attempts for at in attempt}
        assert recorded[execution_id] <= done, f"{execution_id}: recorded {recorded[execution_id]}, done {done}"
        assert len(done - recorded[execution_id]) <= 1, f"{execution_id}: {attempts}"
        if rows[execution_id][2] == "completed":
            assert recorded[execution_id] == done
    assert set(recorded) <= set(lines)
    repeated = sum(count - 1 for count in counts.values())
    assert kills or not repeated
    return repeated
