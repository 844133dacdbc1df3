"""The report as a person reads it."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .aftermath import Aftermath
from .report import Report

__all__ = ["print_report"]

MOST_COMPLEX = 10
FAILURES = 30


def print_report(report: Report, console: Console, *, title: str, store: str, where: str, program: str) -> None:
    """Print it: what was found, what failed and why, where the record lies and how to look at it.

    `where`: the store as a path. `program`: how the reader calls the command line.
    """
    console.print()
    _headline(report, console, title)
    if report.audited:
        console.print("", _most_complex(report), "", _worst_functions(report), sep="\n")
    if report.failed:
        console.print("", _failures(report), sep="\n")
    if report.aftermath is not None:
        console.print("", _attacks(report.aftermath), sep="\n")
        _say(console, _verdict(report, report.aftermath))
    _remarks(report, console)
    _how_to_look(report, console, store=store, where=where, program=program)


def _headline(report: Report, console: Console, title: str) -> None:
    console.print(Text(title, style="bold"))
    _say(
        console,
        f"{len(report.audited)} of {report.modules} modules audited, {len(report.failed)} failed, "
        f"{len(report.unfinished)} without a result: {report.total('lines'):,} lines, "
        f"{report.total('functions'):,} functions, {report.total('classes'):,} classes; "
        f"{report.docstring_coverage:.0%} of what is public has a docstring.",
    )


def _most_complex(report: Report) -> Table:
    table = _table("Most complex modules")
    table.add_column("module", overflow="fold")
    for name in ("complexity", "lines", "functions", "nesting", "docstrings"):
        table.add_column(name, justify="right", no_wrap=True)
    for module in report.audited[:MOST_COMPLEX]:
        figures = [f"{module[name]:,}" for name in ("complexity", "lines", "functions", "nesting")]
        table.add_row(Text(module["module"]), *figures, f"{module['docstring_coverage']:.0%}")
    return table


def _worst_functions(report: Report) -> Table:
    table = _table("Most complex functions")
    table.add_column("function", overflow="fold")
    table.add_column("where", overflow="fold")
    table.add_column("complexity", justify="right", no_wrap=True)
    table.add_column("nesting", justify="right", no_wrap=True)
    for function in report.worst_functions(MOST_COMPLEX // 2):
        where = Text(f"{function['module']}:{function['line']}")
        table.add_row(Text(function["name"]), where, f"{function['complexity']:,}", f"{function['nesting']}")
    return table


def _failures(report: Report) -> Table:
    table = _table("Failed, and why")
    table.add_column("module", overflow="fold", ratio=2)
    table.add_column("why", overflow="fold", ratio=3)
    for failed in report.failed[:FAILURES]:
        again = f" (after {failed.restarts} restarts)" if failed.restarts else ""
        table.add_row(Text(failed.path), Text(f"{failed.kind}: {failed.message}{again}", style="red"))
    if len(report.failed) > FAILURES:
        table.add_row(Text(f"and {len(report.failed) - FAILURES} more"), "")
    table.expand = True
    return table


def _attacks(aftermath: Aftermath) -> Table:
    table = _table("Hostile executions, in worker processes")
    table.add_column("kind", no_wrap=True)
    for name in ("how many", "restarts of each"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("ended", "reason", "as its policy says"):
        table.add_column(name, no_wrap=True)
    for ending, count in aftermath.endings:
        reason = f"{ending.code}, {ending.detail}" if ending.detail else ending.code
        as_expected = Text("yes") if ending.is_as_expected else Text("no", style="red")
        table.add_row(ending.kind, f"{count}", f"{ending.restarts}", ending.status, Text(reason), as_expected)
    return table


def _verdict(report: Report, aftermath: Aftermath) -> str:
    """What they did to the audit."""
    if aftermath.repeated:
        return f"Attacks that were recorded more than once: {', '.join(aftermath.repeated[:5])}"
    if not report.accounts_for_all:
        return "The audit beside them is not complete."
    accounted = f"all {report.modules} modules are accounted for, once"
    if report.restarts or report.lost_attempts:  # a restart for an unreadable file, or the demo itself was killed
        return f"The audit beside them is complete: {accounted}."
    return f"The audit beside them was untouched: {accounted}, with no attempt restarted or lost."


def _remarks(report: Report, console: Console) -> None:
    if report.lost_attempts or report.restarts:
        _say(
            console,
            f"On the way: {report.restarts} restarts, and {report.lost_attempts} attempts that ended with their "
            "process and were taken up again.",
        )
    if report.unfinished:
        _say(console, f"Without a result: {', '.join(report.unfinished[:5])}{' …' * (len(report.unfinished) > 5)}")
    if report.repeated:
        _say(console, f"Recorded more than once: {', '.join(report.repeated[:5])}")


def _how_to_look(report: Report, console: Console, *, store: str, where: str, program: str) -> None:
    if not where:
        _say(console, "\nThe record was kept in memory and is gone. --store sqlite:///name.db keeps it in a file.")
        return
    _say(console, f"\nThe record is in {where}. Look at it with")
    option = f"--store {shlex.quote(store)}"
    example = report.failed[0].session_id if report.failed else "ID"
    for command in ("sessions list --status failed", f"sessions show {example}", "sessions export --to folder"):
        _say(console, f"    {program} {command} {option}")
    _say(console, "The same command again does nothing that was recorded; --store with another name starts anew.")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
