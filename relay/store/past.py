"""What was known when an event was appended, read back from SQLite.

Owns: `History`. Leaves to others: what a notification makes of it (`payload`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3

from relay.core.model import History
from relay.store import RECENTS, rows


def history(db: sqlite3.Connection, event_id: str) -> History | None:
    """As it was when the event was appended, whatever came since: a notification that is made again says the same."""
    row = db.execute(f"SELECT {rows.EVENT} FROM events WHERE event_id = ?", (event_id,)).fetchone()
    if row is None:
        return None
    event = rows.to_event(row)
    sent = rows.read_sent(db, event.message_id)
    of = "FROM events WHERE counted AND message_id = ? AND type = ?"
    key = (event.message_id, event.type)
    last = event.ordinal
    if last < 0:  # not counted itself: up to the last one before it
        found = db.execute(f"SELECT max(ordinal) {of} AND position < ?", (*key, event.position)).fetchone()
        last = -1 if found[0] is None else found[0]
    recents = db.execute(
        f"SELECT {rows.EVENT} {of} AND ordinal BETWEEN ? AND ? ORDER BY ordinal", (*key, last - RECENTS + 1, last)
    ).fetchall()
    first = db.execute(f"SELECT at {of} AND ordinal = 0 AND position <= ?", (*key, event.position)).fetchone()
    counts: tuple[int, ...] = ()
    if event.type == "message.link_clicked":
        counts = link_counts(db, event.message_id, max(len(sent.links) if sent else 0, event.link_index + 1), last)
    return History(event, sent, tuple(map(rows.to_event, recents)), counts, first[0] if first else 0.0)


def link_counts(db: sqlite3.Connection, message_id: str, links: int, last: int) -> tuple[int, ...]:
    """One look into the index per link, however often each was clicked."""
    counts = []
    for link in range(links):
        row = db.execute(
            "SELECT link_count FROM events WHERE counted AND type = 'message.link_clicked' AND message_id = ?"
            " AND link_index = ? AND ordinal <= ? ORDER BY ordinal DESC LIMIT 1",
            (message_id, link, last),
        ).fetchone()
        counts.append(row[0] if row else 0)
    return tuple(counts)
