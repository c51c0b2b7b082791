"""Counters in SQLite, and the rebuild that goes through the messages in order.

Owns: the statements about `counts`, `seen` and `counting`. Leaves to others: what adds what (`core.counts`), the
transaction (`writer`).

A message is in the counters once `counting.upto` has come to its message_id; NULL is all of them. So a rebuild can take
its time: what happens to a message behind it is counted as ever, what happens to one before it is counted when it gets
there, and nothing twice, however many processes write.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from relay.core import counts
from relay.core.counts import COUNTERS, Seen, Totals
from relay.core.model import Event
from relay.store import Aggregate, Engagement
from relay.store.decisions import DIMENSIONS, PERIODS
from relay.store.sqlite import bulk
from relay.store.tables import EVENTS

STEP_MESSAGES, STEP_EVENTS = 200, 2000  # in one transaction of a rebuild: some 20 ms

SUMS = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTERS)
ADD = bulk.statements(
    f"INSERT INTO counts (dimension, hour, grant_id, value, {', '.join(COUNTERS)})"
    " SELECT * FROM {values} WHERE column1 IS NOT NULL"
    f" ON CONFLICT (dimension, hour, grant_id, value) DO UPDATE SET {SUMS}",
    4 + len(COUNTERS),
)
SEE = bulk.inserts_into(
    "INSERT OR REPLACE INTO seen (message_id, idx, opens, machine_opens, clicks, machine_clicks)", 6
)
FORGET = "DELETE FROM seen WHERE message_id = ?"
UPTO = "SELECT upto FROM counting"
# What adds nothing any more is no row.
EMPTY = f"DELETE FROM counts WHERE dimension = ? AND hour = ? AND grant_id = ? AND value = ? AND {' AND '.join(f'{n} = 0' for n in COUNTERS)}"
EVENTS_OF = f"SELECT {EVENTS.names()} FROM events WHERE message_id = ? ORDER BY position"
CLEAR = ("DELETE FROM counts", "DELETE FROM seen", "UPDATE counting SET upto = ''")
COUNT = "SELECT count(*) FROM messages"
NEXT = "SELECT message_id FROM messages WHERE message_id > ? ORDER BY message_id LIMIT ?"
LISTED = f"""
SELECT (hour * 3600 + :offset) / :step AS period, {{key}} AS key, {", ".join(f"sum({name})" for name in COUNTERS)}
FROM counts WHERE dimension = :dimension AND hour >= :since AND hour < :until {{own}}
GROUP BY period, key HAVING (period, key) > (:period, :key) ORDER BY period, key LIMIT :limit
"""
TOP = """
SELECT value, sum(clicks) + sum(machine_clicks) AS number FROM counts
WHERE dimension = 'link' AND hour >= ? AND hour < ? AND ? IN ('', grant_id)
GROUP BY value ORDER BY number DESC, value LIMIT ?
"""
CLICKS = """
SELECT coalesce(sum(clicks) + sum(machine_clicks), 0) FROM counts
WHERE dimension = 'sending_domain' AND hour >= ? AND hour < ? AND ? IN ('', grant_id)
"""
ENGAGED = """
SELECT message_id, sum(opens > 0), sum(clicks > 0), sum(opens = 0 AND machine_opens > 0),
  sum(clicks = 0 AND machine_clicks > 0), sum(opens), sum(machine_opens), sum(clicks), sum(machine_clicks)
FROM seen WHERE message_id IN (SELECT value FROM json_each(?)) GROUP BY message_id
"""


def includes(upto: str | None, message_id: str) -> bool:
    return upto is None or message_id <= upto


def upto(db: sqlite3.Connection) -> str | None:
    found: str | None = db.execute(UPTO).fetchone()[0]
    return found


def add(db: sqlite3.Connection, totals: Totals) -> None:
    changes = counts.changes(totals)
    bulk.write(db, ADD, [(*key, *row) for key, row in changes])
    db.executemany(EMPTY, [key for key, row in changes if min(row) < 0])


def see(db: sqlite3.Connection, seen: Mapping[tuple[str, int], Seen]) -> None:
    bulk.write(db, SEE, [(*key, *own) for key, own in seen.items()])


def events_of(db: sqlite3.Connection, message_id: str) -> list[Event]:
    return [EVENTS.value(row) for row in db.execute(EVENTS_OF, (message_id,))]


# -- the rebuild -------------------------------------------------------------------------------------------------------


def begin(db: sqlite3.Connection) -> int:
    for sql in CLEAR:
        db.execute(sql)
    return int(db.execute(COUNT).fetchone()[0])


def following(db: sqlite3.Connection, after: str) -> list[str]:
    return [str(row[0]) for row in db.execute(NEXT, (after, STEP_MESSAGES))]


def came_to(db: sqlite3.Connection, message_id: str | None) -> None:
    db.execute("UPDATE counting SET upto = ?", (message_id,))


# -- reading -----------------------------------------------------------------------------------------------------------


def listed(
    db: sqlite3.Connection,
    by: str,
    since: int,
    until: int,
    step: str,
    offset: int,
    grant_id: str,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Aggregate]:
    seconds = PERIODS[step]
    dimension, column = DIMENSIONS[by]
    key = {"": "''", "grant": "grant_id"}.get(column, "value")
    period, last = ((after[0] + offset) // seconds, after[1]) if after else (-1, "")
    values = {
        "dimension": dimension, "since": max(since, after[0]) // 3600 if after else since // 3600, "until": -(-until // 3600),
        "step": seconds, "offset": offset, "period": period, "key": last, "limit": limit, "grant": grant_id,
    }  # fmt: skip
    sql = LISTED.format(key=key, own="AND grant_id = :grant" if grant_id else "")
    return [
        Aggregate(row[0] * seconds - offset, row[1], dict(zip(COUNTERS, row[2:], strict=True)))
        for row in db.execute(sql, values)
    ]


def top_links(
    db: sqlite3.Connection, since: int, until: int, grant_id: str, limit: int
) -> tuple[list[tuple[str, int]], int]:
    given = (since // 3600, -(-until // 3600), grant_id)
    rows = [(str(url), int(number)) for url, number in db.execute(TOP, (*given, limit)) if number]
    return rows, int(db.execute(CLICKS, given).fetchone()[0])


def engagements(db: sqlite3.Connection, message_ids: Sequence[str]) -> dict[str, Engagement]:
    asked = msgspec.json.encode(list(message_ids)).decode()
    return {str(row[0]): Engagement(*row[1:]) for row in db.execute(ENGAGED, (asked,))}
