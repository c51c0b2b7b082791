"""Counters, and the rebuild that goes through the messages in order.

Owns: the statements about `counts`, `seen` and `counting`. Leaves to others: what adds what (`core.counts`), the
transaction (the engines).

A message is in the counters once `counting.upto` has come to its message_id; NULL is all of them. So a rebuild can take
its time: what happens to a message behind it is counted as ever, what happens to one before it is counted when it gets
there, and nothing twice, however many processes write.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relay.core import counts
from relay.core.counts import COUNTERS, Seen, Totals
from relay.core.model import Event
from relay.store import Aggregate, Engagement
from relay.store.decisions import DIMENSIONS, PERIODS
from relay.store.sql.program import Many, Program, Row, Rows, insert, replacing, spelt
from relay.store.tables import EVENTS

STEP_MESSAGES, STEP_EVENTS = 200, 2000  # in one transaction of a rebuild: some 20 ms

KEY = ("dimension", "hour", "grant_id", "value")
SUMS = ", ".join(f"{name} = counts.{name} + excluded.{name}" for name in COUNTERS)
ADD = insert("counts", (*KEY, *COUNTERS), f"({', '.join(KEY)}) DO UPDATE SET {SUMS}")
SEEN = ("message_id", "idx", "opens", "machine_opens", "clicks", "machine_clicks")
SEE = insert("seen", SEEN, replacing(SEEN, "message_id", "idx"))
FORGET = "DELETE FROM seen WHERE message_id = ?"
UPTO = "SELECT upto FROM counting"
# What adds nothing any more is no row.
EMPTY = f"DELETE FROM counts WHERE dimension = ? AND hour = ? AND grant_id = ? AND value = ? AND {' AND '.join(f'{n} = 0' for n in COUNTERS)}"
EVENTS_OF = f"SELECT {EVENTS.names()} FROM events WHERE message_id = ? ORDER BY position"
# Of hours before the oldest message nothing could be counted again: what was purged stays counted.
FIRST = "SELECT min(submitted_at) FROM messages"
CLEAR = "DELETE FROM counts WHERE hour >= ?"
CLEAR_SEEN = "DELETE FROM seen"
FROM_BEGINNING = "UPDATE counting SET upto = ''"
COUNT = "SELECT count(*) FROM messages"
NEXT = "SELECT message_id FROM messages WHERE message_id > ? ORDER BY message_id LIMIT ?"
CAME_TO = "UPDATE counting SET upto = ?"
LISTED = f"""
SELECT * FROM (
  SELECT (hour * 3600 + :offset) / :step AS period, {{key}} AS key,
    {", ".join(f"CAST(sum({name}) AS bigint) AS {name}" for name in COUNTERS)}
  FROM counts WHERE dimension = :dimension AND hour >= :since AND hour < :until {{own}} GROUP BY 1, 2) AS summed
WHERE (period, key) > (:period, :key) ORDER BY period, key LIMIT :limit
"""
TOP = """
SELECT value, CAST(sum(clicks) + sum(machine_clicks) AS bigint) AS number, CAST(sum(machine_clicks) AS bigint) FROM counts
WHERE dimension = 'link' AND hour >= ? AND hour < ? AND ? IN ('', grant_id)
GROUP BY value ORDER BY number DESC, value LIMIT ?
"""
CLICKS = """
SELECT CAST(coalesce(sum(clicks) + sum(machine_clicks), 0) AS bigint) FROM counts
WHERE dimension = 'sending_domain' AND hour >= ? AND hour < ? AND ? IN ('', grant_id)
"""
ENGAGED = spelt(
    """
SELECT message_id, count(CASE WHEN opens > 0 THEN 1 END), count(CASE WHEN clicks > 0 THEN 1 END),
  count(CASE WHEN opens = 0 AND machine_opens > 0 THEN 1 END),
  count(CASE WHEN clicks = 0 AND machine_clicks > 0 THEN 1 END), sum(opens), sum(machine_opens), sum(clicks),
  sum(machine_clicks)
FROM seen WHERE message_id {many} GROUP BY message_id
"""
)


def includes(upto: str | None, message_id: str) -> bool:
    return upto is None or message_id <= upto


def upto() -> Program[str | None]:
    rows = yield UPTO, ()
    found: str | None = rows[0][0]
    return found


def counting() -> Program[bool]:
    return (yield from upto()) is not None


def added(totals: Totals) -> tuple[Rows, Sequence[Row]]:
    """What is written."""
    return ADD, [(*key, *row) for key, row in counts.changes(totals)]


def seen(found: Mapping[tuple[str, int], Seen]) -> tuple[Rows, Sequence[Row]]:
    return SEE, [(*key, *own) for key, own in found.items()]


def clean(totals: Totals) -> Program[None]:
    """After something was taken away."""
    for key, row in counts.changes(totals):
        if min(row) < 0:
            yield EMPTY, key


def events_of(message_id: str) -> Program[list[Event]]:
    rows = yield EVENTS_OF, (message_id,)
    return [EVENTS.value(row) for row in rows]


# -- the rebuild -------------------------------------------------------------------------------------------------------


def begin() -> Program[int]:
    ((first,),) = yield FIRST, ()
    if first is not None:
        yield CLEAR, (int(first // 3600),)
    yield CLEAR_SEEN, ()
    yield FROM_BEGINNING, ()
    rows = yield COUNT, ()
    return int(rows[0][0])


def following(after: str) -> Program[list[str]]:
    rows = yield NEXT, (after, STEP_MESSAGES)
    return [str(row[0]) for row in rows]


# -- reading -----------------------------------------------------------------------------------------------------------


def listed(
    by: str,
    since: int,
    until: int,
    step: str,
    offset: int,
    grant_id: str,
    after: tuple[int, str] | None,
    limit: int,
) -> Program[list[Aggregate]]:
    seconds = PERIODS[step]
    dimension, column = DIMENSIONS[by]
    key = {"": "''", "grant": "grant_id"}.get(column, "value")
    period, last = ((after[0] + offset) // seconds, after[1]) if after else (-1, "")
    values = {
        "dimension": dimension, "since": max(since, after[0]) // 3600 if after else since // 3600, "until": -(-until // 3600),
        "step": seconds, "offset": offset, "period": period, "key": last, "limit": limit, "grant": grant_id,
    }  # fmt: skip
    rows = yield LISTED.format(key=key, own="AND grant_id = :grant" if grant_id else ""), values
    return [
        Aggregate(at * seconds - offset, value, dict(zip(COUNTERS, sums, strict=True))) for at, value, *sums in rows
    ]


def top_links(since: int, until: int, grant_id: str, limit: int) -> Program[tuple[list[tuple[str, int, int]], int]]:
    given = (since // 3600, -(-until // 3600), grant_id)
    rows = yield TOP, (*given, limit)
    clicks = yield CLICKS, given
    return [(str(url), int(number), int(machines)) for url, number, machines in rows if number], int(clicks[0][0])


def engagements(message_ids: Sequence[str]) -> Program[dict[str, Engagement]]:
    rows = yield ENGAGED, (Many(message_ids),)
    return {str(message_id): Engagement(*map(int, numbers)) for message_id, *numbers in rows}
