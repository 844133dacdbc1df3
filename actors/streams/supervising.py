"""The part of a StreamActor that has executions under it: starts them, hears of their ends, tells who waits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from propolis.messages import (
    ENDED,
    AppendEvents,
    Encoded,
    Event,
    EventDraft,
    ExecutionEnded,
    ExecutionRow,
    ExecutionSpec,
    Failure,
    GetExecution,
    LeaveTurn,
    Payload,
    RuntimeStopped,
    SlotGranted,
    SlotReturned,
    SlotWanted,
    WakeAt,
    WakeMe,
)

from ..alarms import wake
from ..core import Ref, Reply
from ..core.answers import send_reply
from ..supervision.circuit import Circuit
from ..supervision.intensity import decide_system
from ..supervision.policy import Restart
from ..supervision.supervisor import Supervisor
from .admission import Admission, Freed
from .endings import make_advance
from .entries import Books, Entry, Mode, Opening, Results
from .execution import ExecutionActor
from .finding import ask_surely
from .interrupting import limit_failure
from .life import CLAIM, Life, Order
from .limits import whole_limit
from .plan import StreamPlan

__all__ = ["Supervising"]

FOREIGN_POLL_SECONDS = 0.2
"""How often the store is read for the end of an execution that another runtime has."""


class Supervising(Supervisor):
    """Holds the books, the slots and the circuit of a stream."""

    def __init__(self, plan: StreamPlan) -> None:
        super().__init__()
        self.plan = plan
        self.stream_id = plan.entry_point.id
        point = plan.entry_point
        self.books: Books = self.kept(
            "books", lambda: Books(Results(point.result_retention_max, point.result_retention_ttl))
        )
        self.admission = Admission.of(point)
        self.blocked: dict[str, Opening] = self.kept("blocked", dict)
        self.circuit = Circuit()
        self._crashes: dict[str, tuple[float, ...]] = self.kept("crashes", dict)

    @property
    def mode(self) -> Mode:
        """Where the stream stands; outlives a crash of this actor."""
        return self.books.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self.books.mode = mode

    # -- executions begin --------------------------------------------------------------------------------------------

    def spawn_execution(self, entry: Entry, order: Order) -> None:
        """Give an execution its actor."""
        life = Life(entry.state, entry.memory, entry.node, entry.inbox, entry.taken_up)
        life.takes = entry.takes
        entry.ref = self.spawn(
            ExecutionActor,
            self.plan,
            entry.spec,
            life,
            order,
            name=entry.spec.execution_id,
        )
        entry.memory = entry.inbox = None  # the actor has them now
        entry.forget_alarm()
        self.host.reach("execution.spawned")

    def make_room(self, freed: Freed) -> None:
        """Slots or places became free: start, or admit, who is next."""
        if not freed.start and not freed.admitted:
            return
        admitted = set(freed.admitted)
        for execution_id in freed.start:
            if execution_id in admitted:
                admitted.discard(execution_id)
                self._open_blocked(execution_id, start_now=True)
            else:
                self._start(execution_id)
        for execution_id in freed.admitted:
            if execution_id in admitted:
                self._open_blocked(execution_id, start_now=False)

    def _start(self, execution_id: str) -> None:
        entry = self.books.live.get(execution_id)
        if entry is None:
            return  # its row is on its way into the store; it begins when that is committed
        if entry.ref is None:
            self.spawn_execution(entry, CLAIM)
        else:
            entry.ref.deliver(SlotGranted(request=entry.request))

    def _open_blocked(self, execution_id: str, *, start_now: bool) -> None:
        opening = self.blocked.pop(execution_id, None)
        if opening is not None:
            entry = opening.entry  # it is accepted now, which is when its total_timeout begins
            entry.spec = entry.spec.model_copy(update={"accepted_at": self.host.now()})
            self.open(opening, start_now=start_now)

    def open(self, opening: Opening, *, start_now: bool) -> None:
        """Commit a new execution's row."""
        raise AssertionError("the accepting part opens")

    def watch_pending(self, entry: Entry) -> None:
        """The deadline of an execution counts while it is queued, too."""
        limit = whole_limit(self.plan.entry_point, entry.spec, self.host.now())
        if limit is None or limit.at is None:
            return
        order = Order(kind="end", status="failed", failure=limit_failure(limit))
        due = WakeAt(at=limit.at)
        entry.alarm = wake(self, self.plan.wakeups, due, lambda: self.end_pending(entry.spec.execution_id, order))

    def end_pending(self, execution_id: str, order: Order) -> bool:
        """End an execution that has not begun. False when it has, or is not there."""
        entry = self.books.live.get(execution_id)
        if entry is None or entry.ref is not None:
            return False
        self.make_room(self.admission.withdraw(execution_id))
        self.spawn_execution(entry, order)
        return True

    # -- what executions say -----------------------------------------------------------------------------------------

    def slot_returned(self, message: SlotReturned) -> None:
        """It waits for something else."""
        if message.parked:
            self.books.parked.add(message.execution_id)
            (self.books.asking.add if message.asks else self.books.asking.discard)(message.execution_id)
        self.make_room(self.admission.set_aside(message.execution_id))
        self.look_at_end()  # a drain waits neither for what is parked, nor for who is behind that

    def slot_wanted(self, message: SlotWanted) -> None:
        """It can go on."""
        self.books.parked.discard(message.execution_id)
        self.books.asking.discard(message.execution_id)
        entry = self.books.live.get(message.execution_id)
        if entry is None or entry.ref is None:
            return
        entry.request = message.request
        if self.admission.where(message.execution_id) != "aside":
            return
        if self.admission.readmit(message.execution_id).start_now:
            entry.ref.deliver(SlotGranted(request=entry.request))

    def execution_ended(self, message: ExecutionEnded) -> None:
        """Its end is committed, or it left without one."""
        self.host.reach("end.heard")
        entry = self.books.live.pop(message.execution_id, None)
        if entry is None:
            return
        self.books.detached.discard(message.execution_id)
        self.books.parked.discard(message.execution_id)
        self.books.asking.discard(message.execution_id)
        self._crashes.pop(message.execution_id, None)
        if message.status is None or message.result is None:
            self._left(entry)
        else:
            seconds = (self.host.now() - entry.spec.accepted_at).total_seconds()
            self.books.count_end(message.status, message.restarts, quarantined=message.quarantined, seconds=seconds)
            self.books.results.add(message.execution_id, message.result, self.host.monotonic())
            self._tell_circuit(entry, message.status)
            for reply in self.books.waiters.pop(message.execution_id, ()):
                send_reply(reply, Encoded(message.result, ours=True), encoded=True)
            self.host.reach("end.told")
        self.make_room(self.admission.withdraw(message.execution_id))
        self.look_at_end()

    def _tell_circuit(self, entry: Entry, status: str) -> None:
        policy = self.plan.entry_point.circuit
        if policy is None:
            return
        was = self.circuit.state
        if status == "failed":
            self.circuit = self.circuit.on_failure(policy, self.host.monotonic())
        elif status == "completed":
            self.circuit = self.circuit.on_success(self.host.monotonic())
        elif entry.trial:
            self.circuit = self.circuit.on_abandoned()
        if self.circuit.state == "open" and was != "open":
            self.announce("stream_tripped", {"retry_after": self.circuit.wait})
        elif self.circuit.state == "closed" and was != "closed":
            self.announce("stream_recovered", {})

    def _left(self, entry: Entry) -> None:
        """It is unfinished, and not ours any more: its waiters follow the store, or are told that we stop."""
        self.books.left.add(entry.spec.execution_id)
        if entry.trial:
            self.circuit = self.circuit.on_abandoned()
        waiters = self.books.waiters.pop(entry.spec.execution_id, [])
        for reply in waiters:
            if self.mode in ("running", "draining"):
                _, until = self.books.owed.get(reply) or (None, None)
                self.wait_for(entry.spec.execution_id, reply, self.time_left(until))
            else:
                reply.offer_error(RuntimeStopped(what=f"Stream {self.stream_id!r}"))

    def pending_ids(self) -> tuple[str, ...]:
        """Those under way that have not begun here: they have no actor."""
        return tuple(execution_id for execution_id, entry in self.books.live.items() if entry.ref is None)

    def leave_pending(self, *execution_ids: str) -> None:
        """Let go of executions that have not begun; the store keeps them. Who comes in for them begins after that."""
        freed: list[Freed] = []
        for execution_id in execution_ids:
            if (entry := self.books.live.pop(execution_id, None)) is None:
                continue
            freed.append(self.admission.withdraw(execution_id))
            entry.forget_alarm()
            self._left(entry)
            spec = entry.spec
            if spec.origin != "fresh":  # or nobody behind it would have a turn on the session
                self.plan.sessions.deliver(LeaveTurn(session_id=spec.session_id, execution_id=execution_id))
        for room in freed:
            self.make_room(room)

    def look_at_end(self) -> None:
        """Whether a stop or a drain is through."""

    # -- crashed executions ------------------------------------------------------------------------------------------

    def on_child_failure(self, child: Ref[Any], failure: Failure) -> None:
        """Restart the actor of an execution, not the execution; one that keeps crashing is let go."""
        crashes = self._crashes
        cell = child.actor_inbox
        decided = decide_system(self.intensity, crashes.get(cell.name, ()), self.host.monotonic())
        crashes[cell.name] = decided.crashes
        if isinstance(decided.decision, Restart):
            self.actor_inbox.loop.call_later(decided.decision.after, cell.restart)
        else:
            cell.terminate(failure)

    def on_child_ended(self, child: Ref[Any], failure: Failure | None) -> None:
        """After an orderly end it has said so itself; after any other its execution is as the store has it."""
        name = child.actor_inbox.name
        crashed = self._crashes.pop(name, ())
        entry = self.books.live.get(name)
        if failure is None or entry is None:
            return
        if not crashed or entry.buried or self.mode not in ("running", "draining"):
            self.execution_ended(ExecutionEnded(execution_id=name))
        else:
            self._bury(entry, failure)

    def _bury(self, entry: Entry, failure: Failure) -> None:
        """Fail an execution whose actor crashed too often: behind a fence, with an actor that does only this.

        When that one crashes too, its execution is left as the store has it.
        """
        entry.buried = True
        name = entry.spec.execution_id
        message = f"its actor crashed too often; the last time: {failure.kind}: {failure.message}"
        order = Order(
            kind="end",
            status="failed",
            failure=Failure(kind="ActorCrashed", message=message, code="actor_crashed", retryable=False),
        )

        def found(row: ExecutionRow | None) -> None:
            if row is None or row.state.status in ENDED or name not in self.books.live:
                self.execution_ended(ExecutionEnded(execution_id=name))
            else:
                entry.state = row.state
                self.spawn_execution(entry, order)

        def lost(_: object) -> None:
            self.execution_ended(ExecutionEnded(execution_id=name))

        def fenced(_: object) -> None:
            ask_surely(self, self.plan, GetExecution(execution_id=name), found, lost)

        ask_surely(self, self.plan, AppendEvents(events=()), fenced, lost)

    # -- waiting for an end ------------------------------------------------------------------------------------------

    def wait_for(self, execution_id: str, reply: Reply[Any], timeout: float | None) -> None:
        """Answer with the result once there is one; None for an unknown id or after `timeout` seconds."""
        held = self.books.results.get(execution_id, self.host.monotonic())
        if held is not None:
            send_reply(reply, Encoded(held, ours=True), encoded=True)
        elif execution_id in self.books.live:
            self._wait_here(execution_id, reply, timeout)
        else:
            until = None if timeout is None else self.host.monotonic() + timeout
            self.books.owe(reply, (execution_id, until))
            self._follow_store(execution_id, reply, until)

    def time_left(self, until: float | None) -> float | None:
        """Of a wait until then, on the monotonic clock: seconds; None for one without an end."""
        return None if until is None else max(0.0, until - self.host.monotonic())

    def _wait_here(self, execution_id: str, reply: Reply[Any], timeout: float | None) -> None:
        if timeout is not None and timeout <= 0.0:
            reply.set(None)
            return
        self.books.add_waiter(execution_id, reply)
        if timeout is not None:
            self.books.owe(reply, (execution_id, self.host.monotonic() + timeout))
            due = WakeMe(after=timeout)
            alarm = wake(self, self.plan.wakeups, due, lambda: self._waited(execution_id, reply))
            reply.on_done(lambda: setattr(alarm, "abandoned", True))

    def _waited(self, execution_id: str, reply: Reply[Any]) -> None:
        waiters = self.books.waiters.get(execution_id, [])
        if reply in waiters:
            waiters.remove(reply)
            if not waiters:
                del self.books.waiters[execution_id]
            reply.set(None)

    def _follow_store(self, execution_id: str, reply: Reply[Any], until: float | None) -> None:
        def found(row: ExecutionRow | None) -> None:
            if execution_id in self.books.live:
                self._wait_here(execution_id, reply, self.time_left(until))
            elif row is None:
                reply.set(None)
            elif row.state.status in ENDED and row.state.result is not None:
                send_reply(reply, Encoded(row.state.result), encoded=True)
            elif until is not None and self.host.monotonic() >= until:
                reply.set(None)
            elif self.mode in ("stopping", "stopped"):
                reply.offer_error(RuntimeStopped(what=f"Stream {self.stream_id!r}"))
            else:
                again = WakeMe(after=FOREIGN_POLL_SECONDS)
                look = partial(self._follow_store, execution_id, reply, until)
                wake(self, self.plan.wakeups, again, look, reply.offer_error)

        self.request(self.plan.sessions, GetExecution(execution_id=execution_id), found, reply.offer_error)

    # -- writing -----------------------------------------------------------------------------------------------------

    def write_state(
        self,
        entry: Entry,
        expected_epoch: int,
        event: EventDraft,
        then: Callable[[Any], None],
        failed: Callable[[BaseException], None],
        *,
        new_spec: ExecutionSpec | None = None,
    ) -> None:
        """Commit the state of an execution that has no actor, and what it is if that is new."""
        request = make_advance(
            entry.spec,
            entry.state,
            expected_epoch,
            self.host.now(),
            (event,),
            graph_id=self.plan.entry_point.graph_id,
            new_spec=new_spec,
        )
        self.request(self.plan.sessions, request, then, failed)

    def announce(self, type: str, data: dict[str, Any]) -> None:
        """Commit and publish an event of the stream's own."""
        event = Event(
            type=type,
            stream_id=self.stream_id,
            timestamp=self.host.now(),
            data_payload=Payload.of({"entry_point": self.stream_id, **data}),
        )
        if self.plan.sessions.is_alive():
            self.plan.sessions.deliver(AppendEvents(events=(event,)))
