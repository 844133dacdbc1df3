"""What whoever looks from outside wants to know: which workers there are, and what has not ended."""

from __future__ import annotations

from sqlalchemy import Connection, case, delete, func, insert, select

from propolis.messages import ExecutionSpec, ExecutionState, ExecutionStatus, WorkersReport, decode_as, encode

from .moments import to_micros
from .reading import pair_of
from .rows import readable
from .schema import UNFINISHED, executions, runtimes, workers

__all__ = ["count_unfinished", "list_reports", "list_unfinished", "put_report"]


def put_report(connection: Connection, report: WorkersReport) -> None:
    """In place of the last one of this runtime; dropped when the runtime is not registered (any more)."""
    mine = workers.c.runtime_id == report.runtime_id
    connection.execute(delete(workers).where(mine))
    known = select(runtimes.c.runtime_id).where(runtimes.c.runtime_id == report.runtime_id)
    if report.workers and connection.scalar(known) is not None:
        values = {"runtime_id": report.runtime_id, "reported_at": to_micros(report.at), "report": encode(report)}
        connection.execute(insert(workers).values(values))


def list_reports(connection: Connection) -> tuple[WorkersReport, ...]:
    """The last one of every runtime that has workers and is registered."""
    joined = workers.join(runtimes, runtimes.c.runtime_id == workers.c.runtime_id)
    query = select(workers.c.report).select_from(joined).order_by(runtimes.c.started_at, runtimes.c.runtime_id)
    return tuple(decode_as(WorkersReport, data) for data in connection.scalars(query))


def list_unfinished(connection: Connection, limit: int) -> tuple[tuple[ExecutionSpec, ExecutionState], ...]:
    """What has not ended: first what runs, then what runs again soon, then the rest; each in order of acceptance."""
    rank = case((executions.c.status == "running", 0), (executions.c.status == "restarting", 1), else_=2)
    query = select(executions).where(UNFINISHED).order_by(rank, executions.c.id).limit(limit)
    return tuple(readable(connection.execute(query).mappings(), pair_of, "execution_id"))


def count_unfinished(connection: Connection) -> dict[ExecutionStatus, int]:
    """How much of that there is in each status."""
    query = select(executions.c.status, func.count()).where(UNFINISHED).group_by(executions.c.status)
    return {row[0]: row[1] for row in connection.execute(query.order_by(executions.c.status))}
