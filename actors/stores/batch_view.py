"""A view whose triggers write a whole batch: what SQLite is given to commit one in a single statement.

Each row is of a kind, and the trigger of that kind writes it. One that finds something odd (a fence, a stale epoch)
raises, which undoes the statement.
"""

# ruff: noqa: S608 - what is put into the SQL here are names and numbers of our own

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Table

from .dialect import NIL, PADDING, bind
from .rows import EVENT_COLUMNS, EXECUTION_COLUMNS, STATE_COLUMNS
from .schema import LAST_SEQ, PINNED, executions, steps
from .stepping import STEP_CHANGES, STEP_COLUMNS

__all__ = [
    "ADVANCE",
    "CHANGE",
    "CHECK",
    "EVENT",
    "EVENTS",
    "EVENTS_MAX",
    "FENCE",
    "OPEN",
    "PRUNE",
    "SESSION",
    "STEP",
    "batch_sql",
    "create_batch_view",
]

FENCE, OPEN, SESSION, ADVANCE, CHANGE, PRUNE, STEP, CHECK, EVENTS, EVENT = range(1, 11)

EVENTS_MAX: Final = 5
"""Events in one row: as many as make it no wider than the widest of the others."""


def _cell(table: Table, name: str) -> str:
    """The cell for a column. Bytes that are not msgpack could be what stands for NULL, where there is none."""
    return f":{name}?" if table.c[name].nullable else f":{name}"


_STATE: Final = ", ".join(f"{name} = {_cell(executions, name)}" for name in STATE_COLUMNS)
_EVENT: Final = ", ".join(EVENT_COLUMNS)
_FRESH: Final = {name: f":{name}" for name in EXECUTION_COLUMNS} | {
    "session_id": ":execution_id",
    "idempotency_key": ":idempotency_key?",
    "overlay": "NULL",
    "ended": "0",
    "restarts": "0",
    "lost_attempts": "0",
    "quarantined": "0",
    "started_at": ":started_at?",
    "completed_at": "NULL",
    "paused_at": "NULL",
    "result": "NULL",
}
"""What stands in the columns of a fresh execution."""


class _Kind(NamedTuple):
    """The cells of a row by name, and what is done with them. `:name?` may be NULL."""

    cells: str
    sql: str


_KINDS: Final = {
    # Comes first: the beat, the owner's fence and the batch's write id; and that events are numbered from here.
    FENCE: _Kind(
        "runtime_id batch last_seq new_last_seq",
        f"""
        UPDATE runtimes SET beat = beat + 1, last_batch = :batch
        WHERE runtime_id = :runtime_id AND last_batch < :batch;
        SELECT RAISE(ABORT, 'not this runtime, or not this batch') WHERE changes() = 0;
        UPDATE meta SET value = :new_last_seq WHERE key = '{LAST_SEQ}' AND value = :last_seq;
        SELECT RAISE(ABORT, 'somebody else has numbered events') WHERE changes() = 0;
        """,
    ),
    # A fresh execution, whose session has its id, and its first event, if there is one.
    OPEN: _Kind(
        "execution_id stream_id entry_point idempotency_key spec accepted_at first_seq"
        " status epoch attempt owner started_at type node_id data graph_id correlation_id",
        f"""
        INSERT INTO executions ({", ".join(_FRESH)}) VALUES ({", ".join(_FRESH.values())});
        INSERT INTO events ({_EVENT})
        SELECT :first_seq, :type, :stream_id, :execution_id, :execution_id, :node_id?, :graph_id?, :correlation_id,
            coalesce(:started_at?, :accepted_at), :data?
        WHERE :type? IS NOT NULL;
        """,
    ),
    # That session, when it begins with a memory.
    SESSION: _Kind(
        "session_id at memory",
        """
        INSERT INTO sessions (session_id, owner_execution_id, holder, created_at, updated_at, revision,
            checkpoint_execution_id, checkpoint_memory)
        VALUES (:session_id, :session_id, :session_id, :at, :at, 0, :session_id, :memory);
        """,
    ),
    # An execution's state, and the first event that goes with the change, if there is one.
    ADVANCE: _Kind(
        f"execution_id expected_epoch last_seq {' '.join(STATE_COLUMNS)}"
        " seq type stream_id session_id node_id graph_id correlation_id at data",
        f"""
        UPDATE executions SET last_seq = :last_seq?, {_STATE}
        WHERE execution_id = :execution_id AND epoch = :expected_epoch;
        SELECT RAISE(ABORT, 'a stale epoch') WHERE changes() = 0;
        INSERT INTO events ({_EVENT})
        SELECT :seq, :type, :stream_id, :session_id, :execution_id, :node_id?, :graph_id?, :correlation_id, :at, :data?
        WHERE :type? IS NOT NULL;
        """,
    ),
    # What is given of a session replaces what is there, a checkpoint the memory too. No row yet: it gets one. The
    # checkpoint is kept for its run, too; one that is there under the same number is replaced (a pause, at the one
    # before it).
    CHANGE: _Kind(
        f"session_id at memory progress {' '.join(PINNED)} run ordinal",
        f"""
        INSERT INTO sessions (session_id, owner_execution_id, holder, created_at, updated_at, revision,
            memory, progress, {", ".join(PINNED)})
        SELECT session_id, execution_id, execution_id, accepted_at, :at, 1, :memory?, :progress?,
            coalesce(:checkpoint_execution_id?, execution_id), :checkpoint_id?, :checkpoint_node?, :checkpoint_at?,
            coalesce(:checkpoint_memory?, x'80')
        FROM executions WHERE execution_id = :session_id AND session_id = :session_id
        ON CONFLICT (session_id) DO UPDATE SET revision = revision + 1, updated_at = excluded.updated_at,
            progress = coalesce(excluded.progress, progress),
            memory = iif(excluded.memory IS NULL AND excluded.checkpoint_at IS NULL, memory, excluded.memory),
            {", ".join(f"{name} = iif(excluded.checkpoint_at IS NULL, {name}, excluded.{name})" for name in PINNED)}
        WHERE shared IS NULL;
        SELECT RAISE(ABORT, 'no such session, or one that others write too') WHERE changes() = 0;
        INSERT INTO checkpoints (run, ordinal, execution_id, node, at, memory)
        SELECT :run, :ordinal, :checkpoint_execution_id, :checkpoint_node?, :checkpoint_at, :checkpoint_memory
        WHERE :run? IS NOT NULL
        ON CONFLICT (run, ordinal) DO UPDATE
        SET execution_id = excluded.execution_id, node = excluded.node, at = excluded.at, memory = excluded.memory;
        """,
    ),
    # Of the checkpoints of a run the last `keep` stay, and of those the ones since a time; the very last one always.
    PRUNE: _Kind(
        "run last keep before",
        """
        DELETE FROM checkpoints
        WHERE run = :run AND ordinal < :last AND (ordinal <= :last - :keep OR at < :before?);
        """,
    ),
    # A recorded step; what is there under the same key is replaced.
    STEP: _Kind(
        " ".join(STEP_COLUMNS),
        f"""
        INSERT INTO steps ({", ".join(STEP_COLUMNS)}) VALUES ({", ".join(_cell(steps, name) for name in STEP_COLUMNS)})
        ON CONFLICT (run, segment, kind, name, call)
        DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in STEP_CHANGES)};
        """,
    ),
    CHECK: _Kind(
        "execution_id epoch",
        """
        SELECT RAISE(ABORT, 'a stale epoch')
        WHERE NOT EXISTS (SELECT 1 FROM executions WHERE execution_id = :execution_id AND epoch = :epoch);
        """,
    ),
    # Some events of one write.
    EVENTS: _Kind(
        "stream_id session_id execution_id graph_id correlation_id at seq"
        + "".join(f" type{n} node_id{n} data{n}" for n in range(EVENTS_MAX)),
        "".join(
            f"""
            INSERT INTO events ({_EVENT})
            SELECT :seq + {n}, :type{n}, :stream_id, :session_id, :execution_id, :node_id{n}?, :graph_id?,
                :correlation_id, :at, :data{n}?
            WHERE :type{n} <> '{PADDING}';
            """
            for n in range(EVENTS_MAX)
        ),
    ),
    EVENT: _Kind(
        "seq type stream_id session_id execution_id node_id graph_id correlation_id timestamp data",
        f"""
        INSERT INTO events ({_EVENT})
        VALUES (:seq, :type, :stream_id?, :session_id?, :execution_id?, :node_id?, :graph_id?, :correlation_id?,
            :timestamp, :data?);
        """,
    ),
}
MAX_CELLS: Final = 32_766
"""Values of one statement: SQLite's own limit."""
_WIDTH: Final = 1 + max(len(kind.cells.split()) for kind in _KINDS.values())
_PADDINGS: Final = tuple((PADDING,) * size for size in range(_WIDTH))
"""By how many cells a row is narrower than the widest of its statement: what it is filled up with."""


@functools.cache
def _sql(rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    columns = ", ".join(f"c{number}" for number in range(width))
    return f"INSERT INTO batch ({columns}) VALUES {', '.join([row] * rows)}"


def batch_sql(rows: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]] | None:
    """The statement for these rows, and what is bound to it: every cell costs, so it is as narrow as they are.

    None for more than SQLite takes.
    """
    width, size = max(map(len, rows)), _rounded(len(rows))
    if size * width > MAX_CELLS:
        return None
    cells: list[Any] = []
    for row in rows:
        cells += bind(row)
        cells += _PADDINGS[width - len(row)]
    cells += (PADDING,) * (width * (size - len(rows)))  # of no kind: no trigger writes them
    return _sql(size, width), cells


def _rounded(rows: int) -> int:
    """For how many rows the statement is made. Few sizes: one for a hundred rows takes 0.2 MB of the driver's cache,
    and 2 ms when it is new.
    """
    if rows < 8:
        return 1 << (rows - 1).bit_length()
    step = 8 if rows <= 128 else 1 << (rows.bit_length() - 3)
    return -step * (-rows // step)


def create_batch_view(driver: Any) -> None:
    """Make the view, for one connection of the driver."""
    driver.execute("PRAGMA temp_store = MEMORY")
    driver.execute(
        f"CREATE TEMP VIEW IF NOT EXISTS batch AS SELECT {', '.join(f'NULL AS c{n}' for n in range(_WIDTH))}"
    )
    for number, kind in _KINDS.items():
        when = f"INSTEAD OF INSERT ON batch WHEN NEW.c0 = {number}"
        driver.execute(f"CREATE TEMP TRIGGER IF NOT EXISTS batch_{number} {when} BEGIN {_body(kind)} END")


def _body(kind: _Kind) -> str:
    place = {name: f"NEW.c{number}" for number, name in enumerate(kind.cells.split(), 1)}

    def cell(match: re.Match[str]) -> str:
        there = place[match[1]]
        return f"nullif({there}, x'{NIL.hex()}')" if match[2] else there

    return re.sub(r":(\w+)(\?)?", cell, kind.sql)
