"""The tables as they are now. How a store of an older version gets here is in `migrations/`.

What an execution is (its spec) is one encoded message, so a new field of it needs no new column; beside it stand the
columns that a query looks at. Times are integers: microseconds since 1970, UTC.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    literal_column,
    text,
)

__all__ = [
    "LAST_SEQ",
    "OPEN_WAIT",
    "PRUNED_SEQ",
    "QUARANTINED",
    "UNFINISHED",
    "VERSION_KEY",
    "checkpoints",
    "events",
    "executions",
    "goal_streams",
    "goals",
    "inbox",
    "meta",
    "metadata",
    "runtimes",
    "sessions",
    "state",
    "state_history",
    "steps",
    "triggers",
    "workers",
]

VERSION_KEY: Final = "schema_version"
LAST_SEQ: Final = "last_seq"
"""Key of the counter that numbers events. A row and not the table's own key: it grows in the order of commits."""

PRUNED_SEQ: Final = "pruned_seq"
"""Key of the greatest number of an event that retention has deleted; no row before the first."""

BIG: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows itself only under this very type

metadata: Final = MetaData()

meta: Final = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", BIG, nullable=False),
)

runtimes: Final = Table(
    "runtimes",
    metadata,
    Column("runtime_id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", BIG, nullable=False),
    Column("pid_started", BIG, nullable=False),
    Column("started_at", BIG, nullable=False),
    Column("beat", BIG, nullable=False),
    Column("last_batch", BIG, nullable=False),
)

executions: Final = Table(
    "executions",
    metadata,
    Column("id", BIG, primary_key=True),  # grows in the order of acceptance
    Column("execution_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("entry_point", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("spec", LargeBinary, nullable=False),  # an encoded ExecutionSpec
    Column("overlay", LargeBinary),  # of a join that waits for its session: pairs to put on its memory then
    Column("accepted_at", BIG, nullable=False),
    # Its events stand between these numbers, which saves an index on them. The last one is NULL until it has ended.
    Column("first_seq", BIG, nullable=False),
    Column("last_seq", BIG),
    Column("status", Text, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("epoch", BIG, nullable=False),
    Column("attempt", BIG, nullable=False),
    Column("restarts", BIG, nullable=False),
    Column("lost_attempts", BIG, nullable=False),
    Column("owner", Text),
    Column("quarantined", Integer, nullable=False),
    Column("started_at", BIG),
    Column("completed_at", BIG),
    Column("paused_at", BIG),
    Column("result", LargeBinary),  # an encoded ExecutionResult
)
# Every index is paid for by every execution, so all but the first hold only the rows that are asked for.
Index("uq_executions_execution_id", executions.c.execution_id, unique=True)
Index(
    "uq_executions_idempotency",
    executions.c.entry_point,
    executions.c.idempotency_key,
    unique=True,
    sqlite_where=text("idempotency_key IS NOT NULL"),
    postgresql_where=text("idempotency_key IS NOT NULL"),
)
Index(
    "ix_executions_unfinished",
    executions.c.owner,
    executions.c.entry_point,
    executions.c.id,
    sqlite_where=text("ended = 0"),
    postgresql_where=text("ended = 0"),
)
Index(
    "ix_executions_joined",  # those of a session besides the one that has its id
    executions.c.session_id,
    sqlite_where=text("session_id <> execution_id"),
    postgresql_where=text("session_id <> execution_id"),
)
Index(
    "ix_executions_quarantined",
    executions.c.id,
    sqlite_where=text("quarantined = 1"),
    postgresql_where=text("quarantined = 1"),
)

# Written out, because a partial index is used only where its condition stands in the query as it is.
UNFINISHED: Final = executions.c.ended == literal_column("0")
QUARANTINED: Final = executions.c.quarantined == literal_column("1")

# A session has a row from the first moment on at which there is more to say than its first execution's row does: that
# is the execution with the session's id. Until then it has no memory, no progress, and that execution owns it.
sessions: Final = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("owner_execution_id", Text, nullable=False),  # whose status and result are the session's
    Column("holder", Text, nullable=False),  # whose turn it is; no longer, once that execution has ended
    Column("created_at", BIG, nullable=False),
    Column("updated_at", BIG, nullable=False),
    Column("revision", BIG, nullable=False),
    Column("memory", LargeBinary),  # NULL: that of the checkpoint
    Column("progress", LargeBinary),
    # What the holder's run began with, where that is no checkpoint (after a join, a resume, a replay).
    Column("start_execution_id", Text),
    Column("start_memory", LargeBinary),
    # The last checkpoint. At first the start of the session, which has no id.
    Column("checkpoint_execution_id", Text, nullable=False),
    Column("checkpoint_id", Text),
    Column("checkpoint_node", Text),
    Column("checkpoint_at", BIG),
    Column("checkpoint_memory", LargeBinary, nullable=False),
    # 1: in the memory is what the holder does not know of, so what it writes is to be merged into that (`merging.py`).
    Column("shared", Integer),
    sqlite_with_rowid=False,
)
PINNED: Final = ("checkpoint_execution_id", "checkpoint_id", "checkpoint_node", "checkpoint_at", "checkpoint_memory")
"""The columns that say what the last checkpoint is."""

# What a run of an executor has recorded. A run has the id of the execution that began it; a resume goes on with it.
steps: Final = Table(
    "steps",
    metadata,
    Column("run", Text, primary_key=True),
    Column("segment", BIG, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("call", BIG, primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("due_at", BIG),
    Column("about", LargeBinary),
    Column("value", LargeBinary),
    Column("failure", LargeBinary),  # an encoded Failure
    Column("inherited", Integer, nullable=False),
    Column("at", BIG, nullable=False),
    sqlite_with_rowid=False,
)

Index(
    "ix_steps_waits",
    steps.c.kind,
    steps.c.at,
    sqlite_where=text("status = 'begun' AND kind <> 'step'"),
    postgresql_where=text("status = 'begun' AND kind <> 'step'"),
)
OPEN_WAIT: Final = text("status = 'begun' AND kind <> 'step'")

# The checkpoints of a run by their number, the last one included (which stands in its session's row too). Number 0 is
# what a run began with, where no row of a session says that.
checkpoints: Final = Table(
    "checkpoints",
    metadata,
    Column("run", Text, primary_key=True),
    Column("ordinal", BIG, primary_key=True, autoincrement=False),
    Column("execution_id", Text, nullable=False),
    Column("node", Text),
    Column("at", BIG, nullable=False),
    Column("memory", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

events: Final = Table(
    "events",
    metadata,
    Column("seq", BIG, primary_key=True),
    Column("type", Text, nullable=False),
    Column("stream_id", Text),
    Column("session_id", Text),
    Column("execution_id", Text),
    Column("node_id", Text),
    Column("graph_id", Text),
    Column("correlation_id", Text),
    Column("timestamp", BIG, nullable=False),
    Column("data", LargeBinary),
)
inbox: Final = Table(
    "inbox",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("execution_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary),
    Column("created_at", BIG, nullable=False),
    sqlite_autoincrement=True,  # an id is never used twice: clearing a row late must not clear another
)
Index("ix_inbox_execution_id", inbox.c.execution_id)

# What starts executions by itself: a row for each entry point with a timer or an event trigger.
triggers: Final = Table(
    "triggers",
    metadata,
    Column("entry_point", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("shape", Text, nullable=False),  # what it was opened with; another one begins anew
    Column("began_at", BIG, nullable=False),
    # timer: when it fires next, NULL when it never does again. event: the number of the last event it has seen.
    Column("position", BIG),
    Column("updated_at", BIG, nullable=False),
)

# How far each goal is. Whoever owns the row reads the events for it, and keeps here what it has counted.
goals: Final = Table(
    "goals",
    metadata,
    Column("goal_id", Text, primary_key=True),
    Column("shape", Text, nullable=False),  # what it was opened with; another one is counted anew
    Column("owner", Text),  # a runtime's id
    Column("position", BIG, nullable=False),  # the number of the last event that was counted
    Column("tally", LargeBinary),  # an encoded GoalTally
    Column("progress", LargeBinary),  # an encoded GoalProgress
    Column("updated_at", BIG, nullable=False),
)
goal_streams: Final = Table(
    "goal_streams",
    metadata,
    Column("goal_id", Text, primary_key=True),
    Column("stream_id", Text, primary_key=True),
    Column("since", BIG, nullable=False),  # the number of the event behind which its events count
)

# Memory that executions share, a row for each key: its scope is "global", or "stream:" with the stream's id. What was
# deleted keeps its row, without a value, so that a version never comes twice.
state: Final = Table(
    "state",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary),
    Column("version", BIG, nullable=False),
    Column("execution_id", Text),
    Column("at", BIG, nullable=False),
    sqlite_with_rowid=False,
)

# The last versions of each key, the present one included.
state_history: Final = Table(
    "state_history",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", BIG, primary_key=True, autoincrement=False),
    Column("value", LargeBinary),
    Column("execution_id", Text),
    Column("at", BIG, nullable=False),
    sqlite_with_rowid=False,
)

# What the workers of a runtime do, for whoever looks from outside: a row for each runtime that has some.
workers: Final = Table(
    "workers",
    metadata,
    Column("runtime_id", Text, primary_key=True),
    Column("reported_at", BIG, nullable=False),
    Column("report", LargeBinary, nullable=False),  # an encoded WorkersReport
)
