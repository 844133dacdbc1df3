"""What is compared with what, and what we want to reach: the table of the design, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Venv = Literal["project", "peers", "casty"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A script in `contenders/`, the venv that it needs, and its N in a full and in a quick run."""

    script: str
    venv: Venv
    n: int
    quick: int
    one_core: bool = False
    """Hold it to one core; ", one core" is added to the names that it prints."""

    @property
    def suffix(self) -> str:
        """What is added to the names of its measurements."""
        return ", one core" if self.one_core else ""

    @property
    def label(self) -> str:
        """The script, and how it is run."""
        return self.script + self.suffix


@dataclass(frozen=True)
class Bar:
    """A value to reach: an absolute one, or a multiple of the peer's."""

    value: float
    times_peer: bool = True

    def absolute(self, peer: float | None) -> float | None:
        """The bar in the row's own unit; None while the peer that it is a multiple of has no value."""
        if not self.times_peer:
            return self.value
        return None if peer is None else self.value * peer

    def __str__(self) -> str:
        return f"{self.value:g} ×" if self.times_peer else f"{self.value:,.0f}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. `ours` and `peer` are names of measurements that the contenders print."""

    key: str
    title: str
    ours: str
    peer: str
    contenders: tuple[Contender, ...]
    floor: Bar | None = None
    goal: Bar | None = None
    lower_is_better: bool = False

    def reaches(self, value: float, bar: float) -> bool:
        """Whether `value` is at least as good as `bar`, both in the row's unit."""
        return value <= bar if self.lower_is_better else value >= bar


EXECUTIONS = Contender(script="propolis_executions", venv="project", n=10_000, quick=2_000)
LATENCY = Contender(script="propolis_latency", venv="project", n=1_000, quick=200)
MEMORY = Contender(script="propolis_memory", venv="project", n=100_000, quick=5_000)
RECOVERY = Contender(script="propolis_recovery", venv="project", n=10_000, quick=1_000)
MESSAGES = Contender(script="propolis_messages", venv="project", n=100_000, quick=20_000)
ASKS = Contender(script="propolis_asks", venv="project", n=50_000, quick=10_000)
WORKERS = Contender(script="propolis_workers", venv="project", n=1_000, quick=200)
DBOS = Contender(script="dbos_workflows", venv="peers", n=500, quick=200)
LANGGRAPH = Contender(script="langgraph_runs", venv="peers", n=500, quick=200)
GRAPH = Contender(script="propolis_graph", venv="project", n=3_000, quick=500)
LANGGRAPH_GRAPH = Contender(script="langgraph_graph", venv="peers", n=300, quick=100)
CASTY_WRITES = Contender(script="casty_writes", venv="casty", n=5_000, quick=1_000)
CASTY_ASKS = Contender(script="casty_asks", venv="casty", n=100_000, quick=20_000)
PYKKA_MESSAGES = Contender(script="pykka_messages", venv="peers", n=50_000, quick=10_000)
PYKKA_MEMORY = Contender(script="pykka_memory", venv="peers", n=2_000, quick=500)
FSYNC = Contender(script="fsync", venv="project", n=1_000, quick=200)
SQLITE_ROWS = Contender(script="sqlite_rows", venv="project", n=50_000, quick=10_000)
MSGPACK = Contender(script="msgpack_messages", venv="project", n=200_000, quick=50_000)

LIMITS = (SQLITE_ROWS, FSYNC, MSGPACK)
"""Physical limits, printed beside whatever rows are run."""

ROWS = (
    Row(
        key="executions-dbos",
        title="durable executions",
        ours="Propolis executions",
        peer="DBOS workflows",
        contenders=(EXECUTIONS, DBOS),
        floor=Bar(30),
        goal=Bar(60),
    ),
    Row(
        key="executions-langgraph",
        title="durable executions",
        ours="Propolis executions",
        peer="LangGraph runs",
        contenders=(EXECUTIONS, LANGGRAPH),
        floor=Bar(15),
        goal=Bar(30),
    ),
    Row(
        key="executions-casty",
        title="durable executions",
        ours="Propolis executions",
        peer="casty writes",
        contenders=(EXECUTIONS, CASTY_WRITES),
        floor=Bar(1.5),
        goal=Bar(3),
    ),
    Row(
        key="executions-casty-new",
        title="durable executions",
        ours="Propolis executions",
        peer="casty new entities",
        contenders=(EXECUTIONS, CASTY_WRITES),
    ),
    Row(
        key="graph-nodes",
        title="nodes of a graph of three, a checkpoint behind each",
        ours="Propolis graph nodes",
        peer="LangGraph graph nodes",
        contenders=(GRAPH, LANGGRAPH_GRAPH),
        floor=Bar(10),
    ),
    Row(
        key="graph-overhead",
        title="a graph of three functions, beside the same as plain steps: processor time",
        ours="Propolis graph, CPU",
        peer="Propolis steps, CPU",
        contenders=(GRAPH,),
        floor=Bar(2),
        lower_is_better=True,
    ),
    Row(
        key="messages",
        title="messages between two actors",
        ours="Propolis messages",
        peer="pykka messages",
        contenders=(MESSAGES, PYKKA_MESSAGES),
        floor=Bar(3),
        goal=Bar(5),
    ),
    # The row above compares two ways of handing over, and what a thread's costs depends on where the system puts the
    # two threads: waking another core costs several times what a switch on the same core does. These two, without a
    # bar, show the other cases: both on one core, and enough in flight that no thread has to be woken. pykka hands over
    # a reference and we encode, so here it is the encoding that is seen.
    Row(
        key="messages-one-core",
        title="the same, held to one core",
        ours="Propolis messages, one core",
        peer="pykka messages, one core",
        contenders=(replace(MESSAGES, one_core=True), replace(PYKKA_MESSAGES, one_core=True)),
    ),
    Row(
        key="messages-100",
        title="the same, 100 in flight",
        ours="Propolis messages, 100 in flight",
        peer="pykka messages, 100 in flight",
        contenders=(MESSAGES, PYKKA_MESSAGES),
    ),
    Row(
        key="asks",
        title="ask round trips, 100 outstanding",
        ours="Propolis asks",
        peer="casty asks",
        contenders=(ASKS, CASTY_ASKS),
        floor=Bar(0.7),
        goal=Bar(1.2),
    ),
    Row(
        key="memory",
        title="memory of a waiting execution",
        ours="Propolis memory",
        peer="pykka memory",
        contenders=(MEMORY, PYKKA_MEMORY),
        floor=Bar(12, times_peer=False),
        goal=Bar(6, times_peer=False),
        lower_is_better=True,
    ),
    Row(
        key="recovery",
        title="executions taken over after a crash",
        ours="Propolis recovery",
        peer="SQLite SELECT",
        contenders=(RECOVERY,),
        floor=Bar(5_000, times_peer=False),
        goal=Bar(0.5),
    ),
    Row(
        key="latency",
        title="one durable execution, p50",
        ours="Propolis latency",
        peer="two fsyncs",
        contenders=(LATENCY, FSYNC),
        floor=Bar(5),
        goal=Bar(3),
        lower_is_better=True,
    ),
    # The peer of the first is a pipe and nothing else; an execution is two commits and an actor's life besides, which
    # is nearly all of the difference (the note has the same in a thread).
    Row(
        key="worker",
        title="one execution on a warm worker, store in memory, p50",
        ours="Propolis warm worker",
        peer="multiprocessing.Pipe",
        contenders=(WORKERS,),
        floor=Bar(10),
        goal=Bar(4),
        lower_is_better=True,
    ),
    Row(
        key="worker-restart",
        title="from SIGKILL of a worker to the restarted executor, p50",
        ours="Propolis restart, warm spare",
        peer="Propolis restart, no spare",
        contenders=(WORKERS,),
        floor=Bar(50, times_peer=False),
        goal=Bar(10, times_peer=False),
        lower_is_better=True,
    ),
)
