"""Values <-> rows of the SQLite store, in the order of the columns.

Owns: how each value of `core.model` and `relay.store` is spelled in the tables. Leaves to others: when.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from relay.core.model import Endpoint, Event, Sent, SentCopy, Value
from relay.store import ApiKey, Cursor, Notification

Row = Sequence[Any]
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode

EVENT = (
    "event_id, type, message_id, at, recipient_index, recipient, link_index, url, method, ip, user_agent, referer, "
    "verdict, reason, data, grant_id, sequence, counted, ordinal, position"
)


def json(value: object) -> str:
    return encode(value).decode()


def event(value: Event, link_counts: str) -> tuple[Any, ...]:
    e = value
    return (
        e.position, e.event_id, e.type, e.message_id, e.at, e.recipient_index, e.recipient, e.link_index, e.url,
        e.method, e.ip, e.user_agent, e.referer, e.verdict, e.reason, json(e.data) if e.data else "", e.grant_id,
        e.sequence, e.counted, e.ordinal, link_counts,
    )  # fmt: skip


def to_event(row: Row) -> Event:
    """Of the columns EVENT."""
    values = list(row)
    values[14] = decode(row[14]) if row[14] else {}
    values[17] = bool(row[17])
    return Event(*values)


def sent(value: Sent, thread_id: str) -> tuple[Any, ...]:
    s = value
    return (
        s.message_id, s.grant_id, s.internet_message_id, thread_id, s.submitted_at, s.sender, s.reverse_path,
        json(s.to), json(s.cc), s.subject, s.label, json(s.metadata), s.submitter_ip, s.size, s.opens, s.links_tracked,
        s.thread_replies, s.reason, json(s.links), json(s.references), json(s.explanation),
    )  # fmt: skip


def copies(value: Sent) -> list[tuple[Any, ...]]:
    shared = Counter(c.index for c in value.copies)
    return [
        (
            value.message_id, c.index, position, c.recipient, shared[c.index] == 1, c.tracked, c.reason, c.state,
            c.reply, c.upstream_id,
        )
        for position, c in enumerate(value.copies)
    ]  # fmt: skip


def to_sent(row: Row, copy_rows: Sequence[Row]) -> Sent:
    """Of `SELECT * FROM messages`, and `to_copy`'s columns in order."""
    return Sent(
        message_id=row[0],
        grant_id=row[1],
        internet_message_id=row[2],
        thread_id=row[3],
        submitted_at=row[4],
        sender=row[5],
        reverse_path=row[6],
        to=tuple(decode(row[7])),
        cc=tuple(decode(row[8])),
        subject=row[9],
        label=row[10],
        metadata=decode(row[11]),
        submitter_ip=row[12],
        size=row[13],
        opens=bool(row[14]),
        links_tracked=bool(row[15]),
        thread_replies=bool(row[16]),
        reason=row[17],
        links=tuple(decode(row[18])),
        references=tuple(decode(row[19])),
        explanation=decode(row[20]),
        copies=tuple(SentCopy(c[0], c[1], bool(c[2]), *c[3:]) for c in copy_rows),
    )


def read_copies(db: sqlite3.Connection, message_id: str) -> list[Row]:
    return db.execute(
        "SELECT recipient, idx, tracked, reason, state, reply, upstream_id FROM copies WHERE message_id = ?"
        " ORDER BY position",
        (message_id,),
    ).fetchall()


def read_sent(db: sqlite3.Connection, message_id: str) -> Sent | None:
    row = db.execute("SELECT * FROM messages WHERE message_id = ?", (message_id,)).fetchone()
    return to_sent(row, read_copies(db, message_id)) if row else None


def cursor(value: Cursor) -> tuple[Any, ...]:
    return (value.mailbox, value.uidvalidity, value.uid, json(value.seen))


def to_cursor(row: Row) -> Cursor:
    return Cursor(row[0], row[1], row[2], tuple(decode(row[3])))


def endpoint(value: Endpoint) -> tuple[Any, ...]:
    e = value
    secret = "" if e.source == "config" else e.secret
    return (e.endpoint_id, e.url, json(e.triggers), secret, json(e.verdicts), e.format, e.source, e.status)


def to_endpoint(row: Row) -> Endpoint:
    triggers, verdicts = tuple(decode(row[2])), tuple(decode(row[4]))
    return Endpoint(row[0], row[1], triggers, row[3], verdicts, cast(Any, row[5]), cast(Any, row[6]), cast(Any, row[7]))


def api_key(value: ApiKey) -> tuple[Any, ...]:
    k = value
    return (k.name, k.digest, json(k.scopes), k.grant, k.created_at, k.last_used_at)


def to_api_key(row: Row) -> ApiKey:
    return ApiKey(row[0], row[1], tuple(decode(row[2])), *row[3:])


def to_notification(row: Row) -> Notification:
    return Notification(*row)


def mended(value: Any) -> Any:
    """The value with text that any database takes: half a surrogate pair is "?"."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {mended(k): mended(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(mended(v) for v in value)
    if isinstance(value, Value):
        return type(value)(*(mended(getattr(value, name)) for name in value.__struct_fields__))
    return value
