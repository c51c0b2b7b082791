"""Counters over time, and their rates.

Owns: their form in our own API. Leaves to others: what is counted where (`core.counts`), keeping it (`relay.store`).
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from relay.core import rates
from relay.store import Aggregate
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.routing import Route

At = Annotated[int, Meta(ge=-86_400, le=253_402_300_799)]  # days begin before those of UTC
WEEK = 7 * 86_400

By = Literal["", "label", "grant", "sender", "sending_domain", "recipient_domain", "link_host"]
Step = Literal["hour", "day", "all"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    since: Annotated[
        calls.Time, Meta(description="Unix seconds; the hour of it is the first. Else 7 days before `to`.")
    ] = field(name="from", default=0)
    until: Annotated[calls.Time, Meta(description="Unix seconds; what begins then is left out. Else now.")] = field(
        name="to", default=0
    )
    step: Step = "day"
    by: Annotated[By, Meta(description='"" adds up all.')] = ""
    utc_offset: Annotated[int, Meta(ge=-12, le=14, description="Hours by which days begin before those of UTC.")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 500
    cursor: Annotated[str, Meta(description="`next_cursor` of the page before.")] = ""


class Hits(msgspec.Struct, frozen=True, kw_only=True):
    """`opens` and `clicks` are each one that counts; `first_` are the first per message and recipient: how many opened, or
    clicked, at least once."""

    opens: int
    first_opens: int
    clicks: int
    first_clicks: int


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Percent. `delivery_rate` is delivered of sent, `bounce_rate` bounced of sent; `open_rate` and `click_rate` are people's
    `first_opens` and `first_clicks` of delivered: recipients of whom a person opened, or clicked, at least once. Machines are
    in neither."""

    delivery_rate: float
    bounce_rate: float
    open_rate: float
    click_rate: float


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is when the period begins. `sent`, `delivered` and `failed` are recipients, in the hour of submission; `bounced` are
    reports and `replies` answers of others, in their own. `people` are the verdicts human, proxy and unknown, `machines`
    the others."""

    at: int
    key: str
    sent: int
    delivered: int
    failed: int
    bounced: int
    replies: int
    people: Hits
    machines: Hits
    rates: Rates


def shown(one: Aggregate, at: int) -> Shown:
    n = one.counters
    return Shown(
        at=at,
        key=one.key,
        sent=n["sent"],
        delivered=n["delivered"],
        failed=n["failed"],
        bounced=n["bounced"],
        replies=n["replies"],
        people=hits(one, ""),
        machines=hits(one, "machine_"),
        rates=Rates(**rates.of(n, n["first_opens"], n["first_clicks"])),
    )


def hits(one: Aggregate, prefix: str) -> Hits:
    return Hits(**{name: one.counters[prefix + name] for name in Hits.__struct_fields__})


def period(query: Asked) -> tuple[int, int]:
    until = query.until or int(time.time()) + 1
    since = query.since or max(0, until - WEEK)
    if since >= until:
        raise problems.invalid("from: is to be before `to`.")
    return since, until


async def aggregates(call: Call) -> Answer:
    query: Asked = call.query
    known = call.services.store
    since, until = period(query)
    after = cursors.read(query.cursor, tuple[At, str]) if query.cursor else None
    found = await known.aggregates(
        query.by,
        since,
        until,
        step=query.step,
        offset=query.utc_offset * 3600,
        grant_id=call.grant_id,
        after=after,
        limit=query.limit,
    )
    more = cursors.write((found[-1].at, found[-1].key)) if len(found) == query.limit else None
    beside = {"counting": await known.counting()} | ({"next_cursor": more} if more else {})
    return Answer([shown(one, since if query.step == "all" else one.at) for one in found], beside=beside)


EXAMPLE = {
    "at": 1_735_689_600, "key": "spring", "sent": 45, "delivered": 44, "failed": 1, "bounced": 0, "replies": 2,
    "people": {"opens": 21, "first_opens": 16, "clicks": 9, "first_clicks": 7},
    "machines": {"opens": 3, "first_opens": 3, "clicks": 12, "first_clicks": 2},
    "rates": {"delivery_rate": 97.8, "bounce_rate": 0.0, "open_rate": 36.4, "click_rate": 15.9},
}  # fmt: skip

ROUTES = (
    Route(
        "GET",
        "/api/aggregates",
        "read",
        aggregates,
        "What was sent, delivered, opened, clicked and answered, over time",
        "Read from counters that are kept per hour (UTC), so it costs the same with any number of events. `counting` is "
        "true while what an earlier version left is still being counted. Periods without anything are left out. People's "
        "opens and clicks are those of the verdicts human, proxy and unknown.",
        query=Asked,
        answer=list[Shown],
        shown=EXAMPLE,
    ),
)
