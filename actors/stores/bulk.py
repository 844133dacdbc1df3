"""Many rows in one statement.

The driver gives the GIL away at every step of every statement, and with busy threads around it may take a switch
interval (5 ms) to come back: a hundred rows through `executemany` are a hundred such chances, through one statement
one. So rows go in as one VALUES list. Its SQL is compiled from Core expressions once per size; the sizes are powers of
two, and what is left over is filled with rows of NULLs that match nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Subquery,
    Table,
    bindparam,
    column,
    insert,
    select,
    update,
    values,
)
from sqlalchemy.sql.elements import KeyedColumnElement

__all__ = ["Bulk", "Row", "bulk_insert", "bulk_update"]

Row: TypeAlias = Sequence[Any]

MAX_ROWS: Final = 128
"""Rows of one statement. More would save little, and SQLite allows 32,766 values in one."""


class Bulk:
    """One statement over a list of rows. `make` gets the rows as a subquery `v`, with these columns.

    The first column is never NULL in a row.
    """

    def __init__(self, columns: Sequence[KeyedColumnElement[Any]], make: Callable[[Subquery], Executable]) -> None:
        self._columns = columns
        self._make = make
        self._width = len(columns)
        self._sql: dict[int, str] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Execute it for these rows; how many were affected (of a query: its first column, summed)."""
        total = 0
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            size = 1 << (len(part) - 1).bit_length()
            sql = self._sql.get(size) or self._compile(connection, size)
            padding = (None,) * ((size - len(part)) * self._width)
            result = connection.exec_driver_sql(sql, (*chain.from_iterable(part), *padding))
            total += result.scalar_one() if result.returns_rows else result.rowcount
        return total

    def _compile(self, connection: Connection, size: int) -> str:
        cells = [tuple(bindparam(None, type_=c.type) for c in self._columns) for _ in range(size)]
        listed = values(*[column(c.key, c.type) for c in self._columns]).data(cells).cte("listed", nesting=True)
        # Inside the statement and not ahead of it: the driver counts rows only of what begins with UPDATE or INSERT.
        source = select(listed).subquery("v")
        compiled = self._make(source).compile(dialect=connection.dialect)  # type: ignore[attr-defined]
        sql = self._sql[size] = str(compiled)
        return sql


def bulk_insert(table: Table, names: Sequence[str]) -> Bulk:
    """INSERT rows of these columns."""

    def make(source: Subquery) -> Executable:
        rows = select(*[source.c[name] for name in names]).where(source.c[names[0]].is_not(None))
        return insert(table).from_select(list(names), rows, include_defaults=False)

    return Bulk([table.c[name] for name in names], make)


def bulk_update(
    table: Table,
    columns: Sequence[KeyedColumnElement[Any]],
    where: Callable[[Subquery], ColumnElement[bool]],
    assign: Callable[[Subquery], dict[str, Any]],
) -> Bulk:
    """UPDATE the rows that `where` pairs with a row of the list."""
    return Bulk(columns, lambda source: update(table).where(where(source)).values(assign(source)))
