"""Creating the tables that a migration describes."""

from __future__ import annotations

import functools
from collections.abc import Callable

from sqlalchemy import Connection, MetaData, make_url
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

__all__ = ["create_tables"]


def create_tables(connection: Connection, describe: Callable[[], MetaData]) -> None:
    """Create all tables and indexes that `describe` makes. Runs inside the caller's transaction."""
    for statement in _statements(describe, connection.dialect.name):
        connection.exec_driver_sql(statement)


@functools.cache
def _statements(describe: Callable[[], MetaData], dialect_name: str) -> tuple[str, ...]:
    """Their text. Made once for each process: it is half of what a new store takes, and never differs."""
    dialect = make_url(f"{dialect_name}://").get_dialect()()
    made: list[ExecutableDDLElement] = []
    for table in describe().sorted_tables:
        made.append(CreateTable(table))
        made += [CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return tuple(str(statement.compile(dialect=dialect)) for statement in made)
