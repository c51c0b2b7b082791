"""Messages that were sent, and what happened to them, as Unosend's clients ask for them.

Owns: their forms. Leaves to others: the lists (`relay.store.lists`), names and times (`core.payload.unosend`), figures
(`v1.metrics`).

Unosend counts pages by an offset, and its clients go on while that is below `total`, or while `has_more`. So `offset` ends at
10,000, and `total` is exact as far as offsets lead: 10,101 is that many or more. By an offset a page has again what new mail
pushed onto it; by `cursor` (ours) each is there once, and there is no end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.core.counts import MACHINES
from relay.core.model import Event, EventType, Sent
from relay.core.payload import unosend
from relay.store import lists
from tracking_http.api import cursors, problems
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route

T = TypeVar("T")
MAX_OFFSET, MAX_LIMIT = 10_000, 100
COUNTED = MAX_OFFSET + MAX_LIMIT + 1  # for `total`
Kind = Literal["sent", "delivered", "opened", "clicked", "bounced", "complained", "failed"]
TYPES: Mapping[str, EventType] = {
    name.removeprefix("email."): kind  # type: ignore[misc]
    for kind, names in unosend.NAMES.items()
    for name in names
}
KINDS = {kind: name for name, kind in TYPES.items()}
Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
Cursor = Annotated[str, Meta(description="`next_cursor` of the page before. `offset` and `total` count from there.")]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    offset: Offset = 0
    cursor: Cursor = ""


class AskedEvents(msgspec.Struct, frozen=True, kw_only=True):
    email_id: str = ""
    event_type: Kind | Literal[""] = ""
    days: Annotated[int, Meta(ge=1, le=90)] = 7
    limit: Limit = 50
    offset: Offset = 0
    cursor: Cursor = ""


class Email(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """`status` is queued, delivered (the upstream took it), sent (handed to the mail server that asked) or failed."""

    id: str
    from_: str
    to: list[str]
    cc: list[str]
    subject: str
    status: Literal["queued", "delivered", "sent", "failed"]
    tags: dict[str, str]
    created_at: str
    opened_at: str | None


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    """`total` is exact up to 10,100; 10,101 are that many or more."""

    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | UnsetType = UNSET


class Emails(msgspec.Struct, frozen=True, kw_only=True):
    data: list[Email]
    pagination: Pagination


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """`metadata` has of a hit, besides what Unosend tells, our `verdict` as it is now and the code of its reason; where it was
    corrected, `first_verdict` is what it was at first, and `changed_at` when: else both are empty."""

    id: str
    email_id: str
    type: Kind
    metadata: dict[str, str]
    created_at: str
    email: dict[str, Any]


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    email_id: str | None
    event_type: str | None
    days: int


OPENS = 100  # among which the first of a person is looked for


class Happenings(msgspec.Struct, frozen=True, kw_only=True):
    data: list[Happening]
    pagination: Pagination
    filters: Filters


def status(sent: Sent) -> Literal["queued", "delivered", "sent", "failed"]:
    states = {copy.state for copy in sent.copies}
    if states & {"pending", "later"}:
        return "queued"
    return "failed" if states == {"never"} else "sent" if states == {"handed"} else "delivered"


async def shown(call: Call, sent: Sent) -> Email:
    opened = await call.services.store.events(0, OPENS, message_id=sent.message_id, types=("message.opened",))
    # A person's, where there is one. What turned out to be a machine's is none.
    people = [event for event in opened if event.verdict not in MACHINES]
    first = people or [event for event in opened if not event.changed_at]
    return Email(
        id=sent.message_id,
        from_=sent.sender,
        to=list(sent.to) or [copy.recipient for copy in sent.copies],
        cc=list(sent.cc),
        subject=sent.subject,
        status=status(sent),
        tags=dict(sent.metadata),
        created_at=unosend.moment(sent.submitted_at),
        opened_at=unosend.moment(first[0].at) if first else None,
    )


async def page(
    walk: Callable[[Any, int], Awaitable[lists.Listed[T]]], asked: Any, place: lists.Place, query: Asked | AskedEvents
) -> list[T]:
    if query.offset and place.before is None:
        return []
    asked = asked.with_(before=place.before or asked.before)
    found: list[T] = []
    while True:
        some = await walk(asked, query.limit - len(found))
        found += some.items
        if some.after is None or len(found) == query.limit:
            return found
        asked = asked.with_(before=some.after)


def pagination(place: lists.Place, query: Asked | AskedEvents, last: object) -> Pagination:
    """`last` is the key of the last item of the page."""
    more = place.number > query.offset + query.limit
    return Pagination(
        total=place.number,
        limit=query.limit,
        offset=query.offset,
        has_more=more,
        next_cursor=cursors.write(last) if more and last else UNSET,
    )


async def listed(call: Call) -> Emails:
    query: Asked = call.query
    known = call.services.store
    before = cursors.read(query.cursor, tuple[float, str]) if query.cursor else None
    place = await known.place_of_messages(call.grant_id, before, query.offset, COUNTED)
    some = await page(known.list_messages, lists.Messages(grant_id=call.grant_id, before=before), place, query)
    last = (some[-1].submitted_at, some[-1].message_id) if some else None
    return Emails(data=[await shown(call, sent) for sent in some], pagination=pagination(place, query, last))


async def find(call: Call) -> Email:
    sent = await call.services.store.sent(call.path("email_id"))
    if sent is None or not call.sees(sent.grant_id):
        raise problems.missing("email")
    return await shown(call, sent)


async def happened(call: Call) -> Happenings:
    query: AskedEvents = call.query
    asked = lists.Events(
        grant_id=call.grant_id,
        message_id=query.email_id,
        types=(TYPES[query.event_type],) if query.event_type else tuple(TYPES.values()),
        since=time.time() - query.days * 86400.0,
        before=cursors.read(query.cursor, tuple[float, int]) if query.cursor else None,
    )
    known = call.services.store
    place = await known.place_of_events(asked, query.offset, COUNTED)
    some = await page(known.list_events, asked, place, query)
    mail = {message_id: await known.sent(message_id) for message_id in {event.message_id for event in some}}
    last = (some[-1].at, some[-1].position) if some else None
    return Happenings(
        data=[happening(event, mail[event.message_id]) for event in some],
        pagination=pagination(place, query, last),
        filters=Filters(email_id=query.email_id or None, event_type=query.event_type or None, days=query.days),
    )


def happening(event: Event, sent: Sent | None) -> Happening:
    metadata = {
        "user_agent": event.user_agent,
        "ip_address": event.ip,
        "ip": event.ip,
        "url": event.url,
        "referer": event.referer,
        "recipient": event.recipient,
        "verdict": event.verdict,
        "verdict_reason": event.reason,
        "first_verdict": event.first_verdict,
        "changed_at": unosend.moment(event.changed_at) if event.changed_at else "",
    }
    return Happening(
        id=unosend.notification_id(event),
        email_id=event.message_id,
        type=KINDS[event.type],  # type: ignore[arg-type]
        metadata=metadata,
        created_at=unosend.moment(event.at),
        email={"to": list(sent.to) if sent else [], "subject": sent.subject if sent else ""},
    )


ID = "0pb1h6n4s8q2k0v3m5ag"
AT = "2026-01-01T00:00:00.000Z"
EMAIL: dict[str, Any] = {
    "id": ID, "from": "ann@example.com", "to": ["bob@example.org"], "cc": [], "subject": "Your offer", "status": "delivered",
    "tags": {}, "created_at": AT, "opened_at": "2026-01-01T00:01:40.000Z",
}  # fmt: skip
PAGE = {"total": 1, "limit": 50, "offset": 0, "has_more": False}
EVENT: dict[str, Any] = {
    "id": "evt_0f0e6f1c8a1b4b0e9d553f6a0c1d2e3f", "email_id": ID, "type": "opened", "created_at": "2026-01-01T00:01:40.000Z",
    "metadata": {"user_agent": "Mozilla/5.0", "ip_address": "203.0.113.7", "ip": "203.0.113.7", "url": "", "referer": "",
                 "recipient": "bob@example.org", "verdict": "scanner",
                 "verdict_reason": "burst", "first_verdict": "human", "changed_at": "2026-01-01T00:01:42.000Z"},
    "email": {"to": ["bob@example.org"], "subject": "Your offer"},
}  # fmt: skip

ROUTES = (
    Route(
        "GET", "/v1/emails", "read", listed, "List emails", query=Asked, answer=Emails,
        shown={"data": [EMAIL], "pagination": PAGE}, description="Newest first. `total` is exact up to 1,000.",
    ),
    Route("GET", "/v1/emails/{email_id}", "read", find, "Find an email", answer=Email, shown=EMAIL),
    Route(
        "GET", "/v1/events", "read", happened, "List events", query=AskedEvents, answer=Happenings,
        shown={"data": [EVENT], "pagination": PAGE, "filters": {"email_id": None, "event_type": None, "days": 7}},
        description="Newest first. `total` is exact up to 1,000.",
    ),
)  # fmt: skip
