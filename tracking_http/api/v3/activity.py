"""What happened to tracked messages, as Nylas' clients look back at it.

Owns: its form. Leaves to others: the list (`relay.store.lists`); whoever wants to hear of it at once takes a webhook.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core import domains
from relay.core.model import Event, EventType, Sent
from relay.store import lists
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call, Listing
from tracking_http.api.envelopes import Page
from tracking_http.api.routing import Route

DAYS = 7 * 86400.0
NAMES: Mapping[str, EventType] = {
    "opened": "message.opened",
    "link_clicked": "message.link_clicked",
    "replied": "thread.replied",
}
Kind = Literal["opened", "link_clicked", "replied", "message.opened", "message.link_clicked", "thread.replied"]
SAID = {kind: name for name, kind in NAMES.items()}


class Filter(Listing, frozen=True, kw_only=True, rename={"from_": "from"}):
    event_type: Annotated[tuple[Kind, ...], Meta(description="Also by the names of the triggers.")] = ()
    label: Annotated[str, Meta(max_length=2048)] = ""
    sending_domain: Annotated[str, Meta(max_length=255)] = ""
    from_: Annotated[str, Meta(max_length=320)] = ""
    grant_id: str = ""
    message_id: str = ""
    thread_id: str = ""
    start: Annotated[calls.Time | None, Meta(description="Unix seconds; else seven days ago.")] = None
    end: Annotated[calls.Time | None, Meta(description="Unix seconds, not this one any more; else now.")] = None


class Activity(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One open, click or answer. What privacy settings removed is empty. `url` and `link_index` are a click's.
    `verdict` and `reason` are as they are now; where they were corrected, `first_verdict` is what it was before, and `changed_at`
    when (Unix seconds): else "" and 0."""

    id: str
    object: Literal["tracking_event"] = "tracking_event"
    event_type: Literal["opened", "link_clicked", "replied"]
    timestamp: int
    application_id: str
    grant_id: str
    message_id: str
    thread_id: str
    from_: str
    sending_domain: str
    label: str
    recipient: str
    ip: str
    user_agent: str
    url: str = ""
    link_index: str = ""
    verdict: str
    reason: str
    first_verdict: str
    changed_at: int
    counted: bool


def shown(event: Event, sent: Sent | None, application_id: str) -> Activity:
    click = event.type == "message.link_clicked"
    return Activity(
        id=event.event_id,
        event_type=SAID[event.type],  # type: ignore[arg-type]
        timestamp=int(event.at),
        application_id=application_id,
        grant_id=event.grant_id,
        message_id=event.message_id,
        thread_id=sent.thread_id if sent else "",
        from_=sent.sender if sent else "",
        sending_domain=domains.of_address(sent.sender) if sent else "",
        label=sent.label if sent else "",
        recipient=event.recipient,
        ip=event.ip,
        user_agent=event.user_agent,
        url=event.url if click else "",
        link_index=str(event.link_index) if click else "",
        verdict=event.verdict,
        reason=event.reason,
        first_verdict=event.first_verdict,
        changed_at=int(event.changed_at),
        counted=event.counted,
    )


async def listed(call: Call) -> Page:
    query: Filter = call.query
    grant_id = call.grant_id
    if query.grant_id:
        grant_id = calls.grant_of(query.grant_id, call.who, call.services.settings).id
    start = float(query.start) if query.start is not None else time.time() - DAYS
    found = await call.services.store.list_events(
        lists.Events(
            grant_id=grant_id,
            types=tuple(NAMES.get(name, name) for name in query.event_type) or tuple(NAMES.values()),
            message_id=query.message_id,
            thread_id=query.thread_id,
            label=query.label,
            sending_domain=query.sending_domain,
            sender=query.from_,
            since=start,
            until=float(query.end) if query.end is not None else lists.ENDLESS,
            before=cursors.read(query.page_token, tuple[float, int]) if query.page_token else None,
        ),
        query.limit,
    )
    known = call.services.store
    mail = {event.message_id: await known.sent(event.message_id) for event in found.items}
    application = call.services.settings.application_id
    items = [shown(event, mail[event.message_id], application) for event in found.items]
    return Page(items, cursors.write(found.after) if found.after else None)


async def find(call: Call) -> Activity:
    history = await call.services.store.history(call.path("event_id"))
    if history is None or not call.sees(history.event.grant_id) or history.event.type not in SAID:
        raise problems.missing("event")
    return shown(history.event, history.sent, call.services.settings.application_id)


EXAMPLE: dict[str, Any] = {
    "id": "0f0e6f1c-8a1b-4b0e-9d55-3f6a0c1d2e3f", "object": "tracking_event", "event_type": "link_clicked",
    "timestamp": 1767225700, "application_id": "trackrelay", "grant_id": "sales", "message_id": "0pb1h6n4s8q2k0v3m5ag",
    "thread_id": "0pb1h6n4s8q2k0v3m5ag", "from": "ann@example.com", "sending_domain": "example.com", "label": "spring",
    "recipient": "bob@example.org", "ip": "203.0.113.7", "user_agent": "Mozilla/5.0", "url": "https://example.com/offer",
    "link_index": "0", "verdict": "human", "reason": "browser", "first_verdict": "", "changed_at": 0, "counted": True,
}  # fmt: skip

ROUTES = (
    Route(
        "GET", "/v3/activity/tracking", "read", listed, "List tracking events", query=Filter, answer=list[Activity],
        shown=EXAMPLE, description="Newest first; of the last seven days where `start` does not say otherwise, and as far "
        "back as events are kept. A page may have fewer than `limit`, and goes on while there is a `next_cursor`.",
    ),
    Route("GET", "/v3/activity/tracking/{event_id}", "read", find, "Find a tracking event", answer=Activity, shown=EXAMPLE),
)  # fmt: skip
