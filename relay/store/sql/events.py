"""Events: read.

Owns: the statements that look for events, and the one that adds them. Leaves to others: how they come to be there (`appending`), and get other verdicts
(`correcting`), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice

import msgspec

from relay.core.model import Event, History, Sent
from relay.store import decisions
from relay.store.lists import Mark
from relay.store.sql import lists, messages, thread_index
from relay.store.sql.program import Fixed, Many, Program, Statement, along, both, insert, spelt
from relay.store.tables import EVENTS

APPEND = insert("events", EVENTS.columns)
FROM_EVENTS = f"SELECT {EVENTS.names()} FROM events"
AFTER = along(FROM_EVENTS, [], {"position": ":after"}, down=False)
NEWEST = f"{FROM_EVENTS} WHERE position > :after ORDER BY position DESC LIMIT :limit"
# Of one message there are few, and these are sorted: by the index of all positions it would be a long way to them.
OF_MESSAGE = {
    (newest, typed): spelt(
        f"{FROM_EVENTS} WHERE message_id = :message AND position > :after{' AND type {named}' if typed else ''}"
        f" ORDER BY position + 0{' DESC' if newest else ''} LIMIT :limit"
    )
    for newest in (False, True)
    for typed in (False, True)
}
ONE = f"SELECT {EVENTS.names()}, events.link_counts FROM events WHERE event_id = ?"
LAST = Statement("SELECT seq FROM sqlite_sequence WHERE name = 'events'", "SELECT position FROM counting")
FOLLOWING = along(FROM_EVENTS, [Fixed("type", ":type")], {"at": ":at", "position": ":position"}, down=False)
OF_TYPE = "FROM events WHERE message_id = ? AND type = ?"
LAST_COUNTED = f"SELECT max(ordinal) {OF_TYPE} AND position < ?"
RECENTS = f"SELECT {EVENTS.names()} {OF_TYPE} AND ordinal BETWEEN ? AND ? ORDER BY ordinal"
FIRST_AT = f"SELECT at {OF_TYPE} AND ordinal >= 0 AND recipient_index = ? AND position <= ? ORDER BY ordinal LIMIT 1"
# In the thread of its message, or to this message alone where its row is gone.
REPLIES = f"SELECT count(*) {OF_TYPE} AND ordinal >= 0 AND position <= ?"
REPLIES_OF_THREAD = spelt(
    """
SELECT count(*) FROM ({last}) AS m {join} events e ON e.message_id = m.message_id
WHERE e.type = :type AND e.ordinal >= 0 AND e.position <= :position
""",
    last=both(thread_index.walk("SELECT submitted_at, message_id FROM messages", limit=str(decisions.MAX_LOOKED_AT))),
)

decode_counts = msgspec.json.Decoder(dict[int, int]).decode


def listed(after: int, limit: int, newest: bool, message_id: str, types: Sequence[str]) -> Program[list[Event]]:
    values: dict[str, object] = {"after": after, "limit": limit}
    if message_id:
        values |= {"message": message_id, "many": Many(types)}
    sql = OF_MESSAGE[newest, bool(types)] if message_id else NEWEST if newest else AFTER
    rows = yield sql, values
    found = [EVENTS.value(row) for row in rows]
    return found[::-1] if newest else found


def chosen(event_ids: Sequence[str]) -> Program[list[Event]]:
    """These, each once."""
    found = []
    for event_id in dict.fromkeys(event_ids):
        rows = yield ONE, (event_id,)
        found += [EVENTS.value(own) for *own, _ in rows]
    return found


def following(mark: Mark, limit: int) -> Program[list[Event]]:
    """The next ones behind a mark, by time."""
    lanes = []
    for kind in lists.TYPES:
        rows = yield FOLLOWING, {"type": kind, "at": mark[0], "position": mark[1], "limit": limit}
        lanes.append(map(EVENTS.value, rows))
    return list(islice(heapq.merge(*lanes, key=lists.mark), limit))


def last() -> Program[int]:
    """The highest position that was used."""
    rows = yield LAST, ()
    return int(rows[0][0]) if rows else 0


def history(event_id: str) -> Program[History | None]:
    rows = yield ONE, (event_id,)
    if not rows:
        return None
    *own, text = rows[0]
    event, link_counts = EVENTS.value(own), decode_counts(text) if text else {}
    sent = yield from messages.one(event.message_id)
    key = (event.message_id, event.type)
    last = event.ordinal
    if last < 0:  # not counted itself: up to the last one before it
        ((found,),) = yield LAST_COUNTED, (*key, event.position)
        last = -1 if found is None else found
    recents = yield RECENTS, (*key, max(0, last - decisions.RECENTS + 1), last)
    first = yield FIRST_AT, (*key, event.recipient_index, event.position)
    return History(
        event,
        sent,
        tuple(map(EVENTS.value, recents)),
        decisions.link_counts(sent, event, link_counts),
        first[0][0] if first else 0.0,
        (yield from replies(event, sent)) if event.type == "thread.replied" else 0,
    )


def replies(event: Event, sent: Sent | None) -> Program[int]:
    """How many counted answers the thread has, up to this one."""
    if sent is None:
        rows = yield REPLIES, (event.message_id, event.type, event.position)
    else:
        which = {"thread": sent.thread_id, "grant": sent.grant_id}
        rows = yield REPLIES_OF_THREAD, {**which, "type": event.type, "position": event.position}
    return int(rows[0][0])
