"""Events in SQLite: many appended at once, and read.

Owns: the path of every hit, which is one read of what is known of their messages, `decisions.append` in memory, and bulk
writes; the statements about events and tallies. Leaves to others: what a batch comes to (`decisions`), the transaction
(`writer`), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from relay.core import counts, floods, tally
from relay.core.model import Endpoint, Event, History, Sent, Verdict
from relay.store import Cursor, decisions, tables
from relay.store.lists import Answer, Mark
from relay.store.sqlite import answers, bulk, cursors, endpoints, lists, messages, outbox
from relay.store.sqlite import counts as counters
from relay.store.sqlite.writer import BATCH
from relay.store.tables import ENDPOINTS, EVENTS

ASKED = (1, 8, 64, BATCH)  # how many are asked for at once: few sizes, so that their statements stay prepared
KNOWN = f"""
WITH asked (n, event_id, message_id, idx) AS (VALUES {{places}})
SELECT json_group_array(json_array(asked.n, e.position, m.grant_id, m.submitted_at, m.submitter_ip, t.facts,
    m.label, m.sender, s.opens, s.machine_opens, s.clicks, s.machine_clicks,
    (SELECT CASE WHEN c.sole THEN c.recipient ELSE (SELECT count(*) FROM copies s
        WHERE s.message_id = asked.message_id AND s.idx = asked.idx) END FROM copies c
      WHERE c.message_id = asked.message_id AND c.idx = asked.idx LIMIT 1))),
  (SELECT seq FROM sqlite_sequence WHERE name = 'events'),
  (SELECT json_group_array(json_array({ENDPOINTS.names("l")})) FROM endpoints l WHERE {endpoints.IS_LIVE}),
  (SELECT upto FROM counting)
FROM asked
LEFT JOIN events e ON e.event_id = asked.event_id
LEFT JOIN messages m ON m.message_id = asked.message_id
LEFT JOIN tallies t ON t.message_id = asked.message_id
LEFT JOIN seen s ON s.message_id = asked.message_id AND s.idx = asked.idx
WHERE asked.n >= 0
"""
STATEMENTS = {size: KNOWN.format(places=", ".join(["(?, ?, ?, ?)"] * size)) for size in ASKED}
APPEND = bulk.inserts("INSERT", EVENTS)
SAVE_TALLIES = bulk.inserts_into("INSERT OR REPLACE INTO tallies (message_id, facts)", 2)
TALLY = "SELECT facts FROM tallies WHERE message_id = ?"

LISTED = f"SELECT {EVENTS.names()} FROM events WHERE {{conditions}} ORDER BY position {{order}} LIMIT ?"
ONE = f"SELECT {EVENTS.names()}, events.link_counts FROM events WHERE event_id = ?"
CORRECT = "UPDATE events SET verdict = ?, reason = ? WHERE event_id = ?"
LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
FOLLOWING = f"""
SELECT {EVENTS.names()} FROM events WHERE type = ? AND (at, position) > (?, ?) ORDER BY at, position LIMIT ?
"""
OF_TYPE = "FROM events WHERE message_id = ? AND type = ?"
LAST_COUNTED = f"SELECT max(ordinal) {OF_TYPE} AND position < ?"
RECENTS = f"SELECT {EVENTS.names()} {OF_TYPE} AND ordinal BETWEEN max(0, ?) AND ? ORDER BY ordinal"
FIRST_AT = f"SELECT at {OF_TYPE} AND ordinal >= 0 AND recipient_index = ? AND position <= ? ORDER BY ordinal LIMIT 1"
# In the thread of its message, or to this message alone where its row is gone.
REPLIES = f"SELECT count(*) {OF_TYPE} AND ordinal >= 0 AND position <= ?"
REPLIES_OF_THREAD = """
SELECT count(*) FROM messages m CROSS JOIN events e ON e.message_id = m.message_id
WHERE m.thread_id = ? AND m.grant_id = ? AND e.type = ? AND e.ordinal >= 0 AND e.position <= ?
"""

encode_facts = msgspec.json.Encoder().encode
decode_facts = msgspec.json.Decoder(tally.Facts).decode
decode_counts = msgspec.json.Decoder(dict[int, int]).decode
decode_endpoints = msgspec.json.Decoder(list[list[Any]]).decode
decode_known = msgspec.json.Decoder(
    list[
        tuple[
            int,
            int | None,
            str | None,
            float | None,
            str | None,
            str | None,
            str | None,
            str | None,
            int | None,
            int | None,
            int | None,
            int | None,
            str | int | None,
        ]
    ]
).decode


# -- appending ---------------------------------------------------------------------------------------------------------


class Hit(NamedTuple):
    """An event to append, and the mailbox cursor and the answer that go with it."""

    event: Event
    cursor: Cursor | None
    answer: Answer | None = None


class Asking:
    """The endpoints that take notifications. They change seldom and every batch needs them: a text equal to the last
    one is not decoded again."""

    def __init__(self) -> None:
        self._text = ""
        self._endpoints: list[Endpoint] = []

    def read(self, text: str) -> list[Endpoint]:
        if text != self._text:
            self._endpoints = [ENDPOINTS.value(row) for row in decode_endpoints(text)]
            self._text = text
        return self._endpoints


class Found(NamedTuple):
    """What is known when a batch comes, per event and per message; the last position; the live endpoints. `abouts` has
    the messages that are counted, `seen` what their recipients did."""

    known: list[decisions.Known]
    facts: dict[str, tally.Facts]
    position: int
    endpoints: list[Endpoint]
    abouts: dict[str, counts.About]
    seen: dict[tuple[str, int], counts.Seen]


def append(
    db: sqlite3.Connection, batch: Sequence[Hit], asking: Asking, now: float, limits: floods.Limits
) -> list[Event | floods.Folded | None]:
    """Per hit the event as it was completed, or that it was folded, or None where it is there already."""
    events = [hit.event for hit in batch]
    found = read(db, events, asking)
    done = decisions.append(events, found.known, found.facts, found.position, found.endpoints, now, limits)
    link_counts = [tables.json(counts) if counts else "" for counts in done.link_counts]
    bulk.write(db, APPEND, list(map(EVENTS.row, done.events, link_counts)))
    bulk.write(db, SAVE_TALLIES, [(key, encode_facts(fact).decode()) for key, fact in done.facts.items()])
    count(db, done.events, found)
    owed = [(e.position, endpoint_id, trigger, now, now, turn) for e, endpoint_id, trigger, turn in done.owed]
    bulk.write(db, outbox.OWE, owed)
    answers.keep(db, [hit.answer for hit, new in zip(batch, done.results, strict=True) if hit.answer and new])
    cursors.save(db, {hit.cursor.mailbox: hit.cursor for hit in batch if hit.cursor}.values())
    return done.results


def count(db: sqlite3.Connection, made: Sequence[Event], found: Found) -> None:
    totals: counts.Totals = {}
    changed: dict[tuple[str, int], counts.Seen] = {}
    for event in made:
        of = found.abouts.get(event.message_id)
        if of is not None:
            key = (event.message_id, event.recipient_index)
            own = found.seen[key]
            if counts.happened(totals, of, own, event):
                changed[key] = own
    if totals:
        counters.add(db, totals)
        counters.see(db, changed)


def correct(db: sqlite3.Connection, event_id: str, verdict: Verdict, reason: str) -> Event | None:
    """See `contract.Store.correct`. All of the message is counted anew: what was a first open may be none any more, and
    another be it."""
    row = db.execute(ONE, (event_id,)).fetchone()
    if row is None:
        return None
    event = EVENTS.value(row[:-1])
    counted = counters.includes(counters.upto(db), event.message_id)
    totals: counts.Totals = {}
    if counted:
        messages.count(db, totals, event.message_id, -1)
    db.execute(CORRECT, (verdict, decisions.mended(reason), event_id))
    if counted:
        messages.count(db, totals, event.message_id)
    counters.add(db, totals)
    return event.with_(verdict=verdict, reason=reason)


def fold(db: sqlite3.Connection, folds: Sequence[floods.Fold]) -> None:
    """What is known of a message is one row: so each row is read and written once."""
    found: dict[str, tally.Facts] = {}
    for message_id in {fold.message_id for fold in folds}:
        if row := db.execute(TALLY, (message_id,)).fetchone():
            found[message_id] = decode_facts(row[0])
    for fold in folds:
        if fold.message_id in found:
            tally.fold(found[fold.message_id], fold.token, fold.hits)
    bulk.write(db, SAVE_TALLIES, [(key, encode_facts(fact).decode()) for key, fact in found.items()])


def read(db: sqlite3.Connection, batch: Sequence[Event], asking: Asking) -> Found:
    size = next(size for size in ASKED if size >= len(batch))
    asked: list[object] = []
    for n, event in enumerate(batch):
        asked += (n, event.event_id, event.message_id, event.recipient_index)
    asked += [-1, "", "", 0] * (size - len(batch))
    text, last, live, upto = db.execute(STATEMENTS[size], asked).fetchone()
    known: list[decisions.Known] = [(False, tally.UNKNOWN)] * len(batch)
    facts: dict[str, tally.Facts] = {}
    abouts: dict[str, counts.About] = {}
    seen: dict[tuple[str, int], counts.Seen] = {}
    for n, position, grant, submitted_at, ip, fact, label, sender, *times, recipient in decode_known(text):
        origin = tally.UNKNOWN
        if grant is not None:
            # A text is the one who has the copy, a number how many share it.
            sole, sharing = (recipient, 1) if isinstance(recipient, str) else ("", recipient or 1)
            message_id = batch[n].message_id
            if counters.includes(upto, message_id):
                abouts[message_id] = counts.About(grant, submitted_at or 0.0, label or "", sender or "")
                seen.setdefault((message_id, batch[n].recipient_index), [time or 0 for time in times])
            origin = tally.Origin(grant, submitted_at or 0.0, ip or "", sole, sharing)
        known[n] = (position is not None, origin)
        if (message_id := batch[n].message_id) not in facts:
            facts[message_id] = decode_facts(fact) if fact else tally.Facts()
    return Found(known, facts, last or 0, asking.read(live), abouts, seen)


def mended(hit: Hit) -> Hit:
    return Hit(decisions.mended(hit.event), hit.cursor, decisions.mended(hit.answer))


# -- reading -----------------------------------------------------------------------------------------------------------


def listed(
    db: sqlite3.Connection,
    after: int,
    limit: int,
    *,
    newest: bool,
    message_id: str,
    types: Sequence[str],
    grant_id: str,
) -> list[Event]:
    conditions, values = ["position > ?"], [after, *types]
    if types:
        conditions.append(f"type IN ({', '.join('?' * len(types))})")
    for column, value in (("message_id", message_id), ("grant_id", grant_id)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    sql = LISTED.format(conditions=" AND ".join(conditions), order="DESC" if newest else "ASC")
    found = [EVENTS.value(row) for row in db.execute(sql, (*values, limit))]
    return found[::-1] if newest else found


def chosen(db: sqlite3.Connection, event_ids: Sequence[str]) -> list[Event]:
    """These, each once."""
    rows = [row[:-1] for event_id in dict.fromkeys(event_ids) for row in db.execute(ONE, (event_id,))]
    return list(map(EVENTS.value, rows))


def following(db: sqlite3.Connection, mark: Mark, limit: int) -> list[Event]:
    """The next ones behind a mark, by time."""
    rows = [db.execute(FOLLOWING, (kind, *mark, limit)) for kind in lists.TYPES]
    found = heapq.merge(*(map(EVENTS.value, some) for some in rows), key=lists.mark)
    return list(islice(found, limit))


def last(db: sqlite3.Connection) -> int:
    """The highest position that was used."""
    row = db.execute(LAST).fetchone()
    return int(row[0]) if row else 0


def history(db: sqlite3.Connection, event_id: str) -> History | None:
    row = db.execute(ONE, (event_id,)).fetchone()
    if row is None:
        return None
    event, counts = EVENTS.value(row[:-1]), decode_counts(row[-1]) if row[-1] else {}
    sent = messages.one(db, event.message_id)
    key = (event.message_id, event.type)
    last = event.ordinal
    if last < 0:  # not counted itself: up to the last one before it
        found = db.execute(LAST_COUNTED, (*key, event.position)).fetchone()
        last = -1 if found[0] is None else found[0]
    recents = tuple(map(EVENTS.value, db.execute(RECENTS, (*key, last - decisions.RECENTS + 1, last))))
    first = db.execute(FIRST_AT, (*key, event.recipient_index, event.position)).fetchone()
    return History(
        event,
        sent,
        recents,
        decisions.link_counts(sent, event, counts),
        first[0] if first else 0.0,
        replies(db, event, sent) if event.type == "thread.replied" else 0,
    )


def replies(db: sqlite3.Connection, event: Event, sent: Sent | None) -> int:
    """How many counted answers the thread has, up to this one."""
    if sent is None:
        found = db.execute(REPLIES, (event.message_id, event.type, event.position))
    else:
        found = db.execute(REPLIES_OF_THREAD, (sent.thread_id, sent.grant_id, event.type, event.position))
    return int(found.fetchone()[0])
