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

from relay.core.model import Sent
from relay.store import UpstreamReply, decisions
from relay.store.sqlite import bulk
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
    "DELETE FROM tallies WHERE message_id = :message_id",
    "DELETE FROM identifiers WHERE message_id = :message_id AND identifier IN ("
    "SELECT internet_message_id FROM messages WHERE message_id = :message_id"
    " UNION SELECT upstream_id FROM copies WHERE message_id = :message_id)",
    "DELETE FROM copies WHERE message_id = :message_id",
    "DELETE FROM messages WHERE message_id = :message_id",
)


class Replies(NamedTuple):
    """What the upstream said, oldest first."""

    replies: tuple[UpstreamReply, ...]


def record(db: sqlite3.Connection, batch: Sequence[Sent]) -> list[None]:
    """A new thread has the id of its first message."""
    messages, copies, identifiers = [], [], []
    for sent in batch:
        thread_id = sent.thread_id or (thread(db, sent.references) if sent.references else "") or sent.message_id
        messages.append(row := MESSAGES.row(sent))
        row[THREAD_ID] = thread_id
        shared = decisions.shared(sent)
        for position, copy in enumerate(sent.copies):
            copies.append(COPIES.row(copy, sent.message_id, position, copy.index not in shared))
        identifiers += [(identifier, sent.message_id) for identifier in decisions.names(sent)]
    bulk.write(db, RECORD_MESSAGES, messages)
    bulk.write(db, RECORD_COPIES, copies)
    bulk.write(db, RECORD_IDENTIFIERS, identifiers)
    return [None] * len(batch)


def record_replies(db: sqlite3.Connection, batch: Sequence[Replies]) -> list[None]:
    replies = list(chain.from_iterable(some.replies for some in batch))
    bulk.write(db, RECORD_REPLIES, decisions.last_replies(replies))
    bulk.write(db, RECORD_IDENTIFIERS, [(r.upstream_id, r.message_id) for r in replies if r.upstream_id])
    return [None] * len(batch)


def thread(db: sqlite3.Connection, references: Sequence[str]) -> str:
    row = db.execute(THREAD, (named(db, references),)).fetchone()
    return str(row[0]) if row else ""


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
    return sum([db.execute(sql, {"message_id": message_id}).rowcount for sql in REMOVE]) > 0


def mended(some: Replies) -> Replies:
    return Replies(tuple(map(decisions.mended, some.replies)))
