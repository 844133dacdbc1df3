"""The part of an ExecutionActor that keeps what its run records: steps, checkpoints, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from propolis.messages import (
    Advanced,
    Checkpointed,
    EventDraft,
    GetHistory,
    OpenWait,
    RecordedStep,
    RecordStep,
    RecordSteps,
    RunHistory,
    SaveCheckpoint,
    SlotReturned,
    SlotWanted,
    StaleWriter,
    StepKey,
    WakeMe,
)

from ..core import LATER, Handlers, Owed, Reply
from .endings import draft, given
from .hearing import Hearing
from .life import Life
from .plan import StreamPlan

__all__ = ["Parking"]

LOOK_SECONDS = 3_600.0
"""A long wait looks at the wall clock now and then: that may be set, and a machine may sleep."""


class Parking(Hearing):
    """Commits what an executor records, then answers it. While it only waits, its slot is free.

    The waits of a parked execution are rows of its run. Whoever keeps its stack also waits for the reply; where the
    stack is gone, or was another process's, the executor is run again as soon as one of the waits is over.
    """

    def __init__(self, plan: StreamPlan, spec: Any, life: Life) -> None:
        super().__init__(plan, spec, life)
        self._asked: Owed | None = None
        """What the executor has asked and has no answer to: it may be a thread that waits for nothing else."""
        self._waits: dict[StepKey, tuple[RecordedStep, Reply[Any] | None]] | None = None
        self._over: list[RecordedStep] | None = None
        """Waits that are over, and not recorded as such yet."""
        self._ran = 0.0
        """Of a parked attempt: how many seconds of its `timeout` it has used."""

    # -- what a running attempt asks ---------------------------------------------------------------------------------

    def check_epoch(self, epoch: int) -> None:
        """Refuse what an attempt says that is no longer this one. It is a sign of life."""
        life = self._life
        if not self.hears(epoch):
            raise StaleWriter(execution_id=self._spec.execution_id, epoch=epoch, current=life.state.epoch)
        if life.phase == "running":
            self.last_sign = self.host.monotonic()

    def keep_asked(self) -> Reply[Any] | None:
        """The reply to the message at hand, which is given whatever becomes of this instance."""
        reply = self.keep_reply()
        if reply is not None:
            self._asked = self._asked or Owed()
            self._asked.keep(reply)
        return reply

    def refuse_asked(self) -> None:
        """Answer them, for the instance ends: whatever becomes of the writes, nobody is left to tell the executor."""
        if self._asked is not None:
            self._asked.refuse(StaleWriter(execution_id=self._spec.execution_id, epoch=self._life.state.epoch))

    def refused(self, error: BaseException, reply: Reply[Any] | None) -> None:
        """A write of the attempt's was refused: somebody else has the execution."""
        if reply is not None:
            reply.offer_error(error)
        if isinstance(error, StaleWriter):
            if self._life.launched is not None:  # a cancel now would take the place of the error in its task
                self._life.launched.fence()
                self._life.launched = None
            self.gone(error)

    def _gets_on(self) -> None:
        """What it lost before no longer counts as in a row."""
        if self._life.state.lost_attempts:
            self._life.state = self._life.state.model_copy(update={"lost_attempts": 0})

    def save_checkpoint(self, message: SaveCheckpoint) -> object:
        """Commit a checkpoint, then answer."""
        self.check_epoch(message.epoch)
        life, reply, checkpoint = self._life, self.keep_asked(), message.checkpoint
        answer = Checkpointed(checkpoint_id=checkpoint.checkpoint_id)
        life.report = message.report or life.report
        config = self._plan.entry_point.checkpoints
        if config is None and not message.events:
            return self._checkpointed(answer)
        self._gets_on()

        def saved(_: Advanced | None) -> None:
            self.host.reach("checkpoint.committed")
            if config is not None:
                life.memory, life.node = checkpoint.memory, checkpoint.node
            if reply is not None:
                reply.set(self._checkpointed(answer))

        now = self.host.now()
        prune: dict[str, Any] = {}
        if config is not None and checkpoint.ordinal and config.prunes_at(checkpoint.ordinal):
            age = config.max_age_seconds
            before = None if age is None else now - timedelta(seconds=age)
            prune = {"keep_checkpoints": config.keep, "drop_checkpoints_before": before}
        self.host.reach("checkpoint.before")
        self.advance(
            message.epoch,
            now,
            message.events,
            saved,
            lambda error: self.refused(error, reply),
            checkpoint=None if config is None else checkpoint,
            progress=message.progress,
            prune=given(**prune),
        )
        return LATER

    def _checkpointed(self, answer: Checkpointed) -> Checkpointed:
        return answer.model_copy(update={"pause_requested": True}) if self._life.pausing else answer

    def record_step(self, message: RecordStep) -> object:
        """Commit a step, then answer (D4)."""
        self.check_epoch(message.epoch)
        reply = self.keep_asked()
        self.host.reach("step.before")

        def done(_: Any) -> None:
            self.host.reach("step.committed")
            if reply is not None:
                reply.set(None)

        def failed(error: BaseException) -> None:
            self.refused(error, reply)

        steps, events = (message.step,), _events_of(message.step)
        if self._life.state.lost_attempts and message.step.status != "begun":
            self._gets_on()
            self.advance(message.epoch, self.host.now(), events, done, failed, steps=steps)
        else:
            self._write_steps(steps, events, done, failed)
        return LATER

    def _write_steps(
        self,
        steps: tuple[RecordedStep, ...],
        events: tuple[EventDraft, ...],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        spec = self._spec
        request = RecordSteps(
            execution_id=spec.execution_id,
            expected_epoch=self._life.state.epoch,
            at=self.host.now(),
            session_id=spec.session_id,
            stream_id=spec.stream_id,
            correlation_id=spec.correlation_id,
            run=spec.run_id,
            steps=steps,
            **given(graph_id=self._plan.entry_point.graph_id, events=events or None),
        )
        self.request(self._plan.sessions, request, done, failed)

    # -- it waits ----------------------------------------------------------------------------------------------------

    def open_wait(self, message: OpenWait) -> object:
        """Commit that it waits, give the slot back, and answer when the wait is over."""
        self.check_epoch(message.epoch)
        self._park((message.step,), self.keep_asked())
        return LATER

    def park_unwound(self, waits: tuple[RecordedStep, ...]) -> None:
        """The attempt has ended in order to wait: commit what for."""
        self._life.phase = "writing"
        self._park(waits, None)

    def _park(self, waits: tuple[RecordedStep, ...], reply: Reply[Any] | None) -> None:
        life = self._life
        life.state = life.state.model_copy(update={"status": "parked"})
        events = tuple(draft("execution_parked", _about(wait)) for wait in waits)

        def parked(_: Any) -> None:
            self.host.reach("park.committed")
            self._waits = self._waits or {}
            for wait in waits:
                self._waits[wait.key] = (wait, reply)
            if life.phase in ("running", "writing"):
                self._give_slot_back()
            for wait in waits:
                self._watch(wait)

        self.host.reach("park.before")
        self.advance(
            life.state.epoch, self.host.now(), events, parked, lambda error: self.refused(error, reply), steps=waits
        )

    def _give_slot_back(self) -> None:
        life = self._life
        life.phase = "parked"
        if self.attempt_began is not None:
            self._ran = self.host.monotonic() - self.attempt_began
        self.attempt_began = self.last_sign = None
        if (life.launched is None or life.leaving or life.pausing) and self._settle_parked():
            return
        self.tell_stream(SlotReturned(execution_id=self._spec.execution_id, parked=True))
        self.host.reach("park.slot_returned")
        self.watch_limits()

    def _settle_parked(self) -> bool:
        if self._life.launched is not None:
            self._life.launched.supersede()
            self._life.launched = None
        return self.settle_early()

    def _watch(self, wait: RecordedStep) -> None:
        """Look again when the wait may be over."""
        if wait.due_at is None:
            return
        after = (wait.due_at - self.host.now()).total_seconds()
        if after <= 0.0:
            self.over(wait.model_copy(update={"status": "done"}))
            return
        wake = WakeMe(after=min(after, LOOK_SECONDS))
        self.keep_alarm(self.request(self._plan.wakeups, wake, lambda _: self._look_again(wait), self.gone))

    def _look_again(self, wait: RecordedStep) -> None:
        if self._waits is not None and wait.key in self._waits:
            self._watch(wait)

    def over(self, ended: RecordedStep) -> None:
        """A wait is over, and this is how: have it recorded as soon as there is a slot to go on with."""
        life = self._life
        if self._waits is None or ended.key not in self._waits or life.phase == "ended":
            return
        if any(known.key == ended.key for known in self._over or ()):
            return
        self.host.reach("wait.over")
        self._over = [*(self._over or ()), ended]
        if life.phase == "parked":
            life.phase = "awaiting_slot"
            self.tell_stream(SlotWanted(execution_id=self._spec.execution_id))
        elif life.phase == "running":
            self._record_over()

    def go_on(self) -> bool:
        """There is a slot. With its stack kept it goes on where it is; else False: it is to run again."""
        life = self._life
        if life.launched is None:
            return False
        life.phase = "unparking"
        life.state = life.state.model_copy(update={"status": "running"})
        if self._plan.has_time_limits or self._spec.deadline is not None:
            now = self.host.monotonic()
            self.attempt_began, self.last_sign = now - self._ran, now
            self.watch_limits()
        over = self.take_over()
        events = (draft("execution_unparked", {"attempt": life.state.attempt}),)
        steps = tuple(step for step, _ in over)
        self.host.reach("unpark.before")
        self.advance(life.state.epoch, self.host.now(), events, lambda _: self._running_again(over), steps=steps)
        return True

    def _running_again(self, over: list[tuple[RecordedStep, Reply[Any] | None]]) -> None:
        self.host.reach("unpark.committed")
        if self._life.phase == "unparking":
            self._life.phase = "running"
        _answer(over)
        if self._over and self._life.phase == "running":
            self._record_over()

    def _record_over(self) -> None:
        over = self.take_over()
        self._write_steps(tuple(step for step, _ in over), (), lambda _: _answer(over), self.gone)

    def take_over(self) -> list[tuple[RecordedStep, Reply[Any] | None]]:
        """The waits that are over, to be recorded now, and who waits for them."""
        ended, self._over = self._over or [], None
        waits = self._waits or {}
        return [(step, waits.pop(step.key, (step, None))[1]) for step in ended]

    def wait_again(self) -> None:
        """Find out what it waits for; it was parked under another instance, or in another process."""
        self._life.phase = "parked"

        def found(history: RunHistory) -> None:
            if self._life.phase != "parked" or self.settle_early():
                return
            waits = [step for step in history.steps if step.kind != "step" and step.status == "begun"]
            self._waits = {wait.key: (wait, None) for wait in waits}
            if not waits:
                self._life.phase = "awaiting_slot"
                self.tell_stream(SlotWanted(execution_id=self._spec.execution_id))
            for wait in waits:
                self._watch(wait)

        self.tell_stream(SlotReturned(execution_id=self._spec.execution_id, parked=True))
        self.request(self._plan.sessions, GetHistory(run=self._spec.run_id), found, self.gone)
        self.watch_limits()

    handlers: ClassVar[Handlers] = {
        **Hearing.handlers,
        SaveCheckpoint: save_checkpoint,
        RecordStep: record_step,
        OpenWait: open_wait,
    }


def _answer(over: list[tuple[RecordedStep, Reply[Any] | None]]) -> None:
    for step, reply in over:
        if reply is not None:
            reply.set(step)


def _about(wait: RecordedStep) -> dict[str, Any]:
    until = None if wait.due_at is None else wait.due_at.isoformat()
    return given(kind=wait.kind, name=wait.name or None, until=until)


def _events_of(step: RecordedStep) -> tuple[EventDraft, ...]:
    about = {"name": step.name, "segment": step.segment, "call": step.call}
    match step.status:
        case "done":
            return (draft("step_completed", about),)
        case "failed":
            assert step.failure is not None
            return (draft("step_failed", about | {"error": f"{step.failure.kind}: {step.failure.message}"}),)
        case "begun":
            return ()
