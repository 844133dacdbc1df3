"""How a store of any version gets to today's tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from propolis.actors.stores.migrations import LATEST, find_version, m0001, migrate
from propolis.actors.stores.schema import VERSION_KEY, meta, metadata
from sqlalchemy import create_engine, insert, inspect

from propolis.actors import Host, open_store
from propolis.messages import StoreUnavailable


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
    return {row[0]: spaced(row[1]) for row in rows}


def spaced(sql: str) -> str:
    """A statement without the lines that it is written in: a column that was added later stands in another's."""
    return " ".join(sql.split())


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


def store_of_version_1(folder: Path) -> str:
    """The URL of a store as the first version made it."""
    engine = create_engine(f"sqlite:///{folder}/old.db")
    with engine.begin() as connection:
        m0001.upgrade(connection)
        connection.execute(insert(meta).values(key=VERSION_KEY, value=1))
    engine.dispose()
    return f"sqlite:///{folder}/old.db"


def test_an_older_store_is_brought_to_the_latest_version_when_it_is_opened(tmp_path: Path) -> None:
    """And has all its tables then, in the layout of a new one."""
    url = store_of_version_1(tmp_path)
    open_store(url, host=Host()).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert LATEST == find_version(connection, url)
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
        assert layout(migrated=True) == {row[0]: spaced(row[1]) for row in rows}
    engine.dispose()


def test_an_older_store_is_not_changed_by_reading(tmp_path: Path) -> None:
    """Who reads is told that a runtime has to open it first."""
    with pytest.raises(StoreUnavailable, match="schema version is 1"):
        open_store(store_of_version_1(tmp_path), host=Host(), read_only=True)
