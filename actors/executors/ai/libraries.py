"""The libraries of the extras, imported when they are wanted: it takes seconds, and few programs want them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from propolis.messages import ExtraMissing

if TYPE_CHECKING:
    from . import recording

__all__ = ["need_langgraph", "need_models"]


def need_models(what: str) -> Any:
    """The module `recording`, which is written over pydantic-ai. Raises ExtraMissing."""
    try:
        found: recording = importlib.import_module(".recording", __package__)  # type: ignore[valid-type]
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "pydantic_ai":
            raise
        raise ExtraMissing(what=what, library="pydantic-ai", extra="ai") from None
    return found


def need_langgraph(what: str) -> Any:
    """The module `langgraph.types`. Raises ExtraMissing."""
    try:
        return importlib.import_module("langgraph.types")
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "langgraph":
            raise
        raise ExtraMissing(what=what, library="langgraph", extra="langgraph") from None
