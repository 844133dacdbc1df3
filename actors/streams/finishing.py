"""The part of an ExecutionActor that writes: every change of the execution, its end, and leaving without one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from propolis.messages import (
    Advanced,
    AppendEvents,
    CancelOutcome,
    Checkpoint,
    Encoded,
    Event,
    EventDraft,
    ExecutionEnded,
    ExecutionNotFound,
    ExecutionSpec,
    ExecutionState,
    Failure,
    InboxRow,
    Message,
    MessageError,
    Payload,
    RecordedStep,
    SlotWanted,
    StoreCorrupt,
    WakeAt,
    WakeMe,
    encoder,
)

from ..alarms import has_crashed, wake
from ..core import AsyncioActor, Reply
from .endings import attempt_data, draft, ended_state, given, make_advance, make_result
from .life import EndingStatus, Life, Order, Phase
from .plan import StreamPlan

__all__ = ["Finishing"]

logger = logging.getLogger("propolis.streams")

_encode_end: Final = encoder(ExecutionEnded)


class Finishing(AsyncioActor):
    """Writes through the SessionActor and tells the stream what is committed (D3)."""

    _alarms: tuple[Reply[Any], ...] = ()
    told: tuple[EventDraft, ...] = ()
    """What the attempt that has ended told last: for the commit of what comes of that."""

    def __init__(self, plan: StreamPlan, spec: ExecutionSpec, life: Life, order: Order) -> None:
        self._plan = plan
        self._spec = spec
        self._life = life
        self._order = order

    @property
    def phase(self) -> Phase:
        """What it is at."""
        return self._life.phase

    def advance(
        self,
        expected_epoch: int,
        now: datetime,
        events: tuple[EventDraft, ...],
        then: Callable[[Advanced | None], None],
        failed: Callable[[BaseException], None] | None = None,
        *,
        claim: bool = False,
        memory: Payload | None = None,
        progress: Payload | None = None,
        checkpoint: Checkpoint | None = None,
        inbox: Sequence[InboxRow] = (),
        steps: tuple[RecordedStep, ...] = (),
        forget: tuple[tuple[int, str, str, int], ...] = (),
        prune: Mapping[str, Any] = {},
    ) -> None:
        """Commit the execution's present state over the row of an expected epoch, with the rows that this is of."""
        if self.told:
            events, self.told = (*self.told, *events), ()
        request = make_advance(
            self._spec,
            self._life.state,
            expected_epoch,
            now,
            events,
            graph_id=self._plan.entry_point.graph_id,
            memory=memory,
            progress=progress,
            checkpoint=checkpoint,
            claim=claim,
            inbox=tuple(row.id for row in inbox),
            steps=steps,
            forget=forget,
            run=self._spec.run,
            beside=self._spec.beside,
            **prune,
        )
        self.request(self._plan.sessions, request, then, failed or self.gone)

    def finish(
        self,
        status: EndingStatus,
        *,
        output: Payload | None = None,
        memory: Payload | None = None,
        failure: Failure | None = None,
        node: str | None = None,
        quarantined: bool = False,
        ordinal: int | None = None,
        forget: tuple[tuple[int, str, str, int], ...] = (),
        steps: tuple[RecordedStep, ...] = (),
    ) -> None:
        """Commit the end, then tell it. With `ordinal` it is that checkpoint of its run, to start from again."""
        life, state = self._life, self._life.state
        now = self.host.now()
        if status in ("cancelled", "failed"):
            self.cancel_children(status)
        life.phase = "writing"
        final = memory if memory is not None else life.memory
        result = make_result(
            self._spec,
            state,
            status,
            now,
            output=output,
            memory=final,
            failure=failure,
            node=node,
            report=life.report,
        )
        life.state = ended_state(state, status, now, result, quarantined=quarantined)
        data: Mapping[str, Any] | Payload = attempt_data(state.attempt)
        if status == "cancelled" or failure is not None:
            data = {
                "attempt": state.attempt,
                **_why(failure, (life.cancel or "cancelled") if status == "cancelled" else None),
            }
        if self._plan.goal is not None and output is not None:  # what a goal is measured by is in its events
            data = Payload.join({"attempt": Payload.of(state.attempt), "output": output})
        events = [draft(f"execution_{status}", data, node_id=node)]
        if quarantined:
            events.append(draft("execution_quarantined", data))
        point = None
        if ordinal is not None and memory is not None:
            point = self.checkpoint_of(now, ordinal, memory, node)
            memory = None  # it is in there
        self.host.reach("end.before")
        self.advance(
            state.epoch,
            now,
            tuple(events),
            self._ended,
            memory=memory,
            progress=life.progress,
            checkpoint=point,
            inbox=life.inbox or (),
            steps=steps,
            forget=forget,
        )

    def cancel_children(self, status: EndingStatus) -> None:
        """What it was to wait for nobody waits for any more."""
        raise AssertionError("the part that calls others knows them")

    def checkpoint_of(self, now: datetime, ordinal: int, memory: Payload, node: str | None) -> Checkpoint:
        """A checkpoint of its run."""
        return Checkpoint(
            checkpoint_id=Checkpoint.id_of(self._spec.run_id, ordinal),
            execution_id=self._spec.execution_id,
            node=node,
            created_at=now,
            memory=memory,
            run=self._spec.run,
            ordinal=ordinal,
        )

    def _ended(self, _: Advanced | None) -> None:
        self.host.reach("end.committed")
        self.tell_end()

    def tell_end(self) -> None:
        """The end is committed: tell the stream and whoever cancelled, and be gone."""
        state = self._life.state
        outcome: Literal["cancelled", "ended"] = "cancelled" if state.status == "cancelled" else "ended"
        ended = _encode_end(
            execution_id=state.execution_id,
            status=state.status,
            result=state.result,
            restarts=state.restarts,
            quarantined=state.quarantined,
        )
        self._depart(ended, outcome)

    def leave(self) -> None:
        """Go without an end. What runs is fenced off; the store keeps the execution as it is."""
        life = self._life
        if life.phase == "ended":
            return
        if life.launched is not None:
            life.launched.supersede()
            life.launched = None
        self._depart(_encode_end(execution_id=self._spec.execution_id), None)

    def gone(self, error: BaseException) -> None:
        """A write was refused, or nobody is left to write: this actor has no say in the execution any more.

        Any other error is of whoever was asked, which crashed at it. Who leaves then leaves an execution to nobody; so
        this actor crashes as well, and finds out how things stand. What is damaged in the store stays as it is.
        """
        if has_crashed(error):
            raise error
        if isinstance(error, (MessageError, StoreCorrupt)):
            self._announce_damage(str(error))
        logger.info("%s leaves: %s", self.actor_inbox.path, error)
        self.leave()

    def _announce_damage(self, reason: str) -> None:
        data = {"entry_point": self._spec.entry_point, "execution_id": self._spec.execution_id, "reason": reason}
        event = Event(
            type="execution_damaged",
            stream_id=self._spec.stream_id,
            timestamp=self.host.now(),
            data_payload=Payload.of(data),
        )
        self._plan.sessions.deliver(AppendEvents(events=(event,)))

    def _depart(self, ended: Encoded, outcome: Literal["cancelled", "ended"] | None) -> None:
        self._life.phase = "ended"
        for alarm in self._alarms:
            alarm.abandoned = True
        self.answer_cancels(outcome)
        self.tell_stream(ended)
        self.stop_now()

    def alarm(self, seconds: float, then: Callable[[], object]) -> Reply[Any]:
        """Have this actor called after a time, unless it has ended by then."""
        return self.keep_alarm(wake(self, self._plan.wakeups, WakeMe(after=seconds), then, self.gone))

    def alarm_at(self, at: datetime, then: Callable[[], object]) -> Reply[Any]:
        """The same at a time of day, whatever becomes of the clocks."""
        return self.keep_alarm(wake(self, self._plan.wakeups, WakeAt(at=at), then, self.gone))

    def keep_alarm(self, alarm: Reply[Any]) -> Reply[Any]:
        """Something that is to call this actor later, and need not once it has ended."""
        self._alarms = (*(known for known in self._alarms if not (known.done() or known.abandoned)), alarm)
        return alarm

    def answer_cancels(self, outcome: Literal["cancelled", "cancelling", "detached", "ended"] | None) -> None:
        """Tell everybody who asked for a cancel what became of it; None: it left, and the stream has to find out."""
        execution_id = self._spec.execution_id
        waiters, self._life.cancel_waiters = self._life.cancel_waiters or (), None
        for reply in waiters:
            if outcome is None:
                reply.offer_error(ExecutionNotFound(execution_id=execution_id, reason="it has left this runtime"))
            else:
                reply.set(CancelOutcome(execution_id=execution_id, outcome=outcome))

    def tell_stream(self, message: Message | Encoded) -> None:
        """Tell the supervisor, if it is there."""
        parent = self.actor_inbox.parent
        if parent is not None and not parent.stopped.on:
            parent.ref.tell(message)

    def ask_for_slot(self) -> None:
        """Tell the stream that it can go on, and wait for the grant; whatever was granted before no longer counts."""
        self._life.phase = "awaiting_slot"
        self._life.requests += 1
        self.tell_stream(SlotWanted(execution_id=self._spec.execution_id, request=self._life.requests))

    def running_state(self, *, restarts: int, counted: bool) -> ExecutionState:
        """The row under a new epoch: running with one more attempt counted (D2), or waiting for its restart."""
        state = self._life.state
        return ExecutionState(
            execution_id=state.execution_id,
            status="running" if counted else "restarting",
            epoch=state.epoch + 1,
            attempt=state.attempt + 1 if counted else state.attempt,
            restarts=restarts,
            lost_attempts=state.lost_attempts,
            owner=self._plan.owner,
            started_at=state.started_at or self.host.now(),
        )


def _why(failure: Failure | None, reason: str | None) -> dict[str, str]:
    error = None if failure is None else f"{failure.kind}: {failure.message}"
    return given(reason=reason, error=error, code=None if failure is None else failure.code)
