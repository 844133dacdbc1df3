"""Reading `sessions/<id>/` of a folder that anybody may have written: no link is followed, nothing else is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click

from propolis.messages import ImportRefused

from .state import COPY_FILE, SAFE_ID, STATE_FILE

__all__ = ["Found", "list_folder"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold this up


class Found(NamedTuple):
    """What there is of one session."""

    session_id: str
    state: bytes
    copy: bytes | None


def list_folder(folder: Path, limit: int) -> Iterator[Found | ImportRefused]:
    """Each session below `folder/sessions`, by name, with files of at most `limit` bytes; or why it cannot be read.

    Raises:
        ClickException: there is no such folder.
    """
    try:
        root = os.open(folder / "sessions", _FOLDER)
    except OSError as error:
        raise click.ClickException(f"{folder / 'sessions'} is no folder that can be read: {error.strerror}.") from None
    try:
        for name in sorted(os.listdir(root)):  # noqa: PTH208 - of the folder that is open
            try:
                yield _read(root, name, limit)
            except ImportRefused as refused:
                yield refused
    finally:
        os.close(root)


def _read(root: int, name: str, limit: int) -> Found:
    shown = name.encode(errors="backslashreplace").decode()
    if SAFE_ID.fullmatch(name) is None:
        raise ImportRefused(session_id=shown, reason="bad_id", detail="the name of its folder is no id")
    try:
        its = os.open(name, _FOLDER, dir_fd=root)
    except OSError as error:
        detail = f"sessions/{name} is no folder, or a link: {error.strerror}"
        raise ImportRefused(session_id=name, reason="bad_file", detail=detail) from None
    try:
        state = _read_file(its, name, STATE_FILE, limit)
        if state is None:
            raise ImportRefused(session_id=name, reason="bad_file", detail=f"there is no {STATE_FILE}")
        return Found(name, state, _read_file(its, name, COPY_FILE, limit))
    finally:
        os.close(its)


def _read_file(its: int, session_id: str, name: str, limit: int) -> bytes | None:
    try:
        fd = os.open(name, _FILE, dir_fd=its)
    except FileNotFoundError:
        return None
    except OSError as error:
        detail = f"{name} cannot be opened, or is a link: {error.strerror}"
        raise ImportRefused(session_id=session_id, reason="bad_file", detail=detail) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ImportRefused(session_id=session_id, reason="bad_file", detail=f"{name} is no file")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        detail = f"{name} cannot be read: {error.strerror}"
        raise ImportRefused(session_id=session_id, reason="bad_file", detail=detail) from None
    finally:
        os.close(fd)
    if len(data) > limit:
        detail = f"{name} has more than {limit} bytes; --max-mb allows more"
        raise ImportRefused(session_id=session_id, reason="too_large", detail=detail)
    return data
