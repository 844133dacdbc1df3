"""Questions, and the records that answer them."""

from __future__ import annotations

from .base import Message, Pairs, Request
from .records import ExecutionContext, ExecutionResult, ExecutionSpec, ExecutionState, SessionRecord

__all__ = [
    "ActorNode",
    "CircuitState",
    "ExecutionRow",
    "GetActive",
    "GetContext",
    "GetExecution",
    "GetResult",
    "GetSession",
    "GetStats",
    "GetTree",
    "GetWhereabouts",
    "RuntimeStats",
    "StreamStats",
    "SupervisionTree",
    "Whereabouts",
]


class CircuitState(Message, tag="stream.circuit.v1"):
    """A stream's circuit: `closed` (work flows), `open` (refused), `half_open` (one trial)."""

    state: str = "closed"
    recent_failures: int = 0
    retry_after: float = 0.0


class StreamStats(Message, tag="stream.stats.v1"):
    """A stream at one moment. Latencies are of ended executions, acceptance to end, in milliseconds."""

    stream_id: str
    entry_point: str
    running: bool
    total_executions: int = 0
    completed_executions: int = 0
    status_counts: Pairs[int] = Pairs()
    max_concurrent: int = 0
    available_slots: int = 0
    queue_depth: int = 0
    active: int = 0
    restarts: int = 0
    quarantined: int = 0
    detached: int = 0
    late_calls: int = 0
    """Calls and reports of attempts that were detached or have lost their place to another: refused, dropped."""
    results_held: int = 0
    circuit: CircuitState = CircuitState()
    latency_ms: Pairs[float] = Pairs()
    """Percentiles of recent executions by name: p50, p90, p99."""


class GetStats(Request[StreamStats], tag="stream.get_stats.v1"):
    """To a stream."""


class GetResult(Request[ExecutionResult | None], tag="stream.get_result.v1"):
    """To a stream: the result if it is still held in memory."""

    execution_id: str


class GetContext(Request[ExecutionContext | None], tag="stream.get_context.v1"):
    """To a stream: how an execution stands."""

    execution_id: str


class GetActive(Request[tuple[str, ...]], tag="stream.get_active.v1"):
    """To a stream: the ids of all executions that have not ended."""


class ExecutionRow(Message, tag="execution.row.v1"):
    """An execution as the store has it."""

    spec: ExecutionSpec
    state: ExecutionState


class GetExecution(Request[ExecutionRow | None], tag="execution.get.v1"):
    """To the SessionActor: an execution as the store has it."""

    execution_id: str


class GetSession(Request[SessionRecord | None], tag="session.get.v1"):
    """To the SessionActor: a session as the store has it."""

    session_id: str


class RuntimeStats(Message, tag="runtime.stats.v1"):
    """A runtime at one moment."""

    runtime_id: str
    store: str
    running: bool
    streams: tuple[StreamStats, ...] = ()
    commits: int = 0
    rows_written: int = 0
    writes_waiting: int = 0
    store_available: bool = True
    dead_letters: int = 0
    subscribers: int = 0


class ActorNode(Message, tag="tree.actor.v1"):
    """One actor of the tree: `path` from the root ("runtime/stream:webhook"), mailbox depth, restarts so far.

    `called_by`, of an execution that `ctx.call` or `ctx.start` has begun: the id of the execution that called it.
    """

    path: str
    kind: str
    alive: bool
    queued: int = 0
    restarts: int = 0
    children: int = 0
    called_by: str | None = None


class SupervisionTree(Message, tag="tree.v1"):
    """The tree, parents before children."""

    actors: tuple[ActorNode, ...]


class GetTree(Request[SupervisionTree], tag="tree.get.v1"):
    """To any supervisor: itself and what is below it (at most `limit` children of one parent)."""

    limit: int = 100


class Whereabouts(Message, tag="stream.whereabouts.v1"):
    """What a stream knows of one execution, and of itself, at this moment."""

    mode: str
    """Of the stream: starting, running, draining, stopping, stopped."""
    place: str | None = None
    """running (it holds a slot), queued, blocked, aside (it waits for something else); None: it is not under way."""
    ahead: int = 0
    """How many are queued before it."""
    queue_depth: int = 0
    running: int = 0
    max_concurrent: int = 0
    phase: str | None = None
    """What its actor is at, once it has one."""
    circuit: CircuitState = CircuitState()
    version: str | None = None
    """Of the entry point that is open."""


class GetWhereabouts(Request[Whereabouts], tag="stream.get_whereabouts.v1"):
    """To a stream: where an execution stands."""

    execution_id: str
