"""Which keys of memory the function of a node may use: what its node declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from propolis.messages import KeyNotPermitted

__all__ = ["Access", "permitted"]


class Access(NamedTuple):
    """Of one node."""

    node_id: str
    reads: frozenset[str]
    writes: frozenset[str]

    def check_read(self, key: str) -> None:
        """Raises KeyNotPermitted."""
        if key not in self.reads:
            remedy = "input_keys or memory_keys"
            raise KeyNotPermitted(node_id=self.node_id, key=str(key)[:200], access="read", remedy=remedy)

    def check_writes(self, keys: Iterable[str]) -> None:
        """Raises KeyNotPermitted."""
        for key in keys:
            if key not in self.writes:
                remedy = "output_keys or memory_keys"
                raise KeyNotPermitted(node_id=self.node_id, key=str(key)[:200], access="write", remedy=remedy)

    def visible(self, items: Mapping[str, Any]) -> dict[str, Any]:
        """What of all this it may read."""
        return {key: value for key, value in items.items() if key in self.reads}


def permitted(memory: Mapping[str, Any] | None, access: Access | None) -> Mapping[str, Any] | None:
    """What is to be written with a checkpoint. Raises KeyNotPermitted."""
    if access is not None and isinstance(memory, Mapping):
        access.check_writes(memory)
    return memory
