"""The executor of a graph: what `open_stream` gets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from propolis.messages import EventDraft, GraphChanged, GraphInvalid, GraphProblem, InvalidInput

from ...specs import EntryPoint
from ..ai.nodes import ModelNodes
from ..context import Context
from ..protocol import Preparing
from .chart import Chart, visit_begins
from .expressions import need_evaluator
from .position import Position
from .runners import HumanRunner, NodeRunner
from .running import Run
from .spec import GraphSpec
from .unknown import name_of

__all__ = ["GraphExecutor"]

POSITION: Final = "__graph__"
"""Where a run's position is kept in the memory of its session, until it has ended."""


class GraphExecutor(Preparing):
    """Runs a graph: `open_stream(entry_point, GraphExecutor(graph))`.

    For worker processes, which import their executor by name, it stands at the top level of a module, or is a class:

        class Support(GraphExecutor):
            graph = GraphSpec(...)

    The input, if it is a dict, is written into the shared data key by key, else under `input`. The output is a dict
    of what the terminal nodes that were reached have written. `runners`: by kind, who runs nodes that are no
    functions; `ModelNodes()` runs model nodes unless said.

    Raises:
        GraphInvalid: a function is a name that has not been looked up, or nobody runs nodes of a kind that it has.
        ExtraMissing: it has model nodes, and pydantic-ai is not installed; or expressions, and simpleeval is not.
    """

    graph: ClassVar[GraphSpec | None] = None
    runners: ClassVar[Mapping[str, NodeRunner]] = {}
    _chart: Chart | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.graph is not None:
            cls._chart = _charted(cls.graph, _all_runners(cls.runners))

    def __init__(self, graph: GraphSpec | None = None, *, runners: Mapping[str, NodeRunner] | None = None) -> None:
        self._runners = _all_runners(self.runners if runners is None else runners)
        if graph is not None or runners is not None:
            self._chart = _charted(graph if graph is not None else self.graph, self._runners)
        if self._chart is None:
            raise _no_graph(self.graph)

    @property
    def spec(self) -> GraphSpec:
        """The graph that it runs."""
        assert self._chart is not None
        return self._chart.graph

    def prepare(self, entry_point: EntryPoint) -> EntryPoint:
        """The entry point of a stream of this graph: `graph_id` and `version` are the graph's unless said.

        Raises:
            GraphInvalid: its entry node is none of the graph's.
        """
        graph = self.spec.entered_at(entry_point.entry_node)
        names = {"graph_id": graph.id, "version": graph.version}
        missing = {name: value for name, value in names.items() if getattr(entry_point, name) is None and value}
        return entry_point.model_copy(update=missing) if missing else entry_point

    def announce(self, entry_point: EntryPoint) -> tuple[EventDraft, ...]:
        """What a fresh execution begins with."""
        return (visit_begins(entry_point.entry_node or self.spec.entry_node, 1),)

    async def execute(self, ctx: Context, input: Any) -> dict[str, Any]:
        """Run the graph to its end, from where the session stands."""
        assert self._chart is not None
        joined = ctx.origin == "join"
        key = f"{POSITION}.{ctx.execution_id}" if joined else POSITION
        position = await self._position(ctx, key, input)
        await Run(self._chart, ctx, position, self._runners, key).run()
        await ctx.memory.delete(key)
        keys = dict.fromkeys(key for node in position.end_nodes() for key in self._chart.places[node].outputs)
        memory = ctx.memory
        values = {key: await memory.read(key, _MISSING, scope="execution") for key in keys}
        return {key: value for key, value in values.items() if value is not _MISSING}

    async def _position(self, ctx: Context, key: str, input: Any) -> Position:
        """Where it stands: at the start, or where another attempt, or the execution that it resumes, left it."""
        assert self._chart is not None
        digest = hashlib.sha256(ctx._attempt.begin.spec.input_data.data).hexdigest()[:16]
        data = await ctx.memory.read(key, scope="execution") if ctx.origin != "fresh" or ctx.attempt > 1 else None
        if data is None:
            await _write_input(ctx, input)
            return Position.at(ctx.entry_node or self.spec.entry_node, ctx.execution_id, digest)
        for other in await ctx.memory.read_all(scope="execution") if ctx.origin in ("resume", "fork") else ():
            if other.startswith(f"{POSITION}."):  # of one that joined, and came in between
                await ctx.memory.delete(other)
        position = Position.from_data(data)
        for token in position.tokens:
            if token.node not in self._chart.nodes:
                raise GraphChanged(session_id=ctx.session_id, graph_id=self.spec.id, node_id=token.node)
        if position.input_digest != digest:  # a resume that brings another input
            await _write_input(ctx, input)
            position.input_digest = digest
        return position


_MISSING: Final = object()


async def _write_input(ctx: Context, input: Any) -> None:
    if isinstance(input, Mapping):
        if reserved := [key for key in input if str(key).startswith(POSITION)]:
            raise InvalidInput(
                what=f"input_data.{reserved[0]}", reason="this key is Propolis' own", remedy="Rename it."
            )
        await ctx.memory.write_batch(input)
    elif input is not None:
        await ctx.memory.write("input", input)


def _no_graph(graph: Any) -> InvalidInput:
    return InvalidInput(
        what="GraphExecutor.graph",
        reason="there is none" if graph is None else f"{graph!r:.100} is no GraphSpec",
        remedy="Pass GraphExecutor(GraphSpec(…)), or make a subclass with `graph = GraphSpec(…)`.",
    )


def _all_runners(given: Mapping[str, NodeRunner]) -> dict[str, NodeRunner]:
    return {"human": HumanRunner(), "model": ModelNodes(), **given}


def _charted(graph: Any, runners: Mapping[str, NodeRunner]) -> Chart:
    if not isinstance(graph, GraphSpec):
        raise _no_graph(graph)
    problems = [
        GraphProblem("not_resolved", f"node {node.id!r}", f"its {what} is only a name yet, {named!r}")
        for node in graph.nodes
        for what, named in (
            ("function", node.function),
            *(("tool", tool) for tool in node.tools),
            ("input_model", name_of(node.input_model)),
            ("output_model", name_of(node.output_model)),
        )
        if isinstance(named, str)
    ]
    hint = "pass runners={'model': …}, an object with `run` and, for edges, `decide` (propolis.actors.ModelRunner)"
    runner = runners.get("model")
    wanted = [(f"node {node.id!r}", "run model nodes", "run") for node in graph.nodes if node.kind == "model"]
    wanted += [
        (f"edge {edge.id!r}", "decide about edges", "decide")
        for edge in graph.edges
        if edge.condition == "model_decides"
    ]
    problems += [
        GraphProblem("no_runner", where, f"there is nobody to {what}; {hint}")
        for where, what, method in wanted
        if not hasattr(runner, method)
    ]
    for edge in graph.edges:
        if edge.expression is not None:
            need_evaluator(f"Edge {edge.id!r}, with an expression,")
    if wanted and isinstance(runner, ModelNodes):
        problems += runner.check(graph)
    if problems:
        raise GraphInvalid(graph_id=graph.id, problems=tuple(problems))
    return Chart(graph)
