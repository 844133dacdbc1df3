"""Version 2: triggers, recorded steps, every checkpoint of a run, shared memory, what workers do, and goals.

A migration is history and never changes, so it has its own description of the tables and imports none of today's.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, MetaData, Table, Text, text

from .creating import create_tables

__all__ = ["upgrade"]

BIG = BigInteger().with_variant(Integer, "sqlite")


def upgrade(connection: Connection) -> None:
    """Add what is new since version 1. Runs inside the caller's transaction."""
    create_tables(connection, _describe)
    connection.execute(text("ALTER TABLE sessions ADD COLUMN shared INTEGER"))


def _describe() -> MetaData:
    metadata = MetaData()
    _triggers(metadata)
    _steps(metadata)
    _state(metadata)
    _workers(metadata)
    _goals(metadata)
    return metadata


def _triggers(metadata: MetaData) -> None:
    Table(
        "triggers",
        metadata,
        Column("entry_point", Text, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("shape", Text, nullable=False),
        Column("began_at", BIG, nullable=False),
        Column("position", BIG),
        Column("updated_at", BIG, nullable=False),
    )


def _steps(metadata: MetaData) -> None:
    steps = Table(
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
        Column("failure", LargeBinary),
        Column("inherited", Integer, nullable=False),
        Column("at", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    waits = "status = 'begun' AND kind <> 'step'"
    Index("ix_steps_waits", steps.c.kind, steps.c.at, sqlite_where=text(waits), postgresql_where=text(waits))
    Table(
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


def _state(metadata: MetaData) -> None:
    Table(
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
    Table(
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


def _workers(metadata: MetaData) -> None:
    Table(
        "workers",
        metadata,
        Column("runtime_id", Text, primary_key=True),
        Column("reported_at", BIG, nullable=False),
        Column("report", LargeBinary, nullable=False),
    )


def _goals(metadata: MetaData) -> None:
    Table(
        "goals",
        metadata,
        Column("goal_id", Text, primary_key=True),
        Column("shape", Text, nullable=False),
        Column("owner", Text),
        Column("position", BIG, nullable=False),
        Column("tally", LargeBinary),
        Column("progress", LargeBinary),
        Column("updated_at", BIG, nullable=False),
    )
    Table(
        "goal_streams",
        metadata,
        Column("goal_id", Text, primary_key=True),
        Column("stream_id", Text, primary_key=True),
        Column("since", BIG, nullable=False),
    )
