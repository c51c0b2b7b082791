"""Runs programs (`sql.program`) over a connection.

Owns: statements in PostgreSQL's spelling, rows of values as arrays. All that a program writes at once is one statement,
and so one round trip: `WITH` one part after the other, each of another table.
"""
# ruff: noqa: S608 - SQL is put together from constants of `relay.store.sql`; values are bound

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar

from relay.store import decisions
from relay.store.sql.program import Over, Program, Row, Rows, Statement, Writes

T = TypeVar("T")
Types = Mapping[str, str]  # "table.column" -> its type
PLACE = re.compile(r"\?|(?<![:\w]):(\w+)")


class End(NamedTuple):
    """A statement with "{}" for each of its values, and what is selected then."""

    statement: str = ""
    select: str = ""


NO_END = End()


class Asks(Protocol):
    """A connection, or a transaction over one. `reads`: the statement changes nothing."""

    types: Types

    async def ask(self, sql: str, values: Sequence[Any], *, reads: bool) -> list[Row]: ...

    async def write(self, asked: Writes) -> None: ...


async def run(db: Asks, program: Program[T], *, careful: bool = False) -> T:
    """`careful`: text that the database refuses is mended first."""
    try:
        asked = next(program)
        while True:
            rows: list[Row] = []
            if isinstance(asked, Writes):
                await db.write(mended_writes(asked) if careful else asked)
            else:
                sql, values = over(db.types, asked) if isinstance(asked, Over) else bound(*asked)
                reads = isinstance(asked, Over) or sql.lstrip().startswith("SELECT")
                rows = await db.ask(sql, fit(values) if careful else values, reads=reads)
            asked = program.send(rows)
    except StopIteration as ended:
        result: T = ended.value
        return result


def bound(sql: str, values: Sequence[Any] | Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    text, names = numbered(sql)
    return text, [values[name] for name in names] if isinstance(values, Mapping) else values


@lru_cache(maxsize=1000)
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """With $1, $2 …, and the names of these, where they have any."""
    text = sql.postgres if isinstance(sql, Statement) else sql
    names: list[str] = []
    count = 0

    def number(place: re.Match[str]) -> str:
        nonlocal count
        name = place[1]
        if name is None:
            count += 1
            return f"${count}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return PLACE.sub(number, text), tuple(names)


def over(types: Types, asked: Over | Writes, end: End = NO_END) -> tuple[str, list[Any]]:
    """A value is a column: all that the rows have of it. With what else is done at the end of many writes, whose values
    come behind these."""
    if isinstance(asked, Over):
        return made((asked.rows,), types, end), list(zip(*asked.values, strict=True))
    values = [column for _, rows in asked.parts for column in zip(*rows, strict=True)]
    return made(tuple(rows for rows, _ in asked.parts), types, end), values


def made(parts: tuple[Rows, ...], types: Types, end: End) -> str:
    found = MADE.get((parts, end))
    if found is None:
        found = MADE[parts, end] = combined(parts, types, end)
    return found


MADE: dict[tuple[tuple[Rows, ...], End], str] = {}  # few: in a program the same parts go together


def combined(parts: Sequence[Rows], types: Types, end: End = NO_END) -> str:
    texts, number = [], 1
    for rows in parts:
        sql = rows.sql.postgres if isinstance(rows.sql, Statement) else rows.sql
        texts.append(sql.format(rows=table(rows, types, number)))
        number += len(rows.columns)
    if end.statement:
        texts.append(end.statement.format(*(f"${number + at}" for at in range(end.statement.count("{}")))))
    elif len(texts) == 1:
        return texts[0]
    return f"WITH {', '.join(f'part{n} AS ({text})' for n, text in enumerate(texts))} SELECT {end.select}"


def table(rows: Rows, types: Types, number: int) -> str:
    """The values from number on as a table."""
    arrays = ", ".join(f"${number + at}::{types[name]}[]" for at, name in enumerate(rows.columns))
    names = ", ".join(f"column{n}" for n in range(1, len(rows.columns) + 1))
    return f"(SELECT * FROM unnest({arrays}) AS u({names}))"


def mended_writes(asked: Writes) -> Writes:
    return Writes([(rows, fit(values)) for rows, values in asked.parts])


def fit(values: Sequence[Any]) -> list[Any]:
    """With text that PostgreSQL takes: U+0000, which it does not, is U+FFFD."""
    return [mended(value) for value in values]


def mended(value: Any) -> Any:
    if isinstance(value, str):
        text: str = decisions.mended(value)
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, tuple | list):
        return fit(value)
    return value
