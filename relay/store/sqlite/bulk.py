"""Many rows by one statement.

Every step of a statement gives up the interpreter's lock, and may wait for the event loop's thread to get it back. So
one batch is few statements, and what they read comes as one row.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

from relay.store.tables import Table

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # of rows: few, so that statements stay prepared
Statements = dict[int, str]


def inserts(verb: str, table: Table[Any]) -> Statements:
    """`verb` is INSERT with its OR. Rows with nothing in the first column are left out."""
    return inserts_into(f"{verb} INTO {table.name} ({table.names(beside=True)})", len(table.columns))


def inserts_into(head: str, columns: int) -> Statements:
    """`head` is "INSERT INTO table (columns)"."""
    return statements(f"{head} SELECT * FROM {{values}} WHERE column1 IS NOT NULL", columns)


def statements(sql: str, columns: int) -> Statements:
    """Per size the statement with `{values}` as a table of that many rows, whose columns are column1, column2 …"""
    row = f"({', '.join('?' * columns)})"
    return {size: sql.format(values=f"(VALUES {', '.join([row] * size)})") for size in SIZES}


def write(db: sqlite3.Connection, statements: Statements, values: Sequence[Sequence[object]]) -> None:
    """The rows in as few statements as can be; what a statement has room for beyond them is filled with nothing."""
    for at in range(0, len(values), SIZES[-1]):
        some = values[at : at + SIZES[-1]]
        size = next(size for size in SIZES if size >= len(some))
        filler = repeat(None, (size - len(some)) * len(some[0]))
        db.execute(statements[size], [*chain.from_iterable(some), *filler])
