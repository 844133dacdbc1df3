"""Which version a store has, and how it gets to today's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from propolis.messages import StoreCorrupt, StoreTooNew

from ..dialect import Fault, tell_fault
from ..schema import LAST_SEQ, VERSION_KEY, meta, metadata
from . import m0001, m0002

__all__ = ["LATEST", "check_tables", "find_version", "migrate"]

_STEPS: Final[tuple[Callable[[Connection], None], ...]] = (m0001.upgrade, m0002.upgrade)

LATEST: Final = len(_STEPS)
"""The schema version that this code reads and writes."""


def find_version(connection: Connection, store: str) -> int:
    """The schema version of a store; 0 for an empty database.

    Raises:
        StoreCorrupt: it holds tables, and not ours.
        StoreTooNew: written by a newer Propolis.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return 0
    found = None
    if {meta.name, "executions", "sessions"} <= set(tables):
        found = connection.scalar(select(meta.c.value).where(meta.c.key == VERSION_KEY))
    if not isinstance(found, int) or found < 1:
        raise StoreCorrupt(store=store, reason="it is a database, but none of Propolis")
    if found > LATEST:
        raise StoreTooNew(store=store, found=found, supported=LATEST)
    return found


def check_tables(connection: Connection, store: str) -> None:
    """Whether a store of today's version has all that it should have.

    Raises:
        StoreCorrupt: a table, a column or the counter of events is missing.
    """
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in there:
            raise StoreCorrupt(store=store, reason=f"it has no table {table.name!r}")
        missing = {column.name for column in table.columns} - {
            column["name"] for column in inspector.get_columns(table.name)
        }
        if missing:
            raise StoreCorrupt(store=store, reason=f"its table {table.name!r} has no column {min(missing)!r}")
    if not isinstance(connection.scalar(select(meta.c.value).where(meta.c.key == LAST_SEQ)), int):
        raise StoreCorrupt(store=store, reason="the counter that numbers its events is missing, or no number")


def _take(step: Callable[[Connection], None], connection: Connection, store: str, found: int) -> None:
    try:
        step(connection)
    except DBAPIError as error:
        fault, reason = tell_fault(error)
        if fault is not Fault.BUG:
            raise
        said = f"its schema version says {found}, and its tables are not those of it: {reason}"
        raise StoreCorrupt(store=store, reason=said) from error


def migrate(connection: Connection, store: str) -> int:
    """Bring a store to the latest version, inside the caller's (write-locked) transaction. The version that it had.

    The version is read under that lock, so of two processes that open the same new file one creates the tables and
    the other finds them.
    """
    found = find_version(connection, store)
    for step in _STEPS[found:]:
        _take(step, connection, store, found)
    if found == 0:
        connection.execute(insert(meta).values(key=VERSION_KEY, value=LATEST))
    elif found < LATEST:
        connection.execute(update(meta).where(meta.c.key == VERSION_KEY).values(value=LATEST))
    return found
