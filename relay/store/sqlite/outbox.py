"""The outbox in SQLite: who is owed which notification, since when, and how it went.

Owns: the rows of `deliveries` after an event was appended, and `endpoints`. Leaves to others: which endpoint is owed
what (`payload.triggers`), when to try again (`retry`), the POST (`webhooks`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from relay.core import payload
from relay.core.model import Delivery, Endpoint, Event, Settlement
from relay.store import LEASE, Backlog, Notification
from relay.store.sqlite import rows

LIVE = "status IN ('active', 'failing')"
DUE = """
SELECT d.delivery_id, e.event_id, d.endpoint_id, d.attempt + 1, d.first_at, d.trigger
FROM deliveries d JOIN events e ON e.position = d.position
WHERE d.state = 'pending' AND d.endpoint_id = ? AND d.next_at <= ?
ORDER BY d.next_at, d.delivery_id LIMIT ?
"""
NOTIFICATIONS = """
SELECT d.delivery_id, e.event_id, e.message_id, d.endpoint_id, d.trigger, d.state, d.attempt, d.first_at, d.next_at,
  d.settled_at, d.status, d.error
FROM deliveries d JOIN events e ON e.position = d.position
WHERE (:endpoint = '' OR d.endpoint_id = :endpoint) AND (:state = '' OR d.state = :state)
ORDER BY d.delivery_id DESC LIMIT :limit
"""
AGAIN = "state = 'pending', attempt = 0, next_at = ?, settled_at = 0, status = 0, error = ''"


def endpoints(db: sqlite3.Connection) -> list[Endpoint]:
    return [rows.to_endpoint(row) for row in db.execute("SELECT * FROM endpoints ORDER BY endpoint_id")]


def sync(db: sqlite3.Connection, configured: Sequence[Endpoint]) -> None:
    """One that was shut (a 410) stays shut until its settings change: each start would wake it otherwise."""
    known = {e.endpoint_id: e for e in endpoints(db)}
    for endpoint in configured:
        old = known.pop(endpoint.endpoint_id, None)
        new = replace(endpoint, source="config", secret="")
        if old is not None and old.status != "gone" and replace(old, status="active") == replace(new, status="active"):
            new = old
        db.execute("INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.endpoint(new))
    for old in known.values():
        if old.source == "config":
            set_status(db, old.endpoint_id, "gone")


def set_status(db: sqlite3.Connection, endpoint_id: str, status: str) -> None:
    db.execute("UPDATE endpoints SET status = ? WHERE endpoint_id = ?", (status, endpoint_id))


def claim(db: sqlite3.Connection, now: float, busy: Mapping[str, int], each: int, limit: int) -> list[Delivery]:
    """In turns: the first due one of each endpoint, then the second of each."""
    live = [row[0] for row in db.execute(f"SELECT endpoint_id FROM endpoints WHERE {LIVE} ORDER BY endpoint_id")]
    lanes = []
    for endpoint_id in live:
        room = min(limit, each - busy.get(endpoint_id, 0))
        if room > 0:
            lanes.append([Delivery(*row) for row in db.execute(DUE, (endpoint_id, now, room))])
    found = [delivery for turn in zip_longest(*lanes) for delivery in turn if delivery is not None][:limit]
    db.executemany(
        "UPDATE deliveries SET attempt = ?, next_at = ? WHERE delivery_id = ?",
        [(d.attempt, now + LEASE, d.delivery_id) for d in found],
    )
    return found


def settle(db: sqlite3.Connection, delivery_id: int, settlement: Settlement) -> None:
    s = settlement
    state = "pending" if s.state == "retry" else s.state
    db.execute(
        "UPDATE deliveries SET state = ?, next_at = ?, settled_at = ?, status = ?, error = ? WHERE delivery_id = ?",
        (state, s.next_at, s.at, s.status, s.error, delivery_id),
    )


def hasten(db: sqlite3.Connection, after: float, seconds: float) -> None:
    db.execute(
        "UPDATE deliveries SET next_at = max(?, next_at - ?) WHERE state = 'pending' AND next_at > ?",
        (after, seconds, after),
    )


def next_due(db: sqlite3.Connection) -> float | None:
    row = db.execute(
        "SELECT min((SELECT min(next_at) FROM deliveries d WHERE d.state = 'pending'"
        f" AND d.endpoint_id = e.endpoint_id)) FROM endpoints e WHERE {LIVE}"
    ).fetchone()
    return None if row[0] is None else float(row[0])


def notifications(db: sqlite3.Connection, endpoint_id: str, state: str, limit: int) -> list[Notification]:
    found = db.execute(NOTIFICATIONS, {"endpoint": endpoint_id, "state": state, "limit": limit})
    return [rows.to_notification(row) for row in found]


def backlog(db: sqlite3.Connection) -> list[Backlog]:
    found = db.execute(
        "SELECT endpoint_id, sum(state = 'pending'), sum(state = 'delivered'), sum(state = 'dead'),"
        " coalesce(min(CASE WHEN state = 'pending' THEN first_at END), 0)"
        " FROM deliveries GROUP BY endpoint_id ORDER BY endpoint_id"
    )
    return [Backlog(*row) for row in found]


def replay(
    db: sqlite3.Connection,
    now: float,
    *,
    event_ids: Sequence[str],
    since: float | None,
    dead: bool,
    endpoint_id: str,
) -> int:
    count = 0
    if dead:
        done = db.execute(
            f"UPDATE deliveries SET {AGAIN} WHERE state = 'dead' AND (? = '' OR endpoint_id = ?)",
            (now, endpoint_id, endpoint_id),
        )
        count += done.rowcount
    live = [e for e in endpoints(db) if e.status in ("active", "failing") and endpoint_id in ("", e.endpoint_id)]
    for event in chosen(db, event_ids, since):
        count += owe(db, event, live, now)
    return count


def chosen(db: sqlite3.Connection, event_ids: Sequence[str], since: float | None) -> list[Event]:
    found = []
    for event_id in event_ids:
        found += db.execute(f"SELECT {rows.EVENT} FROM events WHERE event_id = ?", (event_id,)).fetchall()
    if since is not None:
        found += db.execute(f"SELECT {rows.EVENT} FROM events WHERE at >= ? ORDER BY position", (since,)).fetchall()
    return list({event.event_id: event for event in map(rows.to_event, found)}.values())


def owe(db: sqlite3.Connection, event: Event, live: Sequence[Endpoint], now: float) -> int:
    """Each of its notifications is due: again, or for the first time. Their number."""
    count = 0
    for endpoint in live:
        for trigger in payload.triggers(endpoint, event):
            count += 1
            again = db.execute(
                f"UPDATE deliveries SET {AGAIN} WHERE position = ? AND endpoint_id = ? AND trigger = ?",
                (now, event.position, endpoint.endpoint_id, trigger),
            )
            if not again.rowcount:
                db.execute(
                    "INSERT INTO deliveries (position, endpoint_id, trigger, first_at, next_at) VALUES (?, ?, ?, ?, ?)",
                    (event.position, endpoint.endpoint_id, trigger, now, now),
                )
    return count
