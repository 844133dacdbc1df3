"""Which checkpoints are made, and which of them are kept."""

from __future__ import annotations

from pydantic import Field

from .validated import Seconds, Validated

__all__ = ["CheckpointConfig"]


class CheckpointConfig(Validated):
    """Which checkpoints are made by themselves, and how long checkpoints are kept. The last one of a run always is."""

    on_node_start: bool = False
    """Of a graph: before each node."""
    on_node_complete: bool = True
    """Of a graph: after each node."""
    keep: int = Field(default=10, ge=1, le=1_000_000)
    """How many of one run are kept: the memory of a session is kept so many times, however long it runs."""
    max_age_seconds: Seconds | None = None
    """Older ones go, too."""
    prune_every: int = Field(default=10, ge=1, le=1_000_000)
    """They go when so many more have been made, in the commit of the last of these."""

    def prunes_at(self, ordinal: int) -> bool:
        """Whether old ones go with this checkpoint, counted from 1. Pure."""
        return ordinal % self.prune_every == 0
