"""Many events at once into SQLite: one read of what is known of their messages, `core.tally` in memory, bulk writes.

Owns: the path of every hit; the rows of events, tallies, the outbox and cursors that one batch makes. Leaves to others:
what counts (`tally`), who is owed what (`payload.triggers`), the transaction (`writer`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from relay.core import payload, tally
from relay.core.model import Endpoint, Event
from relay.store import Cursor
from relay.store.sqlite import bulk, rows

ASKED = (1, 8, 64, 512)  # how many are asked for at once: few sizes, so that their statements stay prepared

KNOWN = """
WITH asked (n, event_id, message_id, idx) AS (VALUES {places})
SELECT json_group_array(json_array(asked.n, e.position, m.grant_id, m.submitted_at, m.submitter_ip, t.facts,
    (SELECT CASE WHEN c.sole THEN c.recipient ELSE '' END FROM copies c
      WHERE c.message_id = asked.message_id AND c.idx = asked.idx LIMIT 1))),
  (SELECT seq FROM sqlite_sequence WHERE name = 'events'),
  (SELECT json_group_array(json_array(endpoint_id, url, triggers, secret, verdicts, format, source, status))
    FROM endpoints WHERE status IN ('active', 'failing'))
FROM asked
LEFT JOIN events e ON e.event_id = asked.event_id
LEFT JOIN messages m ON m.message_id = asked.message_id
LEFT JOIN tallies t ON t.message_id = asked.message_id
WHERE asked.n >= 0
"""
STATEMENTS = {size: KNOWN.format(places=", ".join(["(?, ?, ?, ?)"] * size)) for size in ASKED}


EVENTS = bulk.inserts("INSERT INTO events", 21)
TALLIES = bulk.inserts("INSERT OR REPLACE INTO tallies", 2)
DELIVERIES = bulk.inserts("INSERT INTO deliveries (position, endpoint_id, trigger, first_at, next_at)", 5)
CURSORS = "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)"

encode = msgspec.json.Encoder().encode


class Hit(NamedTuple):
    """An event to append, and the mailbox cursor that goes with it."""

    event: Event
    cursor: Cursor | None


decode_known = msgspec.json.Decoder(
    list[tuple[int, int | None, str | None, float | None, str | None, str | None, str | None]]
).decode
decode_endpoints = msgspec.json.Decoder(list[list[str]]).decode
decode_facts = msgspec.json.Decoder(tally.Facts).decode


def hits(db: sqlite3.Connection, batch: Sequence[Hit], asking: Asking, now: float) -> list[Event | None]:
    """Writes the batch. Per hit the event as it was completed, or None where it is there already."""
    known, position = [], 0
    for at in range(0, len(batch), ASKED[-1]):
        found, position, owed = read(db, batch[at : at + ASKED[-1]], asking)
        known += found
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
    bulk.write(db, EVENTS, event_rows)
    bulk.write(db, TALLIES, [(message_id, encode(fact).decode()) for message_id, fact in facts.items()])
    bulk.write(db, DELIVERIES, delivery_rows)
    if cursors:
        db.executemany(CURSORS, [rows.cursor(cursor) for cursor in cursors.values()])
    return results


def read(
    db: sqlite3.Connection, batch: Sequence[Hit], asking: Asking
) -> tuple[list[tuple[bool, tally.Origin, str | None]], int, list[Endpoint]]:
    """Per hit: is it there, what its message says, the facts so far. Then the last position used, and the endpoints."""
    size = next(size for size in ASKED if size >= len(batch))
    asked: list[object] = []
    for n, (event, _) in enumerate(batch):
        asked += (n, event.event_id, event.message_id, event.recipient_index)
    asked += [-1, "", "", 0] * (size - len(batch))
    text, last, endpoints = db.execute(STATEMENTS[size], asked).fetchone()
    known: list[tuple[bool, tally.Origin, str | None]] = [(False, tally.UNKNOWN, None)] * len(batch)
    for n, position, grant, submitted_at, ip, facts, recipient in decode_known(text):
        origin = tally.UNKNOWN
        if grant is not None:
            origin = tally.Origin(grant, submitted_at or 0.0, ip or "", recipient or "")
        known[n] = (position is not None, origin, facts)
    return known, last or 0, asking.read(endpoints)


class Asking:
    """The endpoints that take notifications. They change seldom and every batch needs them: a text equal to the last
    one is not decoded again."""

    def __init__(self) -> None:
        self._text = ""
        self._endpoints: list[Endpoint] = []

    def read(self, text: str) -> list[Endpoint]:
        if text != self._text:
            self._endpoints = [rows.to_endpoint(row) for row in decode_endpoints(text)]
            self._text = text
        return self._endpoints


def mended(hit: Hit) -> Hit:
    return Hit(rows.mended(hit.event), hit.cursor)
