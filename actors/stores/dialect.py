"""What is particular to SQLite: its files, its pragmas, its error codes. Nothing else in the store knows."""

from __future__ import annotations

import enum
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    QueuePool,
    StaticPool,
    Table,
    create_engine,
    event,
    func,
    literal_column,
)
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import DBAPIError

from propolis.messages import InvalidInput

__all__ = [
    "IMMEDIATE",
    "PADDING",
    "Fault",
    "bind",
    "check_structure",
    "insert_or_update",
    "make_engine",
    "parse_url",
    "prepare_file",
    "read_cell",
    "tell_fault",
]

BUSY_MS: Final = 50
"""How long SQLite itself waits for a lock. Short: of several writers its waiting can starve one, ours has jitter."""

IMMEDIATE: Final = {"propolis_begin": "BEGIN IMMEDIATE"}
"""Execution options of a connection that writes: it takes the write lock at once, and so never has to upgrade."""

_CACHE_KB: Final = 32_000
"""At most, of each connection."""


class Fault(enum.Enum):
    """What kind of trouble an exception of the driver is."""

    BUSY = "somebody else has the lock"
    CONFLICT = "a row with that key exists"
    VALUE = "a value cannot be stored"
    CORRUPT = "the file is damaged"
    UNAVAILABLE = "the store cannot be used now"
    BUG = "nothing that the store can explain"


_FAULTS: Final = {
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_CONSTRAINT: Fault.CONFLICT,
    sqlite3.SQLITE_TOOBIG: Fault.VALUE,
    sqlite3.SQLITE_CORRUPT: Fault.CORRUPT,
    sqlite3.SQLITE_NOTADB: Fault.CORRUPT,
    sqlite3.SQLITE_AUTH: Fault.UNAVAILABLE,
    sqlite3.SQLITE_CANTOPEN: Fault.UNAVAILABLE,
    sqlite3.SQLITE_FULL: Fault.UNAVAILABLE,
    sqlite3.SQLITE_INTERRUPT: Fault.UNAVAILABLE,
    sqlite3.SQLITE_IOERR: Fault.UNAVAILABLE,
    sqlite3.SQLITE_NOLFS: Fault.UNAVAILABLE,
    sqlite3.SQLITE_NOMEM: Fault.UNAVAILABLE,
    sqlite3.SQLITE_PERM: Fault.UNAVAILABLE,
    sqlite3.SQLITE_PROTOCOL: Fault.BUSY,
    sqlite3.SQLITE_READONLY: Fault.UNAVAILABLE,
}


def tell_fault(error: BaseException) -> tuple[Fault, str]:
    """The kind of an exception, by SQLite's own error code and never by its text; and a reason for people."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, (OverflowError, UnicodeEncodeError)):  # raised by the driver before SQLite sees the value
        return Fault.VALUE, str(cause)
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(cause, UnicodeDecodeError) or (code is None and isinstance(cause, sqlite3.OperationalError)):
        return Fault.CORRUPT, "what is read from it is no text"  # by the driver too, of a value, or of SQLite's words
    if code is None:
        return Fault.BUG, str(cause)
    name = getattr(cause, "sqlite_errorname", "")
    return _FAULTS.get(code & 0xFF, Fault.BUG), f"{cause} ({name})"  # the low byte of an extended code is its kind


_OPTIONS: Final = re.compile(r"\?\w+=")
"""As other libraries take them in a URL."""


def parse_url(url: str) -> Path | None:
    """The file that a store's URL names; None for one in memory.

    Raises:
        InvalidInput: it is no URL of a store that can be opened.
    """
    kinds = 'Use "memory:", "sqlite:///name.db" or "sqlite:////folder/name.db".'
    if url == "memory:":
        return None
    if url.startswith(("postgresql:", "postgresql+", "postgres:")):
        raise InvalidInput(what=f"store {url!r}", reason="PostgreSQL is not built yet", remedy=kinds)
    prefix = "sqlite:///"
    name = url.removeprefix(prefix)
    if not url.startswith(prefix) or not name or "\0" in name:
        raise InvalidInput(what=f"store {url!r}", reason="this is no URL of a store", remedy=kinds)
    if name == ":memory:":
        raise InvalidInput(what=f"store {url!r}", reason="this would be a file of that name", remedy=kinds)
    if _OPTIONS.search(name):  # it would be a file of that name, and another store than without them
        reason, remedy = "options are not taken", "Leave them out, with the question mark."
        raise InvalidInput(what=f"store {url[:200]!r}", reason=reason, remedy=remedy)
    path = Path(name).absolute()
    try:
        str(path).encode()
        is_folder, has_folder = path.is_dir(), path.parent.is_dir()
    except (OSError, UnicodeError) as error:  # a name that is too long, or none that the system could have
        raise InvalidInput(what=f"store {url[:200]!r}", reason=f"no file can be named so: {error}") from None
    if is_folder:
        raise InvalidInput(what=f"store {url!r}", reason=f"{path} is a folder", remedy="Name a file in it.")
    if not has_folder:
        raise InvalidInput(what=f"store {url!r}", reason=f"there is no folder {path.parent}", remedy="Create it first.")
    return path


def make_engine(path: Path | None, *, read_only: bool) -> Engine:
    """An engine that opens connections to an existing file, or shares the one that holds a database in memory."""
    if path is None:
        engine = create_engine(
            "sqlite://", creator=lambda: _connect(":memory:"), poolclass=StaticPool, hide_parameters=True
        )
    else:
        # Never "rwc": a file that is gone must be an error, not a new and empty store.
        target = f"file:{quote(str(path))}?mode={'ro' if read_only else 'rw'}"
        engine = create_engine(
            "sqlite://",
            creator=lambda: _connect(target),
            poolclass=QueuePool,
            pool_size=4,
            max_overflow=-1,
            hide_parameters=True,  # an error must not carry user data into a log
        )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("propolis_begin", "BEGIN"))

    return engine


def prepare_file(path: Path) -> None:
    """Create the file where there is none, and switch it to write-ahead logging: readers then never block a writer."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rwc", uri=True, timeout=BUSY_MS / 1000, isolation_level=None
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
    finally:
        connection.close()


def check_structure(connection: Connection, *, thorough: bool) -> list[str]:
    """What SQLite itself finds wrong with the file, in its words; `thorough` compares indexes and tables, too."""
    pragma = f"PRAGMA {'integrity_check' if thorough else 'quick_check'}(20)"
    said = [str(line) for line in connection.exec_driver_sql(pragma).scalars()]
    return [] if said == ["ok"] else said


def _connect(target: str) -> Any:
    connection = sqlite3.connect(
        target,
        uri=target.startswith("file:"),
        timeout=BUSY_MS / 1000,
        isolation_level=None,  # transactions begin where we say so
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")  # D1: in WAL mode only FULL syncs at every commit
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
    except BaseException:
        connection.close()  # it was the first to look into the file
        raise
    return connection


def insert_or_update(table: Table) -> Insert:
    """An INSERT that may have an ON CONFLICT clause."""
    return insert(table)


NIL: Final = bytearray(b"\xc1")
"""Stands for NULL in a list of rows. No text, no number, and a byte that msgpack never begins with."""

PADDING: Final = ""
"""Fills up a list of rows; no key is empty."""


def bind(row: Iterable[Any]) -> list[Any]:
    """The values of a row as the driver binds them fast.

    It takes str, int, float and bytearray as they are, and sends everything else, None and bytes too, through its
    adapters: that took 40 % of an INSERT of 100 rows.
    """
    return [NIL if cell is None else bytearray(cell) if cell.__class__ is bytes else cell for cell in row]


def read_cell(cell: ColumnElement[Any]) -> ColumnElement[Any]:
    """A cell of a list of rows, inside the statement: NULL where it was None."""
    return func.nullif(cell, literal_column("x'c1'"))
