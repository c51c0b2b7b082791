"""Runs programs (`sql.program`) over a connection.

Every step of a statement gives up the interpreter's lock, and may wait for the event loop's thread to get it back. So
many rows are written by few statements.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from itertools import chain, repeat
from typing import TypeVar

from relay.store.sql.program import Over, Program, Row, Rows, Writes

T = TypeVar("T")
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # of rows: few, so that statements stay prepared


def run(db: sqlite3.Connection, program: Program[T]) -> T:
    rows: list[Row] = []
    try:
        asked = next(program)
        while True:
            if isinstance(asked, Over):
                rows = over(db, asked.rows, asked.values)
            elif isinstance(asked, Writes):
                rows = []
                for part in asked.parts:
                    over(db, *part)
            else:
                rows = db.execute(*asked).fetchall()
            asked = program.send(rows)
    except StopIteration as ended:
        result: T = ended.value
        return result


def over(db: sqlite3.Connection, rows: Rows, values: Sequence[Row]) -> list[Row]:
    """In as few statements as can be; what a statement has room for beyond the values is filled with nothing."""
    found: list[Row] = []
    texts = statements(rows)
    for at in range(0, len(values), SIZES[-1]):
        some = values[at : at + SIZES[-1]]
        size = SIZES[bisect_left(SIZES, len(some))]
        filler = repeat(None, (size - len(some)) * len(some[0]))
        found += db.execute(texts[size], [*chain.from_iterable(some), *filler]).fetchall()
    return found


@cache
def statements(rows: Rows) -> dict[int, str]:
    """By the number of rows."""
    row = f"({', '.join('?' * len(rows.columns))})"
    return {size: rows.sql.format(rows=f"(VALUES {', '.join([row] * size)})") for size in SIZES}
