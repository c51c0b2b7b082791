"""Drafts: messages that are being written, kept until they are sent or thrown away.

Owns: their form, and what a change leaves as it is. Leaves to others: how a message is described and read (`bodies`),
keeping it (`store`), sending it (`messages`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from relay.core import tokens
from relay.store import Draft
from tracking_http.api import cursors, problems
from tracking_http.api.calls import Call, Listing
from tracking_http.api.envelopes import Answer, Page
from tracking_http.api.routing import Route
from tracking_http.api.v3 import bodies, composition, messages, sending

LOOKED_AT = 200  # drafts at once, where a list is filtered


class Filter(Listing, frozen=True, kw_only=True):
    subject: str = ""
    any_email: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    thread_id: str = ""
    starred: bool | None = None
    unread: bool | None = None
    has_attachment: bool | None = None
    metadata_pair: tuple[str, ...] = ()


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    id: str
    grant_id: str
    object: str = "draft"
    thread_id: str = ""
    subject: str = ""
    body: str = ""
    snippet: str = ""
    from_: list[bodies.Person] = []
    to: list[bodies.Person] = []
    cc: list[bodies.Person] = []
    bcc: list[bodies.Person] = []
    reply_to: list[bodies.Person] = []
    attachments: list[composition.Attached] = []
    folders: list[str] = []
    starred: bool = False
    unread: bool = False
    date: int = 0
    created_at: int = 0
    is_plaintext: bool = False
    reply_to_message_id: str = ""
    send_at: int | None = None
    tracking_options: bodies.TrackingOptions | None = None
    custom_headers: list[bodies.Header] = []
    metadata: dict[str, str] = {}


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    status: str = "success"


def described(fields: Mapping[str, Any]) -> bodies.Described:
    return msgspec.convert({k: v for k, v in fields.items() if k != "attachments"}, bodies.Described)


def shown(draft: Draft) -> Shown:
    d = described(draft.fields)
    body = d.body or ""
    return Shown(
        id=draft.draft_id,
        grant_id=draft.grant_id,
        thread_id=str(draft.fields.get("thread_id", "")),
        subject=d.subject or "",
        body=body,
        snippet=bodies.snippet(body, plain=bool(d.is_plaintext)),
        from_=d.from_ or [],
        to=d.to or [],
        cc=d.cc or [],
        bcc=d.bcc or [],
        reply_to=d.reply_to or [],
        attachments=[
            msgspec.convert({**about, "grant_id": draft.grant_id}, composition.Attached)
            for about in draft.fields.get("attachments", ())
        ],
        starred=bool(d.starred),
        date=int(draft.updated_at),
        created_at=int(draft.created_at),
        is_plaintext=bool(d.is_plaintext),
        reply_to_message_id=d.reply_to_message_id or "",
        send_at=d.send_at,
        tracking_options=d.tracking_options or d.tracking,
        custom_headers=d.custom_headers or [],
        metadata=d.metadata or {},
    )


def attached(draft_id: str, files: list[bodies.Octets]) -> list[dict[str, Any]]:
    """What is said of the files."""
    return [
        {
            "id": f"{draft_id}-{number}",
            "filename": file.about.filename,
            "content_type": file.about.content_type or "application/octet-stream",
            "size": len(file.content),
            "content_id": file.about.content_id or "",
            "content_disposition": file.about.content_disposition or "",
            "is_inline": bodies.inline(file.about),
        }
        for number, file in enumerate(files)
    ]


# -- the calls ---------------------------------------------------------------------------------------------------------


async def create(call: Call) -> Shown:
    now = time.time()
    given, files = await bodies.read(call, bodies.Described)
    draft_id = tokens.message_id(tokens.message_key(now, os.urandom(6)))
    return await kept(call, Draft(draft_id, call.grant_id, now, now), given, files or [])


async def update(call: Call) -> Shown:
    """What is not named stays as it is."""
    draft = await known(call)
    given, files = await bodies.read(call, bodies.Described)
    return await kept(call, draft.with_(updated_at=time.time()), given, files)


async def kept(call: Call, draft: Draft, given: bodies.Described, files: list[bodies.Octets] | None) -> Shown:
    fields = {**draft.fields, **bodies.fields_of(given)}
    if given.tracking_options or given.tracking:  # two names of one thing
        fields.pop("tracking" if given.tracking_options else "tracking_options", None)
    if files is not None:
        fields["attachments"] = attached(draft.draft_id, files)
    draft = draft.with_(fields=fields)
    octets = None if files is None else [file.content for file in files]
    if not await call.services.store.save_draft(draft, octets):
        raise problems.missing("draft")
    return shown(draft)


async def known(call: Call) -> Draft:
    found = await call.services.store.draft(call.grant_id, call.path("draft_id"))
    if found is None:
        raise problems.missing("draft")
    return found


async def find(call: Call) -> Shown:
    return shown(await known(call))


async def remove(call: Call) -> Removed:
    if not await call.services.store.remove_draft(call.grant_id, call.path("draft_id")):
        raise problems.missing("draft")
    return Removed()


async def listed(call: Call) -> Page:
    query: Filter = call.query
    before = cursors.read(query.page_token, str) if query.page_token else ""
    found: list[Shown] = []
    while True:
        some = await call.services.store.drafts(call.grant_id, LOOKED_AT, before)
        for draft in some:
            one = shown(draft)
            if not matches(one, query):
                continue
            if len(found) == query.limit:
                return Page(found, cursors.write(found[-1].id))
            found.append(one)
        if len(some) < LOOKED_AT:
            return Page(found)
        before = some[-1].draft_id


def matches(draft: Shown, query: Filter) -> bool:
    groups = {"to": draft.to, "cc": draft.cc, "bcc": draft.bcc}
    addresses = {name: {person.email.lower() for person in group} for name, group in groups.items()}
    everybody = set().union(*addresses.values(), (person.email.lower() for person in draft.from_))
    for wanted, having in (
        (query.to, addresses["to"]), (query.cc, addresses["cc"]), (query.bcc, addresses["bcc"]), (query.any_email, everybody),
    ):  # fmt: skip
        asked = {each.strip().lower() for text in wanted for each in text.split(",")}
        if asked and not asked & having:
            return False
    pairs = [word.partition(":") for text in query.metadata_pair if text for word in messages.NEXT_PAIR.split(text)]
    return (
        query.subject.lower() in draft.subject.lower()
        and query.thread_id in ("", draft.thread_id)
        and query.starred in (None, draft.starred)
        and query.unread in (None, draft.unread)
        and query.has_attachment in (None, bool(draft.attachments))
        and all(draft.metadata.get(key) == value for key, _, value in pairs)
    )


async def send(call: Call) -> Answer:
    """By a key of its own: two calls at once send it once, and so does one that is repeated after a crash."""
    assert call.grant
    draft = await known(call)
    contents = await call.services.store.contents(draft.draft_id)
    abouts = msgspec.convert(draft.fields.get("attachments", ()), list[bodies.File])
    files = [bodies.Octets(about=a, content=c) for a, c in zip(abouts, contents, strict=True)]
    key = f"draft {draft.draft_id} {draft.updated_at}"
    answer = await sending.message(call, call.grant, described(draft.fields), files, key=key)
    await call.services.store.remove_draft(call.grant_id, draft.draft_id)
    return answer


# -- the routes --------------------------------------------------------------------------------------------------------

BODY: dict[str, Any] = {
    "subject": "Our offer", "body": "<p>Hello Bob</p>", "to": [{"email": "bob@example.org", "name": "Bob"}],
    "tracking_options": {"opens": True, "links": True, "label": "spring"},
}  # fmt: skip
EXAMPLE = {
    **BODY, "id": "06i8e5rl2g8o3k7v0l2g", "grant_id": "sales", "object": "draft", "snippet": "Hello Bob", "date": 1770000000,
    "created_at": 1770000000,
}  # fmt: skip
PATH = "/v3/grants/{grant_id}/drafts"
ONE = f"{PATH}/{{draft_id}}"
READS = {problems.JSON: bodies.Described, bodies.MULTIPART: bodies.IN_PARTS}
MOST = 60_000_000  # octets: what SMTP takes as well, and its base64

ROUTES = (
    Route("GET", PATH, "read", listed, "List drafts", query=Filter, answer=list[Shown], shown=EXAMPLE),
    Route("GET", ONE, "read", find, "Find a draft", answer=Shown, shown=EXAMPLE),
    Route(
        "POST", PATH, "send", create, "Create a draft", reads=READS, max_body=MOST, answer=Shown, example=BODY, shown=EXAMPLE
    ),
    Route(
        "PUT", ONE, "send", update, "Change a draft", description="What is not named stays as it is.", reads=READS,
        max_body=MOST, answer=Shown, example={"subject": "Another"}, shown=EXAMPLE,
    ),
    Route(
        "POST", ONE, "send", send, "Send a draft",
        description="It is a message then, and no draft any more. Where it can't be sent it stays.",
        answer=composition.Shown, answers=sending.ANSWERS, shown=sending.EXAMPLE,
    ),
    Route("DELETE", ONE, "send", remove, "Throw a draft away", answer=Removed, shown={"status": "success"}),
)  # fmt: skip
