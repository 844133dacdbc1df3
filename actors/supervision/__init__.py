"""Who restarts whom, and when."""

from .circuit import Circuit
from .intensity import decide_system
from .policy import Decision, Escalate, History, Restart, Stop, decide
from .supervisor import Escalated, Supervisor

__all__ = [
    "Circuit",
    "Decision",
    "Escalate",
    "Escalated",
    "History",
    "Restart",
    "Stop",
    "Supervisor",
    "decide",
    "decide_system",
]
