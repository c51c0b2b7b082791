"""Messages, their copies and identifiers in SQLite: many submissions, and many replies of the upstream, at once.

Owns: the statements about these three tables, and what goes with a message that is removed. Leaves to others: threads and
names (`decisions`), the transaction (`writer`), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from relay.core import counts
from relay.core.model import Sent
from relay.store import UpstreamReply, decisions, lists
from relay.store.sqlite import answers, bulk
from relay.store.sqlite import counts as counters
from relay.store.tables import COPIES, MESSAGES

RECORD_MESSAGES = bulk.inserts("INSERT OR REPLACE", MESSAGES)
RECORD_COPIES = bulk.inserts("INSERT OR REPLACE", COPIES)
RECORD_IDENTIFIERS = bulk.inserts_into("INSERT OR IGNORE INTO identifiers (identifier, message_id)", 2)
RECORD_REPLIES = bulk.statements(
    "UPDATE copies SET state = v.column3, reply = v.column4,"
    " upstream_id = CASE v.column5 WHEN '' THEN upstream_id ELSE v.column5 END"
    " FROM {values} AS v WHERE copies.message_id = v.column1 AND copies.recipient = v.column2",
    5,
)
# Of which of these messages something is there already; how far counting has come.
THERE = """
SELECT (SELECT json_group_array(message_id) FROM (
    SELECT message_id FROM messages WHERE message_id IN (SELECT value FROM json_each(?1))
    UNION ALL SELECT message_id FROM tallies WHERE message_id IN (SELECT value FROM json_each(?1)))), upto
FROM counting
"""
BEFORE = """
SELECT (SELECT json_group_array(json_array(
    v.key, c.state, json_array(m.grant_id, m.submitted_at, m.label, m.sender))) FROM json_each(?) AS v
  CROSS JOIN copies c ON c.message_id = v.value ->> 0 AND c.recipient = v.value ->> 1
  CROSS JOIN messages m ON m.message_id = c.message_id), upto
FROM counting
"""
THREAD_ID = MESSAGES.columns.index("thread_id")
THREAD = "SELECT thread_id FROM messages WHERE message_id = ?"
# Of several messages with one identifier the newest: message_id sorts by time.
NAMED = """
SELECT max(i.message_id) FROM identifiers i JOIN messages m ON m.message_id = i.message_id WHERE i.identifier IN (?, ?)
"""
# The same in one grant, or in all by ""; first those that one of the recipients was sent.
FOUND = f"""
SELECT message_id FROM (
    SELECT i.message_id FROM identifiers i JOIN messages m ON m.message_id = i.message_id
    WHERE i.identifier IN (?, ?) AND ? IN ('', m.grant_id) ORDER BY i.message_id DESC LIMIT {decisions.MAX_NAMESAKES}
) AS n
ORDER BY EXISTS (
    SELECT 1 FROM copies c WHERE c.message_id = n.message_id AND lower(c.recipient) IN (SELECT value FROM json_each(?))
) DESC, message_id DESC LIMIT 1
"""
ONE = f"SELECT {MESSAGES.names()} FROM messages WHERE message_id = ?"
ROOT = f"""
SELECT {MESSAGES.names("m")} FROM messages m WHERE m.thread_id = ? AND m.grant_id = ? AND m.thread_replies
  AND EXISTS (SELECT 1 FROM copies c WHERE c.message_id = m.message_id AND c.thread_replies)
ORDER BY m.submitted_at, m.message_id LIMIT 1
"""
# Mail servers use an identifier again: of several the newest.
QUEUED = f"""
SELECT {MESSAGES.names()} FROM messages WHERE queue_id = ? AND queue_id != '' ORDER BY message_id DESC LIMIT 1
"""
COPIES_OF = f"SELECT {COPIES.names()} FROM copies WHERE message_id = ? ORDER BY position"
RECENT = f"""
SELECT {MESSAGES.names()} FROM messages WHERE submitted_at < :before
ORDER BY submitted_at DESC, message_id DESC LIMIT :limit
"""
RECENT_OF = RECENT.replace("WHERE", "WHERE grant_id = :grant AND")
# In this order: each finds its rows by those that are removed after it. identifiers is indexed by the identifier, so only
# those go that the copies have still: one that a second answer of the upstream replaced stays, and leads to nothing.
REMOVE = (
    "DELETE FROM deliveries WHERE position IN (SELECT position FROM events WHERE message_id = :message_id)",
    "DELETE FROM events WHERE message_id = :message_id",
    "DELETE FROM answers WHERE message_id = :message_id",
    "DELETE FROM tallies WHERE message_id = :message_id",
    "DELETE FROM seen WHERE message_id = :message_id",
    "DELETE FROM identifiers WHERE message_id = :message_id AND identifier IN ("
    "SELECT internet_message_id FROM messages WHERE message_id = :message_id"
    " UNION SELECT upstream_id FROM copies WHERE message_id = :message_id)",
    "DELETE FROM kept WHERE message_id = :message_id",
    "DELETE FROM copies WHERE message_id = :message_id",
    "DELETE FROM messages WHERE message_id = :message_id",
)

decode_ids = msgspec.json.Decoder(list[str]).decode
decode_before = msgspec.json.Decoder(list[tuple[int, str, counts.About]]).decode


def encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Replies(NamedTuple):
    """What the upstream said, oldest first."""

    replies: tuple[UpstreamReply, ...]


def record(db: sqlite3.Connection, batch: Sequence[Sent]) -> list[None]:
    """A new thread has the id of its first message."""
    named = [sent.message_id for sent in batch]
    there, upto = db.execute(THERE, (encode(named),)).fetchone()
    again = set(decode_ids(there)) | (
        {i for i in named if named.count(i) > 1} if len(set(named)) < len(named) else set()
    )
    if again:
        earlier = {i: one(db, i) for i in again}
        batch = [decisions.again(s, before) if (before := earlier.get(s.message_id)) else s for s in batch]
    totals: counts.Totals = {}
    again = {i for i in again if counters.includes(upto, i)}
    for message_id in again:
        count(db, totals, message_id, -1)
    messages, copies, identifiers = [], [], []
    for sent in batch:
        thread_id = (
            sent.thread_id or (thread(db, sent.references, sent.grant_id) if sent.references else "") or sent.message_id
        )
        messages.append(row := MESSAGES.row(sent, lists.domain_of(sent)))
        row[THREAD_ID] = thread_id
        shared = decisions.shared(sent)
        for position, copy in enumerate(sent.copies):
            copies.append(COPIES.row(copy, sent.message_id, position, copy.index not in shared, sent.submitted_at))
        identifiers += [(identifier, sent.message_id) for identifier in decisions.names(sent)]
        if sent.message_id not in again and counters.includes(upto, sent.message_id):
            counts.submitted(totals, counts.about(sent), [(copy.recipient, copy.state) for copy in sent.copies])
    bulk.write(db, RECORD_MESSAGES, messages)
    bulk.write(db, RECORD_COPIES, copies)
    bulk.write(db, RECORD_IDENTIFIERS, identifiers)
    for message_id in again:
        count(db, totals, message_id)
    counters.add(db, totals)
    return [None] * len(batch)


def record_replies(db: sqlite3.Connection, batch: Sequence[Replies]) -> list[None]:
    replies = list(chain.from_iterable(some.replies for some in batch))
    last = decisions.last_replies(replies)
    found, upto = db.execute(BEFORE, (encode([(reply.message_id, reply.recipient) for reply in last]),)).fetchone()
    totals: counts.Totals = {}
    for number, state, of in decode_before(found):
        reply = last[number]
        if counters.includes(upto, reply.message_id):
            counts.moved(totals, of, reply.recipient, state, reply.state)
    counters.add(db, totals)
    bulk.write(db, RECORD_REPLIES, last)
    bulk.write(db, RECORD_IDENTIFIERS, [(r.upstream_id, r.message_id) for r in replies if r.upstream_id])
    return [None] * len(batch)


def thread(db: sqlite3.Connection, references: Sequence[str], grant_id: str) -> str:
    """The thread that these identifiers lead to: those of messages, else those of answers to the grant's; "" for none."""
    row = db.execute(THREAD, (named(db, references),)).fetchone()
    if row:
        return str(row[0])
    answer = answers.find(db, references, grant_id)
    return answer.thread_id if answer else ""


def root(db: sqlite3.Connection, thread_id: str, grant_id: str) -> Sent | None:
    row = db.execute(ROOT, (thread_id, grant_id)).fetchone()
    return whole(db, row) if row else None


def named(db: sqlite3.Connection, internet_ids: Sequence[str]) -> str:
    """The message_id of the newest message with the first of these identifiers that is known; "" for none."""
    for identifier in internet_ids:
        row = db.execute(NAMED, decisions.spellings(identifier)).fetchone()
        if row[0] is not None:
            return str(row[0])
    return ""


def find(db: sqlite3.Connection, internet_ids: Sequence[str], grant_id: str, recipients: Sequence[str]) -> Sent | None:
    people = msgspec.json.encode(decisions.mended(recipients)).decode()
    for identifier in decisions.mended(internet_ids):
        row = db.execute(FOUND, (*decisions.spellings(identifier), grant_id, people)).fetchone()
        if row is not None:
            return one(db, str(row[0]))
    return None


def one(db: sqlite3.Connection, message_id: str) -> Sent | None:
    row = db.execute(ONE, (message_id,)).fetchone()
    return whole(db, row) if row else None


def queued(db: sqlite3.Connection, queue_id: str) -> Sent | None:
    row = db.execute(QUEUED, (queue_id,)).fetchone()
    return whole(db, row) if row else None


def recent(db: sqlite3.Connection, limit: int, before: float | None, grant_id: str) -> list[Sent]:
    until = float("inf") if before is None else before
    rows = db.execute(
        RECENT_OF if grant_id else RECENT, {"before": until, "limit": limit, "grant": grant_id}
    ).fetchall()
    return [whole(db, row) for row in rows]


def whole(db: sqlite3.Connection, row: Sequence[object]) -> Sent:
    """With its copies."""
    copies = tuple(map(COPIES.value, db.execute(COPIES_OF, (row[0],))))
    return MESSAGES.value(row, copies=copies)


def remove(db: sqlite3.Connection, message_id: str) -> bool:
    totals: counts.Totals = {}
    if counters.includes(counters.upto(db), message_id):
        count(db, totals, message_id, -1)
    counters.add(db, totals)
    return sum([db.execute(sql, {"message_id": message_id}).rowcount for sql in REMOVE]) > 0


def count(db: sqlite3.Connection, totals: counts.Totals, message_id: str, sign: int = 1) -> None:
    """Adds all that a message has in the counters, or takes it away; `seen` is made anew."""
    sent = one(db, message_id)
    if sent is None:
        return
    own, seen = counts.message(sent, counters.events_of(db, message_id))
    counts.add(totals, own, sign)
    if sign > 0:
        db.execute(counters.FORGET, (message_id,))
        counters.see(db, {(message_id, index): times for index, times in seen.items()})


def recount(db: sqlite3.Connection) -> int | None:
    """See `contract.Store.recount`."""
    upto = counters.upto(db)
    if upto is None:
        return None
    last, done = upto, 0
    totals: counts.Totals = {}
    for message_id in counters.following(db, upto):
        count(db, totals, message_id)
        last, done = message_id, done + 1
        if sum(row[counts.AT["opens"]] + row[counts.AT["clicks"]] for row in totals.values()) > counters.STEP_EVENTS:
            break
    counters.add(db, totals)
    counters.came_to(db, last if done else None)
    return done


def mended(some: Replies) -> Replies:
    return Replies(tuple(map(decisions.mended, some.replies)))
