"""Many events at once into SQLite: one read of what is known of their messages, `core.tally` in memory, bulk writes.

Owns: the path of every hit; the rows of events, tallies, the outbox and cursors that one batch makes. Leaves to others:
what counts (`tally`), who is owed what (`payload.triggers`), the transaction (`writer`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

import msgspec

from relay.core import payload, tally
from relay.core.model import Endpoint, Event
from relay.store import Cursor, rows
from relay.store.writer import Hit

SIZES = (1, 8, 64, 512)  # how many are asked for at once: few sizes, so that their statements stay prepared

MOST = 64  # rows in one statement

KNOWN = """
WITH asked (n, event_id, message_id, idx) AS (VALUES {places})
SELECT asked.n, e.position, m.grant_id, m.submitted_at, m.submitter_ip, t.facts,
  (SELECT CASE WHEN c.sole THEN c.recipient ELSE '' END FROM copies c
    WHERE c.message_id = asked.message_id AND c.idx = asked.idx LIMIT 1)
FROM asked
LEFT JOIN events e ON e.event_id = asked.event_id
LEFT JOIN messages m ON m.message_id = asked.message_id
LEFT JOIN tallies t ON t.message_id = asked.message_id
"""
STATEMENTS = {size: KNOWN.format(places=", ".join(["(?, ?, ?, ?)"] * size)) for size in SIZES}
EVENTS = ("INSERT INTO events VALUES ", f"({', '.join('?' * 21)})")
TALLIES = ("INSERT OR REPLACE INTO tallies VALUES ", "(?, ?)")
DELIVERIES = (
    "INSERT INTO deliveries (position, endpoint_id, trigger, first_at, next_at) VALUES ",
    "(?, ?, ?, ?, ?)",
)
CURSORS = "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)"

encode = msgspec.json.Encoder().encode
decode_facts = msgspec.json.Decoder(tally.Facts).decode


def hits(db: sqlite3.Connection, batch: Sequence[Hit], owed: Sequence[Endpoint], now: float) -> list[Event | None]:
    """Writes the batch; `owed` are the endpoints that take notifications. Per hit the event as it was completed, or
    None where it is there already."""
    known = [row for at in range(0, len(batch), SIZES[-1]) for row in read(db, batch[at : at + SIZES[-1]])]
    position = (db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone() or (0,))[0]
    facts: dict[str, tally.Facts] = {}
    fresh: set[str] = set()
    results: list[Event | None] = []
    event_rows, delivery_rows = [], []
    cursors: dict[str, Cursor] = {}
    for (event, cursor), (there, origin, text) in zip(batch, known, strict=True):
        if cursor is not None:
            cursors[cursor.mailbox] = cursor
        if there or event.event_id in fresh:
            results.append(None)
            continue
        fresh.add(event.event_id)
        fact = facts.get(event.message_id)
        if fact is None:
            fact = facts[event.message_id] = decode_facts(text) if text else tally.Facts()
        position += 1
        done = tally.complete(event, fact, origin, position)
        results.append(done)
        clicked = done.counted and done.type == "message.link_clicked"
        event_rows.append(rows.event(done, rows.json(fact.links) if clicked else ""))
        for endpoint in owed:
            for trigger in payload.triggers(endpoint, done):
                delivery_rows.append((position, endpoint.endpoint_id, trigger, now, now))
    bulk(db, EVENTS, event_rows)
    bulk(db, TALLIES, [(message_id, encode(fact).decode()) for message_id, fact in facts.items()])
    bulk(db, DELIVERIES, delivery_rows)
    if cursors:
        db.executemany(CURSORS, [rows.cursor(cursor) for cursor in cursors.values()])
    return results


def bulk(db: sqlite3.Connection, statement: tuple[str, str], values: Sequence[tuple[object, ...]]) -> None:
    """The rows by 64, 32, 16 … in one statement each. `executemany` would give up and take back the interpreter's lock
    at each row, and wait each time for the event loop's thread."""
    head, row = statement
    at = 0
    while at < len(values):
        size = min(MOST, 1 << (len(values) - at).bit_length() - 1)
        sql = head + row if size == 1 else head + ",".join([row] * size)
        db.execute(sql, list(chain.from_iterable(values[at : at + size])))
        at += size


def read(db: sqlite3.Connection, batch: Sequence[Hit]) -> list[tuple[bool, tally.Origin, str | None]]:
    """Per hit: is it there, what its message says, the facts so far."""
    size = next(size for size in SIZES if size >= len(batch))
    asked: list[object] = []
    for n, (event, _) in enumerate(batch):
        asked += (n, event.event_id, event.message_id, event.recipient_index)
    asked += [-1, "", "", 0] * (size - len(batch))
    known: list[tuple[bool, tally.Origin, str | None]] = [(False, tally.UNKNOWN, None)] * len(batch)
    for n, position, grant, submitted_at, ip, facts, recipient in db.execute(STATEMENTS[size], asked):
        if n >= 0:
            origin = tally.UNKNOWN if grant is None else tally.Origin(grant, submitted_at, ip, recipient or "")
            known[n] = (position is not None, origin, facts)
    return known


class Asking:
    """The endpoints that take notifications. They change seldom and every batch needs them: rows equal to the last ones
    are not decoded again."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []
        self._endpoints: list[Endpoint] = []

    def read(self, db: sqlite3.Connection) -> list[Endpoint]:
        found = db.execute("SELECT * FROM endpoints WHERE status IN ('active', 'failing')").fetchall()
        if found != self._rows:
            self._rows, self._endpoints = found, [rows.to_endpoint(row) for row in found]
        return self._endpoints


def mended(hit: Hit) -> Hit:
    return rows.mended(hit[0]), hit[1]
