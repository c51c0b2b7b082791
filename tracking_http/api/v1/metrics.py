"""Unosend's metrics.

Owns: their form. `opens` and `clicks` are all that count, as its webhooks tell them, machines' too; what of them is
machines' stands beside (ours). Leaves to others: counting (`core.counts`), rates (`core.rates`).
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core import rates
from relay.core.counts import COUNTERS
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route

DAY = 86_400
MAX_SCHEDULED = 1000  # of one grant that are counted

Days = Annotated[int, Meta(ge=1, le=90)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    days: Days = 30
    group_by: Literal["day", "hour", "status"] = "day"


class AskedLinks(msgspec.Struct, frozen=True, kw_only=True):
    days: Days = 30
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Period(msgspec.Struct, frozen=True, kw_only=True):
    start: str
    end: str
    days: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`total`, `sent`, `delivered`, `failed` and `queued` are recipients, `bounced` reports. `opens` and `clicks` are all that count,
    by people and machines; `unique_` the first per message and recipient. `people_` and `machine_` have them apart: a
    pixel shows that a message was opened at least once, so `people_unique_opens` are the recipients of whom that is known."""

    total: int
    sent: int
    delivered: int
    bounced: int
    failed: int
    queued: int
    scheduled: int
    opens: int
    unique_opens: int
    clicks: int
    unique_clicks: int
    machine_opens: int
    machine_clicks: int
    people_opens: int
    people_unique_opens: int
    people_clicks: int
    people_unique_clicks: int
    machine_unique_opens: int
    machine_unique_clicks: int


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Percent. `delivery_rate` is delivered of sent, `bounce_rate` bounced of sent. `open_rate` and `click_rate` are `unique_opens` and
    `unique_clicks` of delivered, so machines are in them, as in Unosend's; `people_open_rate` and `people_click_rate` are
    those recipients of delivered mail of whom a person opened, or clicked, at least once."""

    delivery_rate: float
    bounce_rate: float
    open_rate: float
    click_rate: float
    people_open_rate: float
    people_click_rate: float


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    period: str
    count: int


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    period: Period
    summary: Summary
    rates: Rates
    time_series: list[Counted]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the page, without parameters that are the recipient's own. `clicks` are people's and machines', `percentage` of
    `total_clicks`; of them `machine_clicks` are machines'."""

    url: str
    clicks: int
    machine_clicks: int
    percentage: float


class Links(msgspec.Struct, frozen=True, kw_only=True):
    links: list[Link]
    total_clicks: int


def written(at: float, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return time.strftime(form, time.gmtime(at))


async def metrics(call: Call) -> Metrics:
    query: Asked = call.query
    end = int(time.time()) + 1
    start = end - query.days * DAY
    step = "hour" if query.group_by == "hour" else "day"
    # At most 2160 and one hours.
    found = await call.services.store.aggregates("", start, end, step=step, grant_id=call.grant_id, limit=2200)
    n = {name: sum(one.counters[name] for one in found) for name in COUNTERS}
    summary = Summary(
        total=n["sent"],
        sent=n["sent"],
        delivered=n["delivered"],
        bounced=n["bounced"],
        failed=n["failed"],
        queued=max(0, n["sent"] - n["delivered"] - n["failed"]),
        scheduled=await scheduled(call),
        opens=n["opens"] + n["machine_opens"],
        unique_opens=n["any_first_opens"],
        clicks=n["clicks"] + n["machine_clicks"],
        unique_clicks=n["any_first_clicks"],
        machine_opens=n["machine_opens"],
        machine_clicks=n["machine_clicks"],
        people_opens=n["opens"],
        people_unique_opens=n["first_opens"],
        people_clicks=n["clicks"],
        people_unique_clicks=n["first_clicks"],
        machine_unique_opens=n["machine_first_opens"],
        machine_unique_clicks=n["machine_first_clicks"],
    )
    if query.group_by == "status":
        series = [
            Counted(period=name, count=getattr(summary, name))
            for name in ("delivered", "bounced", "failed", "queued", "scheduled")
            if getattr(summary, name)
        ]
    else:
        form = "%Y-%m-%dT%H:00:00Z" if step == "hour" else "%Y-%m-%d"
        series = [
            Counted(period=written(one.at, form), count=one.counters["sent"]) for one in found if one.counters["sent"]
        ]
    return Metrics(
        period=Period(start=written(start), end=written(end - 1), days=query.days),
        summary=summary,
        rates=Rates(
            **rates.of(n, n["any_first_opens"], n["any_first_clicks"]),
            people_open_rate=rates.percent(n["first_opens"], n["delivered"]),
            people_click_rate=rates.percent(n["first_clicks"], n["delivered"]),
        ),
        time_series=series,
    )


async def scheduled(call: Call) -> int:
    grants = [grant.id for grant in call.services.settings.grants if call.sees(grant.id)]
    waiting = [await call.services.store.schedules(grant, limit=MAX_SCHEDULED) for grant in grants]
    return sum(schedule.state == "scheduled" for some in waiting for schedule in some)


async def links(call: Call) -> Links:
    query: AskedLinks = call.query
    end = int(time.time()) + 1
    found, clicks = await call.services.store.top_links(
        end - query.days * DAY, end, grant_id=call.grant_id, limit=query.limit
    )
    return Links(
        links=[
            Link(url=url, clicks=number, machine_clicks=machines, percentage=rates.percent(number, clicks))
            for url, number, machines in found
        ],
        total_clicks=clicks,
    )


EXAMPLE: dict[str, Any] = {
    "period": {"start": "2025-01-01T00:00:00Z", "end": "2025-01-31T00:00:00Z", "days": 30},
    "summary": {
        "total": 45, "sent": 45, "delivered": 44, "bounced": 1, "failed": 1, "queued": 0, "scheduled": 0, "opens": 24,
        "unique_opens": 17, "clicks": 9, "unique_clicks": 7, "machine_opens": 3, "machine_clicks": 0,
        "people_opens": 21, "people_unique_opens": 15, "people_clicks": 9, "people_unique_clicks": 7, "machine_unique_opens": 2,
        "machine_unique_clicks": 0,
    },
    "rates": {"delivery_rate": 97.8, "bounce_rate": 2.2, "open_rate": 38.6, "click_rate": 15.9, "people_open_rate": 34.1,
              "people_click_rate": 15.9},
    "time_series": [{"period": "2025-01-08", "count": 45}],
}  # fmt: skip
LINKS = {
    "links": [{"url": "https://example.com/", "clicks": 6, "machine_clicks": 0, "percentage": 66.7}],
    "total_clicks": 9,
}

ROUTES = (
    Route("GET", "/v1/metrics", "read", metrics, "Metrics", "Recipients, opens and clicks of the last days. A message to "
          "three is three. `time_series` counts what was sent.", query=Asked, answer=Metrics, shown=EXAMPLE),
    Route("GET", "/v1/metrics/links", "read", links, "The links with the most clicks", query=AskedLinks, answer=Links,
          shown=LINKS),
)  # fmt: skip
