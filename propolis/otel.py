"""Spans of OpenTelemetry, made of committed events: an execution's when it has ended, a node's, a step's.

Nothing of it is at work where executions are: what was committed is handed over, as to any subscriber, and made into
spans on a thread of its own, where the provider's processors run too. So a span tells what is in the store, and that of
an execution whose process died is told by whoever ends it.
"""

from __future__ import annotations

import copy
import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from propolis.actors import (
    Host,
    QueueSubscriber,
    StoreThreads,
    Trace,
    begin_trace,
    execution_span,
    node_span,
    parse_trace,
    step_span,
    wait_for,
)
from propolis.messages import (
    Event,
    EventFilter,
    EventsMissed,
    ExecutionSpec,
    ExecutionState,
    ExtraMissing,
    InvalidInput,
    LogEntry,
    RuntimeStopped,
)

from .logbook import ENDS, entry_of, summary_of

__all__ = ["Tracing"]

logger = logging.getLogger("propolis.tracing")

TOLD: Final = (*sorted(ENDS), "node_loop_completed", "step_completed", "step_failed")
LIMIT: Final = 50_000
"""Events that wait to become spans, before the oldest are missed."""
KNOWN: Final = 10_000
"""Executions under way whose trace is remembered; of others it is read again."""
AT_ONCE: Final = 500
LOOK_SECONDS: Final = 1.0


def _library() -> Any:
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk import trace as sdk  # noqa: PLC0415
    except ImportError:
        raise ExtraMissing(what="RuntimeConfig.tracing", library="opentelemetry-sdk", extra="otel") from None
    return trace, sdk


class Tracing:
    """The tracing of one runtime from its start to its stop.

    `provider`: a TracerProvider of the SDK; None: the one that is set globally when the runtime starts.

    Raises:
        ExtraMissing: OpenTelemetry is not installed.
        InvalidInput: the provider is not of its SDK (none is set).
    """

    def __init__(self, provider: Any, host: Host) -> None:
        self._api, sdk = _library()
        provider = self._api.get_tracer_provider() if provider is None else provider
        if not isinstance(provider, sdk.TracerProvider):
            reason = f"{provider!r:.200} is no TracerProvider of OpenTelemetry's SDK"
            remedy = "Call opentelemetry.trace.set_tracer_provider(TracerProvider()) first, or pass tracer_provider."
            raise InvalidInput(what="tracer_provider", reason=reason, remedy=remedy)
        tracer = provider.get_tracer("propolis")
        self._ids = _ids()()
        self._tracer = copy.copy(tracer)  # the provider gives the same one to everybody
        self._tracer.id_generator = self._ids
        self._host = host
        self.queue = QueueSubscriber(EventFilter(types=TOLD), LIMIT)
        self._wake = threading.Event()
        self.queue.wake = self._wake.set
        self._threads: StoreThreads | None = None
        self._known: OrderedDict[str, Trace] = OrderedDict()
        self._over = threading.Event()

    def here(self) -> str | None:
        """The traceparent of the span that the caller is in; None outside of one. Any thread."""
        context = self._api.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return Trace(context.trace_id, context.span_id, int(context.trace_flags) & 0xFF).text()

    # -- its thread --------------------------------------------------------------------------------------------------

    def begin(self, threads: StoreThreads) -> None:
        """Make spans of what comes into the queue, until that is closed."""
        self._threads = threads
        self._host.spawn_thread("propolis-traces", self._work)

    def finish(self, timeout: float) -> bool:
        """Wait for what was committed to become spans. The queue has been closed."""
        self._wake.set()
        return self._over.wait(timeout)

    def _work(self) -> None:
        try:
            while True:
                self._wake.clear()
                closed = self.queue.closed
                events = self._drain()
                if events:
                    self._tell(events)
                elif closed:
                    return
                else:
                    wait_for(self._wake, LOOK_SECONDS)
        except RuntimeStopped:
            logger.warning("The runtime has stopped before its last spans were told")
        finally:
            self._over.set()

    def _drain(self) -> list[Event]:
        events: list[Event] = []
        while len(events) < AT_ONCE and (found := self.queue.take()) is not None:
            if isinstance(found, EventsMissed):
                logger.warning("Spans of %s events are missing: they came faster than they could be told", found.count)
            else:
                events.append(found)
        return events

    def _tell(self, events: Iterable[Event]) -> None:
        try:
            rows = self._rows_of(events)
        except RuntimeStopped:
            raise
        except Exception:  # the store is away for longer than a read goes on trying
            logger.exception("Some spans are missing: their executions could not be read")
            return
        for event in events:
            row = rows.get(event.execution_id or "")
            try:
                self._tell_one(event, row)
            except Exception:  # a processor of the user's, or a sampler
                logger.exception("A span could not be made of event %s (%s)", event.seq, event.type)

    def _rows_of(self, events: Iterable[Event]) -> Mapping[str, tuple[ExecutionSpec, ExecutionState]]:
        wanted = {
            event.execution_id
            for event in events
            if event.execution_id is not None and (event.type in ENDS or event.execution_id not in self._known)
        }
        if not wanted or self._threads is None:
            return {}
        found = self._threads.read(lambda store: [store.get_execution(id) for id in wanted]).get()
        return {row[0].execution_id: row for row in found if row is not None}

    def _trace_of(self, execution_id: str, row: tuple[ExecutionSpec, ExecutionState] | None) -> Trace | None:
        known = self._known.get(execution_id)
        if known is None and row is not None:
            # of one that was accepted before anybody traced, too
            known = parse_trace(row[0].traceparent or begin_trace(execution_id))
            if known is not None:
                self._known[execution_id] = known
                if len(self._known) > KNOWN:
                    self._known.popitem(last=False)
        return known

    # -- spans -------------------------------------------------------------------------------------------------------

    def _tell_one(self, event: Event, row: tuple[ExecutionSpec, ExecutionState] | None) -> None:
        id = event.execution_id
        trace = None if id is None else self._trace_of(id, row)
        if id is None or trace is None:
            return
        entry = entry_of(event)
        if event.type in ENDS:
            self._known.pop(id, None)
            if row is not None:
                self._tell_end(id, trace, summary_of(entry, *row), row[0])
            return
        data, own = event.data, execution_span(id)
        attempt, visit = data.get("attempt", 1), data.get("visit", 0)
        node = None if event.node_id is None else node_span(id, attempt, event.node_id, visit)
        if entry.kind == "node" and node is not None:
            self._span(f"node {entry.name}", trace, node, own, entry)
        elif entry.kind == "step":
            span = step_span(id, attempt, data["segment"], data["name"], data["call"])
            self._span(f"step {entry.name}", trace, span, own if node is None else node, entry)

    def _tell_end(self, id: str, trace: Trace, entry: LogEntry, spec: ExecutionSpec) -> None:
        more = {"propolis.correlation_id": spec.correlation_id, "propolis.origin": spec.origin}
        if spec.parent is not None:
            more["propolis.parent"] = spec.parent
        name, began = f"execution {spec.stream_id}", spec.accepted_at
        self._span(name, trace, execution_span(id), trace.span_id, entry, began=began, more=more)

    def _span(
        self,
        name: str,
        trace: Trace,
        span_id: int,
        parent_id: int,
        entry: LogEntry,
        *,
        began: datetime | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """One span, begun and ended in the past."""
        api = self._api
        context = api.set_span_in_context(api.INVALID_SPAN)
        if parent_id:
            flags = api.TraceFlags(trace.flags)
            parent = api.SpanContext(trace.trace_id, parent_id, is_remote=True, trace_flags=flags)
            context = api.set_span_in_context(api.NonRecordingSpan(parent))
        end = _nanoseconds(entry.at)
        start = end - (entry.duration_ms or 0) * 1_000_000 if began is None else _nanoseconds(began)
        self._ids.trace_id, self._ids.span_id = trace.trace_id, span_id
        attributes = {**_attributes(entry), **(more or {})}
        span = self._tracer.start_span(name, context=context, attributes=attributes, start_time=min(start, end))
        if entry.what == "failed":
            span.set_status(api.Status(api.StatusCode.ERROR, entry.text))
        span.end(end_time=end)


def _attributes(entry: LogEntry) -> dict[str, Any]:
    ids = {"execution_id": entry.execution_id, "session_id": entry.session_id, "stream_id": entry.stream_id}
    found = {**entry.data, **ids, "node_id": entry.node_id, "outcome": entry.what, "seq": entry.seq}
    plain = {key: value for key, value in found.items() if isinstance(value, (bool, int, float, str))}
    lists = {key: value for key, value in found.items() if isinstance(value, list) and value}
    texts = {key: value for key, value in lists.items() if all(isinstance(each, str) for each in value)}
    return {f"propolis.{key}": value for key, value in {**plain, **texts}.items()}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


@functools.lru_cache(maxsize=1)
def _ids() -> Callable[[], Any]:
    """A generator of ids that gives those which it is told. Of one thread."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415 - an extra

    class _Given(IdGenerator):
        trace_id = span_id = 0

        def generate_trace_id(self) -> int:
            return self.trace_id

        def generate_span_id(self) -> int:
            return self.span_id

    return _Given
