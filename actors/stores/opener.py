"""From a URL to a store that can be used."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from propolis.messages import InvalidInput, StoreUnavailable

from .dialect import make_engine, parse_url, prepare_file
from .file import StoreFile
from .migrations import LATEST, check_tables, find_version, migrate
from .protocol import StoreHost
from .sql import SqlStore

__all__ = ["open_store"]


def open_store(url: str, *, host: StoreHost, read_only: bool = False) -> SqlStore:
    """Open a store, creating it or bringing it to today's schema first. Blocks; any thread.

    `url` is "memory:" (private to this object), "sqlite:///name.db" (from the current folder) or
    "sqlite:////folder/name.db". With `read_only` the file has to be there, nothing is ever written to it, and a runtime
    may be working on it or not.

    Raises:
        InvalidInput: the URL cannot be one, its folder is not there, or with `read_only` its file.
        StoreCorrupt: the file is no store, or a damaged one.
        StoreTooNew: a newer Propolis wrote it.
        StoreUnavailable: it cannot be opened now, or is of an older version and `read_only`.
    """
    path = parse_url(url)
    if read_only and (path is None or not path.is_file()):
        raise InvalidInput(
            what=f"store {url!r}",
            reason="there is nothing to read" if path is None else f"there is no file {path}",
            remedy="Name an existing store, or start a runtime on this one.",
        )
    file = None if path is None else StoreFile(path, url)
    store = SqlStore(make_engine(path, read_only=read_only), url, host, file=file, read_only=read_only)
    try:
        if read_only:
            store.run_read(lambda connection: _check_version(connection, url))
        else:
            _bring_up(store, path)
    except BaseException:
        store.close()
        raise
    return store


def _check_version(connection: Connection, url: str) -> None:
    version = find_version(connection, url)
    if version < LATEST:
        raise StoreUnavailable(
            store=url, reason=f"its schema version is {version}, and a runtime has to bring it to {LATEST} first"
        )
    check_tables(connection, url)


def _bring_up(store: SqlStore, path: Path | None) -> None:
    if path is not None:
        if path.is_file():
            store.run_read(lambda connection: find_version(connection, store.name))  # never touch a file not ours
        store.run_outside(lambda: prepare_file(path))
    store.run_write(lambda connection: migrate(connection, store.name))
    store.run_read(lambda connection: check_tables(connection, store.name))
