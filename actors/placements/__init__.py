"""Where executors run."""

from .asyncio import AsyncioPlacement
from .process import ProcessPlacement, rss_of
from .protocol import Launched, Launcher
from .thread import ThreadPlacement

__all__ = [
    "AsyncioPlacement",
    "Launched",
    "Launcher",
    "ProcessPlacement",
    "ThreadPlacement",
    "rss_of",
]
