"""A graph is whole or is not made: everything that is wrong with one is found, named, and told at once."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from propolis.actors.executors.graph.reach import loops, reachable
from pydantic import BaseModel

from propolis import EdgeSpec, EntryPoint, GraphSpec, NodeSpec
from propolis.messages import Failure, GraphInvalid, InvalidInput


def work(ctx: Any, inputs: Any) -> None:
    """What a node does matters nowhere here."""


def node(id: str, **fields: Any) -> NodeSpec:
    """A node with a function, unless it is of a kind that has none."""
    if fields.get("kind", "function") in ("function", "router"):
        fields.setdefault("function", work)
    return NodeSpec(id=id, **fields)


def graph(nodes: str | list[Any], edges: str | list[Any] = "", **fields: Any) -> GraphSpec:
    """A graph of `"a b c"` and `"a>b b>c"`; the first node is the entry."""
    made = [
        node(each) if isinstance(each, str) else each for each in (nodes.split() if isinstance(nodes, str) else nodes)
    ]
    drawn = edges.split() if isinstance(edges, str) else edges
    ways = [
        EdgeSpec(source=each.split(">")[0], target=each.split(">")[1]) if isinstance(each, str) else each
        for each in drawn
    ]
    fields.setdefault("entry_node", made[0].id if made else "a")
    return GraphSpec(id="g", nodes=made, edges=ways, **fields)


def problems(*args: Any, **fields: Any) -> list[tuple[str, str]]:
    """What is wrong with it, without the sentences."""
    with pytest.raises(GraphInvalid) as caught:
        graph(*args, **fields)
    assert all(problem.text for problem in caught.value.problems)
    return [(problem.kind, problem.where) for problem in caught.value.problems]


def edge(way: str, **fields: Any) -> EdgeSpec:
    """An edge of `"a>b"`."""
    source, target = way.split(">")
    return EdgeSpec(source=source, target=target, **fields)


HUMAN: dict[str, Any] = {"kind": "human", "prompt": "?", "output_keys": ["x"]}


class Order(BaseModel):
    """A model of inputs or outputs."""

    total: int
    note: str = ""


@pytest.mark.parametrize(
    ("expected", "args", "fields"),
    [
        (("duplicate_node", "node 'a'"), ("a b a", "a>b"), {}),
        (("duplicate_edge", "edge 'a->b'"), ("a b", "a>b a>b"), {}),
        (("unknown_node", "edge 'a->x'"), ("a b", "a>b a>x"), {}),
        (("unknown_node", "edge 'x->b'"), ("a b", "a>b x>b"), {}),
        (("unknown_node", "entry_node"), ("a b", "a>b"), {"entry_node": "x", "entry_points": {"main": "a"}}),
        (("unknown_node", "entry_points.late"), ("a b", "a>b"), {"entry_points": {"late": "x"}}),
        (("unknown_node", "terminal_nodes"), ("a b", "a>b"), {"terminal_nodes": ["b", "x"]}),
        (("unknown_node", "pause_nodes"), ("a b", "a>b"), {"pause_nodes": ["x"]}),
        (
            ("unknown_node", "async_entry_points 'hook'"),
            ("a b", "a>b"),
            {"async_entry_points": [EntryPoint(id="hook", entry_node="x")]},
        ),
        (
            ("unknown_node", "async_entry_points 'hook'"),
            ("a b", "a>b"),
            {"async_entry_points": [EntryPoint(id="hook")]},
        ),
        (("unreachable", "node 'c'"), ("a b c", "a>b c>b"), {}),
        (("dead_end", "node 'c'"), ("a b c", "a>b a>c"), {"terminal_nodes": ["b"]}),
        (("never_taken", "edge 'b->c'"), ("a b c", "a>b b>c"), {"terminal_nodes": ["b", "c"]}),
        (("endless_loop", "node 'b'"), ("a b c d", "a>b b>c c>b c>d"), {}),
        (("endless_loop", "node 'a'"), ("a b", "a>a a>b"), {}),
        (("endless", "node 'b'"), ([node("a"), node("b", max_visits=3), "c"], "a>b b>b a>c"), {}),
        (("no_function", "node 'a'"), ([NodeSpec(id="a")],), {}),
        (("no_function", "node 'a'"), ([NodeSpec(id="a", kind="router"), "b"], "a>b"), {}),
        (("bad_function", "node 'a'"), ([node("a", function=lambda ctx: None)],), {}),
        (("bad_function", "node 'a'"), ([node("a", function="no name")],), {}),
        (("bad_function", "node 'a'"), ([node("a", function="module:")],), {}),
        (("bad_function", "node 'a'"), ([node("a", kind="model", function=work)],), {}),
        (("bad_outputs", "node 'a'"), ([node("a", kind="human", prompt="?")],), {}),
        (("no_prompt", "node 'a'"), ([node("a", kind="human", output_keys=["x"])],), {}),
        (("bad_setting", "node 'a'"), ([node("a", settings={"schemas": {}}, **HUMAN)],), {}),
        (("bad_setting", "node 'a'"), ([node("a", settings={"default": 1}, **HUMAN)],), {}),
        (("bad_setting", "node 'a'"), ([node("a", settings={"deadline_seconds": -1}, **HUMAN)],), {}),
        (("bad_setting", "node 'a'"), ([node("a", settings={"deadline_seconds": math.inf}, **HUMAN)],), {}),
        (("bad_setting", "node 'a'"), ([node("a", settings={"schema": {"type": "no such"}}, **HUMAN)],), {}),
        (("bad_setting", "node 'a'"), ([node("a", settings={"schema": "text"}, **HUMAN)],), {}),
        (
            ("bad_setting", "node 'a'"),
            ([node("a", settings={"schema": {"type": "string"}, "deadline_seconds": 9, "default": 5}, **HUMAN)],),
            {},
        ),
        (("bad_setting", "node 'a'"), ([node("a", timeout=3.0, **HUMAN)],), {}),
        (("no_way", "node 'a'"), ([node("a", kind="router")],), {}),
        (("bad_outputs", "node 'a'"), ([node("a", kind="router", output_keys=["x"]), "b"], "a>b"), {}),
        (("bad_route", "node 'a'"), ([node("a", kind="router", routes={"l": "c"}), "b", "c"], "a>b b>c"), {}),
        (("bad_route", "node 'a'"), ([node("a", routes={"l": "b"}), "b"], "a>b"), {}),
        (
            ("bad_condition", "edge 'a->b'"),
            ([node("a", kind="router"), "b"], [edge("a>b", condition="conditional", expression="1 < 2")]),
            {},
        ),
        (("unknown_key", "node 'a'"), ([node("a", optional_keys=["x"])],), {}),
        (("bad_keys", "node 'a'"), ([node("a", output_keys=["visits"])],), {}),
        (("bad_keys", "node 'a'"), ([node("a", input_model=Order, input_keys=["x"])],), {}),
        (("missing_output", "node 'b'"), (["a", node("b", input_keys=["x"])], "a>b"), {}),
        (("missing_output", "node 'b'"), (["a", node("b", input_model=Order)], "a>b"), {}),
        (
            ("missing_output", "node 'b'"),
            (["a", node("b", input_keys=["x"]), node("c", output_keys=["x"])], "a>b b>c"),
            {},
        ),
        (
            ("missing_output", "node 'c'"),
            (["a", node("b", output_keys=["x"]), node("c", input_keys=["x"])], "a>b a>c"),
            {},
        ),
        (("bad_expression", "edge 'a->b'"), ("a b", [edge("a>b", condition="conditional", expression="9**9")]), {}),
        (("unknown_key", "edge 'a->b'"), ("a b", [edge("a>b", expression="scorn > 1")]), {}),
        (("unknown_key", "edge 'a->b'"), ("a b", [edge("a>b", input_mapping={"x": "y"})]), {}),
        (
            ("unknown_key", "edge 'a->b'"),
            (["a", node("b", input_keys=["x"])], [edge("a>b", input_mapping={"x": "y"})]),
            {},
        ),
        (("no_nodes", "nodes"), ([],), {}),
    ],
)
def test_what_is_wrong_is_named(expected: tuple[str, str], args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Its kind, and the node or edge that it is about."""
    assert expected in problems(*args, **fields)


def test_everything_is_told_in_one_error() -> None:
    """In the order of names, nodes, ways, data; with what was meant, where that can be guessed."""
    parts = [node("read", output_keys=["text"]), node("sum", input_keys=["txt"]), "lost"]
    with pytest.raises(GraphInvalid) as caught:
        graph(parts, [edge("read>sum"), edge("read>summ"), edge("sum>sum")])
    error = caught.value
    assert ["unknown_node", "endless", "endless", "unreachable", "endless_loop", "missing_output"] == [
        p.kind for p in error.problems
    ]
    text = str(error)
    assert "Graph 'g' has 6 problems:" in text
    assert "1. edge 'read->summ': there is no node 'summ'; did you mean 'sum'?" in text
    assert "sum -> sum may go on for ever; give one of these nodes max_visits" in text
    assert "it reads 'txt', which no node before it produces and no entry node takes in; did you mean 'text'?" in text


def test_the_error_survives_pickling_and_the_wire() -> None:
    """With its problems as they were."""
    with pytest.raises(GraphInvalid) as caught:
        graph("a b", "a>x")
    for error in (pickle.loads(pickle.dumps(caught.value)), Failure.of(caught.value).to_error()):
        assert isinstance(error, GraphInvalid)
        assert str(caught.value) == str(error)
        assert caught.value.problems == error.problems
        assert "unknown_node" == error.problems[0].kind


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        (("a",), {}),
        (("a b c", "a>b b>c"), {}),
        ((["a", node("b", max_visits=2), "c"], "a>b b>a a>c"), {}),
        (("a b c", "a>b b>a a>c"), {"pause_nodes": ["b"]}),
        (("ask reply", "ask>reply reply>ask"), {"pause_nodes": ["reply"]}),
        (("a b", ["a>b", edge("b>a", condition="on_failure")]), {"terminal_nodes": ["b"], "nodes_of": 0}),
        (("a b c", "a>b c>b"), {"entry_points": {"other": "c"}}),
        (("a b c", "a>b c>b"), {"async_entry_points": [EntryPoint(id="hook", entry_node="c")]}),
        ((["a", node("b", input_keys=["x"], optional_keys=["x"])], "a>b"), {}),
        (([node("a", input_keys=["x"]), node("b", input_keys=["x"])], "a>b"), {}),
        (([node("a", output_model=Order), node("b", input_model=Order)], "a>b"), {}),
        (
            (
                [node("a", output_keys=["y"]), node("b", input_keys=["x"])],
                [edge("a>b", input_mapping={"x": "y"}, expression="y.n > 1 or visits.a < 3 or output.y or error")],
            ),
            {},
        ),
        (
            (["a", node("b", input_keys=["error"])], [edge("a>b", condition="on_failure")]),
            {"terminal_nodes": ["a", "b"]},
        ),
        (([node("a", kind="router", routes={"l": "b"}), "b"], "a>b"), {}),
        (([node("a", kind="model", prompt="?", output_keys=["x"]), "b"], [edge("a>b", condition="model_decides")]), {}),
        (([node("a", kind="human", prompt="?", output_keys=["x"])],), {}),
        (([node("a", function="module.sub:Class.method")],), {}),
    ],
)
def test_what_is_right_is_made(args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """No rule is stricter than it says."""
    if fields.pop("nodes_of", None) is not None:  # a loop of failures is a loop
        with pytest.raises(GraphInvalid, match="for ever"):
            graph(*args, **fields)
        return
    graph(*args, **fields)


def test_it_is_frozen_to_its_leaves_and_takes_lists() -> None:
    """As everything that is configured."""
    spec = graph([node("a", output_keys=["x"], settings={"tools": ["t"]})], loop_config={"limits": [1]})
    assert (("x",), ("t",)) == (spec.nodes[0].output_keys, spec.nodes[0].settings["tools"])
    for change in (lambda: setattr(spec, "id", "h"), lambda: spec.loop_config["limits"].append(2)):
        with pytest.raises(Exception, match=r"frozen|append"):
            change()
    with pytest.raises(InvalidInput, match=r"NodeSpec\.output_keys"):
        node("a", output_keys="x")
    with pytest.raises(InvalidInput, match="conditional and has none"):
        edge("a>b", condition="conditional")
    with pytest.raises(InvalidInput, match=r"GraphSpec\.terminals.*terminal_nodes"):
        graph("a", terminals=["a"])


def test_another_entry_keeps_the_ways_in_that_there_are() -> None:
    """What only they lead to stays reachable; a node that is not there is refused."""
    spec = graph("a b c", "a>b c>b", entry_points={"late": "c"})
    moved = spec.entered_at("b")
    assert ("b", {"start": "b", "primary": "a", "late": "c"}) == (moved.entry_node, dict(moved.entry_points))
    assert spec is spec.entered_at(None) is spec.entered_at("a")
    with pytest.raises(GraphInvalid, match="there is no node 'x'"):
        spec.entered_at("x")


# -- against a reference ---------------------------------------------------------------------------------------------

IDS = ("a", "b", "c", "d", "e")
ARROWS = st.dictionaries(st.sampled_from(IDS), st.lists(st.sampled_from(IDS), unique=True, max_size=4), max_size=5)


def closure(arrows: dict[str, list[str]]) -> set[tuple[str, str]]:
    """By Warshall: every pair with a way of one edge or more."""
    pairs = {(source, target) for source, targets in arrows.items() for target in targets}
    for middle in IDS:
        pairs |= {(s, t) for s in IDS for t in IDS if (s, middle) in pairs and (middle, t) in pairs}
    return pairs


@given(ARROWS, st.sets(st.sampled_from(IDS)))
def test_what_can_be_reached_is_what_the_closure_says(arrows: dict[str, list[str]], starts: set[str]) -> None:
    """The starts, and whatever there is a way to."""
    pairs = closure(arrows)
    assert reachable(starts, arrows) == starts | {target for source, target in pairs if source in starts}


@given(ARROWS, st.lists(st.sampled_from(IDS), unique=True))
def test_loops_are_found_when_there_are_any_and_each_is_one(arrows: dict[str, list[str]], nodes: list[str]) -> None:
    """Each goes along edges among the nodes; without the first node of each none is left."""
    found = loops(nodes, arrows)
    for loop in found:
        assert loop[0] == loop[-1]
        assert set(loop) <= set(nodes)
        assert all(target in arrows[source] for source, target in itertools.pairwise(loop))
        assert min(loop, key=nodes.index) == loop[0]
    left = [each for each in nodes if each not in {loop[0] for loop in found}]
    inner = {each: [target for target in arrows.get(each, ()) if target in left] for each in left}
    assert not any(source == target for source, target in closure(inner))
    everything = {each: [target for target in arrows.get(each, ()) if target in nodes] for each in nodes}
    assert bool(found) == any(source == target for source, target in closure(everything))


@given(ARROWS, st.sets(st.sampled_from(IDS)), st.sets(st.sampled_from(IDS)))
def test_a_random_graph_is_judged_as_the_reference_judges_it(
    arrows: dict[str, list[str]], bounded: set[str], ends: set[str]
) -> None:
    """Unreachable, dead ends, ways that lead to no end, loops without a bound."""
    edges = [
        edge(f"{source}>{target}") for source, targets in arrows.items() for target in targets if source not in ends
    ]
    parts = [node(each, max_visits=2 if each in bounded else None) for each in IDS]
    kept = {source: targets for source, targets in arrows.items() if source not in ends}
    pairs = closure(kept)
    expected: set[tuple[str, str]] = set()
    real_ends = ends or {each for each in IDS if not kept.get(each)}
    for each in IDS:
        if each != "a" and ("a", each) not in pairs:
            expected.add(("unreachable", each))
        elif each not in real_ends and not kept.get(each):
            expected.add(("dead_end", each))
        elif each not in real_ends and not any((each, end) in pairs for end in real_ends):
            expected.add(("endless", each))
    free = {each: [t for t in kept.get(each, ()) if t not in bounded] for each in IDS if each not in bounded}
    loops_there = any(source == target for source, target in closure(free))
    try:
        graph(parts, edges, terminal_nodes=sorted(ends))
        found: list[tuple[str, str]] = []
    except GraphInvalid as error:
        found = [(problem.kind, problem.where.split("'")[1]) for problem in error.problems]
    assert expected == {problem for problem in found if problem[0] != "endless_loop"}
    assert loops_there == any(kind == "endless_loop" for kind, _ in found)
