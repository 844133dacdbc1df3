"""Opening the store that a command reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from propolis.actors import Host, Store, open_store

__all__ = ["EVERYTHING", "changing", "file_of", "must_exist", "reading"]

EVERYTHING = 2**31 - 1
"""As a limit: none."""

_PREFIX: Final = "sqlite:///"


def file_of(url: str) -> Path | None:
    """The file behind a URL, absolute; None when there is none, or the URL is bad (which opening it will say)."""
    name = url.removeprefix(_PREFIX)
    return Path(name).absolute() if url.startswith(_PREFIX) and name else None


def must_exist(url: str) -> None:
    """Refuse the URL of a file that is not there. Raises ClickException."""
    path = file_of(url)
    if path is not None and not path.is_file():
        raise click.ClickException(f"There is no store {url} ({path}). Name another one with --store.")


@contextmanager
def reading(url: str) -> Iterator[Store]:
    """The store behind a URL for reading, while a runtime works on it or not. Never creates or changes anything.

    Raises:
        ClickException: there is no such file.
        PropolisError: it is no store, or cannot be read.
    """
    must_exist(url)
    store = open_store(url, host=Host(), read_only=True)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def changing(url: str, host: Host) -> Iterator[Store]:
    """As `reading`, for a command that leaves something in the store. Never creates one, nor brings one up to date."""
    with reading(url):
        pass
    store = open_store(url, host=host)
    try:
        yield store
    finally:
        store.close()
