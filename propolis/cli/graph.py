"""`propolis graph check | draw FILE`: what is wrong with a graph, and what it looks like. Runs nothing of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from propolis.actors import GraphSpec, dot_of, load_graph, mermaid_of
from propolis.messages import GraphInvalid, GraphProblem

from .options import json_option
from .plain import echo, json_text

__all__ = ["graph"]

DRAW_SECONDS = 60.0

_file = click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_import = click.option(
    "--import",
    "allow_import",
    is_flag=True,
    help="Import the functions and models that it names, also from its own and the current folder. This runs them.",
)


@click.group(invoke_without_command=True)
@click.pass_context
def graph(context: click.Context) -> None:
    """Look at graphs in YAML or JSON."""
    if context.invoked_subcommand is None:
        echo(context.get_help())


@graph.command("check")
@_file
@_import
@json_option
@click.pass_context
def check(context: click.Context, file: Path, allow_import: bool, as_json: bool) -> None:
    """Say everything that is wrong with a graph; status 1 if there is anything."""
    try:
        found = _load(file, allow_import)
    except GraphInvalid as error:
        _print(error.graph_id, error.problems, as_json=as_json)
        context.exit(1)
    if as_json:
        _print(found.id, (), as_json=True)
    else:
        echo(f"Graph {found.id!r} is well: {len(found.nodes)} nodes, {len(found.edges)} edges.")


def _print(graph_id: str, problems: Sequence[GraphProblem], *, as_json: bool) -> None:
    if as_json:
        echo(json_text({"graph_id": graph_id, "problems": [problem._asdict() for problem in problems]}))
    for problem in () if as_json else problems:
        echo(f"{problem} [{problem.kind}]")


@graph.command("draw")
@_file
@_import
@click.option(
    "--format",
    "kind",
    type=click.Choice(["mermaid", "dot", "svg", "png"]),
    default="mermaid",
    show_default=True,
    help="svg and png are drawn by Graphviz, whose `dot` has to be on the PATH.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="PATH", help="Write it there.")
def draw(file: Path, allow_import: bool, kind: str, output: Path | None) -> None:
    """Draw a graph that is well."""
    found = _load(file, allow_import)
    if kind == "mermaid":
        picture = mermaid_of(found).encode()
    else:
        picture = dot_of(found).encode()
        if kind != "dot":
            picture = _drawn(picture, kind)
    if output is not None:
        output.write_bytes(picture)
        echo(f"Written to {output}.", err=True)
    else:
        click.echo(picture, nl=False)  # a file in whatever format, and no text for people


def _load(file: Path, allow_import: bool) -> GraphSpec:
    before = list(sys.path)
    if allow_import:
        sys.path[:0] = [str(file.resolve().parent), str(Path.cwd())]
    try:
        return load_graph(file, allow_import=allow_import)
    finally:
        sys.path[:] = before


def _drawn(text: bytes, kind: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise click.ClickException(
            f"Drawing {kind} needs Graphviz, and its program dot is not on the PATH. "
            "Install Graphviz, or use --format mermaid."
        )
    command = [program, f"-T{kind}"]
    ran = subprocess.run(command, input=text, capture_output=True, timeout=DRAW_SECONDS, check=False)  # noqa: S603
    if ran.returncode != 0:
        raise click.ClickException(f"dot has failed: {ran.stderr.decode(errors='replace')[:500]}")
    return ran.stdout
