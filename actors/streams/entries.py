"""A stream's books: its executions that have not ended, who waits for them, and the results that it still holds."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from propolis.messages import ExecutionSpec, ExecutionState, ExecutionStatus, InboxRow, Payload

if TYPE_CHECKING:
    from ..core import Ref, Reply

__all__ = ["Books", "Entry", "Mode", "Opening", "Results"]

Mode: TypeAlias = Literal["starting", "running", "draining", "stopping", "stopped"]

SWEPT_FROM = 64
"""Waiters for one execution, from which on it is looked who of them is gone."""


class Entry:
    """An execution that has not ended. Without a `ref` it waits for its first slot."""

    __slots__ = (
        "alarm",
        "buried",
        "inbox",
        "memory",
        "node",
        "ref",
        "request",
        "spec",
        "state",
        "taken_up",
        "takes",
        "trial",
    )

    state: ExecutionState
    """Set when its row goes into the store, or comes from there."""

    def __init__(
        self, spec: ExecutionSpec, state: ExecutionState | None, memory: Payload | None, node: str | None = None
    ) -> None:
        self.spec = spec
        if state is not None:
            self.state = state
        self.memory = memory
        self.node = node
        """Where the checkpoint was made that it starts from."""
        self.ref: Ref[Any] | None = None
        self.request = 0
        """The number of its actor's last request for a slot."""
        self.inbox: tuple[InboxRow, ...] | None = None
        """What was left for it while it had no actor."""
        self.taken_up: float | None = None
        """When it was found in the store, by the monotonic clock."""
        self.trial = False
        """It is the one that a half-open circuit lets through."""
        self.takes = False
        """Others may have its session, though it opened that: it takes it with its first attempt."""
        self.buried = False
        """Its actor crashed too often; the present one only writes its end."""
        self.alarm: Reply[Any] | None = None
        """Rings when its time is over before it has begun."""

    def forget_alarm(self) -> None:
        """It has begun, or is no longer here: an alarm that nobody wants is not kept until it is due."""
        if self.alarm is not None:
            self.alarm.abandoned = True
            self.alarm = None


class Opening(NamedTuple):
    """An execution whose row is on its way into the store."""

    entry: Entry
    reply: Reply[Any] | None
    wait: bool
    """The reply is the result, not the acceptance."""
    memory: Payload | None
    checkpoint_id: str | None
    source: str | None = None
    """Of a fork: the session that it begins from."""


class Results:
    """The last results, at most so many and for so long. Bounded by both."""

    def __init__(self, most: int, ttl: float | None) -> None:
        self._most = most
        self._ttl = ttl
        # Plain tuples of plain values: the garbage collector takes them off its list, which it would not do with more.
        self._held: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()

    def add(self, execution_id: str, data: bytes, now: float) -> None:
        """Hold an encoded result."""
        if self._most == 0:
            return
        self._held.pop(execution_id, None)
        self._held[execution_id] = (data, None if self._ttl is None else now + self._ttl)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        self._prune(now)

    def get(self, execution_id: str, now: float) -> bytes | None:
        """An encoded result, if it is still held."""
        self._prune(now)
        held = self._held.get(execution_id)
        return None if held is None else held[0]

    def forget(self, execution_id: str) -> None:
        """Let go of one."""
        self._held.pop(execution_id, None)

    def count(self, now: float) -> int:
        """How many are held."""
        self._prune(now)
        return len(self._held)

    def _prune(self, now: float) -> None:
        while self._ttl is not None and self._held:
            _, until = next(iter(self._held.values()))
            if until is None or until > now:
                return
            self._held.popitem(last=False)


class Books:
    """What outlives a crash of the StreamActor.

    `live` is the published snapshot too: only the actor loop changes it, and a copy of its keys is one step of the
    interpreter, so any thread may take one.
    """

    def __init__(self, results: Results) -> None:
        self.live: dict[str, Entry] = {}
        self.opening: dict[str, Opening] = {}
        self.waiters: dict[str, list[Reply[Any]]] = {}
        self.detached: set[str] = set()
        self.parked: set[str] = set()
        self.asking: set[str] = set()
        """Parked for an answer of a person."""
        self.left: set[str] = set()
        """Counted as accepted, and let go of unfinished: not to be counted again when they are taken up again."""
        self.owed: dict[Reply[Any], tuple[str, float | None] | None] = {}
        """Replies that hang on a turn of the StreamActor to come; for a wait: of which execution, and until when."""
        self.mode: Mode = "starting"
        self.cancelling = False
        """The stop under way ends everything as cancelled."""
        self.results = results
        self.accepted = 0
        self.ended = 0
        self.restarts = 0
        self.quarantined = 0
        self.running = 0
        self.counts: dict[ExecutionStatus, int] = {}
        self.latencies: deque[float] = deque(maxlen=1_024)

    def add_waiter(self, execution_id: str, reply: Reply[Any]) -> None:
        """Answer this too when that execution has ended.

        Who was cancelled while they waited may wait again. Those who never do must not add up until then: each time
        that there are twice as many, they are answered with None, as one is whose time is over.
        """
        waiters = self.waiters.setdefault(execution_id, [])
        waiters.append(reply)
        if len(waiters) >= SWEPT_FROM and len(waiters).bit_count() == 1:
            gone = [each for each in waiters if each.unattended]
            waiters[:] = [each for each in waiters if not each.unattended]
            for each in gone:
                each.set(None)

    def owe(self, reply: Reply[Any], wait: tuple[str, float | None] | None = None) -> None:
        """Remember a reply until it is given, so that a crash of the actor does not forget it."""
        if reply not in self.owed:
            self.owed[reply] = wait
            reply.on_done(lambda: self._forget(reply))

    def _forget(self, reply: Reply[Any]) -> None:
        self.owed.pop(reply, None)

    def active_ids(self) -> tuple[str, ...]:
        """The ids of all that has not ended. Any thread."""
        return tuple(self.live)

    def count_end(self, status: ExecutionStatus, restarts: int, *, quarantined: bool, seconds: float) -> None:
        """An execution has ended."""
        self.ended += 1
        self.counts[status] = self.counts.get(status, 0) + 1
        self.restarts += restarts
        self.quarantined += quarantined
        self.latencies.append(seconds * 1_000)

    def percentiles(self) -> Mapping[str, float]:
        """Of the latencies of recent executions, in milliseconds."""
        values = sorted(self.latencies)
        if not values:
            return {}
        return {f"p{p}": round(values[min(len(values) - 1, len(values) * p // 100)], 3) for p in (50, 90, 99)}
