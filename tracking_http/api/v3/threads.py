"""Threads, as Nylas' clients see them: what was sent, and what is kept of the answers.

Owns: their form. Leaves to others: which messages are one thread (the store), messages (`v3.messages`).
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.store import lists
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call, Listing
from tracking_http.api.envelopes import Page
from tracking_http.api.routing import Route
from tracking_http.api.v3 import messages
from tracking_http.api.v3.messages import INBOX, SENT, UNKNOWN, Message, Named, People


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    grant_id: str
    object: Literal["thread"] = "thread"
    latest_draft_or_message: Message
    has_attachments: bool = False
    has_drafts: bool = False
    starred: bool = False
    unread: bool = False
    earliest_message_date: int
    latest_message_received_date: int | UnsetType = UNSET
    latest_message_sent_date: int
    participants: list[Named]
    message_ids: list[str]
    draft_ids: list[str] = []
    folders: list[str]
    snippet: str
    subject: str


class Filter(Listing, frozen=True, kw_only=True, rename={"from_": "from", "in_": "in"}):
    subject: Annotated[str, Meta(description="A part of it.")] = ""
    any_email: People = ()
    from_: Annotated[tuple[str, ...], Meta(description="One address.")] = ()
    to: People = ()
    cc: People = ()
    bcc: People = ()
    in_: str = ""
    unread: bool = False
    starred: bool = False
    thread_id: str = ""
    latest_message_before: calls.Time | None = None
    latest_message_after: calls.Time | None = None
    has_attachment: Annotated[bool | None, UNKNOWN] = None
    search_query_native: Annotated[str, UNKNOWN] = ""


def shown(thread: lists.Thread) -> Thread:
    """Its messages and answers, in the order in which they were sent and came."""
    parts = [(sent.submitted_at, messages.of_sent(sent)) for sent in thread.messages]
    parts += [(answer.at, messages.of_answer(answer)) for answer in thread.answers]
    parts.sort(key=lambda part: part[0])
    latest, first = parts[-1][1], thread.messages[0]
    people: dict[str, Named] = {}
    for _, made in parts:
        for group in (made.from_, made.to, made.cc):
            for one in group or ():
                known = people.get(one.email.lower())
                if known is None or (one.name and not known.name):
                    people[one.email.lower()] = one
    return Thread(
        id=thread.thread_id,
        grant_id=first.grant_id,
        latest_draft_or_message=latest,
        earliest_message_date=int(parts[0][0]),
        latest_message_received_date=int(thread.answers[-1].at) if thread.answers else UNSET,
        latest_message_sent_date=int(thread.messages[-1].submitted_at),
        participants=list(people.values()),
        message_ids=[made.id for _, made in parts],
        folders=[SENT, INBOX] if thread.answers else [SENT],
        snippet=latest.snippet or "",
        subject=first.subject,
    )


async def listed(call: Call) -> Page:
    query: Filter = call.query
    if messages.elsewhere(query, SENT, INBOX):
        return Page([])
    asked = messages.asked_of(query, call.grant_id)
    seen, *before = cursors.read(query.page_token, tuple[float, float, str]) if query.page_token else (time.time(),)
    after = query.latest_message_after
    found = await call.services.store.list_threads(
        lists.Threads(
            call.grant_id,
            seen,
            asked,
            since=float(after + 1) if after is not None else 0.0,
            until=float(query.latest_message_before) if query.latest_message_before is not None else lists.ENDLESS,
            before=(before[0], before[1]) if before else None,  # type: ignore[arg-type]
        ),
        query.limit,
    )
    return Page(list(map(shown, found.items)), cursors.write((seen, *found.after)) if found.after else None)


async def find(call: Call) -> Thread:
    found = await call.services.store.thread(call.path("thread_id"), call.grant_id)
    if found is None:
        raise problems.missing("thread")
    return shown(found)


EXAMPLE: dict[str, Any] = {
    "id": messages.ID, "grant_id": "sales", "object": "thread", "latest_draft_or_message": messages.EXAMPLE,
    "has_attachments": False, "has_drafts": False, "starred": False, "unread": False,
    "earliest_message_date": 1767225600, "latest_message_sent_date": 1767225600,
    "participants": [{"email": "ann@example.com", "name": ""}, {"email": "bob@example.org", "name": ""}],
    "message_ids": [messages.ID], "draft_ids": [], "folders": ["SENT"], "snippet": "", "subject": "Your offer",
}  # fmt: skip
PATH = "/v3/grants/{grant_id}/threads"

ROUTES = (
    Route(
        "GET", PATH, "read", listed, "List threads", query=Filter, answer=list[Thread], shown=EXAMPLE,
        description="By their last activity, newest first. What happens while the pages are read moves no thread.",
    ),
    Route("GET", f"{PATH}/{{thread_id}}", "read", find, "Find a thread", answer=Thread, shown=EXAMPLE),
)  # fmt: skip
