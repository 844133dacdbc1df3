"""From a URL to a store that can be used. What is behind it is imported with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .protocol import StoreHost

if TYPE_CHECKING:
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
    from .bringing_up import open_sql  # noqa: PLC0415 - a worker process opens none, and has a third less to import

    return open_sql(url, host, read_only=read_only)
