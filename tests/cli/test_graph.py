"""`propolis graph check` and `draw`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from propolis import parse_graph
from propolis.actors import dot_of, mermaid_of
from propolis.cli import main

from ..graph.desk_file import DESK, MODULE
from ..processes import ROOT

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a graph and the module of its functions; the current one."""
    (tmp_path / "desk.yaml").write_text(DESK)
    (tmp_path / "desk.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("desk", None)
    yield tmp_path
    sys.modules.pop("desk", None)


@pytest.fixture
def graph(folder: Path) -> Run:
    """Run the command in that folder."""
    return lambda *args: CliRunner().invoke(main, ["graph", *map(str, args)], prog_name="propolis")


def test_check_says_that_a_graph_is_well(folder: Path, graph: Run) -> None:
    """Without running anything of it; with `--import` its functions have to be there."""
    result = graph("check", "desk.yaml")
    assert (0, "Graph 'desk' is well: 4 nodes, 4 edges.\n") == (result.exit_code, result.stdout)
    assert "desk" not in sys.modules
    assert 0 == graph("check", "desk.yaml", "--import").exit_code
    assert "desk" in sys.modules
    assert str(folder) not in sys.path
    assert {"graph_id": "desk", "problems": []} == json.loads(graph("check", "desk.yaml", "--json").stdout)


def test_the_support_desk_is_well_without_its_code(graph: Run) -> None:
    """Its models are names, as its functions are."""
    result = graph("check", ROOT / "examples" / "support_desk" / "desk.yaml")
    assert (0, "Graph 'support-desk' is well: 5 nodes, 5 edges.\n") == (result.exit_code, result.stdout)


def test_what_is_imported_is_also_found_beside_the_file(
    folder: Path, graph: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever the command is called."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert 0 == graph("check", folder / "desk.yaml", "--import").exit_code
    assert str(folder) not in sys.path


def test_check_lists_every_problem_and_ends_with_status_1(folder: Path, graph: Run) -> None:
    """A line each, or JSON."""
    (folder / "desk.yaml").write_text(DESK.replace("target: reply", "target: x"))
    result = graph("check", "desk.yaml")
    assert (1, "") == (result.exit_code, result.stderr)
    lines = result.stdout.splitlines()
    assert "edge 'triage->x': there is no node 'x' [unknown_node]" == lines[0]
    assert "node 'reply': no way leads to it from an entry node [unreachable]" in lines
    as_json = graph("check", "desk.yaml", "--json")
    assert 1 == as_json.exit_code
    assert len(lines) == len(json.loads(as_json.stdout)["problems"])
    (folder / "desk.yaml").write_text("{")
    result = graph("check", "desk.yaml")
    assert (1, 1) == (result.exit_code, len(result.stdout.splitlines()))


@pytest.mark.parametrize(
    "args", [("check", "none.yaml"), ("draw", "none.yaml"), ("draw", "desk.yaml", "--format", "gif"), ("check",)]
)
def test_bad_use_is_status_2(graph: Run, args: tuple[str, ...]) -> None:
    """In one line."""
    result = graph(*args)
    assert (2, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines()))


def test_help_is_shown_without_a_command(graph: Run) -> None:
    """As everywhere."""
    assert graph().stdout.startswith("Usage: propolis graph")


MERMAID = """\
flowchart TD
    entry(( )) --> n0
    n0["triage"]
    n1["reply"]
    n2["approve"]
    n3["refund"]
    n0 -->|"label == 'refund'"| n2
    n0 --> n1
    n2 -->|"approved"| n3
    n2 --> n1
    classDef terminal stroke-width:3px
    class n1,n3 terminal
    classDef pause stroke-dasharray:5 3
    class n2 pause
"""


def test_draw_prints_mermaid(folder: Path, graph: Run) -> None:
    """Or writes it to a file."""
    result = graph("draw", "desk.yaml")
    assert (0, MERMAID) == (result.exit_code, result.stdout)
    result = graph("draw", "desk.yaml", "--output", "desk.mmd")
    assert (0, "", "Written to desk.mmd.\n") == (result.exit_code, result.stdout, result.stderr)
    assert MERMAID == (folder / "desk.mmd").read_text()


def test_a_graph_that_is_not_well_is_not_drawn(folder: Path, graph: Run) -> None:
    """Status 1, one line."""
    (folder / "desk.yaml").write_text(DESK.replace("target: reply", "target: x"))
    result = graph("draw", "desk.yaml")
    assert (1, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines()))


NASTY = parse_graph(
    {
        "id": "nasty",
        "entry_node": "end",
        "nodes": [
            {"id": "end", "name": 'say "hi" & <b>go</b> #1;\n%%', "function": "m:f", "output_keys": ["x"]},
            {"id": "subgraph", "kind": "router", "function": "m:f"},
            {"id": "class", "kind": "model", "prompt": "?"},
            {"id": "a-b.c", "kind": "human", "prompt": "?", "output_keys": ["y"]},
        ],
        "edges": [
            {"source": "end", "target": "subgraph", "condition": "conditional", "expression": 'x > 1 and x != "|"'},
            {"source": "end", "target": "class", "condition": "on_failure"},
            {"source": "subgraph", "target": "a-b.c"},
        ],
    }
)


def test_whatever_stands_in_a_label_stays_in_it() -> None:
    """Words of the language, quotes, brackets, newlines."""
    text = mermaid_of(NASTY)
    label = r'"[^"<>&]*"'
    node = rf"\[{label}\]|\(\[{label}\]\)|\{{{label}\}}|\[/{label}/\]"
    for line in text.splitlines()[2:9]:
        assert re.fullmatch(rf"    n\d({node}| (-->|-\.->)(\|{label}\|)? n\d)", line), line
    assert 'n0 -->|"x #62; 1 and x != #34;|#34;"| n1' in text
    dot = dot_of(NASTY)
    assert 0 == dot.replace('\\"', "").count('"') % 2
    assert '"end" -> "class" [label="on failure", style=dotted];' in dot


def test_pictures_need_graphviz_and_say_so(folder: Path, graph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text does not."""
    monkeypatch.setenv("PATH", str(folder))
    result = graph("draw", "desk.yaml", "--format", "svg")
    assert (1, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines()))
    assert "dot is not on the PATH" in result.stderr
    assert graph("draw", "desk.yaml", "--format", "dot").stdout.startswith('digraph "desk" {')


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize(("kind", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_graphviz_draws_pictures(folder: Path, graph: Run, kind: str, begins: bytes) -> None:
    """Of labels with anything in them."""
    assert 0 == graph("draw", "desk.yaml", "--format", kind, "--output", "out").exit_code
    assert (folder / "out").read_bytes().startswith(begins)


def test_what_dot_says_when_it_fails_is_passed_on(folder: Path, graph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, status 1."""
    program = folder / "dot"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho 'out of ink' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    result = graph("draw", "desk.yaml", "--format", "png")
    assert (1, "propolis: dot has failed: out of ink\n") == (result.exit_code, result.stderr)
