"""What a program is: a generator that yields what is to be asked of the database, and is sent the rows. So the same one
runs in a thread over SQLite, and on the event loop over PostgreSQL.

A statement has "?" or ":name" where a value goes, and is SQL that both understand: what they spell otherwise is a `Statement`.
It is run whole before the program goes on.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from relay.store.tables import Table

T = TypeVar("T")
Row = Sequence[Any]


class Statement(str):
    """SQLite's text, and beside it PostgreSQL's."""

    __slots__ = ("postgres",)
    postgres: str

    def __new__(cls, sqlite: str, postgres: str = "") -> Statement:
        made = super().__new__(cls, sqlite)
        made.postgres = postgres or sqlite
        return made


class Many(tuple[Any, ...]):
    """A value that is many: JSON for SQLite (`json_each`), an array for PostgreSQL (`ANY`)."""

    __slots__ = ()

    def __conform__(self, protocol: object) -> str:  # of sqlite3
        return msgspec.json.encode(self).decode()


class Rows:
    """A statement over rows of values: `{rows}` in it is a table of them, with column1, column2 … `columns` are the ones
    of tables whose types these have, as "table.column"."""

    __slots__ = ("columns", "sql")

    def __init__(self, sql: str, columns: Iterable[str]) -> None:
        self.sql = sql
        self.columns = tuple(columns)


class Over(NamedTuple):
    """A question over rows. Where there are many it may be asked of some at a time: the answer is the rows of all."""

    rows: Rows
    values: Sequence[Row]


class Writes(NamedTuple):
    """Many rows by few statements, in any order, each of another table."""

    parts: Sequence[tuple[Rows, Sequence[Row]]]


Ask = tuple[str, Sequence[Any] | Mapping[str, Any]] | Over | Writes
Program = Generator[Ask, list[Row], T]


def both(sql: str) -> tuple[str, str]:
    """As each of the two has it."""
    return str(sql), sql.postgres if isinstance(sql, Statement) else sql


def spelt(template: str, **other: tuple[str, str]) -> Statement:
    """The template with what the two spell otherwise: for each name SQLite's text and PostgreSQL's. Theirs are the names
    of JSON's functions, an ordered join, and `{many}` and `{named}`: among the texts of a `Many` that is a "?" or ":many"."""
    words = {**WORDS, **other}
    return Statement(*(template.format(**{name: texts[at] for name, texts in words.items()}) for at in (0, 1)))


WORDS = {
    "array": ("json_array", "json_build_array"),
    "group": ("json_group_array", "json_agg"),
    "json": ("", "to_json"),
    "text": ("", "::text"),
    "join": ("CROSS JOIN", "JOIN"),  # SQLite takes the tables in this order then
    "many": ("IN (SELECT value FROM json_each(?))", "= ANY(?)"),
    "named": ("IN (SELECT value FROM json_each(:many))", "= ANY(:many)"),
    "rows": ("{rows}", "{rows}"),
}


class Fixed(NamedTuple):
    """A column, and the value that all rows of a walk have in it. `sqlite` is the condition there, where it is spelled
    otherwise."""

    column: str
    value: str
    sqlite: str = ""

    @property
    def condition(self) -> str:
        return self.sqlite or f"{self.column} = {self.value}"


def along(
    select: str,
    keys: Sequence[Fixed],
    place: Mapping[str, str],
    *,
    where: str = "",
    since: tuple[str, str] | None = None,
    down: bool = True,
    limit: str = ":limit",
) -> Statement:
    """A walk along the index of these keys and the columns of `place`, behind the values there (where there are any),
    down or up; and not beyond `since`, the first of these columns and its value.

    PostgreSQL thinks that a value is about as frequent as others are. Of a rare one it would look through all rows by
    another index that has the same order, and find few. So the last key is asked for as what lies between itself and
    itself, and the rows in an order that only the right index has. What is beyond `since` is left out afterwards: as a
    condition it would be looked for to the end of the index."""
    behind, beyond, way = ("<", ">=", " DESC") if down else (">", "<=", "")
    bounded = {column: value for column, value in place.items() if value}
    after = [row([*bounded], behind, [*bounded.values()])] if bounded else []
    until = [f"{since[0]} {beyond} {since[1]}"] if since else []
    head = [where] if where else []
    plain = [*head, *(key.condition for key in keys), *after, *until]
    sqlite = walked(select, plain, [name + way for name in place], limit)
    if not keys:
        return Statement(sqlite)
    *others, last = keys
    near = row([last.column, *bounded], behind if bounded else behind + "=", [last.value, *bounded.values()])
    theirs = [*head, *(f"{key.column} = {key.value}" for key in others), near, f"{last.column} {beyond} {last.value}"]
    text = walked(select, theirs, [name + way for name in (last.column, *place)], limit)
    if since:
        text = f"SELECT * FROM ({text}) AS w WHERE {since[0].rpartition('.')[2]} {beyond} {since[1]}"
    return Statement(sqlite, text)


def walked(select: str, conditions: Sequence[str], order: Sequence[str], limit: str) -> str:
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{select}{where} ORDER BY {', '.join(order)} LIMIT {limit}"


def row(columns: Sequence[str], sign: str, values: Sequence[str]) -> str:
    """The comparison of one or several."""
    if len(columns) == 1:
        return f"{columns[0]} {sign} {values[0]}"
    return f"({', '.join(columns)}) {sign} ({', '.join(values)})"


def insert(table: str, columns: Sequence[str], conflict: str = "") -> Rows:
    """`conflict` is "(key) DO …"."""
    names = ", ".join(f'"{name}"' for name in columns)
    sql = f"INSERT INTO {table} ({names}) SELECT * FROM {{rows}} AS v WHERE column1 IS NOT NULL"
    return Rows(f"{sql} ON CONFLICT {conflict}" if conflict else sql, [f"{table}.{name}" for name in columns])


def replacing(columns: Sequence[str], *key: str) -> str:
    """The conflict by which the new row takes the place of the one that is there."""
    others = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    return f"({', '.join(key)}) DO UPDATE SET {others}"


def added(table: Table[Any], conflict: str = "") -> str:
    """The statement that adds one row of the table."""
    sql = f"INSERT INTO {table.name} ({table.names(beside=True)}) VALUES ({', '.join('?' * len(table.columns))})"
    return f"{sql} ON CONFLICT {conflict}" if conflict else sql


def saved(table: Table[Any], *key: str) -> str:
    """The statement that adds one row, or puts it in the place of the one that is there."""
    return added(table, replacing(table.columns, *key))


def write(*parts: tuple[Rows, Sequence[Row]]) -> Program[None]:
    """Parts without rows are left out."""
    if some := [part for part in parts if part[1]]:
        yield Writes(some)
