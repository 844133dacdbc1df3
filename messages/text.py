"""Text that was not written here, made fit to travel: an exception's words, cut to size and valid Unicode."""

from __future__ import annotations

__all__ = ["clean", "text_of"]


def text_of(error: BaseException, limit: int = 2_000) -> str:
    """What an exception says, `limit` characters of it at most. Never raises."""
    try:
        text = str(error)
    except BaseException as inner:  # noqa: BLE001 - a user's __str__ may do anything
        text = f"<{type(error).__name__} whose str() raised {type(inner).__name__}>"
    return clean(text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)")


def clean(text: str) -> str:
    """The text with what is no valid Unicode replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
