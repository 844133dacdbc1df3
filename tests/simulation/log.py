"""What the world outside of all processes has seen: who was promised what, and who runs. Each entry is checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from propolis.messages import ENDED, Event, ExecutionResult
from propolis.testing import Simulation
from propolis.testing.simulation import Row, Violation

__all__ = ["Body", "Log"]


@dataclass(frozen=True)
class Body:
    """One run of an executor's code."""

    process: str
    stream: str
    execution_id: str
    session_id: str
    epoch: int
    attempt: int


@dataclass
class Log:
    """Sees every acknowledgement, result, event and attempt, and looks at the store at that very moment."""

    simulation: Simulation
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Execution ids, and the stream that has each."""
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    ended: dict[str, set[str]] = field(default_factory=dict)
    """Every status that an execution has ended in, as committed."""
    running: list[Body] = field(default_factory=list)
    checkpoints: dict[str, int] = field(default_factory=dict)
    """How far each execution was told that it had come."""
    begun: set[tuple[str, int]] = field(default_factory=set)
    effects: set[tuple[str, int]] = field(default_factory=set)
    """Steps that were told to their executor as recorded."""
    seen: Counter[str] = field(default_factory=Counter)
    """What has happened how often: a run in which nothing happens proves nothing."""
    digest: str = ""
    """Of the whole run, in the end."""
    slots: dict[str, int] = field(default_factory=dict)
    one_at_a_time: set[str] = field(default_factory=set)
    """Streams whose executions of one session run one at a time."""

    def __post_init__(self) -> None:
        self.simulation.disk.on_commit.append(self._committed)

    def _committed(self, before: dict[str, Row], after: dict[str, Row]) -> None:
        for execution_id, row in after.items():
            if row.status in ENDED and before.get(execution_id) != row:
                self.ended.setdefault(execution_id, set()).add(row.status)

    # -- what callers hear -------------------------------------------------------------------------------------------

    def acknowledge(self, stream: str, execution_id: str, key: str | None = None) -> None:
        """D1: accepted is durable. One key, one execution."""
        self.seen["acknowledged"] += 1
        self.simulation.check(
            execution_id in self.simulation.disk.rows, f"{execution_id} was acknowledged and is not durable"
        )
        self.acknowledged[execution_id] = stream
        if key is not None:
            first = self.keys.setdefault((stream, key), execution_id)
            self.simulation.check(first == execution_id, f"key {key} made {first} and {execution_id}")

    def hear(self, result: ExecutionResult | None) -> None:
        """D3: nobody hears a result that is not committed."""
        if result is not None:
            self.seen[f"heard {result.status}"] += 1
            self.simulation.check(
                result.status in self.ended.get(result.execution_id, ()),
                f"{result.execution_id} is {result.status} for its waiter, and not in the store",
            )

    def hear_event(self, event: Event) -> None:
        """D3: commit, then the event."""
        if not isinstance(event, Event) or event.execution_id is None:
            return
        status = event.type.removeprefix("execution_")
        if status in ENDED:
            self.seen["events"] += 1
            self.simulation.check(
                status in self.ended.get(event.execution_id, ()), f"{event.type} of {event.execution_id} is not durable"
            )

    # -- what executors see ------------------------------------------------------------------------------------------

    def begin(self, process: str, ctx: Any, done: int) -> Body:
        """D2: an attempt is counted before it starts. One body for each epoch, no more than there are slots."""
        body = Body(process, ctx.stream_id, ctx.execution_id, ctx.session_id, ctx.epoch, ctx.attempt)
        self.seen["begun"] += 1
        self.seen["begun again"] += ctx.attempt > 1
        row = self.simulation.disk.rows[ctx.execution_id]
        self.simulation.check(
            row.attempt >= ctx.attempt and row.epoch >= ctx.epoch, f"{body} runs and is not counted: {row}"
        )
        self.simulation.check((ctx.execution_id, ctx.epoch) not in self.begun, f"{body} began twice under one epoch")
        self.begun.add((ctx.execution_id, ctx.epoch))
        self.running.append(body)
        self.simulation.check(
            done >= self.checkpoints.get(ctx.execution_id, 0) or row.epoch != ctx.epoch,
            f"{body} starts at {done}, and was told that {self.checkpoints.get(ctx.execution_id)} is saved",
        )
        current = [each for each in self.running if self._is_current(each)]
        mine = [each for each in current if (each.process, each.stream) == (process, body.stream)]
        self.simulation.check(
            len(mine) <= self.slots[body.stream], f"{body.stream} has {self.slots[body.stream]} slots: {mine}"
        )
        if body.stream in self.one_at_a_time:
            same = [each for each in current if each.session_id == body.session_id and each.stream == body.stream]
            self.simulation.check(len(same) <= 1, f"one session, two at work: {same}")
        return body

    def _is_current(self, body: Body) -> bool:
        row = self.simulation.disk.rows[body.execution_id]
        return row.epoch == body.epoch and row.status == "running"

    def take_effect(self, execution_id: str, n: int, epoch: int) -> None:
        """D4: a recorded step never runs again. (A step that was in flight in a process which was stopped may: D5.)"""
        self.seen["effects"] += 1
        if self.simulation.disk.rows[execution_id].epoch != epoch:
            return
        self.simulation.check((execution_id, n) not in self.effects, f"step {n} of {execution_id} ran again")

    def recorded(self, ctx: Any, n: int, value: int) -> None:
        """A step has returned, from its function or from the record."""
        self.seen["recorded"] += 1
        self.effects.add((ctx.execution_id, n))
        self.simulation.check(value == n, f"step {n} of {ctx.execution_id} gave {value}")

    def saved(self, ctx: Any, done: int) -> None:
        """A checkpoint was acknowledged."""
        self.seen["checkpoints"] += 1
        self.checkpoints[ctx.execution_id] = max(done, self.checkpoints.get(ctx.execution_id, 0))

    def check_memory(self) -> None:
        """At the end: what each execution has saved in a session is there, whoever else has written to it."""
        for execution_id, done in self.checkpoints.items():
            record = self.simulation.disk.session(self.simulation.disk.rows[execution_id].session_id)
            kept = 0 if record is None else record.memory.get(execution_id, 0)
            if kept < done:
                raise Violation(f"{execution_id} was told that {done} is saved, and its session has {kept}")

    def end(self, body: Body) -> None:
        """Its code has come back."""
        if body in self.running:
            self.running.remove(body)

    def forget(self, process: str) -> None:
        """That process is no more, and nothing of it runs."""
        self.running = [body for body in self.running if body.process != process]
