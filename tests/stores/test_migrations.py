"""How a store of any version gets to today's tables."""

from __future__ import annotations

from propolis.actors.stores.migrations import LATEST, find_version, migrate
from propolis.actors.stores.schema import metadata
from sqlalchemy import create_engine, inspect


def layout(migrated: bool) -> dict[str, str]:
    """The CREATE statements of a new database, by name, made by the migrations or from today's schema."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        if migrated:
            migrate(connection, "test")
        else:
            metadata.create_all(connection)
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    engine.dispose()
    return {row[0]: row[1] for row in rows}


def test_the_migrations_end_at_the_schema_of_the_code() -> None:
    """A column that was added to one and not to the other is found here."""
    assert layout(migrated=False) == layout(migrated=True)


def test_an_empty_database_has_version_zero_and_then_the_latest() -> None:
    """Migrating again does nothing."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        assert 0 == find_version(connection, "test")
        migrate(connection, "test")
        tables = inspect(connection).get_table_names()
        migrate(connection, "test")
        assert (LATEST, tables) == (find_version(connection, "test"), inspect(connection).get_table_names())
    engine.dispose()
