"""Messages, their copies and identifiers: many submissions, and many replies of the upstream, at once.

Owns: the statements about these three tables, and what goes with a message that is removed. Leaves to others: threads and
names (`decisions`), the transaction (the engines), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import msgspec

from relay.core import counts
from relay.core.model import Sent, SentCopy
from relay.core.suppressions import Suppression
from relay.store import UpstreamReply, decisions, lists
from relay.store.sql import answers, suppressions, thread_index
from relay.store.sql import counts as counters
from relay.store.sql.program import Fixed, Many, Over, Program, Row, Rows, along, both, insert, replacing, spelt, write
from relay.store.tables import COPIES, MESSAGES

RECORD_MESSAGES = insert("messages", MESSAGES.columns, replacing(MESSAGES.columns, "message_id"))
RECORD_COPIES = insert("copies", COPIES.columns, replacing(COPIES.columns, "message_id", "idx", "position"))
RECORD_IDENTIFIERS = insert("identifiers", ("identifier", "message_id"), "DO NOTHING")
RECORD_REPLIES = Rows(
    "UPDATE copies SET state = v.column3, reply = v.column4,"
    " upstream_id = CASE v.column5 WHEN '' THEN upstream_id ELSE v.column5 END"
    " FROM {rows} AS v WHERE copies.message_id = v.column1 AND copies.recipient = v.column2",
    [f"copies.{name}" for name in ("message_id", "recipient", "state", "reply", "upstream_id")],
)
# Of which of these messages something is there already; how far counting has come.
THERE = spelt(
    """
SELECT (SELECT {group}(message_id){text} FROM (
    SELECT message_id FROM messages WHERE message_id {named}
    UNION ALL SELECT message_id FROM tallies WHERE message_id {named}) AS found), upto
FROM counting
"""
)
BEFORE = Rows(
    spelt(
        """
SELECT (SELECT {group}({array}(v.column1, c.state, {array}(m.grant_id, m.submitted_at, m.label, m.sender))){text}
  FROM {rows} AS v
  {join} copies c ON c.message_id = v.column2 AND c.recipient = v.column3
  {join} messages m ON m.message_id = c.message_id), upto
FROM counting
"""
    ),
    ("copies.idx", "copies.message_id", "copies.recipient"),
)
THREAD_ID = MESSAGES.columns.index("thread_id")
THREAD = "SELECT thread_id FROM messages WHERE message_id = ?"
# The last ones with one identifier, which some programs give to all they send: message_id sorts by time.
LAST_NAMED = "SELECT message_id FROM identifiers WHERE identifier = ? ORDER BY message_id DESC LIMIT {most}"
NAMESAKES = f"SELECT * FROM ({LAST_NAMED}) AS a UNION ALL SELECT * FROM ({LAST_NAMED}) AS b"
# Of several messages the newest.
NAMED = spelt(
    f"""
SELECT max(i.message_id) FROM ({NAMESAKES.format(most=decisions.MAX_NAMESAKES)}) AS i
{{join}} messages m ON m.message_id = i.message_id
"""
)
# The same in one grant, or in all by ""; first those that one of the recipients was sent.
FOUND = spelt(
    f"""
SELECT message_id FROM (
    SELECT i.message_id FROM ({NAMESAKES.format(most=decisions.MAX_LOOKED_AT)}) AS i
    {{join}} messages m ON m.message_id = i.message_id
    WHERE ? IN ('', m.grant_id) ORDER BY i.message_id DESC LIMIT {decisions.MAX_NAMESAKES}
) AS n
ORDER BY EXISTS (
    SELECT 1 FROM copies c WHERE c.message_id = n.message_id AND lower(c.recipient) {{many}}
) DESC, message_id DESC LIMIT 1
"""
)
WHOLE = f"SELECT {MESSAGES.names()} FROM messages"
ONE = f"{WHOLE} WHERE message_id = ?"
# Of the first ones in the grant's thread.
ROOT = spelt(
    f"""
{WHOLE} WHERE message_id = (
    SELECT f.message_id FROM ({{first}}) AS f WHERE f.thread_replies
      AND EXISTS (SELECT 1 FROM copies c WHERE c.message_id = f.message_id AND c.thread_replies)
    ORDER BY f.submitted_at, f.message_id LIMIT 1)
""",
    first=both(
        thread_index.walk(
            "SELECT submitted_at, message_id, thread_replies FROM messages",
            down=False,
            limit=str(decisions.MAX_LOOKED_AT),
        )
    ),
)
# Mail servers use an identifier again: of several the newest.
QUEUED = along(WHOLE, [Fixed("queue_id", ":queue_id")], {"message_id": ""}, where="queue_id != ''", limit="1")
COPIES_OF = f"SELECT {COPIES.names()} FROM copies WHERE message_id = ? ORDER BY position"
# What is behind the first possible id of that moment is before it.
PLACE = {"submitted_at": ":before", "message_id": "''"}
RECENT = along(WHOLE, [], PLACE)
SOME = spelt(f"{WHOLE} WHERE message_id {{many}}")
COPIES_OF_SOME = spelt(f"SELECT {COPIES.names()}, message_id, position FROM copies WHERE message_id {{many}}")
RECENT_OF = along(WHOLE, [Fixed("grant_id", ":grant")], PLACE)
# In this order: each finds its rows by those that are removed after it. identifiers is indexed by the identifier, so only
# those go that the copies have still: one that a second answer of the upstream replaced stays, and leads to nothing.
REMOVE = (
    "DELETE FROM deliveries WHERE position IN (SELECT position FROM events WHERE message_id = :message_id) RETURNING 1",
    "DELETE FROM events WHERE message_id = :message_id RETURNING 1",
    "DELETE FROM answers WHERE message_id = :message_id RETURNING 1",
    "DELETE FROM tallies WHERE message_id = :message_id RETURNING 1",
    "DELETE FROM seen WHERE message_id = :message_id RETURNING 1",
    "DELETE FROM identifiers WHERE message_id = :message_id AND identifier IN ("
    "SELECT internet_message_id FROM messages WHERE message_id = :message_id"
    " UNION SELECT upstream_id FROM copies WHERE message_id = :message_id) RETURNING 1",
    "DELETE FROM kept WHERE message_id = :message_id RETURNING 1",
    "DELETE FROM copies WHERE message_id = :message_id RETURNING 1",
    "DELETE FROM messages WHERE message_id = :message_id RETURNING 1",
)

decode_ids = msgspec.json.Decoder(list[str]).decode
decode_before = msgspec.json.Decoder(list[tuple[int, str, counts.About]]).decode


class Record(NamedTuple):
    """A message, unless somebody of these digests is on the list."""

    sent: Sent
    unless: Collection[str]

    def mended(self) -> Record:
        return Record(decisions.mended(self.sent), self.unless)


class Replies(NamedTuple):
    """What the upstream said, oldest first."""

    replies: tuple[UpstreamReply, ...]


def record(batch: Sequence[Record]) -> Program[list[Sequence[Suppression]]]:
    """Who of each one's digests is on the list; those of nobody who is are recorded."""
    asked = {digest for one in batch for digest in one.unless}
    listed = (yield from suppressions.of(asked)) if asked else ()
    if not listed:
        yield from record_all([one.sent for one in batch])
        return [()] * len(batch)
    found: list[Sequence[Suppression]] = [[entry for entry in listed if entry.digest in one.unless] for one in batch]
    if clear := [one.sent for one, entries in zip(batch, found, strict=True) if not entries]:
        yield from record_all(clear)
    return found


def record_all(batch: Sequence[Sent]) -> Program[None]:
    """A new thread has the id of its first message."""
    named = [sent.message_id for sent in batch]
    ((there, upto),) = yield THERE, {"many": Many(named)}
    again = set(decode_ids(there or "[]")) | (
        {i for i in named if named.count(i) > 1} if len(set(named)) < len(named) else set()
    )
    if again:
        batch = yield from known(batch, again)
    totals: counts.Totals = {}
    again = {i for i in again if counters.includes(upto, i)}
    for message_id in again:
        yield from count(totals, message_id, -1)
    messages: dict[str, Row] = {}
    copies: dict[tuple[str, int, int], Row] = {}
    identifiers = []
    for sent in batch:
        thread_id = sent.thread_id
        if not thread_id and sent.references:
            thread_id = yield from thread(sent.references, sent.grant_id)
        row = messages[sent.message_id] = MESSAGES.row(sent, lists.domain_of(sent))
        row[THREAD_ID] = thread_id or sent.message_id
        shared = decisions.shared(sent)
        for position, copy in enumerate(sent.copies):
            copies[sent.message_id, copy.index, position] = COPIES.row(
                copy, sent.message_id, position, copy.index not in shared, sent.submitted_at
            )
        identifiers += [(identifier, sent.message_id) for identifier in decisions.names(sent)]
        if sent.message_id not in again and counters.includes(upto, sent.message_id):
            counts.submitted(totals, counts.about(sent), [(copy.recipient, copy.state) for copy in sent.copies])
    rows: list[tuple[Rows, Sequence[Row]]] = [
        (RECORD_MESSAGES, list(messages.values())),
        (RECORD_COPIES, list(copies.values())),
        (RECORD_IDENTIFIERS, identifiers),
    ]
    if again:  # counted as they stand then
        yield from write(*rows)
        rows = []
        for message_id in again:
            yield from count(totals, message_id)
    yield from write(*rows, counters.added(totals))
    if again:
        yield from counters.clean(totals)


def known(batch: Sequence[Sent], again: set[str]) -> Program[list[Sent]]:
    """The batch; those of it that are there already with what is known of their copies."""
    earlier: dict[str, Sent | None] = {}
    for message_id in again:
        earlier[message_id] = yield from one(message_id)
    return [decisions.again(s, before) if (before := earlier.get(s.message_id)) else s for s in batch]


def record_replies(batch: Sequence[Replies]) -> Program[list[None]]:
    replies = list(chain.from_iterable(some.replies for some in batch))
    last = decisions.last_replies(replies)
    totals: counts.Totals = {}
    found = yield Over(BEFORE, [(n, reply.message_id, reply.recipient) for n, reply in enumerate(last)])
    for text, upto in found:
        for number, state, of in decode_before(text or "[]"):
            reply = last[number]
            if counters.includes(upto, reply.message_id):
                counts.moved(totals, of, reply.recipient, state, reply.state)
    identifiers = [(r.upstream_id, r.message_id) for r in replies if r.upstream_id]
    yield from write((RECORD_REPLIES, last), (RECORD_IDENTIFIERS, identifiers), counters.added(totals))
    yield from counters.clean(totals)
    return [None] * len(batch)


def thread(references: Sequence[str], grant_id: str) -> Program[str]:
    """The thread that these identifiers lead to: those of messages, else those of answers to the grant's; "" for none."""
    rows = yield THREAD, ((yield from named(references)),)
    if rows:
        return str(rows[0][0])
    answer = yield from answers.find(references, grant_id)
    return answer.thread_id if answer else ""


def root(thread_id: str, grant_id: str) -> Program[Sent | None]:
    return (yield from first((yield ROOT, {"thread": thread_id, "grant": grant_id})))


def named(internet_ids: Sequence[str]) -> Program[str]:
    """The message_id of the newest message with the first of these identifiers that is known; "" for none."""
    for identifier in internet_ids:
        ((found,),) = yield NAMED, decisions.spellings(identifier)
        if found is not None:
            return str(found)
    return ""


def find(internet_ids: Sequence[str], grant_id: str, recipients: Sequence[str]) -> Program[Sent | None]:
    people = Many(decisions.mended(recipients))
    for identifier in decisions.mended(internet_ids):
        if rows := (yield FOUND, (*decisions.spellings(identifier), grant_id, people)):
            return (yield from one(str(rows[0][0])))
    return None


def one(message_id: str) -> Program[Sent | None]:
    return (yield from first((yield ONE, (message_id,))))


def queued(queue_id: str) -> Program[Sent | None]:
    return (yield from first((yield QUEUED, {"queue_id": queue_id})))


def recent(limit: int, before: float | None, grant_id: str) -> Program[list[Sent]]:
    values = {"before": float("inf") if before is None else before, "limit": limit, "grant": grant_id}
    return (yield from all_of((yield RECENT_OF if grant_id else RECENT, values)))


def first(rows: Sequence[Row]) -> Program[Sent | None]:
    return (yield from whole(rows[0])) if rows else None


def all_of(rows: Sequence[Row]) -> Program[list[Sent]]:
    """With their copies."""
    found = yield COPIES_OF_SOME, (Many(row[0] for row in rows),)
    copies: dict[str, list[tuple[int, SentCopy]]] = {row[0]: [] for row in rows}
    for *own, message_id, position in found:
        copies[message_id].append((position, COPIES.value(own)))
    return [
        MESSAGES.value(row, copies=tuple(copy for _, copy in sorted(copies[row[0]], key=itemgetter(0)))) for row in rows
    ]


def whole(row: Row) -> Program[Sent]:
    """With its copies."""
    copies = yield COPIES_OF, (row[0],)
    return MESSAGES.value(row, copies=tuple(map(COPIES.value, copies)))


def remove(message_id: str) -> Program[bool]:
    totals: counts.Totals = {}
    if counters.includes((yield from counters.upto()), message_id):
        yield from count(totals, message_id, -1)
    yield from write(counters.added(totals))
    yield from counters.clean(totals)
    gone = 0
    for sql in REMOVE:
        gone += len((yield sql, {"message_id": message_id}))
    return gone > 0


def count(totals: counts.Totals, message_id: str, sign: int = 1) -> Program[None]:
    """Adds all that a message has in the counters, or takes it away; `seen` is made anew."""
    sent = yield from one(message_id)
    if sent is None:
        return
    own, seen = counts.message(sent, (yield from counters.events_of(message_id)))
    counts.add(totals, own, sign)
    if sign > 0:
        yield counters.FORGET, (message_id,)
        yield from write(counters.seen({(message_id, index): times for index, times in seen.items()}))


def recount(step: counters.Step) -> Program[int | None]:
    """See `contract.Store.recount`."""
    upto = yield from counters.upto()
    if upto is None:
        return None
    if at := counters.emptying(upto):
        yield from counters.empty(at, step.rows)
        return 0
    last, done = upto, 0
    totals: counts.Totals = {}
    for message_id in (yield from counters.following(upto, step.messages)):
        yield from count(totals, message_id)
        last, done = message_id, done + 1
        if sum(row[at] for row in totals.values() for at in counters.THINGS) > step.things:
            break
    yield from write(counters.added(totals))
    yield counters.CAME_TO, (last if done else None,)
    return done


def mended(some: Replies) -> Replies:
    return Replies(tuple(map(decisions.mended, some.replies)))
