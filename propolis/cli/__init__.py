"""The command line, `propolis` or `python -m propolis`."""

from .app import main

__all__ = ["main"]
