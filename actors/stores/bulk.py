"""Many rows in one statement.

The driver gives the GIL away at every step of every statement, and with busy threads around it may take a switch
interval (5 ms) to come back: a hundred rows through `executemany` are a hundred such chances, through one statement
one. (Measured with one busy thread: 231 ms and 12 ms; with none: 1.25 ms and 0.86 ms.) So rows go in as one VALUES
list. Its SQL is compiled from Core expressions once per size; the sizes are powers of two, and what is left over is
filled with rows that match nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Dialect,
    Insert,
    Select,
    Subquery,
    Table,
    Update,
    bindparam,
    column,
    insert,
    literal_column,
    select,
    update,
    values,
)

from .dialect import PADDING, bind, read_cell

__all__ = ["Bulk", "Row", "bulk_insert", "bulk_update", "given"]

Row: TypeAlias = Sequence[Any]
Statement: TypeAlias = Insert | Update | Delete | Select[Any]

MAX_ROWS: Final = 128
"""Rows of one statement. More would save little, and SQLite allows 32,766 values in one."""


def _rounded(rows: int) -> int:
    """For how many rows the statement is made. Few sizes, so that the driver's cache of statements holds them all;
    a multiple of 8 wastes little on padding.
    """
    return 1 << (rows - 1).bit_length() if rows < 8 else -8 * (-rows // 8)


class Bulk:
    """One statement over a list of rows. `make` gets the rows as a subquery `v`, with these columns.

    The first column is a text, and never empty. Any thread: what it keeps is the SQL that it was compiled to.
    """

    def __init__(self, columns: Sequence[Column[Any]], make: Callable[[Subquery], Statement]) -> None:
        self._columns = columns
        self._make = make
        self._sql: dict[tuple[type[Dialect], int], str] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Execute it for these rows; how many were affected, or the sum of what a query answers."""
        total = 0
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            size = _rounded(len(part))
            sql = self._sql.get((type(connection.dialect), size)) or self._make_sql(connection.dialect, size)
            cells = [cell for row in part for cell in bind(row)]
            cells += [PADDING] * (size * len(self._columns) - len(cells))
            result = connection.exec_driver_sql(sql, tuple(cells))
            total += result.scalar_one() if result.returns_rows else result.rowcount
        return total

    def _make_sql(self, dialect: Dialect, size: int) -> str:
        """The text for so many rows, from those for one and for two: to compile 128 rows takes 20 ms."""
        one, two = (self._sql.get((type(dialect), rows)) or self._compile(dialect, rows) for rows in (1, 2))
        place = next(i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
        row = two[place : place + len(two) - len(one)]
        self._sql[type(dialect), size] = sql = one[:place] + row * (size - 1) + one[place:]
        return sql

    def _compile(self, dialect: Dialect, size: int) -> str:
        columns = self._columns
        cells = [tuple(bindparam(None, type_=c.type) for c in columns) for _ in range(size)]
        listed = values(*[column(c.name, c.type) for c in columns]).data(cells).cte("listed", nesting=True)
        # Inside the statement and not ahead of it: the driver counts rows only of what begins with UPDATE or INSERT.
        source = select(
            *[read_cell(listed.c[c.name]).label(c.name) if c.nullable else listed.c[c.name] for c in columns]
        ).subquery("v")
        compiled = self._make(source).compile(dialect=dialect)
        bound = len(compiled.positiontup or ())
        assert bound == size * len(columns), f"values are bound beside those of the rows: {compiled}"
        sql = self._sql[type(dialect), size] = str(compiled)
        return sql


def given(column: Column[Any], *, nullable: bool | None = None) -> Column[Any]:
    """A column of a list of rows, named and typed as one of a table."""
    return Column(column.name, column.type, nullable=column.nullable if nullable is None else nullable)


def bulk_insert(table: Table, names: Sequence[str]) -> Bulk:
    """INSERT rows of these columns."""

    def make(rows: Subquery) -> Statement:
        real = select(rows).where(rows.c[names[0]] != literal_column("''"))
        return insert(table).from_select(list(names), real, include_defaults=False)

    return Bulk([given(table.c[name]) for name in names], make)


def bulk_update(
    table: Table,
    columns: Sequence[Column[Any]],
    where: Callable[[Subquery], ColumnElement[bool]],
    assign: Callable[[Subquery], dict[str, Any]],
) -> Bulk:
    """UPDATE the rows that `where` pairs with a row of the list."""
    return Bulk(columns, lambda rows: update(table).where(where(rows)).values(assign(rows)))
