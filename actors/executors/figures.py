"""What a step's event says besides its outcome: how long it took, in how many tries, in which node of a graph."""

from __future__ import annotations

import contextvars
from typing import Any, Final

from ..host import Host

__all__ = ["NODE", "Took", "elapsed_ms"]

NODE: Final[contextvars.ContextVar[tuple[str, int] | None]] = contextvars.ContextVar("propolis_node", default=None)
"""The node of a graph whose code runs here, and which visit of it this is."""


class Took:
    """Of a step that begins now."""

    __slots__ = ("_host", "_since", "tries")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._since = host.monotonic()
        self.tries = 1

    def figures(self) -> dict[str, Any]:
        """Now that it is over: fields of `RecordStep`."""
        figures: dict[str, Any] = {"ms": elapsed_ms(self._host, self._since)}
        node = NODE.get()
        if node is not None:
            figures["node_id"], figures["visit"] = node
        if self.tries > 1:
            figures["tries"] = self.tries
        return figures


def elapsed_ms(host: Host, since: float) -> int:
    """Milliseconds on the monotonic clock."""
    return int((host.monotonic() - since) * 1000)
