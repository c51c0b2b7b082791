"""The lists: each page walks along one index.

Owns: which index a filter walks along, and the statements. Leaves to others: what a row must meet
(`relay.store.lists`), whole messages (`messages`), columns (`tables`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar, get_args

from relay.core import domains
from relay.core.model import Event, EventType, Sent
from relay.store import decisions
from relay.store.lists import (
    ENDLESS,
    INDEXED,
    MAX_THREAD,
    Events,
    Key,
    Listed,
    Mark,
    Messages,
    Place,
    Thread,
    Threads,
    copies_meet,
    event_meets,
    meets,
)
from relay.store.sql import messages, thread_index
from relay.store.sql.program import Fixed, Many, Program, Row, Statement, along, both, spelt
from relay.store.tables import ANSWERS, EVENTS, MESSAGES

T = TypeVar("T")
Asked = Sequence[tuple[str, Mapping[str, Any]]]  # statements, each with its values
FIRST: Key = (ENDLESS, "")  # before all
AT_ONCE = 200  # messages that are read whole

# -- a page ------------------------------------------------------------------------------------------------------------


def page(
    asked: Asked,
    names: tuple[str, str],
    begin: tuple[float, Any],
    key: Callable[[Row], tuple[float, Any]],
    wanted: Callable[[Sequence[Row]], Program[Sequence[T | None]]],
    limit: int,
    walk: int,
    *,
    at_once: int = 0,
) -> Program[Listed[T]]:
    """Goes through the rows of all statements, `walk` of them at most, newest first, each `key` once. `names` are what the
    statements call the place behind which they go on. `wanted` is asked of `at_once` rows, else of as many as the page may
    need."""
    found: list[T] = []
    before, place, number, size = None, begin, 0, min(2 * limit + 1, walk)
    width = at_once or limit + 1
    while True:
        rows, more = yield from stretch(asked, dict(zip(names, place, strict=True)), size, key)
        once = [next(same) for _, same in groupby(rows, key)]
        once = once[1:] if once and key(once[0]) == before else once
        for at in range(0, len(once), width):
            some = once[at : at + min(width, walk - number)]
            for row, one in zip(some, (yield from wanted(some)), strict=True):
                if one is not None:
                    if len(found) == limit:
                        return Listed(found, before)
                    found.append(one)
                before = place = key(row)
            number += len(some)
            if number == walk:
                return Listed(found, before)
        if not more:
            return Listed(found, None)
        size = min(4 * size, walk)
        width = at_once or min(4 * width, AT_ONCE)


def stretch(
    asked: Asked, place: Mapping[str, Any], size: int, key: Callable[[Row], tuple[float, Any]]
) -> Program[tuple[list[Row], bool]]:
    """The next rows behind a place, and whether there may be more."""
    lanes = []
    for sql, values in asked:
        lanes.append((yield sql, {**values, **place, "walk": size}))
    rows = lanes[0] if len(lanes) == 1 else list(merge(*lanes, key=key, reverse=True))
    ends = [key(lane[-1]) for lane in lanes if len(lane) == size]
    if ends and len(lanes) > 1:  # what such a one has next may stand before the last rows of others
        rows = [row for row in rows if key(row) >= max(ends)]
    return rows, bool(ends)


def number(keys: Statement) -> Statement:
    """How many keys that statement gives."""
    return Statement(*(f"SELECT count(*) FROM ({text}) AS n" for text in both(keys)))


def place(
    keys: Statement,
    number: Statement,
    lanes: Sequence[Mapping[str, Any]],
    begin: tuple[float, Any],
    offset: int,
    most: int,
) -> Program[Place]:
    """Over all lanes, each the values of the statements, which read indexes alone."""
    found = 0
    values = {"at": begin[0], "id": begin[1]}
    for lane in lanes:
        if found < most:
            rows = yield number, {**lane, **values, "walk": most - found}
            found += rows[0][0]
    if not 0 < offset <= found:
        return Place(found, None)
    before = []
    for lane in lanes:
        rows = yield keys, {**lane, **values, "walk": offset}
        before.append(map(tuple, rows))
    return Place(found, next(islice(merge(*before, reverse=True), offset - 1, None)))


# -- messages ----------------------------------------------------------------------------------------------------------

# What can be said of a row on the way, so that not each is read whole: `meets` has the last word.
FITS = """
  (:grant IN ('', grant_id) AND :thread IN ('', thread_id) AND :label IN ('', label) AND :domain IN ('', sender_domain)
    AND (:state = '' OR (SELECT count(*) FROM copies c WHERE c.message_id = m.message_id AND c.state = :state) > 0))
"""


SELECT_KEYS = "SELECT submitted_at, message_id FROM messages"
CANDIDATES = f"SELECT submitted_at, message_id, {FITS}, subject FROM messages m"
PLACE = {"submitted_at": ":at", "message_id": ":id"}
TIME = {"submitted_at": ":at"}
SINCE = ("submitted_at", ":since")


class Lane(NamedTuple):
    """An index to walk along, which has the keys of all that one filter lets through: the statement for the rows, and for
    how many of them are from before a time."""

    rows: Statement
    number: Statement


def of_messages(*keys: Fixed, where: str = "") -> Lane:
    rows = along(CANDIDATES, keys, PLACE, where=where, since=SINCE, limit=":walk")
    times = along("SELECT submitted_at FROM messages", keys, TIME, where=where, since=SINCE, limit=":walk")
    return Lane(rows, number(times))


def of_copies(*keys: Fixed, where: str = "") -> Lane:
    rows, times = [
        along(f"SELECT {columns} FROM copies", keys, place, where=where, since=("at", ":since"), limit=":walk")
        for columns, place in (
            ("at, message_id, TRUE, NULL", {"at": ":at", "message_id": ":id"}),
            ("at", {"at": ":at"}),
        )
    ]
    return Lane(rows, number(times))


def of_thread() -> Lane:
    rows, keys = [
        thread_index.walk(select, place=PLACE, since=SINCE, limit=":walk", grant=":own", thread=":value")
        for select in (CANDIDATES, SELECT_KEYS)
    ]
    return Lane(rows, number(keys))


def address(column: str) -> Fixed:
    """Without regard to case."""
    return Fixed(f"lower({column})", 'lower(:value COLLATE "C")', f"{column} = :value COLLATE NOCASE")


def of_metadata(name: str) -> Lane:
    """In the words of its index: most messages have none of them, and cost it nothing."""
    words = "metadata != '{{}}' AND {value} IS NOT NULL"
    ours, theirs = f"metadata ->> '$.{name}'", f"metadata_of(metadata, '{name}')"
    spelled = [of_messages(Fixed(value, ":value"), where=words.format(value=value)) for value in (ours, theirs)]
    return Lane(*(Statement(sqlite, postgres.postgres) for sqlite, postgres in zip(*spelled, strict=True)))


ALL = of_messages()
OF_GRANT = of_messages(Fixed("grant_id", ":value"))
OF_THREAD = of_thread()
OF_LABEL = of_messages(Fixed("label", ":value"), where="label != ''")
OF_SENDER = of_messages(address("sender"))
OF_DOMAIN = of_messages(Fixed("sender_domain", ":value"))
OF_RECIPIENT = of_copies(address("recipient"))
OF_STATE = {
    state: of_copies(Fixed("state", f"'{state}'"), where="state IN ('later', 'never')") for state in ("later", "never")
}
OF_METADATA = {name: of_metadata(name) for name in INDEXED}
# In the order of their ids, which sort by time. Of the looks at the messages there are as many as rows.
NAMED = spelt(
    f"""
SELECT m.submitted_at, m.message_id, {FITS} AND m.submitted_at >= :since AND m.submitted_at < :until, m.subject FROM (
    SELECT message_id AS named FROM identifiers WHERE identifier = :value AND message_id < :id
    ORDER BY message_id DESC LIMIT :walk) AS n
{{join}} messages m ON m.message_id = named ORDER BY m.message_id DESC
"""
)
LAST_ID = "\x7f"  # after all of ours
# The grants that have messages in a thread: a skip from one to the next.
GRANTS_OF_THREAD = spelt(
    """
WITH RECURSIVE found(id) AS (
  SELECT min(grant_id) FROM messages
  UNION ALL
  SELECT (SELECT min(grant_id) FROM messages WHERE grant_id > found.id) FROM found WHERE found.id IS NOT NULL
)
SELECT id FROM found WHERE EXISTS ({one})
""",
    one=both(thread_index.walk(SELECT_KEYS, limit="1", grant="found.id")),
)


Way = Sequence[tuple[Lane, Mapping[str, Any]]]  # lanes that have all that is asked for, each with its values


def ways(asked: Messages, grants: Sequence[str]) -> list[Way]:
    """One for each filter that an index serves: first those that, as a rule, let fewest rows through. `grants` have the thread."""
    found: list[Way] = []
    if asked.thread_id:
        found.append([(OF_THREAD, {"value": asked.thread_id, "own": grant}) for grant in grants])
    if asked.metadata:
        name, value = asked.metadata[0]
        found.append([(OF_METADATA[name], {"value": value})])
    for people in (asked.recipients, asked.bcc, asked.to, asked.cc):
        if people:
            found.append([(OF_RECIPIENT, {"value": address}) for address in dict.fromkeys(people)])
    if asked.people:
        both_ends = (OF_RECIPIENT, OF_SENDER)
        found.append([(lane, {"value": address}) for address in dict.fromkeys(asked.people) for lane in both_ends])
    if asked.state in OF_STATE:
        found.append([(OF_STATE[asked.state], {})])
    found += [[one] for one in of_mail(asked)]
    if asked.grant_id:
        found.append([(OF_GRANT, {"value": asked.grant_id})])
    return found or [[(ALL, {})]]


def of_mail(asked: Messages | Events) -> list[tuple[Lane, Mapping[str, Any]]]:
    domain = domains.spelt(asked.sending_domain)
    lanes = (OF_SENDER, asked.sender), (OF_LABEL, asked.label), (OF_DOMAIN, domain)
    return [(lane, {"value": value}) for lane, value in lanes if value]


def rarest(ways: Sequence[Way], values: Mapping[str, Any], walk: int) -> Program[Way]:
    """The one with the fewest rows, as far as a page looks; of those with more than that the first."""
    chosen, least = ways[0], walk
    for way in ways if len(ways) > 1 else ():
        number = 0
        for lane, own in way:
            if number < least:
                rows = yield lane.number, {**values, **own, "walk": least - number}
                number += rows[0][0]
        if number < least:
            chosen, least = way, number
    return chosen


def listed(asked: Messages, limit: int, walk: int) -> Program[Listed[Sent]]:
    asked = decisions.mended(asked)
    fixed = {
        "since": asked.since, "grant": asked.grant_id, "thread": asked.thread_id, "label": asked.label,
        "domain": domains.spelt(asked.sending_domain), "state": asked.state,
    }  # fmt: skip
    part = asked.subject.casefold()

    def fits(row: Row) -> bool:
        subject = row[3]
        return bool(row[2]) and (not part or subject is None or part in subject.casefold())

    def wanted(some: Sequence[Row]) -> Program[list[Sent | None]]:
        rows = yield messages.SOME, (Many(row[1] for row in some if fits(row)),)
        own = yield from messages.all_of([row for row in rows if meets(MESSAGES.value(row), asked)])
        made = {sent.message_id: sent for sent in own if copies_meet(sent, asked)}
        return [made.get(row[1]) for row in some]

    begin = min((asked.until, ""), asked.before or FIRST)
    if asked.internet_message_id:
        lanes: Asked = [(NAMED, {**fixed, "value": asked.internet_message_id, "until": asked.until})]
        begin = asked.before or (ENDLESS, LAST_ID)
    else:
        grants = [asked.grant_id]
        if asked.thread_id and not asked.grant_id:
            grants = yield from grants_of_thread(asked.thread_id)
        way = yield from rarest(ways(asked, grants), {**fixed, "at": begin[0], "id": begin[1]}, walk)
        lanes = [(lane.rows, {**fixed, **own}) for lane, own in way]
    return (yield from page(lanes, ("at", "id"), begin, itemgetter(0, 1), wanted, limit, walk))


KEYS = along(SELECT_KEYS, [], PLACE, limit=":walk")
KEYS_OF_GRANT = along(SELECT_KEYS, [Fixed("grant_id", ":value")], PLACE, limit=":walk")
NUMBER, NUMBER_OF_GRANT = number(KEYS), number(KEYS_OF_GRANT)


def place_of_messages(grant_id: str, before: Key | None, offset: int, most: int) -> Program[Place]:
    keys, number, lane = (KEYS_OF_GRANT, NUMBER_OF_GRANT, OF_GRANT) if grant_id else (KEYS, NUMBER, ALL)
    values = {"value": grant_id, "since": 0.0}
    return (yield from place(keys, number if before else lane.number, [values], before or FIRST, offset, most))


def grants_of_thread(thread_id: str) -> Program[list[str]]:
    rows = yield GRANTS_OF_THREAD, {"thread": thread_id}
    return [str(row[0]) for row in rows]


# -- threads -----------------------------------------------------------------------------------------------------------

IN_GRANT = [Fixed("grant_id", ":grant")]
SENT_IN_GRANT = along(
    "SELECT submitted_at, message_id, thread_id FROM messages",
    IN_GRANT,
    PLACE,
    since=SINCE,
    limit=":walk",
)
ANSWERED_IN_GRANT = along(
    "SELECT at, answer_id, thread_id FROM answers",
    IN_GRANT,
    {"at": ":at", "answer_id": ":id"},
    since=("at", ":since"),
    limit=":walk",
)
IN_THREAD = [Fixed("grant_id", ":grant"), Fixed("thread_id", ":thread")]
SENT_LATER = thread_index.walk(
    "SELECT submitted_at, message_id FROM messages",
    place=PLACE,
    where="submitted_at < :seen",
    down=False,
    limit="1",
)
ANSWERED_LATER = along(
    "SELECT 1 FROM answers", IN_THREAD, {"at": ":at", "answer_id": ":id"}, where="at < :seen", down=False, limit="1"
)
LATER = (SENT_LATER, ANSWERED_LATER)
MESSAGES_OF = thread_index.walk(messages.WHOLE, limit=str(MAX_THREAD))
ANSWERS_OF = along(
    f"SELECT {ANSWERS.names()} FROM answers", IN_THREAD, {"at": "", "answer_id": ""}, limit=str(MAX_THREAD)
)


ANY = Messages()


def threads(asked: Threads, limit: int, walk: int) -> Program[Listed[Thread]]:
    """A row is a thread's where nothing in the thread came after it: none that this walk met, nor, where it does not begin with
    what was seen last, one before it."""
    asked = decisions.mended(asked)
    seen, grant = asked.seen, asked.grant_id
    begin = min((min(asked.until, seen), ""), asked.before or FIRST)
    met: set[str] = set()

    def wanted(some: Sequence[Row]) -> Program[list[Thread | None]]:
        ((at, last, thread_id),) = some
        if thread_id in met:
            return [None]
        met.add(thread_id)
        for sql in LATER if begin[0] < seen else ():
            if (yield sql, {"thread": thread_id, "grant": grant, "seen": seen, "at": at, "id": last}):
                return [None]
        return [(yield from thread(thread_id, grant, asked.messages))]

    lanes = [(sql, {"grant": grant, "since": asked.since}) for sql in (SENT_IN_GRANT, ANSWERED_IN_GRANT)]
    return (yield from page(lanes, ("at", "id"), begin, itemgetter(0, 1), wanted, limit, walk, at_once=1))


def thread(thread_id: str, grant_id: str, asked: Messages = ANY) -> Program[Thread | None]:
    """None where there is none, or where no message in it is what was asked for."""
    which = {"thread": thread_id, "grant": grant_id}
    found = yield MESSAGES_OF, which
    if not any(meets(MESSAGES.value(row), asked) for row in found):
        return None
    sent = yield from messages.all_of(found)
    if not any(meets(m, asked) and copies_meet(m, asked) for m in sent):
        return None
    rows = yield ANSWERS_OF, which
    answers = list(map(ANSWERS.value, rows))
    at = max(sent[0].submitted_at, answers[0].at if answers else 0.0)
    return Thread(thread_id, at, tuple(sent[::-1]), tuple(answers[::-1]))


# -- events ------------------------------------------------------------------------------------------------------------

EVENTS_BY = f"""
SELECT {EVENTS.names("e")}, {{{{fits}}}} FROM events e {{{{joined}}}}
WHERE {{condition}} AND e.at >= :since AND (e.at, e.position) < (:at, :position)
ORDER BY e.at DESC, e.position DESC LIMIT :walk
"""
BESIDE = "LEFT JOIN messages m ON m.message_id = e.message_id"
IN_MONTHS = "e.at >= :month AND e.at <= :at"
FITS_BESIDE = "(:label IN ('', m.label) AND :domain IN ('', m.sender_domain))"


def of_events(condition: str, postgres: str = "") -> tuple[Statement, Statement]:
    """The statement, and the same where the messages are asked too."""
    both = [EVENTS_BY.format(condition=spelling) for spelling in (condition, postgres or condition)]
    return (
        Statement(*(text.format(fits="TRUE", joined="") for text in both)),
        Statement(*(text.format(fits=FITS_BESIDE, joined=BESIDE) for text in both)),
    )


def of_all_events(*keys: Fixed) -> tuple[Statement, Statement]:
    """The same along an index. `month` is the beginning of that of `since`, so that PostgreSQL looks into no earlier
    month's table: all that is in the others is later."""

    def made(fits: str, joined: str, where: str = "") -> Statement:
        select = f"SELECT {EVENTS.names('e')}, {fits} FROM events e {joined}"
        place = {"e.at": ":at", "e.position": ":position"}
        return along(select, keys, place, where=where, since=("e.at", ":since"), limit=":walk")

    plain, beside = [
        Statement(made(*words), made(*words, IN_MONTHS).postgres) for words in (("TRUE", ""), (FITS_BESIDE, BESIDE))
    ]
    return plain, beside


EVENTS_OF_TYPE = of_all_events(Fixed("e.type", ":type"))
EVENTS_OF_GRANT = of_all_events(Fixed("e.type", ":type"), Fixed("e.grant_id", ":value"))
EVENTS_OF_MESSAGE = of_events("e.message_id = :value")  # sorted: one message's events are few
EVENTS_OF_THREAD = of_events("e.message_id IN (SELECT value FROM json_each(:value))", "e.message_id = ANY(:value)")
TYPES = get_args(EventType)
AT, POSITION = EVENTS.columns.index("at"), EVENTS.columns.index("position")
IDS_IN_THREAD = thread_index.walk(SELECT_KEYS, limit=str(MAX_THREAD))


def keys_of_events(*own: Fixed) -> Statement:
    """See `of_all_events`."""
    select, key = "SELECT e.at, e.position FROM events e", {"e.at": ":at", "e.position": ":id"}
    ours, theirs = [
        along(select, own, key, where=where, since=("e.at", ":since"), limit=":walk") for where in ("", IN_MONTHS)
    ]
    return Statement(ours, theirs.postgres)


EVENT_KEYS = keys_of_events(Fixed("e.type", ":type"))
EVENT_KEYS_OF_GRANT = keys_of_events(Fixed("e.type", ":type"), Fixed("e.grant_id", ":grant"))
EVENT_NUMBER, EVENT_NUMBER_OF_GRANT = number(EVENT_KEYS), number(EVENT_KEYS_OF_GRANT)


def place_of_events(asked: Events, offset: int, most: int) -> Program[Place]:
    asked = decisions.mended(asked)
    begin = asked.before or (ENDLESS, 0)
    values = {"since": asked.since, "month": decisions.month_of(asked.since)}
    if asked.message_id:  # sorted, as they are listed: one message's events are few
        at = {"value": asked.message_id, "at": begin[0], "position": begin[1], "walk": most}
        rows = yield EVENTS_OF_MESSAGE[0], {**values, **at}
        own = [event for *row, _ in rows if event_meets(event := EVENTS.value(row), asked, None, None)]
        return Place(len(own), mark(own[offset - 1]) if 0 < offset <= len(own) else None)
    keys, of_keys = (EVENT_KEYS_OF_GRANT, EVENT_NUMBER_OF_GRANT) if asked.grant_id else (EVENT_KEYS, EVENT_NUMBER)
    lanes = [{**values, "type": kind, "grant": asked.grant_id} for kind in dict.fromkeys(asked.types or TYPES)]
    return (yield from place(keys, of_keys, lanes, begin, offset, most))


def events(asked: Events, limit: int, walk: int) -> Program[Listed[Event]]:
    asked = decisions.mended(asked)
    in_thread = among = None
    if asked.thread_id:
        among = in_thread = yield from ids_in_thread(asked.thread_id)
    elif asked.of_mail and not asked.message_id:
        among = yield from ids_of_few(asked)
    known: dict[str, Sent] = {}  # without their copies

    def wanted(some: Sequence[Row]) -> Program[list[Event | None]]:
        events = [EVENTS.value(own) if fits else None for *own, fits in some]
        if asked.of_mail:
            ids = {event.message_id for event in events if event} - known.keys()
            rows = yield messages.SOME, (Many(ids),)
            known.update((sent.message_id, sent) for sent in map(MESSAGES.value, rows))
        return [
            event if event and event_meets(event, asked, in_thread, known.get(event.message_id)) else None
            for event in events
        ]

    begin = min((asked.until, 0), asked.before or (ENDLESS, 0))
    lanes = walk_events(asked, among)
    return (yield from page(lanes, ("at", "position"), begin, itemgetter(AT, POSITION), wanted, limit, walk))


def ids_in_thread(thread_id: str) -> Program[frozenset[str]]:
    """Of its last messages."""
    lanes = []
    for grant in (yield from grants_of_thread(thread_id)):
        rows = yield IDS_IN_THREAD, {"thread": thread_id, "grant": grant}
        lanes.append(map(tuple, rows))
    return frozenset(row[1] for row in islice(merge(*lanes, reverse=True), MAX_THREAD))


def ids_of_few(asked: Events) -> Program[frozenset[str] | None]:
    """Of the messages that are asked for, or more, where they are few."""
    values = {**dict.fromkeys(("grant", "thread", "label", "domain", "state"), ""), "since": 0.0}
    for lane, own in of_mail(asked):
        rows = yield lane.rows, {**values, **own, "at": FIRST[0], "id": FIRST[1], "walk": MAX_THREAD + 1}
        if len(rows) <= MAX_THREAD:
            return frozenset(row[1] for row in rows)
    return None


def mark(event: Event) -> Mark:
    return (event.at, event.position)


def walk_events(asked: Events, among: Collection[str] | None) -> Asked:
    """The statements to walk along. `among`: the events of these messages alone."""
    values: dict[str, Any] = {
        "since": asked.since, "month": decisions.month_of(asked.since), "label": asked.label, "domain": domains.spelt(asked.sending_domain),
        "value": asked.message_id or asked.grant_id,
    }  # fmt: skip
    beside = asked.of_mail
    if asked.message_id:
        return [(EVENTS_OF_MESSAGE[beside], values)]
    if among is not None:
        return [(EVENTS_OF_THREAD[beside], values | {"value": Many(sorted(among))})]
    sql = (EVENTS_OF_GRANT if asked.grant_id else EVENTS_OF_TYPE)[beside]
    return [(sql, values | {"type": kind}) for kind in dict.fromkeys(asked.types or TYPES)]
