"""Graphs in files: read, resolved, run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from propolis.actors.executors.graph.yaml import read_yaml
from pydantic import BaseModel

from propolis import (
    Backoff,
    CheckpointConfig,
    EntryPoint,
    GraphExecutor,
    GraphSpec,
    RestartPolicy,
    StreamPolicy,
    load_graph,
    parse_graph,
    resolve_graph,
)
from propolis.messages import GraphInvalid, InvalidInput

from .conftest import Ran
from .desk_file import DESK, MODULE

NAMES = ("triage", "reply", "approve", "refund")


class Label(BaseModel):
    """What triage gives."""

    label: str


class Order(BaseModel):
    """What triage does not give."""

    amount: int


def work(ctx: Any, inputs: Any) -> None:
    """A function."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a graph and the module of its functions; the current one."""
    (tmp_path / "desk.yaml").write_text(DESK)
    (tmp_path / "desk.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("desk", None)
    yield tmp_path
    sys.modules.pop("desk", None)


def told(path: Path, **options: Any) -> list[tuple[str, ...]]:
    """What is wrong with the graph in a file."""
    with pytest.raises(GraphInvalid) as caught:
        load_graph(path, **options)
    return [tuple(problem) for problem in caught.value.problems]


def change(folder: Path, *changes: tuple[str, str]) -> Path:
    """The file, with other text in the place of some."""
    text = DESK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "desk.yaml").write_text(text)
    return folder / "desk.yaml"


def test_a_file_says_what_the_specs_say(folder: Path) -> None:
    """Policies are mappings, lists are lists; functions stay names until they are looked up."""
    graph = load_graph("desk.yaml")
    assert isinstance(graph, GraphSpec)
    triage = graph.node("triage")
    assert triage is not None
    assert ("desk:triage", 2, Backoff(initial=0.5, maximum=4)) == (triage.function, triage.retries, triage.backoff)
    assert ("continue_others", 30) == (graph.parallel.on_failure, graph.parallel.branch_timeout)
    trigger = {"path": "/tickets"}
    hook = EntryPoint(
        id="hook",
        entry_node="triage",
        trigger_type="webhook",
        trigger_config=trigger,
        max_concurrent=4,
        checkpoint=CheckpointConfig(keep=3),
        circuit=StreamPolicy(max_failures=2),
        restart=RestartPolicy(max_restarts=1, backoff=Backoff(initial=1)),
    )
    assert (hook,) == graph.async_entry_points
    assert "desk" not in sys.modules


def test_json_says_the_same(folder: Path) -> None:
    """And needs no library."""
    (folder / "desk.json").write_text(json.dumps(read_yaml(DESK)))
    assert load_graph("desk.yaml") == load_graph(folder / "desk.json") == parse_graph(read_yaml(DESK))


def test_functions_are_looked_up_in_what_is_given(folder: Path, ran: Ran) -> None:
    """And, without leave, nowhere else: whoever writes the file does not say what is run."""
    namespace: dict[str, Any] = {}
    exec(MODULE, namespace)
    functions = {f"desk:{name}": namespace[name] for name in NAMES}
    graph = load_graph("desk.yaml", functions=functions)
    assert {"reply": "dear customer"} == ran(graph, {"text": "where is it?"}).output
    del functions["desk:reply"], functions["desk:approve"]
    said = "is not among the functions, and importing it was not allowed"
    assert [
        ("not_resolved", "node 'reply'", f"its function 'desk:reply' {said}"),
        ("not_resolved", "node 'approve'", f"its function 'desk:approve' {said}"),
    ] == told(folder / "desk.yaml", functions=functions)
    assert "desk" not in sys.modules


def test_with_leave_they_are_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from within a class; what is not there, or cannot be called, is named."""
    monkeypatch.syspath_prepend(folder)
    graph = load_graph("desk.yaml", allow_import=True)
    assert graph == resolve_graph(load_graph("desk.yaml"), allow_import=True)
    assert all(callable(node.function) for node in graph.nodes)
    change(folder, ("desk:reply", "desk:Holder.function"))
    assert callable(load_graph("desk.yaml", allow_import=True).nodes[1].function)
    path = change(folder, ("desk:reply", "desk:nothing"), ("desk:refund", "no_such_module:f"))
    nothing, nowhere = told(path, allow_import=True)
    assert ("not_resolved", "node 'reply'") == nothing[:2]
    assert "its function 'desk:nothing' cannot be imported: AttributeError" in nothing[2]
    assert "its function 'no_such_module:f' cannot be imported: ModuleNotFoundError" in nowhere[2]
    (problem,) = told(change(folder, ("desk:reply", "desk:NUMBER")), allow_import=True)
    assert ("not_resolved", "node 'reply'", "its function 'desk:NUMBER' is no function: 7") == problem


def test_models_are_looked_up_like_functions(folder: Path) -> None:
    """Until then their names are enough to look at the graph; which keys they add nobody knows."""
    keys = "    output_keys: [label, amount]\n"
    path = change(folder, (keys, "    output_keys: [amount]\n    output_model: desk:Label\n"))
    looked_at = load_graph(path)
    with pytest.raises(GraphInvalid) as caught:
        GraphExecutor(looked_at)
    problems = [tuple(problem) for problem in caught.value.problems]
    assert ("not_resolved", "node 'triage'", "its output_model is only a name yet, 'desk:Label'") in problems
    functions = {"desk:Label": Label, **{f"desk:{name}": work for name in NAMES}}
    assert ("amount", "label") == resolve_graph(looked_at, functions).nodes[0].outputs
    assert ("amount", "label") == load_graph(path, functions=functions).nodes[0].outputs
    (problem,) = told(path, functions={**functions, "desk:Label": work})
    assert "its output_model 'desk:Label' is no pydantic model" == problem[2]
    del functions["desk:Label"]
    (problem,) = told(path, functions=functions)
    assert ("not_resolved", "nodes[0] 'triage'") == problem[:2]


def test_what_only_the_fields_of_a_model_tell_is_told_when_it_is_known(folder: Path) -> None:
    """Nobody produces the label, as it turns out."""
    keys = "    output_keys: [label, amount]\n"
    looked_at = load_graph(change(folder, (keys, "    output_model: desk:Label\n")))
    functions = {"desk:Label": Order, **{f"desk:{name}": work for name in NAMES}}
    with pytest.raises(GraphInvalid, match="label"):
        resolve_graph(looked_at, functions)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Whatever its name says."""
    for name in ("graph.yaml", "graph.json"):
        (tmp_path / name).write_bytes(b"id: \xff\xfe")
        (problem,) = told(tmp_path / name)
        assert ("unreadable", name) == problem[:2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: desk", "id: ../desk", "GraphSpec.id"),
        ("retries: 2", "retrys: 2", "NodeSpec.retrys: there is no such field. Did you mean retries?"),
        ("retries: 2", "retries: two", "NodeSpec.retries"),
        ("initial: 0.5", "initial: -1", "Backoff.initial"),
        ("on_failure: continue_others", "on_failure: give_up", "ParallelPolicy.on_failure"),
        ("trigger_config: {path: /tickets}, ", "", "a webhook needs a path"),
        (", expression: label == 'refund'", "", "is conditional and has none"),
        ("expression: label == 'refund'", "expression: 9**9**9", "Pow is not part of this language"),
        ("target: reply}", "target: replay}", "there is no node 'replay'; did you mean 'reply'?"),
        ("source: triage, target: approve", "[source, triage, target: approve", "while parsing"),
        ("max_steps: 50", "max_steps: 50\nmax_steps: 60", "'max_steps' is there twice"),
        ("edges:\n", "edges: &e\n  - *e\n", "aliases are not taken here"),
        ("id: desk", "id: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("max_steps: 50", "max_steps: !!bool fifty", "not of the kind that its tag says (KeyError: 'fifty')"),
        ("id: desk", "id: !!timestamp desk", "not of the kind that its tag says"),
        ("nodes:\n", "nodes: 7\nnot_nodes:\n", "nodes: it is no list"),
        ("edges:\n", "edges:\n  - 7\n", "edges[0]: it is no mapping of fields"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(folder: Path, old: str, new: str, said: str) -> None:
    """Whether it is no YAML, no field, or no graph."""
    assert said in "\n".join(": ".join(problem) for problem in told(change(folder, (old, new))))


def test_all_that_is_wrong_in_a_file_is_told_at_once(folder: Path) -> None:
    """Of its parts, or, when they are right, of the whole."""
    parts = change(
        folder, ("retries: 2", "retrys: 2"), ("function: desk:reply", "function: 7"), ("priority: 1", "priority: x")
    )
    assert ["nodes[0] 'triage'", "nodes[1] 'reply'", "edges[0]"] == [where for _, where, _ in told(parts)]
    whole = change(folder, ("target: reply}", "target: x}"), ("input_keys: [amount]", "input_keys: [a]"))
    assert {"unknown_node", "missing_output"} == {kind for kind, _, _ in told(whole)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", '{"id": "a", "id": "b"}'),
        ("a.json", "[" * 100_000),
        ("a.json", "7"),
        ("a.yaml", ""),
        ("a.yaml", "- 1"),
        ("a.yaml", "\t"),
        ("a.yaml", "[" * 5_000),
        ("a.yaml", "{[1]: 2}"),
    ],
    ids=str,
)
def test_what_is_no_graph_at_all_is_refused(tmp_path: Path, name: str, text: str) -> None:
    """With one sentence."""
    (tmp_path / name).write_text(text)
    (problem,) = told(tmp_path / name)
    assert problem[0] in ("unreadable", "bad_field")
    assert "\n" not in problem[2]


def test_without_the_library_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML is an extra."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InvalidInput, match=r"pip install 'propolis\[graph\]'"):
        load_graph("desk.yaml")
