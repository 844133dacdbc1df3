"""A module that leaves whoever forks its template at a lock that nobody lets go of: the child, or the template, too."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

_lock = threading.Lock()
_lock.acquire()


def _hang(who: str) -> None:
    """PROPOLIS_TEST_HANGS says who: "child" or "parent", each with its probability ("child=0.5 parent=0.1")."""
    hanging = dict(word.split("=") for word in os.environ.get("PROPOLIS_TEST_HANGS", "").split())
    if _is_template() and random.random() < float(hanging.get(who, 0)):
        _lock.acquire()


def _refuse(fork: Callable[[], int]) -> Callable[[], int]:
    """With "refused=1" a template cannot fork, for want of room, say."""

    def forked() -> int:
        if _is_template():
            raise BlockingIOError("no more processes")
        return fork()

    return forked


def _is_template() -> bool:
    return "propolis.actors.placements.process.template" in sys.modules


if os.environ.get("PROPOLIS_TEST_HANGS") == "refused=1":
    os.fork = _refuse(os.fork)
os.register_at_fork(after_in_child=lambda: _hang("child"), after_in_parent=lambda: _hang("parent"))


def work(ctx: Any, data: Any) -> Any:
    return data
