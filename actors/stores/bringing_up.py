"""A store that is brought up to what this version works with."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from propolis.messages import InvalidInput, StoreUnavailable

from .dialect import make_engine, parse_url, prepare_file
from .file import StoreFile
from .migrations import LATEST, check_tables, find_version, migrate
from .protocol import StoreHost
from .sql import SqlStore

__all__ = ["open_sql"]


def open_sql(url: str, host: StoreHost, *, read_only: bool) -> SqlStore:
    """As `open_store`."""
    path = parse_url(url)
    if read_only and (path is None or not path.is_file()):
        raise InvalidInput(
            what=f"store {url!r}",
            reason="there is nothing to read" if path is None else f"there is no file {path}",
            remedy="Name an existing store, or start a runtime on this one.",
        )
    file = None if path is None else StoreFile(path, url)
    if file is not None:
        file.open()
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
    if store.run_write(lambda connection: migrate(connection, store.name)):  # one that was not new
        store.run_read(lambda connection: check_tables(connection, store.name))
