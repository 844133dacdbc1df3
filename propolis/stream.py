"""`Stream`: the handle of one entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from propolis.actors import EntryPoint, OpenedStream, Ref, StreamActor
from propolis.messages import (
    CancelExecution,
    CancelOutcome,
    DrainStream,
    ExecutionContext,
    ExecutionResult,
    GetContext,
    GetResult,
    GetStats,
    InvalidInput,
    PauseExecution,
    Payload,
    ResumeExecution,
    RunExecution,
    StartExecution,
    StartStream,
    StopStream,
    StreamEnded,
    StreamStats,
    WaitForCompletion,
    encoder,
)

from .calls import Call, call, call_method
from .checks import flag, moment, seconds, text, whole
from .reaching import Reaching

if TYPE_CHECKING:
    from .following import EventStream
    from .runtime import Runtime

__all__ = ["Options", "Stream"]


class Options(TypedDict, total=False):
    """What `Stream.execute()` takes besides the input, for those who pass it on."""

    correlation_id: str | None
    session_id: str | None
    memory: Mapping[str, Any] | None
    priority: int | None
    idempotency_key: str | None
    deadline: datetime | None


class Stream(Reaching):
    """What `runtime.open_stream()` returns. Every call may be made from any thread and any event loop.

    Calls return a `Call`: `await` it, or `.get(timeout=seconds)` it. Input is checked and encoded in the calling
    thread, so a later change of the object that was passed changes nothing.
    """

    def __init__(self, runtime: Runtime, opened: OpenedStream) -> None:
        self._runtime = runtime
        self._opened = opened
        self._plan = opened.plan
        self._what = f"Stream {opened.plan.entry_point.id!r}"
        self._limit = opened.plan.config.max_payload_bytes
        self._timeout = opened.plan.config.ask_timeout

    @property
    def id(self) -> str:
        """The id of the entry point."""
        return self._plan.entry_point.id

    @property
    def entry_point(self) -> EntryPoint:
        """What it was opened with."""
        return self._plan.entry_point

    @property
    def ref(self) -> Ref[StreamActor]:
        """The StreamActor's reference, for pykka code: `ref.ask(StartExecution(...))`."""
        return self._opened.ref

    # -- work --------------------------------------------------------------------------------------------------------

    def execute(
        self,
        input_data: Any = None,
        *,
        correlation_id: str | None = None,
        session_id: str | None = None,
        memory: Mapping[str, Any] | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
        deadline: datetime | None = None,
    ) -> Call[str]:
        """Accept an execution; the reply is its id, and comes once the execution is durable (D1).

        `session_id` joins an existing session; without it a new one is opened. `priority`: higher starts first, the
        entry point's own unless said. `deadline`: aware, includes queueing. Who is cancelled while they wait for room
        (`on_full="block"`) has withdrawn, and nothing is accepted.

        Raises:
            InvalidInput: the input does not fit what the executor declares, or cannot be encoded (with the path);
                a bad id or deadline.
            PayloadTooLarge: more than `RuntimeConfig.max_payload_bytes`.
            StreamNotRunning, StreamSaturated, StreamTripped, RuntimeStopped: nothing was accepted.
            SessionNotFound, SessionBusy: of `session_id`.
            IdempotencyConflict: the key was used with another input, session or memory.
        """
        request = _encode_start(
            **self._new(input_data, correlation_id, session_id, memory, priority, idempotency_key, deadline)
        )
        return call(self._ref(), request, what=self._what, convert=_execution_id)

    def run(
        self,
        input_data: Any = None,
        *,
        correlation_id: str | None = None,
        session_id: str | None = None,
        memory: Mapping[str, Any] | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
        deadline: datetime | None = None,
    ) -> Call[ExecutionResult]:
        """`execute()` and wait for the result. Raises what `execute` does; a failed execution is a result, no error."""
        request = _encode_run(
            **self._new(input_data, correlation_id, session_id, memory, priority, idempotency_key, deadline)
        )
        return call(self._ref(), request, what=self._what)

    def resume(
        self,
        session_id: str,
        *,
        input_data: Any = None,
        memory: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
    ) -> Call[str]:
        """Take a session over with a new execution, from its last checkpoint or a named one; the reply is its id.

        Without `input_data` it gets the input of the session's owner; `memory` goes on top of the checkpoint's. Just as
        it was, it has all behind it that the session has recorded. With an input, memory or checkpoint of its own it
        begins a run of its own at that checkpoint, with the steps that were recorded before; one that is then called
        with other arguments is made anew.

        Raises:
            SessionNotFound: no such session, or checkpoint.
            SessionBusy: it is still active, is completed and no checkpoint is named, or another stream opened it.
        """
        return self._take_up(session_id, input_data, memory, checkpoint_id)

    def fork(
        self,
        session_id: str,
        *,
        input_data: Any = None,
        memory: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
    ) -> Call[str]:
        """Open a new session that begins where another one stood, at its last checkpoint or a named one (see
        `runtime.checkpoints()`); the reply is the id of its execution, and its own. The other is left as it is, in
        whatever status. As for the rest, as `resume`.

        Raises:
            SessionNotFound: no such session, or checkpoint.
            SessionBusy: another stream opened it.
        """
        return self._take_up(session_id, input_data, memory, checkpoint_id, fork=True)

    def _take_up(
        self,
        session_id: str,
        input_data: Any,
        memory: Mapping[str, Any] | None,
        checkpoint_id: str | None,
        **given: Any,
    ) -> Call[str]:
        given["session_id"] = session_id
        if input_data is not None:
            given["input_data"] = self._input(input_data)
        if memory is not None:
            given["memory"] = self._memory(memory)
        if checkpoint_id is not None:
            given["checkpoint_id"] = checkpoint_id
        return call(self._ref(), _make(ResumeExecution, self._traced(given)), what=self._what, convert=_execution_id)

    def wait_for_completion(self, execution_id: str, timeout: float | None = None) -> Call[ExecutionResult | None]:
        """The result, once the execution has ended; also of one that another runtime on the same store has.

        None for an unknown id, and when `timeout` seconds have passed; `timeout=0` looks and returns at once. A paused
        execution has ended.
        """
        request = _make(WaitForCompletion, {"execution_id": execution_id, "timeout": seconds("timeout", timeout)})
        return call(self._ref(), request, what=self._what)

    def get_result(self, execution_id: str) -> Call[ExecutionResult | None]:
        """The result if it is still held in memory (`result_retention_*`); None otherwise."""
        return self._ask(GetResult, execution_id=execution_id)

    def get_context(self, execution_id: str) -> Call[ExecutionContext | None]:
        """How an execution stands; None for an unknown id."""
        return self._ask(GetContext, execution_id=execution_id)

    def cancel_execution(
        self, execution_id: str, grace: float | None = None, reason: str = "cancelled"
    ) -> Call[CancelOutcome]:
        """End an execution: pending, running or restarting. The reply comes when it is gone, or after `grace`.

        Falsy when there was nothing to cancel; else it says what became of it: `cancelled`, `cancelling`, `detached`.
        """
        patience = self._plan.config.grace_seconds if grace is None else seconds("grace", grace)
        request = _make(CancelExecution, {"execution_id": execution_id, "grace": patience, "reason": reason})
        return call(self._ref(), request, what=self._what)

    def pause_execution(self, execution_id: str) -> Call[bool]:
        """Ask an execution to pause: one that is queued does so at once, a running one at its next checkpoint.

        False when there is none of that id under way.
        """
        return self._ask(PauseExecution, execution_id=execution_id)

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def active_execution_ids(self) -> tuple[str, ...]:
        """All that has not ended. Reads the published snapshot; never blocks."""
        return self._opened.books.active_ids()

    @property
    def is_awaiting_input(self) -> bool:
        """Whether any of its executions waits for a person's answer here: the published snapshot; never blocks."""
        return bool(self._opened.books.asking)

    def get_active_count(self) -> Call[int]:
        """How many executions are running now."""
        return call_method(self._ref(), "running_count", what=self._what, timeout=self._timeout)

    def get_stats(self) -> Call[StreamStats]:
        """The stream at this moment."""
        return call(self._ref(), GetStats(), what=self._what, timeout=self._timeout)

    def events(
        self,
        after: int | None = None,
        *,
        types: str | Iterable[str] = (),
        node: str | None = None,
        execution: str | None = None,
        graph: str | None = None,
        session: str | None = None,
    ) -> EventStream:
        """As `runtime.events()`, of this stream."""
        return self._runtime.events(
            after, types=types, stream=self.id, node=node, execution=execution, graph=graph, session=session
        )

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> Call[None]:
        """Admit work again after `stop()` or `drain()`, and take up what was left unfinished."""
        return call(self._ref(), StartStream(), what=self._what)

    def stop(self, cancel: bool = False, *, grace: float | None = None) -> Call[StreamEnded]:
        """Admit nothing, interrupt, wait `grace` seconds; the reply names the stragglers.

        Nothing becomes cancelled by it: what was pending or running stays so in the store, its waiters get
        RuntimeStopped, `start()` goes on with it. With `cancel` it all ends as cancelled.
        """
        patience = self._plan.config.grace_seconds if grace is None else seconds("grace", grace)
        return call(self._ref(), StopStream(cancel=flag("cancel", cancel), grace=patience or 0.0), what=self._what)

    def drain(self, timeout: float | None = None) -> Call[StreamEnded]:
        """Admit nothing new and finish what was admitted; the reply names what did not end within `timeout` seconds."""
        return call(self._ref(), DrainStream(timeout=seconds("timeout", timeout)), what=self._what)

    def __repr__(self) -> str:
        return f"<Stream {self.id!r} of {self._runtime!r}>"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ref(self) -> Ref[Any]:
        self._runtime.check_usable()
        return self._opened.ref

    def _ask(self, kind: Callable[..., Any], **fields: Any) -> Call[Any]:
        return call(self._ref(), _make(kind, fields), what=self._what, timeout=self._timeout)

    def _new(
        self,
        input_data: Any,
        correlation_id: str | None,
        session_id: str | None,
        memory: Mapping[str, Any] | None,
        priority: int | None,
        idempotency_key: str | None,
        deadline: datetime | None,
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {"input_data": self._input(input_data)}
        given = {
            "correlation_id": correlation_id,
            "session_id": session_id,
            "priority": priority,
            "idempotency_key": idempotency_key,
            "deadline": deadline,
        }
        fields.update((name, _CHECKS[name](name, value)) for name, value in given.items() if value is not None)
        if memory is not None:
            fields["memory"] = self._memory(memory)
        return self._traced(fields)

    def _traced(self, fields: dict[str, Any]) -> dict[str, Any]:
        """With the span that the caller is in."""
        traceparent = self._runtime.trace_here()
        return fields if traceparent is None else {**fields, "traceparent": traceparent}

    def _input(self, input_data: Any) -> Payload:
        payload = Payload.of(input_data, "input_data", self._limit)
        if self._plan.executor.declares_input:
            self._plan.executor.bind(payload)
        return payload

    def _memory(self, memory: Mapping[str, Any]) -> Payload:
        if not isinstance(memory, Mapping) or not all(isinstance(key, str) for key in memory):
            raise InvalidInput(what="memory", reason="it is no mapping with str keys", remedy="Pass a dict.")
        return Payload.of(dict(memory), "memory", self._limit)


# Their fields are checked one by one, as they come.
_encode_start = encoder(StartExecution)
_encode_run = encoder(RunExecution)

_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "correlation_id": text,
    "session_id": text,
    "priority": whole,
    "idempotency_key": text,
    "deadline": moment,
    "execution_id": text,
    "checkpoint_id": text,
    "reason": text,
}


def _make(kind: Callable[..., Any], fields: Mapping[str, Any]) -> Any:
    return kind(**{name: _CHECKS[name](name, value) if name in _CHECKS else value for name, value in fields.items()})


def _execution_id(accepted: Any) -> str:
    execution_id: str = accepted.execution_id
    return execution_id
