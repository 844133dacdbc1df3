"""What is wrong with a graph: every problem that can be found without running it. Pure."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from propolis.messages import GraphProblem, InvalidInput

from ...specs import thawed
from ..forms import check_answer, check_form, form_of
from ..steps import check_seconds
from .expressions import BadExpression, parse
from .reach import backwards, loops, reachable
from .unknown import name_of

if TYPE_CHECKING:
    from .spec import EdgeSpec, GraphSpec, NodeSpec

__all__ = ["EDGE_NAMES", "problems_of"]

EDGE_NAMES = frozenset({"output", "error", "visits"})
"""What an expression may name besides keys: what the node returned, its failure, how often each node was visited."""

HUMAN_SETTINGS = frozenset({"deadline_seconds", "default", "schema"})
"""Of a human node, besides its prompt."""


def problems_of(graph: GraphSpec) -> tuple[GraphProblem, ...]:
    """Everything that is wrong, in the order of nodes, edges and ways."""
    return tuple(_Checking(graph).problems())


class _Checking:
    def __init__(self, graph: GraphSpec) -> None:
        self._graph = graph
        self._nodes = {node.id: node for node in reversed(graph.nodes)}
        self._arrows: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            if edge.source in self._nodes and edge.target in self._nodes:
                self._arrows[edge.source].append(edge.target)
        self._before = backwards(self._arrows)
        self._entries = [node for node in graph.entry_nodes if node in self._nodes]

    def problems(self) -> Iterator[GraphProblem]:
        yield from self._twice()
        yield from self._nowhere()
        for node in self._graph.nodes:
            yield from self._node(node)
        for edge in self._graph.edges:
            yield from self._edge(edge)
        yield from self._ways()
        for node in self._graph.nodes:
            yield from self._inputs(node)

    # -- names -------------------------------------------------------------------------------------------------------

    def _twice(self) -> Iterator[GraphProblem]:
        for what, parts in (("node", self._graph.nodes), ("edge", self._graph.edges)):
            for part_id, count in Counter(part.id for part in parts).items():
                if count > 1:
                    yield GraphProblem(f"duplicate_{what}", f"{what} {part_id!r}", f"there are {count} of this id")
        if not self._graph.nodes:
            yield GraphProblem("no_nodes", "nodes", "there is none")

    def _nowhere(self) -> Iterator[GraphProblem]:
        graph = self._graph
        named = [("entry_node", graph.entry_node)]
        named += [(f"entry_points.{name}", node) for name, node in graph.entry_points.items()]
        for point in graph.async_entry_points:
            where = f"async_entry_points {point.id!r}"
            if point.entry_node is None:
                yield GraphProblem("unknown_node", where, "it has no entry_node; name the node that it begins at")
            else:
                named.append((where, point.entry_node))
        named += [("terminal_nodes", node) for node in graph.terminal_nodes]
        named += [("pause_nodes", node) for node in graph.pause_nodes]
        for edge in graph.edges:
            named += [(f"edge {edge.id!r}", edge.source), (f"edge {edge.id!r}", edge.target)]
        for where, node in named:
            if node not in self._nodes:
                yield GraphProblem("unknown_node", where, f"there is no node {node!r}{_closest(node, self._nodes)}")

    # -- nodes and edges by themselves -------------------------------------------------------------------------------

    def _node(self, node: NodeSpec) -> Iterator[GraphProblem]:
        where = f"node {node.id!r}"
        yield from self._keys(node, where)
        if node.kind in ("function", "router"):
            if node.function is None:
                yield GraphProblem("no_function", where, f"a {node.kind} node needs a function; pass function=…")
            elif reason := _unfit(node.function):
                yield GraphProblem("bad_function", where, f"its function {reason}")
        elif node.function is not None:
            yield GraphProblem("bad_function", where, f"a {node.kind} node has no function of its own; leave it out")
        if node.kind == "human":
            yield from self._question(node, where)
            if len(node.outputs) != 1:
                yield GraphProblem("bad_outputs", where, "a human node has one output key, which gets the answer")
            if not node.prompt:
                yield GraphProblem("no_prompt", where, "a human node needs a question; pass prompt=…")
        if node.kind != "model" and node.tools:
            yield GraphProblem("bad_tools", where, f"a {node.kind} node has no tools; only a model calls some")
        yield from self._routes(node, where)

    @staticmethod
    def _keys(node: NodeSpec, where: str) -> Iterator[GraphProblem]:
        for key in sorted(EDGE_NAMES & set(node.outputs)):
            yield GraphProblem("bad_keys", where, f"it writes {key!r}, a name that expressions have for something else")
        if name_of(node.input_model) or name_of(node.output_model):
            return  # which keys these add is not known
        if node.input_model is not None and (more := set(node.input_keys) - set(node.input_model.model_fields)):
            yield GraphProblem("bad_keys", where, f"its input_model has no field {', '.join(map(repr, sorted(more)))}")
        for key in sorted(set(node.optional_keys) - {*node.inputs, *node.outputs}):
            yield GraphProblem("unknown_key", where, f"optional_keys has {key!r}, which it neither reads nor writes")

    @staticmethod
    def _question(node: NodeSpec, where: str) -> Iterator[GraphProblem]:
        settings, seconds = thawed(node.settings), node.settings.get("deadline_seconds")
        for name in sorted(set(settings) - HUMAN_SETTINGS):
            text = f"settings has {name!r}, and a human node knows {', '.join(sorted(HUMAN_SETTINGS))}"
            yield GraphProblem("bad_setting", where, text)
        try:
            form = form_of(settings.get("schema"))
            if form is not None:
                check_form(form)
            if form is not None and "default" in settings:
                check_answer(form, settings["default"], "default")
            check_seconds("deadline_seconds", seconds)
        except InvalidInput as error:
            yield GraphProblem("bad_setting", where, f"in its settings, {error}")
        if "default" in settings and seconds is None:
            yield GraphProblem("bad_setting", where, "it has a default, and no deadline_seconds at which it counts")
        if node.timeout is not None:
            yield GraphProblem("bad_setting", where, "people take their time; use deadline_seconds, no timeout")

    def _routes(self, node: NodeSpec, where: str) -> Iterator[GraphProblem]:
        if node.kind != "router":
            if node.routes:
                yield GraphProblem("bad_route", where, "only a router has routes")
            return
        if node.outputs:
            yield GraphProblem("bad_outputs", where, "a router returns where to go, and writes nothing")
        if not self._arrows[node.id]:
            yield GraphProblem("no_way", where, "a router needs an edge to take")
        for label, target in node.routes.items():
            if target not in self._arrows[node.id]:
                yield GraphProblem("bad_route", where, f"route {label!r} leads to {target!r}, and no edge does")

    def _edge(self, edge: EdgeSpec) -> Iterator[GraphProblem]:
        where, source, target = f"edge {edge.id!r}", self._nodes.get(edge.source), self._nodes.get(edge.target)
        if edge.expression is not None:
            try:
                names = parse(edge.expression).names
            except BadExpression as error:
                yield GraphProblem("bad_expression", where, f"{edge.expression!r}: {error}")
            else:
                known = self._known_behind(edge.source) | EDGE_NAMES
                told = source is not None and not self._may_be_more(edge.source, source)
                for name in sorted(names - known) if told else ():
                    text = f"{edge.expression!r} names {name!r}, which nothing before it produces"
                    yield GraphProblem("unknown_key", where, text + _closest(name, known))
        if source is not None and source.kind == "router" and edge.condition not in ("on_success", "on_failure"):
            yield GraphProblem(
                "bad_condition", where, "behind a router it is on_success or on_failure: the router picks"
            )
        for key, origin in edge.input_mapping.items():
            if target is not None and key not in target.inputs and not name_of(target.input_model):
                text = f"input_mapping sets {key!r}, which node {target.id!r} does not read"
                yield GraphProblem("unknown_key", where, text + _closest(key, target.inputs))
            if source is None or self._may_be_more(edge.source, source):
                continue
            if origin not in (known := self._known_behind(edge.source)):
                text = f"input_mapping takes {key!r} from {origin!r}, which nothing before it produces"
                yield GraphProblem("unknown_key", where, text + _closest(origin, known))

    # -- ways --------------------------------------------------------------------------------------------------------

    def _ways(self) -> Iterator[GraphProblem]:
        graph, ends = self._graph, self._graph.ends
        reached = reachable(self._entries, self._arrows)
        resting = [node for node in self._nodes if node in ends or node in graph.pause_nodes]
        leading = reachable(resting, self._before)
        for node in dict.fromkeys(node.id for node in graph.nodes):
            where = f"node {node!r}"
            if node not in reached:
                yield GraphProblem("unreachable", where, "no way leads to it from an entry node")
            elif not self._arrows[node] and node not in ends:
                yield GraphProblem("dead_end", where, "no edge leads on from it, and it is no terminal node")
            elif node not in leading:
                yield GraphProblem("endless", where, "no way leads from it to a terminal node")
        for edge in graph.edges:
            if edge.source in ends and edge.condition not in ("on_failure", "always"):
                text = f"it leads on from {edge.source!r}, a terminal node, where a success ends it"
                yield GraphProblem("never_taken", f"edge {edge.id!r}", text)
        free = [
            node.id
            for node in graph.nodes
            if node.max_visits is None and node.kind != "human" and node.id not in graph.pause_nodes
        ]
        for loop in loops(dict.fromkeys(free), self._arrows):
            text = f"{' -> '.join(loop)} may go on for ever; give one of these nodes max_visits"
            yield GraphProblem("endless_loop", f"node {loop[0]!r}", text)

    # -- data --------------------------------------------------------------------------------------------------------

    def _known_before(self, node_id: str) -> set[str]:
        """What may be there when a node begins: what an entry node takes in, and what nodes on a way to it produce."""
        upstream = reachable(self._before.get(node_id, ()), self._before)
        keys = {key for node in upstream for key in self._nodes[node].outputs}
        if any(edge.condition in ("on_failure", "always") for edge in self._graph.edges):
            keys.add("error")
        return keys | {key for node in self._entries for key in self._nodes[node].inputs}

    def _known_behind(self, node_id: str) -> set[str]:
        node = self._nodes.get(node_id)
        return set() if node is None else self._known_before(node_id) | set(node.outputs)

    def _may_be_more(self, node_id: str, *there: NodeSpec) -> bool:
        """Whether more keys may be there than it seems, by models of which only the names are known."""
        upstream = (self._nodes[each] for each in reachable(self._before.get(node_id, ()), self._before))
        taken_in = any(name_of(self._nodes[each].input_model) for each in self._entries)
        return taken_in or any(name_of(each.output_model) for each in (*there, *upstream))

    def _inputs(self, node: NodeSpec) -> Iterator[GraphProblem]:
        if node.id in self._entries or self._may_be_more(node.id):
            return
        mapped = {key for edge in self._graph.edges if edge.target == node.id for key in edge.input_mapping}
        known = self._known_before(node.id)
        for key in node.required_inputs:
            if key not in known | mapped:
                text = f"it reads {key!r}, which no node before it produces and no entry node takes in"
                yield GraphProblem("missing_output", f"node {node.id!r}", text + _closest(key, known))


def _unfit(function: object) -> str:
    """Why it cannot be a node's function; "" when it can."""
    if isinstance(function, str):
        module, colon, name = function.partition(":")
        parts = (*module.split("."), *name.split("."))
        fits = colon and all(part.isidentifier() for part in parts)
        return "" if fits else f"is named {function!r}, and has to be named module:function"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "is a generator function"
    try:
        inspect.signature(function).bind(None, None)  # type: ignore[arg-type]
    except TypeError as error:
        return f"cannot be called with (ctx, inputs): {error}"
    except ValueError:
        return ""  # a builtin without a signature: the call will tell
    return ""


def _closest(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
