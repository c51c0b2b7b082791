"""How SQLite goes about the statements of the store: what it reads from end to end, and what it sorts.

A table that grows with the mail is searched by an index. What is read whole or sorted all the same stands in `FEW`, with
the reason why it is little.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from relay.store.sql import copying, counts, events, kept, keys, lists, messages, outbox
from relay.store.sqlite import schema

BIG = {
    "messages", "copies", "identifiers", "events", "tallies", "deliveries", "counts", "seen", "answers", "requests",
    "drafts", "schedules", "contents", "suppressions", "erasures", "kept",
}  # fmt: skip
ONE_MESSAGE = "the events of one message, which `http.hits_per_message` bounds"
ROWS = "the counters of the hours asked for: a row an hour, grant and value, however many events"
FEW: Mapping[str, str] = {
    **dict.fromkeys(lists.EVENTS_OF_MESSAGE, ONE_MESSAGE),
    **dict.fromkeys(lists.EVENTS_OF_THREAD, "the events of a thread's last 200 messages"),
    counts.EVENTS_OF: ONE_MESSAGE,
    outbox.NEWEST_OF_MESSAGE: ONE_MESSAGE,
    counts.TOP: ROWS,
    counts.TOP_OF: ROWS,
    messages.COPIES_OF: "the copies of one message",
    messages.FOUND: "the last 200 messages with one Message-ID",
    lists.NAMED: "as many as a page looks at, in another order than their ids",
    messages.ROOT: "the first 200 messages of a thread",
    **dict.fromkeys(events.OF_MESSAGE.values(), ONE_MESSAGE),
    keys.ALL: "keys of the API: some dozens",
    kept.LAST: "the last row of an index",
}
# A page along the key: who looks for a person in texts, or copies everything, reads everything in pages.
PAGES = frozenset(copying.page_sql(table, behind=False) for table in copying.TABLES)
BEGINNINGS = {  # of statements that are put together as they are asked for
    counts.LISTED.partition("{")[0]: ROWS,
    counts.LISTED_OF.partition("{")[0]: ROWS,
}


# Indexes that end with the time: what is sorted beside are rows with one time.
BY_TIME = re.compile(r" INDEX messages_(submitted|label|sender|domain) ")


class Recording(sqlite3.Connection):
    """A connection that remembers what it was told."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        SAID.add(sql)
        return super().execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        SAID.add(sql)
        return super().executemany(sql, *values)


SAID: set[str] = set()
connect = sqlite3.connect


def recording(database: str, *args: Any, **kwargs: Any) -> sqlite3.Connection:
    """In place of sqlite3.connect: the program's own connections, not those of the tests, are recorded."""
    factory = Recording if "?mode=rw" in str(database) else sqlite3.Connection
    return connect(database, *args, factory=factory, **kwargs)


@functools.cache
def empty() -> sqlite3.Connection:
    db = connect(":memory:", isolation_level=None)
    schema.migrate(db)
    return db


def plan(sql: str) -> list[str]:
    """Its steps."""
    named = re.findall(r"[(= ,]:(\w+)", sql)
    values: Any = dict.fromkeys(named, 0) if named else []
    explained = f"EXPLAIN QUERY PLAN {sql}"
    try:
        found = empty().execute(explained, values)
    except sqlite3.ProgrammingError as error:  # "uses 4, and there are 0 supplied"
        count = str(error).partition("uses ")[2].partition(",")[0]
        found = empty().execute(explained, [0] * int(count))
    return [str(row[3]) for row in found]


def dear(sql: str) -> Iterator[str]:
    """The steps that read a big table from end to end, make an index of it, or sort."""
    called = set(BIG)
    called |= {
        alias for table, alias in re.findall(r"\b(?:FROM|JOIN|UPDATE)\s+(\w+)\s+(?:AS\s+)?(\w+)", sql) if table in BIG
    }
    steps = plan(sql)
    by_time = any(map(BY_TIME.search, steps))
    for step in steps:
        words = step.split()
        if by_time and "RIGHT PART" in step:
            continue
        whole = words[0] == "SCAN" or "USING" not in words  # a SEARCH by nothing is for an end of the table
        if (
            (whole and called & set(words[1:2]) and words[0] in ("SCAN", "SEARCH"))
            or words[:2] == ["USE", "TEMP"]
            or "AUTOMATIC" in words
        ):
            yield step


@functools.cache
def wrong(sql: str) -> str:
    """What is wrong with a statement's plan; "" for nothing."""
    if not re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", sql):
        return ""
    if sql in FEW or sql in PAGES or any(sql.startswith(beginning) for beginning in BEGINNINGS):
        return ""
    return "".join(f"{step}: {sql}\n" for step in dear(sql))


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Ends with an AssertionError where a statement that is run in it reads too much."""
    SAID.clear()
    yield
    assert not (found := "".join(map(wrong, sorted(SAID)))), found


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


async def postgres_plan(db: Any, sql: str) -> Iterator[Mapping[str, Any]]:
    """Its steps, on a connection that is set as the program's are."""
    await db.execute(f"PREPARE asked AS {sql}")
    values = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", sql))))
    text = await db.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{f'({values})' if values else ''}")
    await db.execute("DEALLOCATE asked")
    return steps(json.loads(text)[0]["Plan"])


def steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield step
    for below in step.get("Plans", ()):
        yield from steps(below)


def reads_all(step: Mapping[str, Any]) -> bool:
    """Of a big table, or of an index of it, from end to end."""
    return (
        re.sub("^events_.*", "events", step.get("Relation Name", "")) in BIG
        and "Scan" in step["Node Type"]
        and "Index Cond" not in step
    )
