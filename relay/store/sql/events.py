"""Events: many appended at once, and read.

Owns: the path of every hit, which is one read of what is known of their messages, `decisions.append` in memory, and bulk
writes; the statements about events and tallies. Leaves to others: what a batch comes to (`decisions`), the transaction
(the engines), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from relay.core import counts, crowds, floods, tally
from relay.core.model import Endpoint, Event, History, Sent, Value, Verdict
from relay.core.suppressions import Suppression, refused
from relay.store import Cursor, decisions, tables
from relay.store.lists import Answer, Mark
from relay.store.sql import answers, cursors, endpoints, lists, messages, outbox, suppressions
from relay.store.sql import counts as counters
from relay.store.sql.program import (
    Fixed,
    Many,
    Over,
    Program,
    Row,
    Rows,
    Statement,
    along,
    both,
    insert,
    replacing,
    spelt,
    write,
)
from relay.store.tables import ENDPOINTS, EVENTS

LINKS, FACTS = 1, 2  # what else is asked of an event's message
NO_FACTS = tally.Facts()  # stands where they are asked for
KNOWN = Rows(
    spelt(
        f"""
SELECT (SELECT {{begin}}{{array}}(asked.column1, e.position, m.grant_id, m.submitted_at, m.submitter_ip,
    m.label, m.sender, s.opens, s.machine_opens, s.clicks, s.machine_clicks,
    CASE WHEN asked.column7 IN ({LINKS}, {LINKS + FACTS}) THEN json_array_length({{links}}) END,
    (SELECT CASE WHEN c.sole THEN {{json}}(c.recipient) ELSE {{json}}((SELECT count(*) FROM copies s
        WHERE s.message_id = asked.column3 AND s.idx = asked.column4)) END FROM copies c
      WHERE c.message_id = asked.column3 AND c.idx = asked.column4 LIMIT 1))
    {{and_facts}}CASE WHEN asked.column7 >= {FACTS} THEN t.facts END{{end}}
  FROM {{rows}} AS asked
  LEFT JOIN events e ON e.event_id = asked.column2 {{near}}
  LEFT JOIN messages m ON m.message_id = asked.column3
  LEFT JOIN tallies t ON t.message_id = asked.column3
  LEFT JOIN seen s ON s.message_id = asked.column3 AND s.idx = asked.column4
  WHERE asked.column1 IS NOT NULL),
  {{last}},
  (SELECT {{group}}({{array}}({ENDPOINTS.names("l")})){{text}} FROM endpoints l WHERE {endpoints.IS_LIVE}),
  (SELECT upto FROM counting),
  ({{refusal}})
""",
        refusal=both(suppressions.FIRST_REFUSAL),
        # Facts are JSON already: as text in it they would be written, and read, twice.
        begin=("'[' || group_concat('[' || ", "json_agg(json_build_array("),
        and_facts=("|| ',' || coalesce(", ", CAST("),
        end=(", 'null') || ']') || ']'", " AS json)))::text"),
        links=("m.links", "CAST(m.links AS json)"),
        near=("", "AND e.at BETWEEN asked.column5 AND asked.column6"),  # its tables are by time
        last=("(SELECT seq FROM sqlite_sequence WHERE name = 'events')", "(SELECT position FROM counting)"),
    ),
    (
        "events.sequence",
        "events.event_id",
        "events.message_id",
        "copies.idx",
        "events.at",
        "events.at",
        "copies.idx",
    ),
)
APPEND = insert("events", EVENTS.columns)
TALLIES = ("message_id", "facts")
SAVE_TALLIES = insert("tallies", TALLIES, replacing(TALLIES, "message_id"))
TALLY = "SELECT facts FROM tallies WHERE message_id = ?"
TALLIES_OF = spelt("SELECT message_id, facts FROM tallies WHERE message_id {many}")

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
THESE = spelt(f"{FROM_EVENTS} WHERE event_id {{many}}")
ONE = f"SELECT {EVENTS.names()}, events.link_counts FROM events WHERE event_id = ?"
CORRECTED = ("event_id", "verdict", "reason", "first_verdict", "changed_at")
CORRECT = Rows(
    f"UPDATE events SET {', '.join(f'{name} = v.column{n}' for n, name in enumerate(CORRECTED[1:], 2))}"
    " FROM {rows} AS v WHERE event_id = v.column1",
    [f"events.{name}" for name in CORRECTED],
)
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
    last=both(
        along(
            "SELECT message_id FROM messages",
            [Fixed("grant_id", ":grant"), Fixed("thread_id", ":thread")],
            {"submitted_at": "", "message_id": ""},
            limit=str(decisions.MAX_LOOKED_AT),
        )
    ),
)

ALWAYS = (float("-inf"), float("inf"))

encode_facts = msgspec.json.Encoder().encode
decode_facts = msgspec.json.Decoder(tally.Facts).decode
decode_counts = msgspec.json.Decoder(dict[int, int]).decode
decode_endpoints = msgspec.json.Decoder(list[list[Any]]).decode
decode_known = msgspec.json.Decoder(
    list[
        tuple[
            tuple[
                int,
                int | None,
                str | None,
                float | None,
                str | None,
                str | None,
                str | None,
                int | None,
                int | None,
                int | None,
                int | None,
                int | None,
                str | int | None,
            ],
            tally.Facts | None,
        ]
    ]
).decode


# -- appending ---------------------------------------------------------------------------------------------------------


class Hit(Value, frozen=True, gc=False):
    """An event to append, and the mailbox cursor and the answer that go with it."""

    event: Event
    cursor: Cursor | None
    answer: Answer | None = None


Digest = Callable[[str], str]  # of an address, as `suppressions` has it


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
    """What is known when a batch comes, per event and per message; the last position; the live endpoints. `counted` has
    of messages that are in the counters, per recipient index, what rates take from them, and what was done with the copy."""

    known: list[decisions.Known]
    facts: dict[str, tally.Facts]
    position: int
    endpoints: list[Endpoint]
    counted: dict[tuple[str, int], tuple[counts.About, counts.Seen]]


def append(
    batch: Sequence[Hit],
    asking: Asking,
    now: float,
    limits: floods.Limits,
    crowd: crowds.Crowd | None = None,
    digest: Digest | None = None,
) -> Program[list[Event | floods.Folded | None]]:
    """Per hit the event as it was completed, or that it was folded, or None where it is there already."""
    events = [hit.event for hit in batch]
    found = yield from read(events, asking, digest)
    done = decisions.append(events, found.known, found.facts, found.position, found.endpoints, now, limits, crowd)
    link_counts = [tables.json(counts) if counts else "" for counts in done.link_counts]
    yield from write(
        (APPEND, list(map(EVENTS.row, done.events, link_counts))),
        (SAVE_TALLIES, [(key, str(encode_facts(fact), "utf-8")) for key, fact in done.facts.items()]),
        *count(done.events, found),
        (outbox.OWE, outbox.rows(done.owed, now)),
    )
    if done.changes:
        position = done.events[-1].position if done.events else found.position
        yield from change(done.changes, done.facts, found.endpoints, position, now)
    yield from answers.keep([hit.answer for hit, new in zip(batch, done.results, strict=True) if hit.answer and new])
    yield from cursors.save({hit.cursor.mailbox: hit.cursor for hit in batch if hit.cursor}.values())
    return done.results


def count(made: Sequence[Event], found: Found) -> list[tuple[Rows, Sequence[Row]]]:
    """What is written."""
    totals: counts.Totals = {}
    shared: counts.Shared = {}
    changed: dict[tuple[str, int], counts.Seen] = {}
    for event in made:
        key = (event.message_id, event.recipient_index)
        known = found.counted.get(key)
        if known is not None and counts.happened(totals, *known, event, shared):
            changed[key] = known[1]
    counts.spread(totals, shared)
    return [counters.added(totals), counters.seen(changed)]


def correct(event_id: str, verdict: Verdict, reason: str, now: float, asking: Asking) -> Program[Event | None]:
    """See `contract.Store.correct`."""
    rows = yield ONE, (event_id,)
    if not rows:
        return None
    found = yield from read([EVENTS.value(rows[0][:-1])], asking)
    correction = decisions.Correction(verdict, decisions.mended(reason), now)
    changed = yield from change({event_id: correction}, {}, found.endpoints, found.position, now)
    return changed[0] if changed else EVENTS.value(rows[0][:-1])


def change(
    corrections: Mapping[str, decisions.Correction],
    facts: Mapping[str, tally.Facts],
    live: Sequence[Endpoint],
    position: int,
    now: float,
) -> Program[list[Event]]:
    """These events get other verdicts, and each an event that says so. All of their messages are counted anew: what was a
    first open may be none any more, and another be it. `facts` are those that are known already, and are written again;
    `position` is the last one that was used."""
    of: dict[str, list[tuple[Event, Event]]] = {}
    rows = yield THESE, (Many(corrections),)
    there = {event.event_id: event for event in map(EVENTS.value, rows)}
    for event_id, (verdict, reason, at) in corrections.items():
        old = there.get(event_id)
        if old is not None and old.verdict != verdict:  # else something else was quicker
            of.setdefault(old.message_id, []).append((old, tally.corrected(old, verdict, reason, at)))
    if not of:
        return []
    known = {message_id: facts[message_id] for message_id in of if message_id in facts}
    rows = yield TALLIES_OF, (Many(of.keys() - known.keys()),)
    known |= {message_id: decode_facts(text) for message_id, text in rows}
    upto = yield from counters.upto()
    counted = [message_id for message_id in of if counters.includes(upto, message_id)]
    totals: counts.Totals = {}
    for message_id in counted:
        yield from messages.count(totals, message_id, -1)
    new = [new for pairs in of.values() for _, new in pairs]
    yield from write((CORRECT, [(e.event_id, e.verdict, e.reason, e.first_verdict, e.changed_at) for e in new]))
    for message_id in counted:
        yield from messages.count(totals, message_id)
    told: list[Event] = []
    owed: list[decisions.Owed] = []
    for message_id, pairs in of.items():
        fact = known.setdefault(message_id, tally.Facts())
        for old, one in pairs:
            position += 1
            told.append(tally.changed(old, one, one.changed_at, fact, position))
            more, less = decisions.reconsidered(live, old, one, fact.turns, now)
            owed += more
            for endpoint_id, trigger in less:
                yield outbox.CANCEL, (one.position, endpoint_id, trigger)
    owed += decisions.owed(live, told, known, now)
    yield from write(
        counters.added(totals),
        (APPEND, [EVENTS.row(event, "") for event in told]),
        (SAVE_TALLIES, [(key, encode_facts(fact).decode()) for key, fact in known.items()]),
        (outbox.OWE, outbox.rows(owed, now)),
    )
    yield from counters.clean(totals)
    return new


def fold(folds: Sequence[floods.Fold]) -> Program[None]:
    """What is known of a message is one row: so each row is read and written once."""
    found: dict[str, tally.Facts] = {}
    for message_id in {fold.message_id for fold in folds}:
        if rows := (yield TALLY, (message_id,)):
            found[message_id] = decode_facts(rows[0][0])
    for fold in folds:
        if fold.message_id in found:
            tally.fold(found[fold.message_id], fold.token, fold.hits)
    yield from write((SAVE_TALLIES, [(key, encode_facts(fact).decode()) for key, fact in found.items()]))


def read(batch: Sequence[Event], asking: Asking, digest: Digest | None = None) -> Program[Found]:
    known: list[decisions.Known] = [(False, tally.UNKNOWN)] * len(batch)
    facts: dict[str, tally.Facts] = {}
    counted: dict[tuple[str, int], tuple[counts.About, counts.Seen]] = {}
    asked: list[Row] = []
    for n, event in enumerate(batch):
        message_id, kind = event.message_id, event.type
        ask = LINKS if kind == "message.link_clicked" else 0
        if message_id not in facts:
            # It may be long, and the hits of a message come together: it is read once, with the first of them.
            facts[message_id] = NO_FACTS
            ask += FACTS
        # When it is, where it is there already: a hit has one time, whatever way it comes. What is seen in a mailbox may
        # be seen again, later.
        since, until = (event.at, event.at) if kind in tally.HITS else ALWAYS
        asked.append((n, event.event_id, message_id, event.recipient_index, since, until, ask))
    found = yield Over(KNOWN, asked)
    _, last, live, _, refusal = found[0]
    for text, _, _, upto, _ in found:
        for row, fact in decode_known(text):
            (
                n,
                position,
                grant,
                submitted_at,
                ip,
                label,
                sender,
                opens,
                machine_opens,
                clicks,
                machine_clicks,
                links,
                to,
            ) = row
            event, origin = batch[n], tally.UNKNOWN
            message_id = event.message_id
            if grant is not None:
                if upto is None or counters.includes(upto, message_id):
                    key = (message_id, event.recipient_index)
                    if key not in counted:
                        counted[key] = (
                            counts.About(grant, submitted_at or 0.0, label or "", sender or ""),
                            [opens or 0, machine_opens or 0, clicks or 0, machine_clicks or 0],
                        )
                # A text is the one who has the copy, a number how many share it.
                sole, sharing = (to, 1) if isinstance(to, str) else ("", to or 1)
                origin = tally.Origin(grant, submitted_at or 0.0, ip or "", sole, sharing, links or 0)
            known[n] = (position is not None, origin)
            if fact is not None:
                facts[message_id] = fact
            elif facts[message_id] is NO_FACTS:
                facts[message_id] = tally.Facts()
    if refusal is not None and digest is not None:
        yield from heed(batch, known, digest)
    return Found(known, facts, last or 0, asking.read(live or "[]"), counted)


def heed(batch: Sequence[Event], known: list[decisions.Known], digest: Digest) -> Program[None]:
    """Which of these are by somebody who refused."""
    digests = {
        origin.recipient: digest(origin.recipient)
        for event, (_, origin) in zip(batch, known, strict=True)
        if origin.recipient and event.type in tally.HITS
    }
    listed: dict[str, list[Suppression]] = {}
    for one in (yield from suppressions.of(digests.values())) if digests else ():
        listed.setdefault(one.digest, []).append(one)
    for at, (there, origin) in enumerate(known):
        if origin.recipient in digests and (own := listed.get(digests[origin.recipient])):
            known[at] = (there, origin.with_(refused=refused(own, origin.grant_id)))


def mended(hit: Hit) -> Hit:
    return Hit(decisions.mended(hit.event), hit.cursor, decisions.mended(hit.answer))


# -- reading -----------------------------------------------------------------------------------------------------------


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
