"""Which actor stands beside a stream, by the trigger_type of its entry point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .reacting import EventTriggerActor
from .timer import TimerActor
from .triggering import Triggering

__all__ = ["TRIGGERS"]

TRIGGERS: Final[Mapping[str, type[Triggering]]] = {"event": EventTriggerActor, "timer": TimerActor}
