"""`propolis demo`."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
from pathlib import Path

import click
from rich.console import Console

from ..demo import (
    Board,
    Interrupted,
    LiveView,
    PlainView,
    catalogue,
    plan_attacks,
    print_report,
    run_demo,
    standard_library,
)
from .options import limit_option, store_option
from .plain import echo
from .stores import file_of

__all__ = ["demo"]

PIPE_WIDTH = 120


@click.command()
@store_option
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=256),
    default=4,
    show_default=True,
    metavar="N",
    help="Audits at the same time.",
)
@limit_option("Audit N modules only, evenly spread.")
@click.option(
    "--library",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Audit the Python files below FOLDER in place of the standard library.",
)
@click.option(
    "--hostile",
    is_flag=True,
    help="Meanwhile run code that crashes, hangs, eats memory or leaves without a word, in worker processes.",
)
@click.option("--plain", "--no-live", "plain", is_flag=True, help="Plain lines, also on a terminal.")
@click.pass_context
def demo(
    context: click.Context,
    *,
    store: str,
    workers: int,
    limit: int | None,
    library: Path | None,
    hostile: bool,
    plain: bool,
) -> None:
    """Audit the standard library of this Python, an execution for every module.

    Interrupt it, or kill it: the same command goes on, and does nothing again that was recorded.
    """
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    live = console.is_terminal and not plain
    where = file_of(store)
    what = f"the standard library of Python {platform.python_version()}" if library is None else str(library)
    modules = catalogue(standard_library() if library is None else library, limit)
    attacks = plan_attacks(len(modules)) if hostile else ()
    board = Board()
    intro = f"Auditing {what}: {len(modules)} modules, {workers} at a time. Recorded in {where or 'memory'}."
    if attacks:
        intro += f" Beside it {len(attacks)} hostile executions, in worker processes."
    view = LiveView(console, board, f"Propolis audits {what}") if live else PlainView(console, board, intro)
    try:
        report = run_demo(modules, store, workers=workers, board=board, view=view, attacks=attacks)
    except Interrupted as interrupted:
        again = "The same command goes on from there." if where else ""
        message = f"Interrupted: {interrupted.done} of {interrupted.total} modules are recorded. {again}"
        echo(message, err=True)
        context.exit(130)
    print_report(report, console, title=f"Audit of {what}", store=store, where=str(where or ""), program=_program())
    context.exit(0 if report.is_complete else 1)


def _program() -> str:
    """How the reader would call us: by name where the shell finds it, else as we were called."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m propolis"
    found = shutil.which("propolis")
    if found is not None and Path(found).resolve() == called.resolve():
        return "propolis"
    return shlex.quote(sys.argv[0])
