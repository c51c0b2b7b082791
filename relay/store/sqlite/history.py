"""What was known when an event was appended, read back from SQLite.

Owns: `History`. Leaves to others: what a notification makes of it (`payload`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3

import msgspec

from relay.core.model import Event, History, Sent
from relay.store import RECENTS
from relay.store.sqlite import rows


def history(db: sqlite3.Connection, event_id: str) -> History | None:
    """As it was when the event was appended, whatever came since: a notification that is made again says the same."""
    row = db.execute(f"SELECT {rows.EVENT}, link_counts FROM events WHERE event_id = ?", (event_id,)).fetchone()
    if row is None:
        return None
    event = rows.to_event(row[:-1])
    sent = rows.read_sent(db, event.message_id)
    of = "FROM events WHERE message_id = ? AND type = ?"
    key = (event.message_id, event.type)
    last = event.ordinal
    if last < 0:  # not counted itself: up to the last one before it
        found = db.execute(f"SELECT max(ordinal) {of} AND position < ?", (*key, event.position)).fetchone()
        last = -1 if found[0] is None else found[0]
    recents = db.execute(
        f"SELECT {rows.EVENT} {of} AND ordinal BETWEEN max(0, ?) AND ? ORDER BY ordinal",
        (*key, last - RECENTS + 1, last),
    ).fetchall()
    first = db.execute(f"SELECT at {of} AND ordinal = 0 AND position <= ?", (*key, event.position)).fetchone()
    counts = link_counts(sent, event, row[-1]) if event.type == "message.link_clicked" else ()
    return History(event, sent, tuple(map(rows.to_event, recents)), counts, first[0] if first else 0.0)


def link_counts(sent: Sent | None, event: Event, text: str) -> tuple[int, ...]:
    """Per link of the message how often it was clicked, this time included."""
    counts = msgspec.json.decode(text, type=dict[int, int]) if text else {}
    links = max(len(sent.links) if sent else 0, event.link_index + 1, *(link + 1 for link in counts))
    return tuple(counts.get(link, 0) for link in range(links))
