"""Executors in worker processes of their own."""

from .child import main
from .placement import ProcessLauncher, ProcessPlacement
from .worker import rss_of

__all__ = ["ProcessLauncher", "ProcessPlacement", "main", "rss_of"]
