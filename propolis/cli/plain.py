"""Records as text for people, and as plain data for JSON."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import click

from propolis.messages import plain

__all__ = ["echo", "iso", "json_line", "json_text", "one_line", "plain", "print_table", "span", "visible", "when"]

_ACTED_UPON: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal does something about: control characters but newline and tab, and those that turn the direction of
text. (And halves of characters, which cannot be written at all.)
"""


def visible(text: str) -> str:
    """Text in which nothing is left that a terminal would act upon: an id or a question may come from anywhere.

    It is written as JSON writes it, so JSON stays what it was.
    """
    return _ACTED_UPON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a line, or several. Everything that the command line says to people goes through here."""
    click.echo(visible(text), err=err)


def json_text(value: Any) -> str:
    """JSON of anything that a Payload can hold."""
    return json.dumps(plain(value), indent=2, allow_nan=False)


def json_line(value: Any) -> str:
    """The same in one line."""
    return json.dumps(plain(value), allow_nan=False)


def one_line(value: Any, width: int) -> str:
    """JSON in one line, cut off with a sign that it was."""
    text = json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
    return text if len(text) <= width else text[: width - 1] + "…"


def iso(moment: datetime | None) -> str | None:
    """ISO 8601."""
    return None if moment is None else moment.isoformat()


def when(moment: datetime | None) -> str:
    """For people, UTC, to the second."""
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def span(since: datetime | None, now: datetime) -> str:
    """For people: how long it has been, in the unit that fits."""
    if since is None:
        return "-"
    seconds = max(0.0, (now - since).total_seconds())
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns padded to their widest cell. On a terminal a line ends at its edge; in a pipe nothing is cut off."""
    lines = [list(header), *([_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    edge = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        echo(text[:edge])


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))
