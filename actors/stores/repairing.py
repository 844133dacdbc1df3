"""Puts right what a look at a store has found, in one transaction, and nothing that a live runtime has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, case, delete, func, select, update

from propolis.messages import ENDED

from .examining import ORPHANS, OWNER_IS_NONE
from .findings import Finding
from .registering import declare_dead
from .schema import LAST_SEQ, UNFINISHED, events, executions, meta
from .statements import passed_on

__all__ = ["repair"]


def repair(connection: Connection, found: Sequence[Finding], alive: Mapping[str, bool | None]) -> None:
    """Repair what is repairable of these, as it stands now: each condition is part of the statement that acts on it."""
    kinds = {finding.kind for finding in found if finding.repairable}
    if "counter" in kinds:
        highest = connection.scalar(select(func.max(events.c.seq))) or 0
        connection.execute(update(meta).where(meta.c.key == LAST_SEQ, meta.c.value < highest).values(value=highest))
    if "disagreement" in kinds:
        _agree(connection, alive)
    dead = [id for id, lives in alive.items() if lives is False]
    if "dead_runtime" in kinds and dead:
        declare_dead(connection, dead)
    if "stuck" in kinds:
        _free(connection, OWNER_IS_NONE)
    if "orphans" in kinds:
        for table, (_, is_orphan, _) in ORPHANS.items():
            connection.execute(delete(table).where(is_orphan))


def _free(connection: Connection, of_whom: object) -> None:
    lost = case((executions.c.status == "running", 1), else_=0)
    connection.execute(
        update(executions)
        .where(of_whom, UNFINISHED)  # type: ignore[arg-type]
        .values(owner=None, **passed_on(lost))
    )


def _agree(connection: Connection, alive: Mapping[str, bool | None]) -> None:
    by_status = case((executions.c.status.in_(sorted(ENDED)), 1), else_=0)
    held = [id for id, lives in alive.items() if lives is not False]
    free = executions.c.owner.is_(None) | executions.c.owner.not_in(held)
    connection.execute(update(executions).where(by_status != executions.c.ended, free).values(ended=by_status))
