"""Where an executor runs: what a placement does for an ExecutionActor."""

from __future__ import annotations

from typing import Any, Protocol

from ..core import Ref
from ..executors import Beginning, ExecutorPlan
from ..specs import EntryPoint

__all__ = ["Launched", "Launcher"]


class Launched(Protocol):
    """An attempt under way. Every method may be called from any thread, more than once, and never blocks."""

    @property
    def can_be_stopped(self) -> bool:
        """Whether a cancel surely ends it, at its next await at the latest."""
        ...

    ends_by_force: bool
    """Whether a cancel has ended it by the end of the grace, whatever it does."""
    waits_for_room: bool
    """Whether it has yet to begin when `launch` returns: an `AttemptBegan` will say so when it does."""

    def cancel(self, grace: float) -> None:
        """Have it end; what it ends with is told to its actor. Where force is at hand it is used within `grace`
        seconds.
        """
        ...

    def pause(self) -> None:
        """Let it know that somebody wants it to pause."""
        ...

    def fence(self) -> None:
        """Refuse every call that it still makes, and let it end by itself: it has just been told why."""
        ...

    def supersede(self) -> None:
        """Have it end, and refuse every call that it still makes: its actor no longer listens."""
        ...


class Launcher(Protocol):
    """A placement."""

    def launch(self, plan: ExecutorPlan, entry_point: EntryPoint, begin: Beginning, ref: Ref[Any]) -> Launched:
        """Begin an attempt; its calls and its end are told to `ref`. Returns at once; any thread."""
        ...

    def stream_opened(self) -> None:
        """A stream is open that launches here. Never blocks."""
        ...

    def stream_closed(self) -> None:
        """It is not any more, and nothing of it runs. Never blocks."""
        ...
