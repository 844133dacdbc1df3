"""The rows of runtimes: who enters, who leaves, and who is declared dead."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, case, delete, insert, select, update

from propolis.messages import InvalidInput, RuntimeRow

from .moments import to_micros
from .schema import UNFINISHED, executions, runtimes, workers
from .statements import passed_on

__all__ = ["declare_dead", "enter", "leave"]


def enter(connection: Connection, row: RuntimeRow) -> None:
    """Raises InvalidInput when one of that id is there."""
    known = select(runtimes.c.runtime_id).where(runtimes.c.runtime_id == row.runtime_id)
    if connection.scalar(known) is not None:
        raise InvalidInput(
            what=f"runtime {row.runtime_id!r}", reason="one of that id is registered", remedy="Draw another id."
        )
    connection.execute(
        insert(runtimes).values(
            runtime_id=row.runtime_id,
            host=row.host,
            pid=row.pid,
            pid_started=row.pid_started,
            started_at=to_micros(row.started_at),
            beat=row.beat,
            last_batch=-1,
        )
    )


def leave(connection: Connection, runtime_id: str) -> None:
    """What it had not finished is free, uncharged."""
    its = (executions.c.owner == runtime_id) & UNFINISHED
    connection.execute(update(executions).where(its).values(owner=None))
    for table in (runtimes, workers):
        connection.execute(delete(table).where(table.c.runtime_id == runtime_id))


def declare_dead(connection: Connection, runtime_ids: Sequence[str]) -> None:
    """What they had not finished is free under a new epoch; what was running is charged a lost attempt."""
    theirs = executions.c.owner.in_(runtime_ids) & UNFINISHED
    lost = case((executions.c.status == "running", 1), else_=0)
    connection.execute(update(executions).where(theirs).values(owner=None, **passed_on(lost)))
    for table in (runtimes, workers):
        connection.execute(delete(table).where(table.c.runtime_id.in_(runtime_ids)))
