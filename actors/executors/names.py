"""Checks of what stands beside user data: names, nodes, notes."""

from __future__ import annotations

from typing import Final

from propolis.messages import InvalidInput, is_unicode

__all__ = ["check_name", "check_text"]

MAX_NAME_BYTES: Final = 4_096
"""Of a node, an event's type, a note: what stands beside user data, which has a limit of its own."""


def check_name(what: str, value: str) -> None:
    """Refuse what is no text, or empty. Raises InvalidInput."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(what=what, reason=f"{value!r:.200} is no name", remedy="Pass a non-empty str.")
    check_text(what, value)


def check_text(what: str, value: str | None) -> None:
    """Refuse what is no text, or too long. Raises InvalidInput."""
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidInput(what=what, reason=f"{value!r:.200} is no str", remedy="Pass text.")
    if not is_unicode(value):
        raise InvalidInput(what=what, reason=f"{value!r:.200} is not valid Unicode", remedy="Pass text.")
    size = len(value.encode())
    if size > MAX_NAME_BYTES:
        raise InvalidInput(what=what, reason=f"it has {size} bytes, over {MAX_NAME_BYTES}", remedy="Shorten it.")
