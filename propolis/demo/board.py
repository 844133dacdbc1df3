"""What is going on, folded from events: what the live view shows beside the runtime's own figures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from propolis.messages import Event, RuntimeStats, StreamStats, SupervisionTree, WorkerInfo

from .audit import STREAM_ID

__all__ = ["WATCHED", "Board", "Finding", "Snapshot"]

WATCHED = (
    "complex_function",
    "execution_cancelled",
    "execution_completed",
    "execution_failed",
    "execution_progress",
    "execution_recovered",
    "execution_restarted",
    "execution_started",
)
RECENT = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a line: `kind` is failed, restarted, recovered or complex."""

    number: int
    """Counted from 1."""
    kind: str
    execution_id: str
    text: str


class Board:
    """A fold over events. One thread or task applies them; others only read, and may see one of two fields first.

    What an overflow of the subscription's queue drops is missing here, and nowhere else: figures come from the
    runtime, and the report from the store.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        """The module of an execution, or the attack. Filled by whoever submits: an event may come before the reply."""
        self.working: dict[str, str] = {}
        """Of running executions, by id: the last note."""
        self.findings: deque[Finding] = deque(maxlen=RECENT)
        self.recovered = 0

    async def handle(self, event: Event) -> None:
        """To be subscribed. `async`, so that it runs on the event loop of executors and needs no thread."""
        if isinstance(event, Event):  # the other kind says that some were missed
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Take one event in."""
        execution_id = event.execution_id or ""
        match event.type:
            case "execution_started":
                self.working[execution_id] = "starting"
            case "execution_progress" if execution_id in self.working:
                self.working[execution_id] = str(event.data.get("note", ""))
            case "execution_completed" | "execution_cancelled":
                self.working.pop(execution_id, None)
            case "execution_failed":
                self.working.pop(execution_id, None)
                self._find("failed", execution_id, str(event.data.get("error", "")))
            case "execution_restarted":
                self._find("restarted", execution_id, str(event.data.get("error", "")))
            case "execution_recovered":
                self.recovered += 1
                self._find("recovered", execution_id, "was interrupted; goes on")
            case "complex_function":
                data = event.data
                self._find("complex", execution_id, f"{data.get('function')} has complexity {data.get('complexity')}")

    def name_of(self, execution_id: str) -> str:
        """The module, or the attack, that an execution is about, if that is known by now."""
        return self.names.get(execution_id, "…")

    def _find(self, kind: str, execution_id: str, text: str) -> None:
        number = self.findings[-1].number + 1 if self.findings else 1
        self.findings.append(Finding(number, kind, execution_id, text))

    def findings_after(self, number: int) -> list[Finding]:
        """Those that came after the one of this number, as far as they are still kept."""
        return [finding for finding in self.findings.copy() if finding.number > number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One look at a run: how far it is, and what the runtime says of itself."""

    total: int
    done: int
    seconds: float
    stats: RuntimeStats
    tree: SupervisionTree
    attacks: int = 0
    """Hostile executions; `attacks_ended` of them have ended."""
    attacks_ended: int = 0
    workers: tuple[WorkerInfo, ...] = ()

    @property
    def is_last(self) -> bool:
        """All has ended."""
        return self.done >= self.total and self.attacks_ended >= self.attacks

    def stream(self, stream_id: str) -> StreamStats:
        """The figures of a stream; none yet, while it is being opened."""
        unknown = StreamStats(stream_id=stream_id, entry_point=stream_id, running=False)
        return next((stream for stream in self.stats.streams if stream.stream_id == stream_id), unknown)

    @property
    def audit(self) -> StreamStats:
        """The figures of the audit."""
        return self.stream(STREAM_ID)

    @property
    def by_status(self) -> dict[str, int]:
        """Audits that ended in this run, by status."""
        return dict(self.audit.status_counts)

    @property
    def ended_here(self) -> int:
        """Audits that this run brought to an end; the others were recorded before."""
        return self.audit.completed_executions

    @property
    def before(self) -> int:
        """Modules that an earlier run had recorded."""
        return max(0, self.done - self.ended_here)

    @property
    def per_second(self) -> float:
        """Modules audited in a second, over the whole run."""
        return self.ended_here / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None while there is none."""
        return (self.total - self.done) / self.per_second if self.per_second > 0 else None
