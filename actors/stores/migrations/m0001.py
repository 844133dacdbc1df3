"""Version 1: the first tables.

A migration is history and never changes, so it has its own description of the tables and imports none of today's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from .creating import create_tables

__all__ = ["upgrade"]

BIG = BigInteger().with_variant(Integer, "sqlite")


def upgrade(connection: Connection) -> None:
    """Create the tables of an empty database. Runs inside the caller's transaction."""
    create_tables(connection, _describe)
    connection.execute(text("INSERT INTO meta (key, value) VALUES ('last_seq', 0)"))


def _describe() -> MetaData:
    metadata = MetaData()
    Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", BIG, nullable=False))
    _runtimes(metadata)
    _executions(metadata)
    _sessions(metadata)
    _events(metadata)
    _inbox(metadata)
    return metadata


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _runtimes(metadata: MetaData) -> None:
    Table(
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


def _executions(metadata: MetaData) -> None:
    table = Table(
        "executions",
        metadata,
        Column("id", BIG, primary_key=True),
        Column("execution_id", Text, nullable=False),
        Column("session_id", Text, nullable=False),
        Column("stream_id", Text, nullable=False),
        Column("entry_point", Text, nullable=False),
        Column("idempotency_key", Text),
        Column("spec", LargeBinary, nullable=False),
        Column("overlay", LargeBinary),
        Column("accepted_at", BIG, nullable=False),
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
        Column("result", LargeBinary),
    )
    Index("uq_executions_execution_id", table.c.execution_id, unique=True)
    Index(
        "uq_executions_idempotency",
        table.c.entry_point,
        table.c.idempotency_key,
        unique=True,
        **_where("idempotency_key IS NOT NULL"),
    )
    Index("ix_executions_unfinished", table.c.owner, table.c.entry_point, table.c.id, **_where("ended = 0"))
    Index("ix_executions_joined", table.c.session_id, **_where("session_id <> execution_id"))
    Index("ix_executions_quarantined", table.c.id, **_where("quarantined = 1"))


def _sessions(metadata: MetaData) -> None:
    Table(
        "sessions",
        metadata,
        Column("session_id", Text, primary_key=True),
        Column("owner_execution_id", Text, nullable=False),
        Column("holder", Text, nullable=False),
        Column("created_at", BIG, nullable=False),
        Column("updated_at", BIG, nullable=False),
        Column("revision", BIG, nullable=False),
        Column("memory", LargeBinary),
        Column("progress", LargeBinary),
        Column("start_execution_id", Text),
        Column("start_memory", LargeBinary),
        Column("checkpoint_execution_id", Text, nullable=False),
        Column("checkpoint_id", Text),
        Column("checkpoint_node", Text),
        Column("checkpoint_at", BIG),
        Column("checkpoint_memory", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _events(metadata: MetaData) -> None:
    Table(
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


def _inbox(metadata: MetaData) -> None:
    table = Table(
        "inbox",
        metadata,
        Column("id", BIG, primary_key=True),
        Column("execution_id", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("body", LargeBinary),
        Column("created_at", BIG, nullable=False),
        sqlite_autoincrement=True,
    )
    Index("ix_inbox_execution_id", table.c.execution_id)
