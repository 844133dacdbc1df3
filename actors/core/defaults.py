"""The process's own actor loop, for actors started as pykka's are: `MyActor.start()`, with no Runtime around."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ..host import Host

if TYPE_CHECKING:
    from .loop import ActorLoop

__all__ = ["default_loop"]

_lock = threading.Lock()
_loops: dict[int, ActorLoop] = {}


def default_loop() -> ActorLoop:
    """The default actor loop of this process, started when first asked for; a forked child gets its own.

    The one piece of global state, as pykka's registry is: an actor class has nothing else to start on.
    """
    from .loop import ActorLoop  # noqa: PLC0415 - loop needs the actor class, which needs this

    with _lock:
        pid = os.getpid()
        loop = _loops.get(pid)
        if loop is None or not loop.is_running():
            loop = _loops[pid] = ActorLoop(Host(), name="propolis-default-actors").start()
        return loop
