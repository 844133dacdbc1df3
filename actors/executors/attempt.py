"""One attempt as the placement sees it: what `Context` and `SyncContext` share, and how an attempt ends."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from propolis.messages import (
    LIFECYCLE_EVENTS,
    AttemptEnded,
    Checkpoint,
    Checkpointed,
    EmitEvents,
    Encoded,
    Event,
    EventDraft,
    ExecutionReport,
    ExecutionSpec,
    Failure,
    InvalidInput,
    Payload,
    RecordedStep,
    ReportProgress,
    RunHistory,
    SaveCheckpoint,
    StaleWriter,
    StepKey,
    encoder,
    unchecked,
)

from ..core import Ref, Reply, ask
from .memory import WorkingMemory
from .names import check_name, check_text
from .outcomes import causes
from .replay import Replay
from .running import refuse_in_step
from .signals import Parked, Paused
from .telling import ExecutionLog

if TYPE_CHECKING:
    from ..host import Host
    from ..specs import EntryPoint

__all__ = ["Attempt", "Beginning"]

_encode_end: Final = encoder(AttemptEnded)
_new_event: Final = unchecked(Event)
_encode_emit: Final = encoder(EmitEvents)
_encode_save: Final = encoder(SaveCheckpoint)


def _uncounted() -> None:
    """Where nobody asks how many there were."""


def _always() -> bool:
    return True


class Beginning(NamedTuple):
    """What an attempt begins with: which it is, under which epoch, and from which memory."""

    spec: ExecutionSpec
    epoch: int
    attempt: int
    memory: Payload | None
    resume_from: str | None
    """The node of the checkpoint that the memory is from."""
    refused: Callable[[], None] = _uncounted
    """Called, on any thread, for each call of it that comes when nobody listens to it any more."""
    history: RunHistory | None = None
    """What the run has recorded, where an earlier attempt may have recorded something."""
    is_trusted: Callable[[], bool] = _always
    """Whether the runtime surely still owns what it runs (its lease). A worker does not know."""
    announced: bool = False
    """Whether what its executor announces was committed when this attempt was counted."""


class Attempt:
    """The state of one attempt, in its placement. One thread at a time uses it; its flags any may set."""

    __slots__ = (
        "begin",
        "cancelled",
        "decided",
        "entry_point",
        "figures",
        "finished",
        "fraction",
        "host",
        "input",
        "keeps_stack",
        "limit",
        "logged",
        "memory",
        "node",
        "note",
        "pause_requested",
        "raised",
        "ref",
        "replay",
        "seen",
        "superseded",
        "told",
        "turns",
        "waits",
    )

    def __init__(
        self,
        begin: Beginning,
        ref: Ref[Any],
        entry_point: EntryPoint,
        host: Host,
        limit: int,
        *,
        keeps_stack: bool = False,
    ) -> None:
        self.begin = begin
        self.ref = ref
        self.entry_point = entry_point
        self.host = host
        self.limit = limit
        self.memory = WorkingMemory(begin.memory, limit)
        self.input: Any = None
        self.cancelled = False
        """Somebody wants it to end."""
        self.pause_requested = False
        self.superseded = False
        """Its actor no longer listens: another attempt, or owner, has its place. Every call is refused."""
        self.finished = False
        self.fraction: float | None = None
        self.note = ""
        self.node: str | None = None
        self.figures: ExecutionReport | None = None
        """What the result is to say of the way to it."""
        self.replay = Replay(begin.spec.execution_id, begin.history)
        self.raised: dict[int, tuple[BaseException, StepKey]] = {}
        """Exceptions of steps that were raised into the executor, by their identity."""
        self.seen: dict[tuple[str, str], int] = {}
        """Of shared memory: the version of each key, by scope and key, that it has read or written last."""
        self.turns = 0
        """How often it has asked for a turn to change some."""
        self.decided: dict[str, str] = {}
        """The last decisions by their ids, and what they were about: an outcome mostly follows at once."""
        self.keeps_stack = keeps_stack
        """Its code may wait where it is; else a long wait unwinds it, and it is run again when that is over."""
        self.logged = 0
        """Records that `ctx.log` was to keep."""
        self.waits: tuple[RecordedStep, ...] = ()
        """What it is being unwound for."""
        self.told: tuple[EventDraft, ...] = ()
        """Events for the commit of its end."""

    def next_turn(self) -> int:
        """The number of a turn that it asks for."""
        self.turns += 1
        return self.turns

    # -- what the contexts do ----------------------------------------------------------------------------------------

    def check(self, *, waits: bool = False) -> None:
        """Refuse the call of one that has been superseded; of one that is being unwound, all but further `waits`."""
        if self.is_late():
            raise StaleWriter(execution_id=self.begin.spec.execution_id, epoch=self.begin.epoch)
        if self.waits and not waits:
            raise Parked

    def is_late(self) -> bool:
        """Whether a call comes too late: it has been superseded, or has ended. Such calls are counted."""
        late = self.superseded or self.finished
        if late:
            self.begin.refused()
        return late

    def ask_checkpoint(
        self, node: str | None, memory: Mapping[str, Any] | None, events: tuple[EventDraft, ...] = ()
    ) -> Reply[Checkpointed]:
        """Send the memory to be committed, with events of the same moment; of a checkpoint that an earlier attempt has
        made, only say so.
        """
        self.check()
        refuse_in_step(self, "checkpoint")
        check_text("node", node)
        if memory is not None:
            self.memory.write_batch(memory)
        self.node = node if node is not None else self.node
        ordinal, replayed = self.replay.pass_checkpoint()
        if replayed:
            done: Reply[Checkpointed] = Reply()
            done.set(Checkpointed(checkpoint_id=Checkpoint.id_of(self.begin.spec.run_id, ordinal)))
            return done
        request = _encode_save(
            epoch=self.begin.epoch,
            ordinal=ordinal,
            memory=self.memory.snapshot(),
            node=node,
            progress=self.progress_payload(),
            events=events,
            report=self.figures,
        )
        return ask(self.ref, request, timeout=None)

    def after_checkpoint(self, saved: Checkpointed) -> str:
        """It is committed: go on, or pause here when somebody wants that."""
        if saved.pause_requested:
            raise Paused(self.node)
        return saved.checkpoint_id

    def ask_emit(self, type: str, data: Mapping[str, Any] | None, node_id: str | None) -> Reply[None]:
        """Send an event to be committed and published."""
        self.check()
        check_name("event type", type)
        if type in LIFECYCLE_EVENTS:
            raise InvalidInput(
                what="event type", reason=f"{type!r} is for Propolis to say", remedy='Pass another name, or "custom".'
            )
        check_text("node_id", node_id)
        if data is not None and not isinstance(data, Mapping):
            raise InvalidInput(what="event.data", reason=f"{data!r:.200} is no mapping", remedy="Pass a dict.")
        event = self.event(type, Payload.of(dict(data or {}), "event.data", self.limit), node_id)
        return ask(self.ref, _encode_emit(epoch=self.begin.epoch, events=(event,)), timeout=None)

    def event(self, type: str, data: Payload, node_id: str | None = None) -> Event:
        """An event of this execution."""
        spec = self.begin.spec
        return _new_event(
            type=type,
            stream_id=spec.stream_id,
            session_id=spec.session_id,
            execution_id=spec.execution_id,
            correlation_id=spec.correlation_id,
            node_id=node_id,
            graph_id=self.entry_point.graph_id,
            timestamp=self.host.now(),
            data_payload=data,
        )

    def tell_progress(self, fraction: float | None, note: str) -> None:
        """Say how far it is; also the sign of life that `idle_timeout` looks for."""
        self.check()
        check_text("note", note)
        if fraction is not None:
            if not isinstance(fraction, (int, float)) or not 0.0 <= fraction <= 1.0:
                raise InvalidInput(
                    what="progress", reason=f"{fraction!r} is not from 0 to 1", remedy="Pass a fraction."
                )
            self.fraction, self.note = float(fraction), note
        report = ReportProgress(epoch=self.begin.epoch, fraction=self.fraction, note=note, at=self.host.now())
        self.ref.deliver(report)

    def take_report(self, report: ExecutionReport) -> None:
        """Keep it for the next checkpoint, and the end."""
        self.check()
        if not isinstance(report, ExecutionReport):
            raise InvalidInput(what="report", reason=f"{report!r:.200} is none", remedy="Pass an ExecutionReport.")
        self.figures = report

    def pause(self, node: str | None) -> None:
        """Raise Paused, with what is a checkpoint too; by one that an earlier attempt has made it just passes."""
        self.check()
        refuse_in_step(self, "pause")
        check_text("node", node)
        self.node = node if node is not None else self.node
        if not self.replay.pass_checkpoint().replayed:
            raise Paused(self.node)

    def progress_payload(self) -> Payload | None:
        """What is known of the progress, if anything is."""
        if self.fraction is None and self.node is None and not self.note:
            return None
        return Payload.of({"fraction": self.fraction, "note": self.note, "current_node": self.node})

    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the ids of this execution."""
        return ExecutionLog(self)

    # -- how it ends -------------------------------------------------------------------------------------------------

    def returned(self, output: Any) -> AttemptEnded | Encoded:
        """It returned, which is bytes at once; or it failed, when what it returned cannot be kept."""
        try:
            if inspect.iscoroutine(output):
                output.close()  # nobody awaits it
                raise InvalidInput(
                    what="output",
                    reason="the executor is a plain function that returned a coroutine",
                    remedy="Make it an async def, and await the call.",
                )
            if self.waits:  # it has swallowed what was to unwind it
                return self._parked()
            payload = Payload.of(output, "output", self.limit)
            memory = self._final_memory()
        except Exception as error:  # noqa: BLE001 - a property of a returned model may raise anything
            return self.failed(error)
        return _encode_end(
            epoch=self.begin.epoch,
            how="returned",
            output=payload,
            memory=memory,
            progress=self.progress_payload(),
            report=self.figures,
            events=self.told,
        )

    def ended_by(self, error: BaseException, *unwinding: type[BaseException]) -> AttemptEnded:
        """It raised. `unwinding`: what being cancelled looks like in this placement. Never raises."""
        try:
            return self._ended_by(error, unwinding)
        except BaseException:  # noqa: BLE001 - an exception that raises whatever is done with it
            return self._failed_as(Failure.of(error, retryable=False))

    def _ended_by(self, error: BaseException, unwinding: tuple[type[BaseException], ...]) -> AttemptEnded:
        kind = type(error)  # and not isinstance(), which asks the exception itself
        if self.waits and not self.cancelled:
            return self._parked()
        if issubclass(kind, Paused):
            try:
                return AttemptEnded(
                    epoch=self.begin.epoch,
                    how="paused",
                    node=cast(Paused, error).node,
                    memory=self.memory.snapshot(),
                    progress=self.progress_payload(),
                    report=self.figures,
                    ordinal=self.replay.segment,
                    events=self.told,
                )
            except Exception as problem:  # noqa: BLE001
                return self.failed(problem)
        if self.cancelled and issubclass(kind, unwinding):
            return AttemptEnded(epoch=self.begin.epoch, how="cancelled", report=self.figures, events=self.told)
        return self.failed(error)

    def failed(self, error: BaseException) -> AttemptEnded:
        """It failed. Whether to retry is judged here, beside the live exception."""
        try:
            retryable = self.entry_point.restart.retryable(error)
        except BaseException:  # noqa: BLE001 - an exception class may have a hostile __class__ or __instancecheck__
            retryable = False
        try:
            forget = tuple(tuple(self.raised[id(each)][1]) for each in causes(error) if id(each) in self.raised)
        except BaseException:  # noqa: BLE001
            forget = ()
        return self._failed_as(Failure.of(error, retryable=retryable), forget)

    def _failed_as(self, failure: Failure, forget: tuple[Any, ...] = ()) -> AttemptEnded:
        return AttemptEnded(
            epoch=self.begin.epoch,
            how="failed",
            failure=failure,
            progress=self._last_progress(),
            forget=forget,
            report=self.figures,
            events=self.told,
        )

    def _parked(self) -> AttemptEnded:
        return AttemptEnded(
            epoch=self.begin.epoch,
            how="parked",
            waits=self.waits,
            progress=self._last_progress(),
            report=self.figures,
            events=self.told,
        )

    def _last_progress(self) -> Payload | None:
        try:
            return self.progress_payload()
        except Exception:  # noqa: BLE001 - progress that cannot be kept does not hide the failure
            return None

    def report(self, ended: AttemptEnded | Encoded) -> None:
        """Tell the ExecutionActor, once; after that no call of this attempt counts."""
        self.finished = True
        self.ref.deliver(ended)

    def _final_memory(self) -> Payload | None:
        return self.memory.snapshot() if self.memory.changed else None
