"""The supervisor of system actors: restarts a crashed child behind its unchanged reference, or gives up itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from propolis.messages import ActorNode, Failure, GetTree, SupervisionTree

from ..core import AsyncioActor, Cell, Ref
from ..specs import Intensity
from .intensity import decide_system
from .policy import Escalate

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Escalated", "Supervisor", "tree_of"]


class Escalated(Exception):
    """A child crashed more often than its intensity allows; raised in its supervisor, which thereby crashes too."""


class Supervisor(AsyncioActor):
    """An actor whose crashed children are restarted while they crash within `intensity`, and which crashes beyond it.

    The restart is a turn of the supervisor's own, so a stop can come in between. Children outlive a restart of their
    supervisor: they are found again in `children()`.
    """

    intensity: Intensity = Intensity()

    def on_child_failure(self, child: Ref[Any], failure: Failure) -> None:
        """Restart it, at once or after the intensity's backoff, or escalate."""
        crashes = self.kept("crashes", dict[str, tuple[float, ...]])
        cell = child.actor_inbox
        decided = decide_system(self.intensity, crashes.get(cell.name, ()), self.host.monotonic())
        crashes[cell.name] = decided.crashes
        if isinstance(decided.decision, Escalate):
            cell.terminate(failure)
            raise Escalated(f"{cell.path}: {decided.decision.reason}; the last: {failure.kind}: {failure.message}")
        self.actor_inbox.loop.call_later(decided.decision.after, cell.restart)

    def on_child_ended(self, child: Ref[Any], failure: Failure | None) -> None:
        """Forget its crashes."""
        self.kept("crashes", dict[str, tuple[float, ...]]).pop(child.actor_inbox.name, None)

    def get_tree(self, message: GetTree) -> SupervisionTree:
        """The actor itself and what is below it."""
        return SupervisionTree(actors=tuple(tree_of(self.actor_inbox, message.limit)))


def tree_of(cell: Cell, limit: int) -> Iterator[ActorNode]:
    """The actors from `cell` down, parents first, at most `limit` children of one parent. On the loop."""
    children = list((cell.children or {}).values())
    yield ActorNode(
        path=cell.path,
        kind=cell.actor_class.__name__,
        alive=not cell.stopped.is_set() and not cell.suspended,
        queued=cell.depth(),
        restarts=cell.restarts,
        children=len(children),
        called_by=None if cell.actor is None else cell.actor.called_by,
    )
    for child in children[:limit]:
        yield from tree_of(child, limit)
