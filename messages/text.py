"""Text that was not written here, made fit to travel: an exception's words, cut to size and valid Unicode."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["clean", "is_unicode", "line_of", "name_of", "text_of"]

_NAME: Final[Any] = type.__dict__["__name__"]


def text_of(error: BaseException, limit: int = 2_000) -> str:
    """What an exception says, `limit` characters of it at most. Never raises."""
    try:
        text = str.__str__(str(error))  # and not what a subclass of str makes of itself
    except BaseException as inner:  # noqa: BLE001 - a user's __str__ may do anything
        text = f"<{name_of(type(error))} whose str() raised {name_of(type(inner))}>"
    return clean(text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)")


def line_of(error: BaseException, limit: int = 500) -> str:
    """Its class and what it says, as the last line of a traceback has them. Never raises."""
    return f"{name_of(type(error))}: {text_of(error, limit)}"


def clean(text: str) -> str:
    """The text with what is no valid Unicode replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_unicode(text: str) -> bool:
    """Whether it can be written down: a str may hold surrogates, which nothing outside of Python takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def name_of(cls: type) -> str:
    """The name of a class, 200 characters of it at most; a metaclass of a user's has no say in it. Never raises."""
    name: str = _NAME.__get__(cls)
    return clean(name[:200])
