"""The part of an ExecutionActor that keeps what its run records: checkpoints and steps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final

from propolis.messages import (
    AttemptEnded,
    Checkpoint,
    Checkpointed,
    Decision,
    EventDraft,
    GetDecision,
    Payload,
    RecordedStep,
    RecordStep,
    RecordSteps,
    SaveCheckpoint,
    StaleWriter,
    encoder,
    unchecked,
)

from ..core import LATER, Handlers, Owed, Reply
from .endings import draft, given
from .finding import ask_surely
from .hearing import Hearing

__all__ = ["Recording"]

_encode_steps: Final = encoder(RecordSteps)
_new_checkpointed: Final = unchecked(Checkpointed)

_NOTES: Final = {"decision": "decision_made", "outcome": "outcome_recorded", "problem": "problem_reported"}
"""What is said of a step of such a kind: all that it holds."""


class Recording(Hearing):
    """Commits what an executor records, then answers it. What an attempt of an earlier epoch asks is refused."""

    _asked: Owed | None = None
    """What the executor has asked and has no answer to: it may be a thread that waits for nothing else."""

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

    def gets_on(self) -> None:
        """What it lost before no longer counts as in a row."""
        if self._life.state.lost_attempts:
            self._life.state = self._life.state.model_copy(update={"lost_attempts": 0})

    def save_checkpoint(self, message: SaveCheckpoint) -> object:
        """Commit a checkpoint, then answer."""
        self.check_epoch(message.epoch)
        life, reply, ordinal = self._life, self.keep_asked(), message.ordinal
        answer = _new_checkpointed(checkpoint_id=Checkpoint.id_of(self._spec.run_id, ordinal))
        life.report = message.report or life.report
        config = self._plan.entry_point.checkpoints
        if config is None and not message.events:
            return self._checkpointed(answer)

        def saved(_: Any) -> None:
            self.host.reach("checkpoint.committed")
            if config is not None:
                self.take_saved(ordinal)
            if reply is not None:
                reply.set(self._checkpointed(answer))

        now = self.host.now()
        point: dict[str, Any] = {}
        prune: dict[str, Any] = {}
        if config is not None:
            life.saving = (*life.saving, message)
            point = {"ordinal": ordinal, "memory": message.memory, "node": message.node}
            if ordinal and config.prunes_at(ordinal):
                age = config.max_age_seconds
                before = None if age is None else now - timedelta(seconds=age)
                prune = given(keep_checkpoints=config.keep, drop_checkpoints_before=before)
        self.host.reach("checkpoint.before")
        failed = partial(self.refused, reply=reply)
        if life.state.lost_attempts or self._spec.beside:
            self.gets_on()
            made = self.checkpoint_of(now, **point) if point else None
            changes: dict[str, Any] = {"checkpoint": made, "progress": self.progress_of(message), "prune": prune}
            self.advance(message.epoch, now, message.events, saved, failed, **changes)
        else:
            self._record(now, message.events, saved, failed, progress=self.progress_of(message), **point, **prune)
        return LATER

    def progress_of(self, message: SaveCheckpoint | AttemptEnded) -> Payload | None:
        """What it says of the progress of its session: nothing when it only joined that (section 4)."""
        return None if self._spec.origin == "join" else message.progress

    def take_saved(self, ordinal: int) -> None:
        """The checkpoint of that number is committed: a re-run starts from there.

        Looked at again before every re-run, for this actor may have crashed between the commit and the word of it.
        """
        life = self._life
        for checkpoint in life.saving:
            if checkpoint.ordinal == ordinal:
                life.memory, life.node = checkpoint.memory, checkpoint.node
        life.saving = tuple(checkpoint for checkpoint in life.saving if checkpoint.ordinal > ordinal)

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

        failed = partial(self.refused, reply=reply)
        now, steps, events = self.host.now(), (message.step,), _events_of(message, self._life.state.attempt)
        if self._life.state.lost_attempts and message.step.status != "begun":
            self.gets_on()
            self.advance(message.epoch, now, events, done, failed, steps=steps)
        else:
            self._record(now, events, done, failed, steps=steps)
        return LATER

    def _record(
        self,
        now: datetime,
        events: tuple[EventDraft, ...],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None],
        *,
        steps: tuple[RecordedStep, ...] = (),
        **changes: Any,
    ) -> None:
        """Commit what leaves the row of the execution as it is, which costs half of what an advance does."""
        spec = self._spec
        request = _encode_steps(
            execution_id=spec.execution_id,
            expected_epoch=self._life.state.epoch,
            at=now,
            session_id=spec.session_id,
            stream_id=spec.stream_id,
            correlation_id=spec.correlation_id,
            run=spec.run_id,
            steps=steps,
            graph_id=self._plan.entry_point.graph_id,
            events=events,
            **changes,
        )
        self.request(self._plan.sessions, request, done, failed)

    def get_decision(self, message: GetDecision) -> object:
        """Have it looked up."""
        reply = self.keep_asked()

        def found(decision: Decision | None) -> None:
            if reply is not None:
                reply.set(decision)

        ask_surely(self, self._plan, message, found, lambda error: self.refused(error, reply))
        return LATER

    handlers: ClassVar[Handlers] = {
        **Hearing.handlers,
        SaveCheckpoint: save_checkpoint,
        RecordStep: record_step,
        GetDecision: get_decision,
    }


def _events_of(message: RecordStep, attempt: int) -> tuple[EventDraft, ...]:
    step = message.step
    if step.status == "begun":
        return ()
    note = _NOTES.get(step.kind)
    if note is not None:
        return (draft(note, step.value, node_id=message.node_id),)
    about: dict[str, Any] = {"name": step.name, "segment": step.segment, "call": step.call, "attempt": attempt}
    about |= given(ms=message.ms, visit=message.visit or None, tries=message.tries if message.tries > 1 else None)
    if step.failure is not None:
        about["error"] = f"{step.failure.kind}: {step.failure.message}"
    return (draft("step_completed" if step.status == "done" else "step_failed", about, node_id=message.node_id),)
