"""The outbox: one row per notification owed, since when, and how it went. A lease is `next_at` moved ahead.

Owns: the statements about deliveries. Leaves to others: whose turn it is and how a row goes on (`decisions`), when to try
again (`retry`), the POST (`webhooks`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice
from typing import NamedTuple

from relay.core import tally
from relay.core.model import Delivery, Event, Settlement
from relay.store import Backlog, Notification, decisions, tables
from relay.store.sql import endpoints
from relay.store.sql.program import Fixed, Many, Program, Row, Rows, Statement, along, both, insert, spelt, write
from relay.store.tables import DELIVERIES


def changes(fields: Iterable[str]) -> str:
    return ", ".join(f"{field} = :{field}" for field in fields)


# The rest by default: nothing was tried yet.
OWE = insert("deliveries", ("position", "endpoint_id", "trigger", "first_at", "next_at", "turn"))
WHOLE = f"""
SELECT {DELIVERIES.names("d")}, e.event_id, e.message_id FROM deliveries d JOIN events e ON e.position = d.position
"""
# Each has an index, of which it reads one end: an endpoint may be owed very many.
AT = [Fixed("d.endpoint_id", ":endpoint_id")]
FRESH = along(
    WHOLE,
    AT,
    {"d.turn": "", "d.delivery_id": ""},
    where="d.state = 'pending' AND d.attempt = 0 AND d.next_at <= :now",
    down=False,
)
AGAIN = along(
    WHOLE,
    AT,
    {"d.next_at": "", "d.delivery_id": ""},
    where="d.state = 'pending' AND d.attempt > 0 AND d.next_at <= :now",
    down=False,
)
# The newest, by what there is to find them by.
NEWEST = along(WHOLE, [], {"d.delivery_id": ":before"})
NEWEST_AT = along(WHOLE, [*AT, Fixed("d.state", ":state")], {"d.delivery_id": ":before"})
NEWEST_OF_EVENT = f"{WHOLE} WHERE e.event_id = ? ORDER BY d.delivery_id DESC"
NEWEST_OF_MESSAGE = f"{WHOLE} WHERE e.message_id = ? ORDER BY d.delivery_id DESC"
ONE = f"{WHOLE} WHERE d.delivery_id = ?"
# A skip from endpoint to endpoint: DISTINCT would read the whole index.
OWED_TO = """
WITH RECURSIVE owed(id) AS (
  SELECT min(endpoint_id) FROM deliveries
  UNION ALL
  SELECT (SELECT min(endpoint_id) FROM deliveries WHERE endpoint_id > owed.id) FROM owed WHERE owed.id IS NOT NULL
)
SELECT id FROM owed WHERE id IS NOT NULL
"""
LAST = 2**63 - 1
STEP = 500  # in one transaction, where there may be very many: others write in between
STATES = ("pending", "delivered", "dead")
CLAIM = Rows(
    "UPDATE deliveries SET attempt = v.column2, next_at = v.column3 FROM {rows} AS v WHERE delivery_id = v.column1",
    ("deliveries.delivery_id", "deliveries.attempt", "deliveries.next_at"),
)
SETTLED = tuple(decisions.settled(Settlement("dead", 0)))  # "attempts" at the end
STANDING = spelt(
    f"SELECT delivery_id, attempt, {', '.join(SETTLED)} FROM deliveries WHERE delivery_id {{numbers}}",
    numbers=("IN (SELECT value FROM json_each(?))", "= ANY(CAST(? AS bigint[]))"),
)
SETTLE = Rows(
    f"UPDATE deliveries SET {', '.join(f'{name} = v.column{n}' for n, name in enumerate(SETTLED, 2))}"
    " FROM {rows} AS v WHERE delivery_id = v.column1",
    [f"deliveries.{name}" for name in ("delivery_id", *SETTLED)],
)
RENEW = f"UPDATE deliveries SET {changes(decisions.renewed(0, 0))}"
DEAD = along(
    "SELECT d.delivery_id, e.message_id, e.recipient_index FROM deliveries d JOIN events e ON e.position = d.position",
    [*AT, Fixed("d.state", "'dead'")],
    {"d.delivery_id": ":after"},
    down=False,
)
RENEW_DEAD = f"{RENEW} WHERE delivery_id = :delivery_id"
CANCEL = """
DELETE FROM deliveries WHERE position = ? AND endpoint_id = ? AND trigger = ? AND state = 'pending' AND attempt = 0
"""
RENEW_ONE = f"{RENEW} WHERE position = :position AND endpoint_id = :endpoint_id AND trigger = :trigger RETURNING 1"
# Of an endpoint, those that come next after each other.
WAITING = along(
    "SELECT d.delivery_id, d.next_at FROM deliveries d",
    [*AT, Fixed("d.state", "'pending'")],
    {"d.delivery_id": ":last"},
    down=False,
)
HASTEN = """
UPDATE deliveries SET next_at = CASE WHEN next_at - :seconds > :after THEN next_at - :seconds ELSE :after END
WHERE delivery_id = :delivery_id AND state = 'pending' AND next_at > :after
"""


def first_of(attempts: str, order: str) -> Statement:
    """When what comes next at a live endpoint is due."""
    where = f"d.state = 'pending' AND d.attempt {attempts}"
    keys = [Fixed("d.endpoint_id", "live.endpoint_id")]
    return along("SELECT next_at FROM deliveries d", keys, {order: ""}, where=where, down=False, limit="1")


NEXT_DUE = spelt(
    f"""
WITH live AS (SELECT endpoint_id FROM endpoints WHERE {endpoints.IS_LIVE})
SELECT min(at) FROM (SELECT ({{fresh}}) AS at FROM live UNION ALL SELECT ({{again}}) FROM live) AS due
""",
    fresh=both(first_of("= 0", "d.turn")),
    again=both(first_of("> 0", "d.next_at")),
)
STANDINGS = "SELECT endpoint_id, state, number FROM standings WHERE number > 0 ORDER BY endpoint_id"
OLDEST = along(
    "SELECT first_at FROM deliveries d",
    [*AT, Fixed("d.state", "'pending'")],
    {"d.delivery_id": ""},
    down=False,
    limit="1",
)
# What was delivered stays on record until its event goes.
FORGIVE = spelt(
    "DELETE FROM deliveries WHERE delivery_id IN ({some}) RETURNING 1",
    some=both(
        along(
            "SELECT delivery_id FROM deliveries d", [*AT, Fixed("d.state", ":state")], {"d.delivery_id": ""}, down=False
        )
    ),
)


def claim(now: float, busy: Mapping[str, int], each: int, limit: int) -> Program[list[Delivery]]:
    lanes = []
    ids = yield endpoints.LIVE_IDS, ()
    for (endpoint_id,) in ids:
        if room := decisions.room(endpoint_id, busy, each, limit):
            values = {"endpoint_id": endpoint_id, "now": now, "limit": room}
            fresh = yield FRESH, values
            again = yield AGAIN, values
            lanes.append(decisions.turns([list(map(notification, queue)) for queue in (fresh, again)], room))
    found = [decisions.claimed(due) for due in decisions.turns(lanes, limit)]
    yield from write((CLAIM, [(d.delivery_id, d.attempt, now + decisions.LEASE) for d in found]))
    return found


class Settle(NamedTuple):
    """How an attempt at this delivery ended: that of the number `claim`, or 0."""

    delivery_id: int
    settlement: Settlement
    claim: int = 0


def settle(batch: Sequence[Settle]) -> Program[list[None]]:
    rows = yield STANDING, (Many(one.delivery_id for one in batch),)
    standing = {
        number: (attempt, dict(zip(SETTLED, (*fields, tables.attempts(attempts)), strict=True)))
        for number, attempt, *fields, attempts in rows
    }
    for number, settlement, claim in batch:
        if number in standing:
            attempt, fields = standing[number]
            overtaken = decisions.overtaken(settlement, claim, fields["state"], attempt)
            fields = decisions.settled(settlement, fields["attempts"], fields if overtaken else decisions.NOTHING)
            standing[number] = attempt, fields
    settled = [
        (number, *list(fields.values())[:-1], tables.attempts_text(fields["attempts"]))
        for number, (_, fields) in standing.items()
    ]
    yield from write((SETTLE, settled))
    return [None] * len(batch)


def mended(one: Settle) -> Settle:
    return one._replace(settlement=replace(one.settlement, error=decisions.mended(one.settlement.error)))


def waiting(endpoint_id: str, last: int) -> Program[list[tuple[int, float]]]:
    """When the next ones behind that delivery_id are due, a STEP of them."""
    rows = yield WAITING, {"endpoint_id": endpoint_id, "last": last, "limit": STEP}
    return [(int(number), float(at)) for number, at in rows]


def hasten(delivery_ids: Sequence[int], after: float, seconds: float) -> Program[None]:
    for delivery_id in delivery_ids:
        yield HASTEN, {"delivery_id": delivery_id, "after": after, "seconds": seconds}


def next_due() -> Program[float | None]:
    rows = yield NEXT_DUE, ()
    return None if rows[0][0] is None else float(rows[0][0])


class Which(NamedTuple):
    """Of which endpoints (None: all), in which state, of what; "" is any."""

    endpoint_ids: Sequence[str] | None = None
    state: str = ""
    event_id: str = ""
    message_id: str = ""
    before: int = LAST


def newest(which: Which, limit: int) -> Program[list[Notification]]:
    if which.event_id or which.message_id:  # of one there are few
        rows = yield (
            (NEWEST_OF_EVENT, (which.event_id,)) if which.event_id else (NEWEST_OF_MESSAGE, (which.message_id,))
        )
        return [n for n in map(notification, rows) if fits(n, which)][:limit]
    if which.endpoint_ids is None and not which.state:
        rows = yield NEWEST, {"before": which.before, "limit": limit}
        return list(map(notification, rows))
    ids = which.endpoint_ids
    if ids is None:
        ids = yield from owed_to()
    lanes = []
    for endpoint_id in ids:
        for state in (which.state,) if which.state else STATES:
            values = {"endpoint_id": endpoint_id, "state": state, "before": which.before, "limit": limit}
            rows = yield NEWEST_AT, values
            lanes.append(map(notification, rows))
    return list(islice(merge(*lanes, key=lambda n: n.delivery_id, reverse=True), limit))


def fits(n: Notification, which: Which) -> bool:
    return (
        (which.endpoint_ids is None or n.endpoint_id in which.endpoint_ids)
        and which.state in ("", n.state)
        and which.message_id in ("", n.message_id)
        and n.delivery_id < which.before
    )


def one(delivery_id: int) -> Program[Notification | None]:
    rows = yield ONE, (delivery_id,)
    return notification(rows[0]) if rows else None


def notification(row: Row) -> Notification:
    """Of WHOLE."""
    *own, event_id, message_id = row
    return DELIVERIES.value(own, event_id=event_id, message_id=message_id)


def backlog() -> Program[list[Backlog]]:
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    rows = yield STANDINGS, ()
    for endpoint_id, state, number in rows:
        numbers[endpoint_id][state] = number
    found = []
    for endpoint_id, own in numbers.items():
        oldest = yield OLDEST, {"endpoint_id": endpoint_id}
        found.append(Backlog(endpoint_id, oldest=float(oldest[0][0]) if oldest else 0.0, **own))
    return found


def owed_to() -> Program[list[str]]:
    """The endpoints that have deliveries."""
    rows = yield OWED_TO, ()
    return [str(row[0]) for row in rows]


def renew_dead(endpoint_id: str, after: int, now: float) -> Program[tuple[int, int]]:
    """Those behind a delivery_id, a STEP of them: their number, and the last one."""
    dead = yield DEAD, {"endpoint_id": endpoint_id, "after": after, "limit": STEP}
    turns: dict[str, dict[int, float]] = defaultdict(dict)
    for delivery_id, message_id, index in dead:
        fields = decisions.renewed(now, decisions.turn(turns[message_id], index, now))
        yield RENEW_DEAD, fields | {"delivery_id": delivery_id}
    return len(dead), dead[-1][0] if dead else after


def renew_these(delivery_ids: Sequence[int], endpoint_id: str, now: float) -> Program[int]:
    """Their number. A delivery that is not there, or is another endpoint's, is left out."""
    renewed = 0
    for delivery_id in dict.fromkeys(delivery_ids):
        found = yield from one(delivery_id)
        if found and endpoint_id in ("", found.endpoint_id):
            yield RENEW_DEAD, decisions.renewed(now, now) | {"delivery_id": delivery_id}
            renewed += 1
    return renewed


def renew_of(events: Sequence[Event], endpoint_id: str, now: float) -> Program[int]:
    """What the live endpoints, or this one of them, are owed of these events: their number."""
    live = [e for e in (yield from endpoints.live()) if endpoint_id in ("", e.endpoint_id)]
    owed = decisions.owed(live, events, defaultdict(tally.Facts), now)
    for one in owed:
        yield from renew(one, now)
    return len(owed)


def rows(owed: Iterable[decisions.Owed], now: float) -> list[Row]:
    """For `OWE`."""
    return [
        (event.position, endpoint_id, trigger, now, now + settle, turn)
        for event, endpoint_id, trigger, turn, settle in owed
    ]


def renew(owed: decisions.Owed, now: float) -> Program[None]:
    """It is due: again, or for the first time."""
    event, endpoint_id, trigger, turn, _ = owed
    key = {"position": event.position, "endpoint_id": endpoint_id, "trigger": trigger}
    if not (yield RENEW_ONE, decisions.renewed(now, turn) | key):
        yield from write((OWE, [(event.position, endpoint_id, trigger, now, now, turn)]))


def forgive(endpoint_id: str) -> Program[int]:
    """The endpoint is owed nothing any more: a STEP of what it was. Their number."""
    number = 0
    for state in ("pending", "dead"):
        number += len((yield FORGIVE, {"endpoint_id": endpoint_id, "state": state, "limit": STEP}))
    return number
