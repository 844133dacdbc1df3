"""Where executors run."""

from .asyncio import AsyncioPlacement
from .protocol import Launched, Launcher
from .thread import ThreadPlacement

__all__ = [
    "AsyncioPlacement",
    "Launched",
    "Launcher",
    "ThreadPlacement",
]
