"""Many submissions, and many replies of the upstream, at once into SQLite.

Owns: the rows of messages, copies and identifiers, and how a message finds its thread. Leaves to others: the
transaction (`writer`), spelling (`rows`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from relay.core.model import Sent
from relay.store import BARE_ID, UpstreamReply
from relay.store.sqlite import bulk, rows

MESSAGES = bulk.inserts("INSERT OR REPLACE INTO messages", 21)
COPIES = bulk.inserts("INSERT OR REPLACE INTO copies", 10)
IDENTIFIERS = bulk.inserts("INSERT OR IGNORE INTO identifiers", 2)
REPLIES = bulk.statements(
    "UPDATE copies SET state = v.column3, reply = v.column4,"
    " upstream_id = CASE v.column5 WHEN '' THEN upstream_id ELSE v.column5 END"
    " FROM {values} AS v WHERE copies.message_id = v.column1 AND copies.recipient = v.column2",
    5,
)


class Replies(NamedTuple):
    """What the upstream said, oldest first."""

    replies: tuple[UpstreamReply, ...]


def sents(db: sqlite3.Connection, batch: Sequence[Sent]) -> list[None]:
    """The messages, their copies and identifiers. A new thread has the id of its first message."""
    messages, copies, identifiers = [], [], []
    for sent in batch:
        thread_id = sent.thread_id or (thread(db, sent.references) if sent.references else "") or sent.message_id
        messages.append(rows.sent(sent, thread_id))
        copies += rows.copies(sent)
        named = {sent.internet_message_id, *(c.upstream_id for c in sent.copies)} - {""}
        identifiers += [(identifier, sent.message_id) for identifier in named]
    bulk.write(db, MESSAGES, messages)
    bulk.write(db, COPIES, copies)
    bulk.write(db, IDENTIFIERS, identifiers)
    return [None] * len(batch)


def replies(db: sqlite3.Connection, batch: Sequence[Replies]) -> list[None]:
    """Of two replies for one copy the later one holds; an identifier that only the first one named is kept."""
    last: dict[tuple[str, str], tuple[object, ...]] = {}
    identifiers = []
    for reply in chain.from_iterable(some.replies for some in batch):
        for recipient in reply.recipients:
            before = last.pop((reply.message_id, recipient), None)
            upstream_id = reply.upstream_id or (before[4] if before else "")
            last[reply.message_id, recipient] = (reply.message_id, recipient, reply.state, reply.reply, upstream_id)
        if reply.upstream_id:
            identifiers.append((reply.upstream_id, reply.message_id))
    bulk.write(db, REPLIES, list(last.values()))
    bulk.write(db, IDENTIFIERS, identifiers)
    return [None] * len(batch)


def thread(db: sqlite3.Connection, references: Sequence[str]) -> str:
    message_id = named(db, references)
    row = db.execute("SELECT thread_id FROM messages WHERE message_id = ?", (message_id,)).fetchone()
    return str(row[0]) if row else ""


def named(db: sqlite3.Connection, internet_ids: Sequence[str]) -> str:
    """The message_id of the newest message with the first of these identifiers that is known; "" for none.

    Some upstreams name in their reply only what stands before the "@" (Amazon SES): a long one is enough."""
    for identifier in internet_ids:
        local = identifier.partition("@")[0]
        row = db.execute(
            "SELECT max(i.message_id) FROM identifiers i JOIN messages m ON m.message_id = i.message_id"
            " WHERE i.identifier IN (?, ?)",
            (identifier, local if len(local) >= BARE_ID else identifier),
        ).fetchone()
        if row[0] is not None:
            return str(row[0])
    return ""


def mended(some: Replies) -> Replies:
    return Replies(tuple(map(rows.mended, some.replies)))
