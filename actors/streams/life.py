"""What of an ExecutionActor outlives a crash of it: how the execution stands, and what runs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from propolis.messages import ExecutionReport, ExecutionState, Failure, InboxRow, Payload, SaveCheckpoint

if TYPE_CHECKING:
    from ..core import Reply
    from ..placements import Launched

__all__ = ["AWAIT_TURN", "CLAIM", "LAUNCH", "WAIT", "WAITING", "EndingStatus", "Life", "Order", "Phase"]

EndingStatus: TypeAlias = Literal["completed", "failed", "cancelled", "paused"]

Phase: TypeAlias = Literal[
    "new",
    "claiming",
    "awaiting_turn",
    "awaiting_slot",
    "running",
    "parked",
    "unparking",
    "writing",
    "backing_off",
    "ended",
]

WAITING: Final[frozenset[Phase]] = frozenset({"awaiting_turn", "awaiting_slot", "backing_off", "parked"})
"""Nothing is being written, and nothing needs a slot."""
_WITH_STACK: Final[frozenset[Phase]] = frozenset({"running", "parked", "awaiting_slot", "unparking"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How an execution's actor begins.

    `launch`: its first attempt is counted already, in the commit that accepted it. `claim`: count an attempt, take the
    session, begin. `await_turn`: its session is in use, wait for it first. `wait`: it was parked when its last owner
    left it. `end`: it is over before it began.
    """

    kind: Literal["launch", "claim", "await_turn", "wait", "end"]
    status: EndingStatus = "cancelled"
    reason: str = ""
    failure: Failure | None = None


LAUNCH: Final = Order(kind="launch")
CLAIM: Final = Order(kind="claim")
AWAIT_TURN: Final = Order(kind="await_turn")
WAIT: Final = Order(kind="wait")


class Life:
    """Mutable, in the hands of one ExecutionActor and its successors."""

    __slots__ = (
        "cancel",
        "cancel_waiters",
        "detached",
        "heard",
        "inbox",
        "launched",
        "leaving",
        "memory",
        "node",
        "pausing",
        "phase",
        "progress",
        "report",
        "requests",
        "saving",
        "state",
        "taken_up",
        "takes",
    )

    def __init__(
        self,
        state: ExecutionState,
        memory: Payload | None,
        node: str | None,
        inbox: tuple[InboxRow, ...] | None = None,
        taken_up: float | None = None,
    ) -> None:
        self.state, self.memory, self.node = state, memory, node
        """`memory` and `node` are what a re-run starts from: the last checkpoint's, at first the start's."""
        self.saving: tuple[SaveCheckpoint, ...] = ()
        """Checkpoints on their way into the store."""
        self.phase: Phase = "new"
        self.launched: Launched | None = None
        self.progress: Payload | None = None
        self.report: ExecutionReport | None = None
        """Of the last checkpoint, or the end: also what the result says of an attempt that could not say it itself."""
        self.cancel: str | None = None
        """Why, once somebody wants it cancelled."""
        self.detached = False
        """Somebody was told that it cannot be stopped: whatever it still does, it ends as cancelled."""
        self.pausing = False
        self.leaving = False
        self.requests = 0
        """How often it has asked for a slot."""
        self.takes = False
        """Whether it has to take its session with each attempt, and begins with what it is told then."""
        self.cancel_waiters: list[Reply[Any]] | None = None
        self.inbox = inbox
        """The rows that were left for it and are not cleared yet, in order."""
        self.heard = inbox[-1].id if inbox else 0
        """The id of the last of all rows that it has heard."""
        self.taken_up = taken_up
        """When its stream found it in the store, by the monotonic clock; None: it was accepted here."""

    @property
    def executing(self) -> bool:
        """Whether an attempt is under way: it runs, or is parked with its stack kept."""
        return self.launched is not None and self.phase in _WITH_STACK
