"""Counters, and the rebuild that goes through the messages in order.

Owns: the statements about `counts`, `seen` and `counting`. Leaves to others: what adds what (`core.counts`), the
transaction (the engines).

A message is in the counters once `counting.upto` has come to its message_id; NULL is all of them. So a rebuild can take
its time: what happens to a message behind it is counted as ever, what happens to one before it is counted when it gets
there, and nothing twice, however many processes write.

A rebuild empties the rows before it counts, and this too in steps: till then `upto` is where it is (`Emptying`), spelt so
that it sorts before every message_id. No message is counted meanwhile, so all that stands there is to go. `seen` stays:
each message's is made anew when it is counted.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

from relay.core import counts
from relay.core.counts import COUNTERS, Dimension, Seen, Totals
from relay.core.model import Event
from relay.store import Aggregate, Engagement
from relay.store.decisions import DIMENSIONS, PERIODS
from relay.store.sql.program import Many, Program, Row, Rows, insert, replacing, spelt
from relay.store.tables import EVENTS

THINGS = [counts.AT[name] for name in ("sent", "opens", "machine_opens", "clicks", "machine_clicks")]

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
LAST_TO_EMPTY = """
SELECT hour, grant_id, value FROM counts WHERE dimension = ? AND hour >= ? ORDER BY hour, grant_id, value LIMIT 1 OFFSET ?
"""
EMPTY_SOME = "DELETE FROM counts WHERE dimension = ? AND hour >= ? AND (hour, grant_id, value) <= (?, ?, ?)"
EMPTY_REST = "DELETE FROM counts WHERE dimension = ? AND hour >= ?"
DIMENSIONS_TO_EMPTY: tuple[str, ...] = get_args(Dimension)
MARK = "!"
NEXT = "SELECT message_id FROM messages WHERE message_id > ? ORDER BY message_id LIMIT ?"
CAME_TO = "UPDATE counting SET upto = ?"
# Of all grants the rows of the hours are read as they stand; of one, those that it has in each hour of which there are some.
HOURS = """
WITH RECURSIVE hours(h) AS (
  SELECT min(hour) FROM counts WHERE dimension = {dimension} AND hour >= :since
  UNION ALL
  SELECT (SELECT min(hour) FROM counts WHERE dimension = {dimension} AND hour > h) FROM hours WHERE h < :until)
"""
OF_ALL = "FROM counts WHERE dimension = {dimension} AND hour >= :since AND hour < :until"
OF_ONE = "FROM hours CROSS JOIN counts WHERE dimension = {dimension} AND hour = h AND grant_id = :grant AND h < :until"
SUMMED = f"""
SELECT * FROM (
  SELECT (hour * 3600 + :offset) / :step AS period, {{key}} AS key,
    {", ".join(f"CAST(sum({name}) AS bigint) AS {name}" for name in COUNTERS)}
  {{rows}} GROUP BY 1, 2) AS summed
WHERE (period, key) > (:period, :key) ORDER BY period, key LIMIT :limit
"""
CLICKED = "CAST(coalesce(sum(clicks) + sum(machine_clicks), 0) AS bigint)"
LINKS = f"SELECT value, {CLICKED} AS number, CAST(sum(machine_clicks) AS bigint) {{rows}} GROUP BY value ORDER BY number DESC, value LIMIT :limit"


def both_ways(template: str, dimension: str) -> tuple[str, str]:
    """The statement for all grants, and the one for one of them. `template` has still a place for its `{key}`, if any."""
    ways = (OF_ALL, ""), (OF_ONE, HOURS)
    of_all, of_one = [
        head.format(dimension=dimension) + template.replace("{rows}", rows.format(dimension=dimension))
        for rows, head in ways
    ]
    return of_all, of_one


LISTED, LISTED_OF = both_ways(SUMMED, ":dimension")
TOP, TOP_OF = both_ways(LINKS, "'link'")
CLICKS, CLICKS_OF = both_ways(f"SELECT {CLICKED} {{rows}}", "'sending_domain'")
ENGAGED = spelt(
    """
SELECT message_id, count(CASE WHEN opens > 0 THEN 1 END), count(CASE WHEN clicks > 0 THEN 1 END),
  count(CASE WHEN opens = 0 AND machine_opens > 0 THEN 1 END),
  count(CASE WHEN clicks = 0 AND machine_clicks > 0 THEN 1 END), sum(opens), sum(machine_opens), sum(clicks),
  sum(machine_clicks)
FROM seen WHERE message_id {many} GROUP BY message_id
"""
)


class Step(NamedTuple):
    """What a transaction of a rebuild does at most: some 20 ms. Things are copies and hits, each in the rows of its
    dimensions."""

    rows: int = 1000
    messages: int = 200
    things: int = 2000


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


class Emptying(NamedTuple):
    """Rows of `first` and later hours are to go, of a whole day where a row is one: dimension by dimension, and of this one
    those before `hour` are gone."""

    first: int
    dimension: str
    hour: int

    def spelt(self) -> str:
        return f"{MARK}{self.first} {self.dimension} {self.hour}"


def emptying(upto: str | None) -> Emptying | None:
    if not upto or not upto.startswith(MARK):
        return None
    first, dimension, hour = upto[len(MARK) :].split()
    return Emptying(int(first), dimension, int(hour))


def begin() -> Program[None]:
    """What an earlier rebuild had still to empty is to go all the same, even if its message is gone by now."""
    under_way = emptying((yield from upto()))
    ((oldest,),) = yield FIRST, ()
    hours = [under_way.first] if under_way else []
    if oldest is not None:
        hours.append(int(oldest // 3600))
    yield CAME_TO, (Emptying(min(hours), DIMENSIONS_TO_EMPTY[0], min(hours)).spelt() if hours else "",)


def empty(at: Emptying, rows: int) -> Program[None]:
    """So many rows further."""
    last = yield LAST_TO_EMPTY, (at.dimension, at.hour, rows - 1)
    if last:
        yield EMPTY_SOME, (at.dimension, at.hour, *last[0])
        yield CAME_TO, (at._replace(hour=int(last[0][0])).spelt(),)
        return
    yield EMPTY_REST, (at.dimension, at.hour)
    left = DIMENSIONS_TO_EMPTY[DIMENSIONS_TO_EMPTY.index(at.dimension) + 1 :]
    yield CAME_TO, (Emptying(at.first, left[0], counts.row_hour(left[0], at.first)).spelt() if left else "",)


def following(after: str, limit: int) -> Program[list[str]]:
    rows = yield NEXT, (after, limit)
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
    rows = yield (LISTED_OF if grant_id else LISTED).format(key=key), values
    return [
        Aggregate(at * seconds - offset, value, dict(zip(COUNTERS, sums, strict=True))) for at, value, *sums in rows
    ]


def top_links(since: int, until: int, grant_id: str, limit: int) -> Program[tuple[list[tuple[str, int, int]], int]]:
    days = counts.row_hour("link", since // 3600), counts.row_hour("link", (until - 1) // 3600) + counts.DAY
    given = {"since": days[0], "until": days[1], "grant": grant_id}
    rows = yield TOP_OF if grant_id else TOP, {**given, "limit": limit}
    clicks = yield CLICKS_OF if grant_id else CLICKS, given
    return [(str(url), int(number), int(machines)) for url, number, machines in rows if number], int(clicks[0][0])


def engagements(message_ids: Sequence[str]) -> Program[dict[str, Engagement]]:
    rows = yield ENGAGED, (Many(message_ids),)
    return {str(message_id): Engagement(*map(int, numbers)) for message_id, *numbers in rows}
