"""Messages with every recipient, event, verdict, reason and link; and events.

Owns: their routes, and what may be asked of them. Leaves to others: the lists (`relay.store.lists`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.model import Event, EventType, Reason, Sent, SentCopy
from relay.store import lists
from relay.store.lists import Answer
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Page
from tracking_http.api.routing import Route

MAX_EVENTS = 200  # of a message that is found; all of them are in the list of events


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(description="`next_cursor` of the page before.")] = ""


class AskedMessages(Listed, frozen=True, kw_only=True):
    grant: str = ""
    label: str = ""
    sender: str = ""
    sending_domain: str = ""
    recipient: str = ""
    thread_id: str = ""
    message_id: Annotated[str, Meta(description="A Message-ID, without angle brackets.")] = ""
    state: Literal["", "pending", "done", "later", "never", "handed"] = ""
    subject: Annotated[str, Meta(description="A part of it.")] = ""
    since: calls.Time | None = None
    until: calls.Time | None = None


class AskedEvents(Listed, frozen=True, kw_only=True):
    grant: str = ""
    type: tuple[EventType, ...] = ()
    message_id: str = ""
    thread_id: str = ""
    label: str = ""
    sender: str = ""
    sending_domain: str = ""
    since: calls.Time | None = None
    until: calls.Time | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`links` are the tracked URLs, by occurrence; `explanation` says of parts, links and the pixel what was left and why.
    Each copy is what one envelope recipient was sent, with the upstream's last reply."""

    id: str
    grant_id: str
    thread_id: str
    internet_message_id: str
    submitted_at: float
    sender: str
    reverse_path: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    label: str
    metadata: dict[str, str]
    size: int
    opens: bool
    links_tracked: bool
    thread_replies: bool
    reason: Reason | None
    links: tuple[str, ...]
    copies: tuple[SentCopy, ...]
    explanation: dict[str, Any]
    queue_id: str


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    message: Message
    events: Annotated[list[Event], Meta(description="The newest 200, newest first.")]


def shown(sent: Sent) -> Message:
    return Message(
        id=sent.message_id,
        grant_id=sent.grant_id,
        thread_id=sent.thread_id,
        internet_message_id=sent.internet_message_id,
        submitted_at=sent.submitted_at,
        sender=sent.sender,
        reverse_path=sent.reverse_path,
        to=sent.to,
        cc=sent.cc,
        subject=sent.subject,
        label=sent.label,
        metadata=dict(sent.metadata),
        size=sent.size,
        opens=sent.opens,
        links_tracked=sent.links_tracked,
        thread_replies=sent.thread_replies,
        reason=sent.reason,
        links=sent.links,
        copies=sent.copies,
        explanation=dict(sent.explanation),
        queue_id=sent.queue_id,
    )


def grant_of(call: Call, asked: str) -> str:
    return calls.grant_of(asked, call.who, call.services.settings).id if asked else call.grant_id


async def listed(call: Call) -> Page:
    query: AskedMessages = call.query
    asked = lists.Messages(
        grant_id=grant_of(call, query.grant),
        label=query.label,
        sender=query.sender,
        sending_domain=query.sending_domain,
        recipients=(query.recipient,) if query.recipient else (),
        thread_id=query.thread_id,
        internet_message_id=query.message_id,
        state=query.state,
        subject=query.subject,
        since=float(query.since or 0),
        until=float(query.until) if query.until is not None else lists.ENDLESS,
        before=cursors.read(query.cursor, tuple[float, str]) if query.cursor else None,
    )
    found = await call.services.store.list_messages(asked, query.limit)
    return Page(list(map(shown, found.items)), cursors.write(found.after) if found.after else None)


async def find(call: Call) -> Whole:
    sent = await call.services.store.sent(call.path("message_id"))
    if sent is None or not call.sees(sent.grant_id):
        raise problems.missing("message")
    events = await call.services.store.list_events(lists.Events(message_id=sent.message_id), MAX_EVENTS)
    return Whole(message=shown(sent), events=list(events.items))


async def answer(call: Call) -> Answer:
    found = await call.services.store.answer(call.path("answer_id"), call.grant_id)
    if found is None:
        raise problems.missing("answer")
    return found


async def happened(call: Call) -> Page:
    query: AskedEvents = call.query
    asked = lists.Events(
        grant_id=grant_of(call, query.grant),
        types=query.type,
        message_id=query.message_id,
        thread_id=query.thread_id,
        label=query.label,
        sender=query.sender,
        sending_domain=query.sending_domain,
        since=float(query.since or 0),
        until=float(query.until) if query.until is not None else lists.ENDLESS,
        before=cursors.read(query.cursor, tuple[float, int]) if query.cursor else None,
    )
    found = await call.services.store.list_events(asked, query.limit)
    return Page(list(found.items), cursors.write(found.after) if found.after else None)


SENT = Sent(
    "0pb1h6n4s8q2k0v3m5ag", "sales", "offer-1@example.com", 1767225600.0, "ann@example.com", "ann@example.com",
    ("bob@example.org",), subject="Your offer", size=5120, opens=True,
    copies=(SentCopy("bob@example.org", 0, True, None, "done", "250 2.0.0 ok"),), thread_id="0pb1h6n4s8q2k0v3m5ag",
)  # fmt: skip
MESSAGE: dict[str, Any] = msgspec.to_builtins(shown(SENT))
EVENT: dict[str, Any] = msgspec.to_builtins(
    Event("0f0e6f1c-8a1b-4b0e-9d55-3f6a0c1d2e3f", "message.opened", SENT.message_id, 1767225700.0, grant_id="sales")
)
ANSWER: dict[str, Any] = msgspec.to_builtins(
    Answer("1ab1h6n4s8q2k0v3m5ag", "sales", SENT.message_id, SENT.thread_id, 1767225800.0, sender="bob@example.org")
)

ROUTES = (
    Route(
        "GET", "/api/messages", "read", listed, "List messages", query=AskedMessages, answer=list[Message], shown=MESSAGE,
        description="Newest first. A page may have fewer than `limit`, and goes on while there is a `next_cursor`.",
    ),
    Route(
        "GET", "/api/messages/{message_id}", "read", find, "Find a message with its events", answer=Whole,
        shown={"message": MESSAGE, "events": [EVENT]},
    ),
    Route("GET", "/api/answers/{answer_id}", "read", answer, "Find what is kept of an answer", answer=Answer, shown=ANSWER),
    Route(
        "GET", "/api/events", "read", happened, "List events", query=AskedEvents, answer=list[Event], shown=EVENT,
        description="Newest first. A page may have fewer than `limit`, and goes on while there is a `next_cursor`.",
    ),
)  # fmt: skip
