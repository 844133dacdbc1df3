"""Which actor stands beside a stream, by the trigger_type of its entry point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .timer import TimerActor
from .triggering import Triggering

__all__ = ["TRIGGERS"]

TRIGGERS: Final[Mapping[str, type[Triggering]]] = {"timer": TimerActor}
