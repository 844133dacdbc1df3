"""Spans of OpenTelemetry, as the SDK's exporter gets them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs the extra [otel]")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from propolis import (
    Context,
    EdgeSpec,
    EntryPoint,
    GraphExecutor,
    GraphSpec,
    NodeSpec,
    RestartPolicy,
    Runtime,
    RuntimeConfig,
)
from propolis.actors import begin_trace, parse_trace
from propolis.messages import ExtraMissing, InvalidInput, Payload, StartExecution

from ..runtime.support import PATIENCE, until
from . import traced
from .conftest import PLACEMENTS


class Traces:
    """A provider, what it has exported, and a runtime that uses it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def runtime(self) -> Runtime:
        """Not started yet."""
        return Runtime(self.url, config=RuntimeConfig(grace_seconds=0.5), tracer_provider=self.provider)

    def spans(self) -> dict[str, ReadableSpan]:
        """By name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def wait_for(self, *names: str) -> list[ReadableSpan]:
        """Until they are there."""
        until(lambda: set(names) <= set(self.spans()), f"{names}")
        return [self.spans()[name] for name in names]


@pytest.fixture
def traces(url: str) -> Iterator[Traces]:
    """Over a store in a file."""
    traces = Traces(url)
    yield traces
    traces.provider.shutdown()


def hexed(span: ReadableSpan) -> list[str]:
    """As the executors say it."""
    assert span.context is not None
    return [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]


def parents(spans: Sequence[ReadableSpan]) -> list[int | None]:
    """The span that each is below."""
    return [None if span.parent is None else span.parent.span_id for span in spans]


@pytest.mark.parametrize("where", list(PLACEMENTS))
def test_the_callers_span_is_above_the_execution_and_that_above_its_steps(traces: Traces, where: str) -> None:
    """Wherever it runs; and what its code calls is below the step, or the execution, that calls it."""
    placement, suffix = PLACEMENTS[where]
    with traces.runtime() as runtime:
        point = EntryPoint(id="work", placement=placement)
        stream = runtime.open_stream(point, getattr(traced, f"work{suffix}")).get(timeout=PATIENCE)
        with traces.tracer.start_as_current_span("request") as request:
            result = stream.run(7).get(timeout=PATIENCE)
        execution, step = traces.wait_for("execution work", "step look")
    above = request.get_span_context()
    assert [above.span_id, execution.context.span_id] == parents([execution, step])
    assert {above.trace_id} == {execution.context.trace_id, step.context.trace_id}
    assert {"executor": hexed(execution), "step": hexed(step), "after": hexed(execution)} == result.output
    assert execution.attributes is not None
    assert (result.execution_id, "completed", 1) == tuple(
        execution.attributes[f"propolis.{name}"] for name in ("execution_id", "outcome", "attempts")
    )
    assert execution.start_time is not None
    assert step.start_time is not None
    assert execution.start_time <= step.start_time


def test_an_execution_that_nobody_traces_begins_a_trace_of_its_own(traces: Traces) -> None:
    """One for each, which its code is in too."""
    with traces.runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), traced.work).get(timeout=PATIENCE)
        results = [stream.run(number).get(timeout=PATIENCE) for number in range(2)]
    ends = [span for span in traces.exporter.get_finished_spans() if span.name == "execution work"]
    assert [None, None] == parents(ends)
    expected = [parse_trace(begin_trace(result.execution_id)) for result in results]
    assert [f"{each.trace_id:032x}" for each in expected if each] == [hexed(span)[0] for span in ends]
    assert [hexed(span) for span in ends] == [result.output["executor"] for result in results]


def test_nodes_are_below_the_execution_and_their_steps_below_them(traces: Traces) -> None:
    """And a child that is called is below the execution that calls it."""

    async def child(ctx: Context, _: Any) -> int:
        return 1

    async def ask(ctx: Context, inputs: Any) -> Any:
        await ctx.step("within", traced.here)
        return {"found": traced.here()}

    async def pass_on(ctx: Context, inputs: Any) -> Any:
        return {"given": await ctx.call("child", 1)}

    graph = GraphSpec(
        id="g",
        entry_node="ask",
        nodes=(
            NodeSpec(id="ask", function=ask, output_keys=("found",)),
            NodeSpec(id="pass", function=pass_on, input_keys=("found",), output_keys=("given",)),
        ),
        edges=(EdgeSpec(id="then", source="ask", target="pass"),),
        terminal_nodes=("pass",),
    )
    with traces.runtime() as runtime:
        runtime.open_stream(EntryPoint(id="child"), child).get(timeout=PATIENCE)
        stream = runtime.open_stream(EntryPoint(id="graph"), GraphExecutor(graph)).get(timeout=PATIENCE)
        result = stream.run({}).get(timeout=PATIENCE)
        assert "completed" == result.status, result.error
        found = traces.wait_for("execution graph", "node ask", "step within", "node pass", "execution child")
    execution, node, *_ = found
    own = execution.context.span_id
    assert [None, own, node.context.span_id, own, own] == parents(found)
    assert 1 == len({span.context.trace_id for span in found})
    assert hexed(node) == result.session_state["found"]


def test_a_failure_is_an_error_and_a_try_again_a_span_of_its_own(traces: Traces) -> None:
    """Of the step and of the execution; the ids of two attempts differ."""
    tries: list[int] = []

    async def work(ctx: Context, _: Any) -> None:
        def fails() -> None:
            tries.append(1)
            raise ValueError("no")

        await ctx.step("fails", fails)

    with traces.runtime() as runtime:
        point = EntryPoint(id="work", restart=RestartPolicy(max_restarts=1))
        stream = runtime.open_stream(point, work).get(timeout=PATIENCE)
        assert "failed" == stream.run().get(timeout=PATIENCE).status
    spans = traces.exporter.get_finished_spans()
    assert ["step fails", "step fails", "execution work"] == [span.name for span in spans]
    assert 3 == len({span.context.span_id for span in spans})
    assert {(trace.StatusCode.ERROR, "ValueError: no")} == {(s.status.status_code, s.status.description) for s in spans}


def test_the_trace_outlives_the_process_that_began_it(traces: Traces, tmp_path: Path) -> None:
    """Killed in the middle: the next process tells the whole execution, below the span that once asked for it."""
    program = [sys.executable, str(Path(traced.__file__)), traces.url]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        request = parse_trace(process.stdout.readline().strip())
        process.stdout.readline()  # it runs
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
    assert request is not None
    with traces.runtime() as runtime:
        runtime.open_stream(EntryPoint(id="work"), traced.work).get(timeout=PATIENCE)
        execution, step = traces.wait_for("execution work", "step look")
    assert [request.span_id, execution.context.span_id] == parents([execution, step])
    assert request.trace_id == execution.context.trace_id
    assert execution.attributes is not None
    assert 2 == execution.attributes["propolis.attempts"]


def test_what_the_caller_does_not_sample_is_not_told(traces: Traces) -> None:
    """The decision is the caller's, also for what the executor's code begins."""
    traces.provider.sampler = ParentBased(TraceIdRatioBased(0.0))
    with traces.runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), traced.work).get(timeout=PATIENCE)
        with traces.provider.get_tracer("unsampled").start_as_current_span("request"):
            assert "completed" == stream.run(1).get(timeout=PATIENCE).status
    assert {} == traces.spans()


def test_pykka_code_passes_a_traceparent_in_the_message(traces: Traces) -> None:
    """What is none is refused."""
    with traces.runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), traced.work).get(timeout=PATIENCE)
        one = Payload.of(1)
        parent = f"00-{5:032x}-{6:016x}-01"
        stream.ref.ask(StartExecution(input_data=one, traceparent=parent), timeout=PATIENCE)
        (execution,) = traces.wait_for("execution work")
        assert execution.parent is not None
        assert (5, 6) == (execution.parent.trace_id, execution.parent.span_id)
        with pytest.raises(InvalidInput, match="traceparent"):
            stream.ref.ask(StartExecution(input_data=one, traceparent="00-1-2-3"), timeout=PATIENCE)


def test_a_processor_that_fails_hurts_nothing(traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; executions do not notice."""

    class Broken(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("no")

    traces.provider.add_span_processor(Broken(traces.exporter))
    with caplog.at_level(logging.ERROR, "propolis.tracing"), traces.runtime() as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), traced.work).get(timeout=PATIENCE)
        assert "completed" == stream.run(1).get(timeout=PATIENCE).status
        traces.wait_for("execution work")
    assert "A span could not be made" in caplog.text


def test_without_opentelemetry_or_its_sdk_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the reply, and nothing has been started."""
    with pytest.raises(InvalidInput, match="set_tracer_provider"):
        Runtime(config=RuntimeConfig(tracing=True)).start().get(timeout=PATIENCE)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ExtraMissing, match=r"propolis\[otel\]"):
        Runtime(config=RuntimeConfig(tracing=True)).start().get(timeout=PATIENCE)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("propolis-traces")]


def test_nothing_is_carried_or_made_when_it_is_off(url: str) -> None:
    """Though the caller has a span."""
    tracer = TracerProvider().get_tracer("tests")
    with Runtime(url) as runtime:
        stream = runtime.open_stream(EntryPoint(id="work"), traced.work).get(timeout=PATIENCE)
        with tracer.start_as_current_span("request"):
            result = stream.run(1).get(timeout=PATIENCE)
        spec, _ = runtime.read(lambda store: store.get_execution(result.execution_id)).get(timeout=PATIENCE)
    assert (None, ["0" * 32, "0" * 16]) == (spec.traceparent, result.output["executor"])
