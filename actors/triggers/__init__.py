"""What starts executions by itself: timers, and events that were stored."""

from .kinds import TRIGGERS
from .timer import TimerActor, timer_input

__all__ = ["TRIGGERS", "TimerActor", "timer_input"]
