"""A workload that uses everything at once, in a world where everything goes wrong; and what must hold in the end."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from propolis import Backoff, EntryPoint, RestartPolicy, Runtime, RuntimeConfig, Stream
from propolis.actors import Reply
from propolis.messages import (
    ENDED,
    ActorRestarted,
    AskTimeout,
    LeaseLost,
    RuntimeStopped,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    StreamNotFound,
    StreamNotRunning,
    StreamSaturated,
)
from propolis.testing import Simulation
from propolis.testing.simulation import CALM, ActorCrash, Faults, Violation

from .executors import executor
from .log import Log

__all__ = ["explore"]

EXPECTED = (
    ActorCrash,
    ActorRestarted,
    AskTimeout,
    LeaseLost,
    RuntimeStopped,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    StreamNotFound,  # it could not be opened there
    StreamNotRunning,
    StreamSaturated,
)
"""What a caller may be told in such a world. Anything else is a bug."""

SHORT = Backoff(initial=0.2, maximum=1.0)

STREAMS = (
    EntryPoint(id="one", max_concurrent=1, restart=RestartPolicy(max_restarts=2, backoff=SHORT)),
    EntryPoint(id="two", max_concurrent=2, max_pending=3, restart=RestartPolicy(backoff=Backoff(initial=0.0))),
    EntryPoint(id="wait", max_concurrent=2, max_pending=1, on_full="block", session_policy="reject"),
    EntryPoint(id="drop", max_concurrent=1, max_pending=2, on_full="drop_oldest", session_policy="parallel"),
)


class Unhurried(RuntimeConfig):
    """Looks at what others did six times in a lease, and not sixty times: there is more to see in fewer steps."""

    @property
    def look_seconds(self) -> float:
        return self.lease_seconds / 6


CONFIG = Unhurried(lease_seconds=2.0, grace_seconds=1.0)

OPERATIONS = (
    *("execute",) * 3,
    *("run", "join", "wait") * 2,
    *("key", "cancel", "pause", "resume", "look", "replay", "stop"),
)

SETTLED_SECONDS = 60.0
"""Simulated seconds after the last fault in which everything has to be over."""


@dataclass
class Member:
    """A process with a runtime, its streams, and the clients that live in it."""

    name: str
    runtime: Runtime
    streams: list[Stream] = field(default_factory=list)
    clients: list[Reply[None]] = field(default_factory=list)
    unexpected: list[BaseException] = field(default_factory=list)
    doing: dict[int, str] = field(default_factory=dict)
    """What each client waits for."""

    def is_usable(self) -> bool:
        try:
            self.runtime.check_usable()
        except RuntimeStopped:
            return False
        return True


class Workload:
    """One run."""

    def __init__(self, simulation: Simulation, operations: int) -> None:
        self.simulation = simulation
        self.random = simulation.random
        self.points = self.random.sample(STREAMS, self.random.choice((1, 1, 2)))
        self.log = Log(simulation)
        self.log.slots = {point.id: point.max_concurrent for point in self.points}
        self.log.one_at_a_time = {point.id for point in self.points if point.session_policy != "parallel"}
        self.operations = operations
        self.members: list[Member] = []
        self.number = 0

    # -- processes ---------------------------------------------------------------------------------------------------

    def join(self, clients: int) -> Member | None:
        """Another process; None when its start failed for the faults."""
        self.number += 1
        name = f"m{self.number}"
        try:
            runtime = self.simulation.start(CONFIG)
        except EXPECTED:
            return None
        member = Member(name, runtime)
        self.members.append(member)
        for n in range(clients):
            member.clients.append(self.simulation.begin(self._client(member, n), runtime))
        return member

    def crash(self, member: Member) -> None:
        """SIGKILL."""
        self.simulation.crash(member.runtime)
        self.members.remove(member)
        self.log.forget(member.name)

    # -- clients -----------------------------------------------------------------------------------------------------

    async def _client(self, member: Member, n: int) -> None:
        if n == 0:
            for point in self.points:
                work = executor(self.log, member.name, blocking=self.random.random() < 0.1)
                member.streams.append(await self._expecting(member, member.runtime.open_stream(point, work)))
            await self._expecting(member, member.runtime.subscribe((), self._handler()))
        while len(member.streams) < len(self.points):
            await asyncio.sleep(0.1)
            if not member.is_usable():
                return
        for _ in range(self.operations):
            await asyncio.sleep(self.random.choice((0.0, 0.01, 0.2)))
            if not member.is_usable():
                return
            stream = self.random.choice(member.streams)
            if stream is not None:
                try:
                    await self._operate(stream, member, n)
                except EXPECTED as error:
                    self.log.seen[type(error).__name__] += 1
                except BaseException as error:
                    member.unexpected.append(error)
                    raise

    async def _expecting(self, member: Member, call: Any) -> Any:
        try:
            return await call
        except EXPECTED:
            return None
        except BaseException as error:
            member.unexpected.append(error)
            raise

    def _handler(self) -> Any:
        async def handle(event: Any) -> None:
            self.log.hear_event(event)

        return handle

    def order(self) -> dict[str, Any]:
        return {
            "steps": self.random.choice((0, 1, 1, 2, 4)),
            "seconds": self.random.choice((0.0, 0.0, 0.05, 0.5)),
            "fails": self.random.choice((0, 0, 0, 1, 2, 9)),
            "emits": self.random.random() < 0.2,
            "records": self.random.random() < 0.4,
            "sleeps": self.random.choice((-1, -1, 0, 1)),
        }

    def some_id(self) -> str:
        known = list(self.log.acknowledged)
        return self.random.choice(known) if known else "nobody"

    async def _operate(self, stream: Stream, member: Member, client: int) -> None:
        what = self.random.choice(OPERATIONS)
        self.log.seen[what] += 1
        member.doing[client] = f"{what} on {stream.id}"
        await getattr(self, f"_{what}")(stream, member)

    async def _execute(self, stream: Stream, member: Member) -> None:
        self.log.acknowledge(stream.id, await stream.execute(self.order(), priority=self.random.randrange(2)))

    async def _run(self, stream: Stream, member: Member) -> None:
        result = await stream.run(self.order())
        self.log.acknowledge(stream.id, result.execution_id)
        self.log.hear(result)

    async def _key(self, stream: Stream, member: Member) -> None:
        key = self.random.choice(("a", "b"))
        self.log.acknowledge(stream.id, await stream.execute(KEYED, idempotency_key=key), key)

    async def _join(self, stream: Stream, member: Member) -> None:
        session_id = self.simulation.disk.rows[self.some_id()].session_id if self.log.acknowledged else "nobody"
        self.log.acknowledge(stream.id, await stream.execute(self.order(), session_id=session_id))

    async def _cancel(self, stream: Stream, member: Member) -> None:
        execution_id = self.some_id()
        outcome = await stream.cancel_execution(execution_id)
        if outcome.outcome == "cancelled":
            self.log.seen["cancelled"] += 1
            committed = "cancelled" in self.log.ended.get(execution_id, ())
            self.simulation.check(committed, f"{execution_id} was said to be cancelled, and is not")

    async def _pause(self, stream: Stream, member: Member) -> None:
        await stream.pause_execution(self.some_id())

    async def _resume(self, stream: Stream, member: Member) -> None:
        self.log.acknowledge(stream.id, await stream.resume(self.some_id()))

    async def _wait(self, stream: Stream, member: Member) -> None:
        timeout = self.random.choice((None, 0.0, 2.0))
        self.log.hear(await stream.wait_for_completion(self.some_id(), timeout))

    async def _look(self, stream: Stream, member: Member) -> None:
        await stream.get_context(self.some_id())
        await stream.get_stats()
        self.log.hear(await stream.get_result(self.some_id()))

    async def _replay(self, stream: Stream, member: Member) -> None:
        await member.runtime.replay(self.some_id())

    async def _stop(self, stream: Stream, member: Member) -> None:
        if self.random.random() < 0.3:
            await stream.stop(cancel=self.random.random() < 0.3)
            await self._start_again(stream, member)

    async def _start_again(self, stream: Stream, member: Member) -> None:
        """Until it is started: who stops a stream and goes away leaves what was under way to nobody."""
        while member.is_usable() and stream.ref.is_alive():
            await asyncio.sleep(self.random.random())
            try:
                await stream.start()
            except EXPECTED:
                continue
            return

    # -- the end -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Faults stop: everything has to come to its end."""
        simulation = self.simulation
        simulation.set_faults(CALM)
        for member in self.members:
            simulation.thaw(member.runtime)
        last = self.join(clients=1)
        assert last is not None
        try:
            simulation.run_until(self._all_is_over, within=SETTLED_SECONDS)
        except TimeoutError:
            raise Violation(f"stuck: {'; '.join(self._left())}") from None
        with contextlib.suppress(TimeoutError):  # who was asked of another runtime's execution looks now and then
            simulation.run_until(self._nobody_is_owed, within=2 * CONFIG.grace_seconds)
        for member in self.members:
            for error in member.unexpected:
                raise Violation(f"unexpected: {error!r}") from error
            if member.is_usable():
                self._check_books(member)
        for execution_id in self.log.acknowledged:
            if execution_id not in simulation.disk.rows:
                raise Violation(f"{execution_id} was acknowledged, and is gone")
        self.log.check_memory()

    def _nobody_is_owed(self) -> bool:
        streams = (stream for member in self.members if member.is_usable() for stream in member.streams if stream)
        return not any(stream._opened.books.owed for stream in streams)

    def _all_is_over(self) -> bool:
        return not any(True for _ in self._left())

    def _left(self) -> Any:
        for row in self.simulation.disk.rows.values():
            if row.status not in ENDED:
                yield str(row)
        for member in self.members:
            for n, client in enumerate(member.clients):
                if not client.done():
                    yield f"client {n} of {member.name} waits: {member.doing.get(n)}"
            if member.is_usable() and not all(
                stream.entry_point and not stream.active_execution_ids for stream in member.streams if stream
            ):
                yield f"{member.name} has executions under way"

    def _check_books(self, member: Member) -> None:
        for stream in member.streams:
            if stream is None or not stream.ref.is_alive():
                continue
            books = stream._opened.books
            try:
                stats = stream.get_stats().get()
            except EXPECTED:  # a peer had declared it dead, or its actor was still to crash
                return
            left = (books.live, books.waiters, books.opening, books.owed, stats.queue_depth, stats.active)
            if any(left) or stats.available_slots != stream.entry_point.max_concurrent:
                raise Violation(f"{member.name}, {stream.id}: nothing is under way, and the books hold {left}, {stats}")


KEYED = {"steps": 1, "seconds": 0.1, "fails": 0, "emits": False, "records": True, "sleeps": 0}


def explore(seed: int, *, faults: Faults | None = None, operations: int = 4) -> Log:
    """A whole run from a seed: members come, crash, freeze and stop, while their clients work; then all has to end."""
    with Simulation(seed) as simulation:
        random = simulation.random
        workload = Workload(simulation, operations)
        workload.join(clients=2)
        simulation.set_faults(Faults.drawn(random) if faults is None else faults)
        for _ in range(random.randrange(1, 3)):
            simulation.run_steps(random.randrange(10, 250))
            disturb(workload)
        simulation.run_steps(random.randrange(10, 250))
        workload.settle()
        workload.log.seen["steps"] = simulation.world.steps
        workload.log.digest = simulation.digest
        return workload.log


def disturb(workload: Workload) -> None:
    """Something happens to a whole process."""
    simulation, random = workload.simulation, workload.random
    what = random.choice(("crash", "crash", "freeze", "join", "stop", "nothing"))
    member = random.choice(workload.members) if workload.members else None
    workload.log.seen[what] += 1
    if member is None or what == "join":
        workload.join(clients=2)
    elif what == "crash":
        workload.crash(member)
        workload.join(clients=2)
    elif what == "freeze":
        simulation.freeze(member.runtime)
        workload.join(clients=2)
        if random.random() < 0.7:
            simulation.run_for(3 * CONFIG.lease_seconds)
        else:
            simulation.run_steps(random.randrange(300))
        simulation.thaw(member.runtime)
    elif what == "stop":
        member.runtime.stop(cancel=random.random() < 0.2)
        simulation.run_steps(random.randrange(200))
        workload.join(clients=2)
