"""The outbox in SQLite: one row per notification owed, since when, and how it went. A lease is `next_at` moved ahead.

Owns: the statements about deliveries. Leaves to others: whose turn it is and how a row goes on (`decisions`), when to try
again (`retry`), the POST (`webhooks`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from relay.core import tally
from relay.core.model import Delivery, Event, Settlement
from relay.store import Backlog, Notification, decisions, tables
from relay.store.sqlite import bulk, endpoints
from relay.store.tables import DELIVERIES


def changes(fields: Iterable[str]) -> str:
    return ", ".join(f"{field} = :{field}" for field in fields)


NEW = (
    "deliveries (position, endpoint_id, trigger, first_at, next_at, turn)"  # the rest by default: nothing was tried yet
)
OWE = bulk.inserts_into(f"INSERT INTO {NEW}", 6)
OWE_ONE = f"INSERT INTO {NEW} VALUES (?, ?, ?, ?, ?, ?)"
WHOLE = f"""
SELECT {DELIVERIES.names("d")}, e.event_id, e.message_id FROM deliveries d JOIN events e ON e.position = d.position
"""
# Each has an index, of which it reads one end: an endpoint may be owed very many.
FRESH = f"""{WHOLE}
WHERE d.state = 'pending' AND d.attempt = 0 AND d.endpoint_id = ? AND d.next_at <= ?
ORDER BY d.turn, d.delivery_id LIMIT ?
"""
AGAIN = f"""{WHOLE}
WHERE d.state = 'pending' AND d.attempt > 0 AND d.endpoint_id = ? AND d.next_at <= ?
ORDER BY d.next_at, d.delivery_id LIMIT ?
"""
# The newest, by what there is to find them by. Rows of an index stand by rowid at last, which is the delivery_id.
NEWEST = f"{WHOLE} WHERE d.delivery_id < :before ORDER BY d.delivery_id DESC LIMIT :limit"
NEWEST_AT = f"""{WHOLE}
WHERE d.endpoint_id = :endpoint_id AND d.state = :state AND d.delivery_id < :before
ORDER BY d.delivery_id DESC LIMIT :limit
"""
NEWEST_OF_EVENT = f"{WHOLE} WHERE e.event_id = :event_id ORDER BY d.delivery_id DESC"
NEWEST_OF_MESSAGE = f"{WHOLE} WHERE e.message_id = :message_id ORDER BY d.delivery_id DESC"
ONE = f"{WHOLE} WHERE d.delivery_id = ?"
# A skip from endpoint to endpoint: DISTINCT would read the whole index.
OWED_TO = """
WITH RECURSIVE owed(id) AS (
  SELECT min(endpoint_id) FROM deliveries
  UNION ALL
  SELECT (SELECT min(endpoint_id) FROM deliveries WHERE endpoint_id > owed.id) FROM owed WHERE owed.id IS NOT NULL
)
SELECT id FROM owed WHERE id IS NOT NULL
"""
ATTEMPTS = "SELECT attempts FROM deliveries WHERE delivery_id = ?"
LAST = 2**63 - 1
STEP = 500  # in one transaction, where there may be very many: others write in between
STATES = ("pending", "delivered", "dead")
CLAIM = "UPDATE deliveries SET attempt = ?, next_at = ? WHERE delivery_id = ?"
SETTLE = f"UPDATE deliveries SET {changes(decisions.settled(Settlement('dead', 0)))} WHERE delivery_id = :delivery_id"
RENEW = f"UPDATE deliveries SET {changes(decisions.renewed(0, 0))}"
DEAD = """
SELECT d.delivery_id, e.message_id, e.recipient_index FROM deliveries d JOIN events e ON e.position = d.position
WHERE d.endpoint_id = ? AND d.state = 'dead' AND d.delivery_id > ? ORDER BY d.delivery_id LIMIT ?
"""
RENEW_DEAD = f"{RENEW} WHERE delivery_id = :delivery_id"
RENEW_ONE = f"{RENEW} WHERE position = :position AND endpoint_id = :endpoint_id AND trigger = :trigger"
HASTEN = [
    f"UPDATE deliveries SET next_at = max(?, next_at - ?) WHERE state = 'pending' AND attempt {which} AND next_at > ?"
    for which in ("= 0", "> 0")
]
NEXT_DUE = f"""
WITH live AS (SELECT endpoint_id FROM endpoints WHERE {endpoints.IS_LIVE})
SELECT min(at) FROM (
  SELECT (SELECT next_at FROM deliveries d WHERE d.state = 'pending' AND d.attempt = 0
    AND d.endpoint_id = live.endpoint_id ORDER BY d.turn LIMIT 1) AS at FROM live
  UNION ALL
  SELECT (SELECT min(next_at) FROM deliveries d WHERE d.state = 'pending' AND d.attempt > 0
    AND d.endpoint_id = live.endpoint_id) FROM live)
"""
STANDINGS = "SELECT endpoint_id, state, number FROM standings WHERE number > 0 ORDER BY endpoint_id"
OLDEST = """
SELECT first_at FROM deliveries WHERE endpoint_id = ? AND state = 'pending' ORDER BY delivery_id LIMIT 1
"""
# What was delivered stays on record until its event goes.
FORGIVE = """
DELETE FROM deliveries WHERE delivery_id IN (
  SELECT delivery_id FROM deliveries WHERE endpoint_id = ? AND state = ? LIMIT ?)
"""


def claim(db: sqlite3.Connection, now: float, busy: Mapping[str, int], each: int, limit: int) -> list[Delivery]:
    lanes = []
    for (endpoint_id,) in db.execute(endpoints.LIVE_IDS).fetchall():
        if room := decisions.room(endpoint_id, busy, each, limit):
            queues = [list(map(notification, db.execute(sql, (endpoint_id, now, room)))) for sql in (FRESH, AGAIN)]
            lanes.append(decisions.turns(queues, room))
    found = [decisions.claimed(due) for due in decisions.turns(lanes, limit)]
    db.executemany(CLAIM, [(d.attempt, now + decisions.LEASE, d.delivery_id) for d in found])
    return found


def settle(db: sqlite3.Connection, delivery_id: int, settlement: Settlement) -> None:
    row = db.execute(ATTEMPTS, (delivery_id,)).fetchone()
    if row is None:
        return
    fields = decisions.settled(settlement, tables.attempts(row[0]))
    fields["attempts"] = tables.attempts_text(fields["attempts"])
    db.execute(SETTLE, fields | {"delivery_id": delivery_id})


def hasten(db: sqlite3.Connection, after: float, seconds: float) -> None:
    for sql in HASTEN:
        db.execute(sql, (after, seconds, after))


def next_due(db: sqlite3.Connection) -> float | None:
    row = db.execute(NEXT_DUE).fetchone()
    return None if row[0] is None else float(row[0])


class Which(NamedTuple):
    """Of which endpoints (None: all), in which state, of what; "" is any."""

    endpoint_ids: Sequence[str] | None = None
    state: str = ""
    event_id: str = ""
    message_id: str = ""
    before: int = LAST


def newest(db: sqlite3.Connection, which: Which, limit: int) -> list[Notification]:
    if which.event_id or which.message_id:  # of one there are few
        sql = NEWEST_OF_EVENT if which.event_id else NEWEST_OF_MESSAGE
        found = map(notification, db.execute(sql, {"event_id": which.event_id, "message_id": which.message_id}))
        return [n for n in found if fits(n, which)][:limit]
    if which.endpoint_ids is None and not which.state:
        return list(map(notification, db.execute(NEWEST, {"before": which.before, "limit": limit})))
    ids = which.endpoint_ids
    if ids is None:
        ids = owed_to(db)
    lanes = []
    for endpoint_id in ids:
        for state in (which.state,) if which.state else STATES:
            values = {"endpoint_id": endpoint_id, "state": state, "before": which.before, "limit": limit}
            lanes.append(map(notification, db.execute(NEWEST_AT, values).fetchall()))
    return list(islice(merge(*lanes, key=lambda n: n.delivery_id, reverse=True), limit))


def fits(n: Notification, which: Which) -> bool:
    return (
        (which.endpoint_ids is None or n.endpoint_id in which.endpoint_ids)
        and which.state in ("", n.state)
        and which.message_id in ("", n.message_id)
        and n.delivery_id < which.before
    )


def one(db: sqlite3.Connection, delivery_id: int) -> Notification | None:
    row = db.execute(ONE, (delivery_id,)).fetchone()
    return notification(row) if row else None


def notification(row: Sequence[object]) -> Notification:
    """Of WHOLE."""
    return DELIVERIES.value(row[:-2], event_id=row[-2], message_id=row[-1])


def backlog(db: sqlite3.Connection) -> list[Backlog]:
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for endpoint_id, state, number in db.execute(STANDINGS):
        numbers[endpoint_id][state] = number
    return [Backlog(endpoint_id, oldest=oldest(db, endpoint_id), **found) for endpoint_id, found in numbers.items()]


def oldest(db: sqlite3.Connection, endpoint_id: str) -> float:
    row = db.execute(OLDEST, (endpoint_id,)).fetchone()
    return float(row[0]) if row else 0.0


def owed_to(db: sqlite3.Connection) -> list[str]:
    """The endpoints that have deliveries."""
    return [str(row[0]) for row in db.execute(OWED_TO)]


def renew_dead(db: sqlite3.Connection, endpoint_id: str, after: int, now: float) -> tuple[int, int]:
    """Those behind a delivery_id, a STEP of them: their number, and the last one."""
    dead = db.execute(DEAD, (endpoint_id, after, STEP)).fetchall()
    turns: dict[str, dict[int, float]] = defaultdict(dict)
    for delivery_id, message_id, index in dead:
        fields = decisions.renewed(now, decisions.turn(turns[message_id], index, now))
        db.execute(RENEW_DEAD, fields | {"delivery_id": delivery_id})
    return len(dead), dead[-1][0] if dead else after


def renew_these(db: sqlite3.Connection, delivery_ids: Sequence[int], endpoint_id: str, now: float) -> int:
    """Their number. A delivery that is not there, or is another endpoint's, is left out."""
    found = [one(db, delivery_id) for delivery_id in dict.fromkeys(delivery_ids)]
    renewed = [n for n in found if n and endpoint_id in ("", n.endpoint_id)]
    for n in renewed:
        db.execute(RENEW_DEAD, decisions.renewed(now, now) | {"delivery_id": n.delivery_id})
    return len(renewed)


def renew_of(db: sqlite3.Connection, events: Sequence[Event], endpoint_id: str, now: float) -> int:
    """What the live endpoints, or this one of them, are owed of these events: their number."""
    live = [e for e in endpoints.live(db) if endpoint_id in ("", e.endpoint_id)]
    owed = decisions.owed(live, events, defaultdict(tally.Facts), now)
    for one in owed:
        renew(db, one, now)
    return len(owed)


def renew(db: sqlite3.Connection, owed: decisions.Owed, now: float) -> None:
    """It is due: again, or for the first time."""
    event, endpoint_id, trigger, turn = owed
    key = {"position": event.position, "endpoint_id": endpoint_id, "trigger": trigger}
    if not db.execute(RENEW_ONE, decisions.renewed(now, turn) | key).rowcount:
        db.execute(OWE_ONE, (event.position, endpoint_id, trigger, now, now, turn))


def forgive(db: sqlite3.Connection, endpoint_id: str) -> int:
    """The endpoint is owed nothing any more: a STEP of what it was. Their number."""
    return sum([db.execute(FORGIVE, (endpoint_id, state, STEP)).rowcount for state in ("pending", "dead")])
