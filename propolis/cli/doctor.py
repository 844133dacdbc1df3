"""`propolis doctor` and `propolis why`: what is wrong with a store, and with one session."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import click

from propolis.actors import Finding, Host, check_store
from propolis.messages import SessionNotFound

from ..stuck import owner_of
from ..why import Evidence, explain
from .options import json_option, limit_option, store_option
from .plain import echo, json_text, print_table
from .stores import must_exist, reading

__all__ = ["doctor", "why"]

NAMED = 3
"""Ids in a line of the table, unless --limit says otherwise; --json has more."""


@click.command()
@store_option
@click.option("--repair", is_flag=True, help="Put right what can be; nothing that a live runtime has is touched.")
@click.option("--thorough", is_flag=True, help="Check the file's indexes against its tables, too: takes longer.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Watch the beats of runtimes that cannot be seen from here for longer than their lease.",
)
@limit_option("Name at most N ids of what is found.")
@json_option
@click.pass_context
def doctor(
    context: click.Context, *, store: str, repair: bool, thorough: bool, wait: float, limit: int | None, as_json: bool
) -> None:
    """Look for what is wrong with a store, also while a runtime works on it. Status 1 when it is not well."""
    must_exist(store)
    found = check_store(store, Host(), mend=repair, thorough=thorough, wait=wait)
    if as_json:
        echo(json_text([asdict(replace(finding, ids=finding.ids[:limit])) for finding in found]))
    else:
        _print(found, repair=repair, named=limit or NAMED)
    context.exit(1 if any(finding.is_open for finding in found) else 0)


def _print(found: tuple[Finding, ...], *, repair: bool, named: int) -> None:
    if found:
        print_table(("", "KIND", "WHERE", "WHAT", "REMEDY"), [_row(finding, named) for finding in found])
    left = [finding for finding in found if finding.is_open]
    repairable = sum(finding.repairable for finding in left)
    if not left:
        echo("The store is well.")
    elif repairable and not repair:
        echo(f"Not well: {_problems(len(left))}, {repairable} of which --repair puts right.")
    else:
        echo(f"Not well: {_problems(len(left))}.")


def _row(finding: Finding, named: int) -> tuple[str, ...]:
    mark = "repaired" if finding.repaired else finding.severity
    shown = finding.ids[:named]
    ids = ", ".join(shown)
    if finding.count > len(shown) > 0:
        ids += f" and {finding.count - len(shown)} more"
    what = f"{finding.detail}: {ids}" if ids else finding.detail
    return mark, finding.kind, finding.subject, what, finding.remedy


def _problems(count: int) -> str:
    return f"{count} problem{'' if count == 1 else 's'}"


@click.command()
@click.argument("session_id", metavar="ID")
@store_option
@json_option
def why(session_id: str, store: str, as_json: bool) -> None:
    """Say in a sentence why a session does not get on, as far as the store tells."""
    host = Host()
    with reading(store) as opened:
        stored = opened.find_evidence(session_id)
    if stored is None:
        raise SessionNotFound(session_id=session_id)
    answer = explain(Evidence(now=host.now(), stored=stored, owner=owner_of(stored)))
    evidence: dict[str, Any] = {"answer": str(answer), **answer.evidence}
    echo(json_text(evidence) if as_json else answer)
