"""The lists in SQLite: each page walks along one index.

Owns: which index a filter walks along, and the statements. Leaves to others: what a row must meet
(`relay.store.lists`), whole messages (`messages`), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, get_args

import msgspec

from relay.core import domains
from relay.core.model import Event, EventType, Sent
from relay.store import decisions
from relay.store.lists import (
    ENDLESS,
    INDEXED,
    MAX_THREAD,
    WALK,
    Events,
    Key,
    Listed,
    Mark,
    Messages,
    Thread,
    Threads,
    copies_meet,
    event_meets,
    meets,
)
from relay.store.sqlite import messages
from relay.store.tables import ANSWERS, EVENTS, MESSAGES

FIRST: Key = (ENDLESS, "")  # before all
KEY = itemgetter(0, 1)

# -- messages ----------------------------------------------------------------------------------------------------------

WALKED = """
SELECT {at}, message_id, {fits}, {subject} FROM {table}
WHERE {condition} AND {at} >= :since AND ({at}, message_id) < (:at, :id)
ORDER BY {at} DESC, message_id DESC LIMIT :walk
"""
# What can be said of a row on the way, so that not each is read whole: `meets` has the last word.
FITS = """
  (:grant IN ('', grant_id) AND :thread IN ('', thread_id) AND :label IN ('', label) AND :domain IN ('', sender_domain))
"""


def of_messages(condition: str) -> str:
    return WALKED.format(table="messages", at="submitted_at", fits=FITS, subject="subject", condition=condition)


def of_copies(condition: str) -> str:
    return WALKED.format(table="copies", at="at", fits="1", subject="NULL", condition=condition)


ALL = of_messages("1")
OF_GRANT = of_messages("grant_id = :value")
OF_THREAD = of_messages("thread_id = :value")
OF_LABEL = of_messages("label = :value AND label != ''")
OF_SENDER = of_messages("sender = :value COLLATE NOCASE")
OF_DOMAIN = of_messages("sender_domain = :value")
OF_RECIPIENT = of_copies("recipient = :value COLLATE NOCASE")
OF_STATE = {state: of_copies(f"state = '{state}' AND state IN ('later', 'never')") for state in ("later", "never")}
# In the words of its index: most messages have none of them, and cost it nothing.
OF_METADATA = {
    name: of_messages(
        f"metadata ->> '$.{name}' = :value AND metadata != '{{}}' AND metadata ->> '$.{name}' IS NOT NULL"
    )
    for name in INDEXED
}
# Few have the same one, and these are sorted.
NAMED = of_messages("message_id IN (SELECT message_id FROM identifiers WHERE identifier = :value)")


def walks(asked: Messages) -> list[tuple[str, str]]:
    """The statements to walk along, each with its value: the ones that let fewest rows through."""
    if asked.internet_message_id:
        return [(NAMED, asked.internet_message_id)]
    if asked.thread_id:
        return [(OF_THREAD, asked.thread_id)]
    if asked.metadata:
        name, value = asked.metadata[0]
        return [(OF_METADATA[name], value)]
    for people in (asked.recipients, asked.bcc, asked.to, asked.cc):
        if people:
            return [(OF_RECIPIENT, address) for address in dict.fromkeys(people)]
    if asked.people:
        return [(sql, address) for address in dict.fromkeys(asked.people) for sql in (OF_RECIPIENT, OF_SENDER)]
    if asked.state in OF_STATE:
        return [(OF_STATE[asked.state], "")]
    for sql, value in (
        (OF_SENDER, asked.sender),
        (OF_LABEL, asked.label),
        (OF_DOMAIN, domains.spelt(asked.sending_domain)),
        (OF_GRANT, asked.grant_id),
    ):
        if value:
            return [(sql, value)]
    return [(ALL, "")]


def walk(db: sqlite3.Connection, asked: Messages) -> Iterator[tuple[Key, bool]]:
    """The keys of what may be asked for, newest first, each once, and whether it may be one of those; at most WALK of each
    statement."""
    at, last = min((asked.until, ""), asked.before or FIRST)
    fixed = {
        "since": asked.since, "at": at, "id": last, "walk": WALK, "grant": asked.grant_id, "thread": asked.thread_id,
        "label": asked.label, "domain": domains.spelt(asked.sending_domain),
    }  # fmt: skip
    rows = [db.execute(sql, {**fixed, "value": value}) for sql, value in walks(asked)]
    part, known = asked.subject.casefold(), None
    for at, message_id, fits, subject in heapq.merge(*rows, key=KEY, reverse=True) if len(rows) > 1 else rows[0]:
        if (at, message_id) != known:
            known = (at, message_id)
            yield known, bool(fits) and (not part or subject is None or part in subject.casefold())


def listed(db: sqlite3.Connection, asked: Messages, limit: int) -> Listed[Sent]:
    asked = decisions.mended(asked)
    found: list[Sent] = []
    key = before = None
    for number, (key, fits) in enumerate(walk(db, asked), 1):
        sent = wanted(db, key[1], asked) if fits else None
        if sent is not None:
            if len(found) == limit:
                return Listed(found, before)
            found.append(sent)
        before = key
        if number == WALK:
            return Listed(found, key)
    return Listed(found, None)


def wanted(db: sqlite3.Connection, message_id: str, asked: Messages) -> Sent | None:
    row = db.execute(messages.ONE, (message_id,)).fetchone()
    if row is None or not meets(MESSAGES.value(row), asked):
        return None
    sent = messages.whole(db, row)
    return sent if copies_meet(sent, asked) else None


# -- threads -----------------------------------------------------------------------------------------------------------

SENT_IN_GRANT = """
SELECT submitted_at, message_id, thread_id FROM messages WHERE grant_id = :grant AND submitted_at >= :since
AND (submitted_at, message_id) < (:at, :id) ORDER BY submitted_at DESC, message_id DESC LIMIT :walk
"""
ANSWERED_IN_GRANT = """
SELECT at, answer_id, thread_id FROM answers WHERE grant_id = :grant AND at >= :since
AND (at, answer_id) < (:at, :id) ORDER BY at DESC, answer_id DESC LIMIT :walk
"""
SENT_LATER = """
SELECT 1 FROM messages WHERE thread_id = :thread AND grant_id = :grant AND submitted_at < :seen
AND (submitted_at, message_id) > (:at, :id) LIMIT 1
"""
ANSWERED_LATER = """
SELECT 1 FROM answers WHERE thread_id = :thread AND grant_id = :grant AND at < :seen
AND (at, answer_id) > (:at, :id) LIMIT 1
"""
LATER = (SENT_LATER, ANSWERED_LATER)
MESSAGES_OF = f"""
SELECT {MESSAGES.names()} FROM messages WHERE thread_id = ? AND grant_id = ?
ORDER BY submitted_at DESC, message_id DESC LIMIT {MAX_THREAD}
"""
ANSWERS_OF = f"""
SELECT {ANSWERS.names()} FROM answers WHERE thread_id = ? AND grant_id = ?
ORDER BY at DESC, answer_id DESC LIMIT {MAX_THREAD}
"""


def threads(db: sqlite3.Connection, asked: Threads, limit: int) -> Listed[Thread]:
    """A row is a thread's where nothing in the thread came after it."""
    asked = decisions.mended(asked)
    seen, grant = asked.seen, asked.grant_id
    at, last = min((min(asked.until, seen), ""), asked.before or FIRST)
    values = {"grant": grant, "since": asked.since, "at": at, "id": last, "walk": WALK}
    rows = heapq.merge(db.execute(SENT_IN_GRANT, values), db.execute(ANSWERED_IN_GRANT, values), reverse=True)
    found: list[Thread] = []
    before: Key | None = None
    for number, (at, last, thread_id) in enumerate(rows, 1):
        place = {"thread": thread_id, "grant": grant, "seen": seen, "at": at, "id": last}
        if not any(db.execute(sql, place).fetchone() for sql in LATER):
            made = thread(db, thread_id, grant)
            if made is not None and any(
                meets(m, asked.messages) and copies_meet(m, asked.messages) for m in made.messages
            ):
                if len(found) == limit:
                    return Listed(found, before)
                found.append(made)
        before = (at, last)
        if number == WALK:
            return Listed(found, before)
    return Listed(found, None)


def thread(db: sqlite3.Connection, thread_id: str, grant_id: str) -> Thread | None:
    sent = [messages.whole(db, row) for row in db.execute(MESSAGES_OF, (thread_id, grant_id)).fetchall()]
    answers = list(map(ANSWERS.value, db.execute(ANSWERS_OF, (thread_id, grant_id))))
    if not sent:
        return None
    at = max(sent[0].submitted_at, answers[0].at if answers else 0.0)
    return Thread(thread_id, at, tuple(sent[::-1]), tuple(answers[::-1]))


# -- events ------------------------------------------------------------------------------------------------------------

EVENTS_BY = f"""
SELECT {EVENTS.names("e")}, {{fits}} FROM events e {{joined}}
WHERE {{condition}} AND e.at >= :since AND (e.at, e.position) < (:at, :position)
ORDER BY e.at DESC, e.position DESC LIMIT :walk
"""


def of_events(condition: str) -> tuple[str, str]:
    """The statement, and the same where the messages are asked too."""
    joined = "LEFT JOIN messages m ON m.message_id = e.message_id"
    fits = "(:label IN ('', m.label) AND :domain IN ('', m.sender_domain))"
    return (
        EVENTS_BY.format(fits="1", joined="", condition=condition),
        EVENTS_BY.format(fits=fits, joined=joined, condition=condition),
    )


EVENTS_OF_TYPE = of_events("e.type = :type")
EVENTS_OF_GRANT = of_events("e.grant_id = :value AND e.type = :type")
EVENTS_OF_MESSAGE = of_events("e.message_id = :value")  # sorted: one message's events are few
EVENTS_OF_THREAD = of_events("e.message_id IN (SELECT value FROM json_each(:value))")
TYPES = get_args(EventType)
AT, POSITION = EVENTS.columns.index("at"), EVENTS.columns.index("position")
IN_THREAD = f"SELECT message_id FROM messages WHERE thread_id = ? ORDER BY submitted_at DESC LIMIT {MAX_THREAD}"


def events(db: sqlite3.Connection, asked: Events, limit: int) -> Listed[Event]:
    asked = decisions.mended(asked)
    in_thread = None
    if asked.thread_id:
        in_thread = frozenset(row[0] for row in db.execute(IN_THREAD, (asked.thread_id,)))
    known: dict[str, Sent | None] = {}
    found: list[Event] = []
    before = None
    for number, row in enumerate(walk_events(db, asked, in_thread), 1):
        event = EVENTS.value(row[:-1]) if row[-1] else None
        if event and event_meets(
            event, asked, in_thread, owner(db, event.message_id, known) if asked.of_mail else None
        ):
            if len(found) == limit:
                return Listed(found, before)
            found.append(event)
        before = (row[AT], row[POSITION])
        if number == WALK:
            return Listed(found, before)
    return Listed(found, None)


def mark(event: Event) -> Mark:
    return (event.at, event.position)


def walk_events(db: sqlite3.Connection, asked: Events, in_thread: Collection[str] | None) -> Iterable[Sequence[Any]]:
    """The rows of what may be asked for, newest first, and behind each whether it may be one of those."""
    at, position = min((asked.until, 0), asked.before or (ENDLESS, 0))
    values: dict[str, Any] = {
        "since": asked.since, "at": at, "position": position, "walk": WALK, "label": asked.label,
        "domain": domains.spelt(asked.sending_domain), "value": asked.message_id or asked.grant_id,
    }  # fmt: skip
    beside = asked.of_mail
    if asked.message_id:
        return db.execute(EVENTS_OF_MESSAGE[beside], values)
    if in_thread is not None:
        thread = msgspec.json.encode(sorted(in_thread)).decode()
        return db.execute(EVENTS_OF_THREAD[beside], values | {"value": thread})
    sql = (EVENTS_OF_GRANT if asked.grant_id else EVENTS_OF_TYPE)[beside]
    rows = [db.execute(sql, values | {"type": kind}) for kind in dict.fromkeys(asked.types or TYPES)]
    return heapq.merge(*rows, key=itemgetter(AT, POSITION), reverse=True)


def owner(db: sqlite3.Connection, message_id: str, known: dict[str, Sent | None]) -> Sent | None:
    """The message of an event, without its copies."""
    if message_id not in known:
        row = db.execute(messages.ONE, (message_id,)).fetchone()
        known[message_id] = MESSAGES.value(row) if row else None
    return known[message_id]
