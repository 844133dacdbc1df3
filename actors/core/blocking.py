"""How a thread waits for another one: on an event; in a simulation, by letting the others have their turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Wait", "wait_by", "wait_for"]

Wait: TypeAlias = Callable[[Callable[[], bool], float | None], bool]
"""Waits until the function says True, for so many seconds at most: whether it did."""

_here = threading.local()


def wait_for(event: threading.Event, timeout: float | None = None) -> bool:
    """Block the calling thread until the event is set, for `timeout` seconds at most. Whether it is."""
    wait: Wait | None = getattr(_here, "wait", None)
    return event.wait(timeout) if wait is None else wait(event.is_set, timeout)


def wait_by(wait: Wait | None) -> Wait | None:
    """Have the calling thread wait in another way from now on; None is the ordinary one. Returns what it was."""
    before: Wait | None = getattr(_here, "wait", None)
    _here.wait = wait
    return before
