"""What starts executions by itself: timers, and events that were stored."""

from .kinds import TRIGGERS
from .reacting import EventTriggerActor
from .timer import TimerActor, timer_input

__all__ = ["EventTriggerActor", "TRIGGERS", "TimerActor", "timer_input"]
