"""The rows of each table as they stand, to be taken from one database into another.

Owns: which tables there are to copy, and by what their rows are in order. Leaves to others: the order of things
(`relay.store.copying`). `standings` is no table of these: triggers make it.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from relay.core.counts import COUNTERS
from relay.store import tables
from relay.store.sql import contents, counts, kept, tallies
from relay.store.sql.program import Program, Row, Rows, Statement, insert, write


class Copied(NamedTuple):
    """`key` is what its rows are in order by. No more than `most` of them are read and written at once."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    most: int = 1000


def copied(table: tables.Table[Any], *key: str) -> Copied:
    return Copied(table.name, table.columns, key)


FEW = 8  # rows that may be of many megabytes
TABLES = (
    copied(tables.MESSAGES, "message_id"),
    copied(tables.COPIES, "message_id", "idx", "position"),
    Copied("identifiers", ("identifier", "message_id"), ("identifier", "message_id")),
    copied(tables.EVENTS, "position"),
    Copied("tallies", tallies.COLUMNS, ("message_id",)),
    copied(tables.ANSWERS, "answer_id", "grant_id"),
    copied(tables.ENDPOINTS, "endpoint_id"),
    copied(tables.DELIVERIES, "delivery_id"),
    copied(tables.NOTICES, "notice_id"),
    copied(tables.CURSORS, "mailbox"),
    copied(tables.API_KEYS, "name"),
    copied(tables.DRAFTS, "draft_id"),
    copied(tables.SCHEDULES, "schedule_id"),
    Copied("contents", contents.COLUMNS, ("owner_id", "number"), FEW),
    copied(tables.REQUESTS, "request_key"),
    Copied("kept", kept.COLUMNS, ("message_id",), FEW),
    copied(tables.SUPPRESSIONS, "digest", "grant_id", "reason"),
    copied(tables.ERASURES, "digest"),
    Copied("counts", (*counts.KEY, *COUNTERS), counts.KEY),
    Copied("seen", counts.SEEN, ("message_id", "idx")),
)
FLAGS = {(table.name, name) for table in tables.ALL for name in table.flags} | {("copies", "sole")}
ADD: dict[str, Rows] = {table.name: insert(table.name, table.columns, "DO NOTHING") for table in TABLES}


class Ends(NamedTuple):
    """Up to where numbers were given, whatever became of the rows; how far counting has come."""

    position: int
    delivery_id: int
    upto: str | None


POSITIONS = Statement(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)", "SELECT position FROM counting"
)
DELIVERY_IDS = Statement(
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'deliveries'), 0)",
    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM deliveries_delivery_id_seq",
)
UNNUMBERED = Statement("DELETE FROM sqlite_sequence", "SELECT 1")
NUMBER_EVENTS = Statement(
    "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", "UPDATE counting SET position = ?"
)
NUMBER_DELIVERIES = Statement(
    "INSERT INTO sqlite_sequence (name, seq) VALUES ('deliveries', ?)",
    "SELECT setval('deliveries_delivery_id_seq', greatest(n, 1), n > 0) FROM (SELECT CAST(? AS bigint) AS n) AS given",
)


def names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def counted(table: Copied, after: Row | None) -> Program[tuple[int, Row | None]]:
    """The number of the next rows behind that key, and the last one's key; None where these are all."""
    key = names(table.key)
    where = f"WHERE ({key}) > ({', '.join('?' * len(table.key))})" if after is not None else ""
    rows = yield (
        f"SELECT {key} FROM {table.name} {where} ORDER BY {key} LIMIT 1 OFFSET ?",
        (*(after or ()), table.most - 1),
    )
    if rows:
        return table.most, tuple(rows[0])
    rest = yield (
        f"SELECT count(*) FROM (SELECT 1 AS one FROM {table.name} {where} ORDER BY {key} LIMIT ?) AS n",
        (*(after or ()), table.most),
    )
    return int(rest[0][0]), None


def last(table: Copied) -> Program[Row | None]:
    """The last row."""
    order = ", ".join(f'"{name}" DESC' for name in table.key)
    rows = yield f"SELECT {names(table.columns)} FROM {table.name} ORDER BY {order} LIMIT 1", ()
    return fit(table, rows[0]) if rows else None


def at(table: Copied, key: Row) -> Program[Row | None]:
    """The row with that key."""
    same = " AND ".join(f'"{name}" = ?' for name in table.key)
    rows = yield f"SELECT {names(table.columns)} FROM {table.name} WHERE {same}", key
    return fit(table, rows[0]) if rows else None


def page(table: Copied, after: Row | None) -> Program[list[Row]]:
    """The next rows behind that key, or the first."""
    rows = yield page_sql(table, after is not None), (*(after or ()), table.most)
    return [fit(table, row) for row in rows]


def page_sql(table: Copied, behind: bool) -> str:
    where = f"WHERE ({names(table.key)}) > ({', '.join('?' * len(table.key))})" if behind else ""
    return f"SELECT {names(table.columns)} FROM {table.name} {where} ORDER BY {names(table.key)} LIMIT ?"


def key_of(table: Copied, row: Row) -> Row:
    return tuple(row[table.columns.index(name)] for name in table.key)


def fit(table: Copied, row: Row) -> Row:
    """SQLite has no type of its own for what is true or false."""
    return tuple(
        bool(value) if (table.name, name) in FLAGS else value for name, value in zip(table.columns, row, strict=True)
    )


def add(table: Copied, rows: Sequence[Row]) -> Program[None]:
    yield from write((ADD[table.name], rows))


def ends() -> Program[Ends]:
    ((position,),) = yield POSITIONS, ()
    ((delivery_id,),) = yield DELIVERY_IDS, ()
    return Ends(position, delivery_id, (yield from counts.upto()))


def close(to: Ends) -> Program[None]:
    """The numbers that are given next are above those."""
    yield UNNUMBERED, ()
    yield NUMBER_EVENTS, (to.position,)
    yield NUMBER_DELIVERIES, (to.delivery_id,)
    yield counts.CAME_TO, (to.upto,)
