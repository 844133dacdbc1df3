"""The part of an ExecutionActor that has children: executions on other streams, which its executor calls."""

from __future__ import annotations

from typing import Any

from propolis.messages import (
    Accepted,
    CancelExecution,
    ChildFailed,
    ExecutionResult,
    Failure,
    Payload,
    RecordedStep,
    StartExecution,
    StepKey,
    StreamNotFound,
    WaitForCompletion,
)

from ..alarms import has_crashed
from ..core import Ref
from ..tracing import trace_below
from .endings import given
from .life import EndingStatus
from .parking import Parking

__all__ = ["Parenting"]

STREAM_POLL_SECONDS = 0.5
"""How often an execution that was taken up again looks whether the stream that it called is open by now."""

STREAM_PATIENCE_SECONDS = 30.0
"""How long, from when it was taken up, it takes a stream that is not open for one that is yet to be opened."""


class Parenting(Parking):
    """Starts each child under an idempotency key made of the run and the step, so once however often it is asked for,
    and waits for it as for anything else. A cancel goes down, a failure comes up.
    """

    _children: dict[StepKey, tuple[str, str]] | None = None
    """The stream and the id of each child that has not ended."""

    @property
    def called_by(self) -> str | None:
        """The execution that called this one."""
        return self._spec.parent

    def begin_wait(self, wait: RecordedStep, *, again: bool) -> None:
        """A call begins with the child's start."""
        if wait.kind != "call" or wait.about is None:
            super().begin_wait(wait, again=again)
            return
        stream = self._plan.streams.get(wait.name)
        if stream is not None and stream.is_alive():
            self._start_child(stream, wait, wait.about)
        elif again or self._is_early():  # give it the time to be opened; one that was called before was there
            self.alarm(STREAM_POLL_SECONDS, lambda: self._begin_again(wait, again=again))
        else:
            self._child_failed(wait, StreamNotFound(stream_id=wait.name, known=tuple(self._plan.streams)))

    def _begin_again(self, wait: RecordedStep, *, again: bool = True) -> None:
        if self.is_waiting(wait):
            self.begin_wait(wait, again=again)

    def _is_early(self) -> bool:
        """A program that opens its streams one after another may have come to its own only."""
        since = self._life.taken_up
        return since is not None and self.host.monotonic() - since < STREAM_PATIENCE_SECONDS

    def _start_child(self, stream: Ref[Any], wait: RecordedStep, about: Payload) -> None:
        spec = self._spec
        parts = about.split()
        request = StartExecution(
            input_data=parts["input"],
            correlation_id=spec.correlation_id,
            idempotency_key=f"call:{spec.run_id}:{wait.segment}:{wait.call}",
            parent=spec.execution_id,
            **given(deadline=spec.deadline, traceparent=self._trace_below()),
        )

        def accepted(child: Accepted) -> None:
            if not parts["wait"].value():
                self.wait_is_over(wait.model_copy(update={"status": "done", "value": Payload.of(child.execution_id)}))
                return
            self._children = {**(self._children or {}), wait.key: (wait.name, child.execution_id)}
            asked = WaitForCompletion(execution_id=child.execution_id)
            self.request(stream, asked, lambda result: self._child_ended(wait, child, result), look_again)

        def look_again(_: BaseException) -> None:  # that stream has stopped: the child goes on when it is there again
            self._begin_again(wait)

        def refused(error: BaseException) -> None:
            if stream.is_alive() and not has_crashed(error):
                self._child_failed(wait, error)
            else:
                self._begin_again(wait)

        self.request(stream, request, accepted, refused)

    def _trace_below(self) -> str | None:
        traceparent = self._spec.traceparent
        return None if traceparent is None else trace_below(traceparent, self._spec.execution_id)

    def _child_ended(self, wait: RecordedStep, child: Accepted, result: ExecutionResult | None) -> None:
        if self._children is not None:
            self._children.pop(wait.key, None)
        if result is not None and result.success:
            self.wait_is_over(wait.model_copy(update={"status": "done", "value": result.output_payload}))
            return
        status = "gone" if result is None else result.status
        error = ChildFailed(
            execution_id=self._spec.execution_id,
            child_id=child.execution_id,
            stream_id=wait.name,
            status=status,
            reason="" if result is None else (result.error or ""),
        )
        self._child_failed(wait, error)

    def _child_failed(self, wait: RecordedStep, error: BaseException) -> None:
        self.wait_is_over(wait.model_copy(update={"status": "failed", "failure": Failure.of(error)}))

    def cancel_children(self, status: EndingStatus) -> None:
        """What it was to wait for nobody waits for any more."""
        for stream_id, child in (self._children or {}).values():
            stream = self._plan.streams.get(stream_id)
            if stream is not None and stream.is_alive():
                reason = f"its parent, {self._spec.execution_id}, was {status}"
                stream.deliver(CancelExecution(execution_id=child, reason=reason))
