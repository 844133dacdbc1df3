"""The span that code of an executor runs below, for whatever library begins one there. Nothing, without a trace."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..tracing import execution_span, node_span, parse_trace, step_span

if TYPE_CHECKING:
    from propolis.messages import ExecutionSpec, StepKey

    from .attempt import Attempt

__all__ = ["leave_span", "run_below_execution", "run_below_node", "run_below_step"]


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    """OpenTelemetry's API; None where it is not installed: a worker's, another runtime's on the same store."""
    try:
        from opentelemetry import context, trace  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return context, trace


def run_below_execution(attempt: Attempt) -> Any:
    """From here on, the code of this context runs below the execution's span. What `leave_span` takes back."""
    spec = attempt.begin.spec
    return None if spec.traceparent is None else _enter(spec, execution_span(spec.execution_id))


def run_below_node(attempt: Attempt, node_id: str, visit: int) -> Any:
    """The same, of a node's span."""
    spec = attempt.begin.spec
    if spec.traceparent is None:
        return None
    return _enter(spec, node_span(spec.execution_id, attempt.begin.attempt, node_id, visit))


def run_below_step(attempt: Attempt, key: StepKey) -> Any:
    """The same, of a step's span."""
    spec = attempt.begin.spec
    if spec.traceparent is None:
        return None
    span = step_span(spec.execution_id, attempt.begin.attempt, key.segment, key.name, key.call)
    return _enter(spec, span)


def _enter(spec: ExecutionSpec, span_id: int) -> Any:
    library, trace = _library(), parse_trace(spec.traceparent or "")
    if library is None or trace is None:
        return None
    context, api = library
    before = context.get_current()
    here = api.SpanContext(trace.trace_id, span_id, is_remote=True, trace_flags=api.TraceFlags(trace.flags))
    context.attach(api.set_span_in_context(api.NonRecordingSpan(here), before))
    return before


def leave_span(before: Any) -> None:
    """No detach(): a coroutine that is thrown away may end in another context, where that would complain."""
    if before is not None:
        _library()[0].attach(before)
