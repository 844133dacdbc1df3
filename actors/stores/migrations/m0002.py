"""Version 2: triggers.

A migration is history and never changes, so it has its own description of the tables and imports none of today's.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, Text

__all__ = ["upgrade"]

BIG = BigInteger().with_variant(Integer, "sqlite")


def upgrade(connection: Connection) -> None:
    """Add what is new since version 1. Runs inside the caller's transaction."""
    metadata = MetaData()
    _triggers(metadata)
    metadata.create_all(connection, checkfirst=False)


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
