"""Executors in worker processes of their own."""

from .child import main
from .placement import ProcessLauncher, ProcessPlacement

__all__ = ["ProcessLauncher", "ProcessPlacement", "main"]
