"""Messages that were sent, and what is kept of answers to them, as Nylas' clients see messages.

Owns: their form, and what a client may ask of a list. Leaves to others: the lists (`relay.store.lists`), sending, what is
kept of an answer (`relay.mailbox`).

Of a message there is its record, and its text only where that is kept (`[admin] keep_messages`). Without it, `body` and
`attachments` are not there, `raw_mime` is refused, and the header fields are those that the record has.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.core import addresses, contents
from relay.core.model import Sent
from relay.store import lists
from relay.store.lists import Answer
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call, Listing
from tracking_http.api.envelopes import Page
from tracking_http.api.routing import Route
from tracking_http.api.v3 import bodies

Fields = Literal["standard", "include_headers", "include_basic_headers", "include_tracking_options", "raw_mime"]
SNIPPET = 100  # characters
BASIC = ("message-id", "in-reply-to", "references")
SENT, INBOX = "SENT", "INBOX"
NEXT_PAIR = re.compile(r",(?=key[1-5]:)")
NO_MIME = (
    "fields: raw_mime can't be had of this message: its record is kept, and not its text. [admin] keep_messages is for how"
    " long the text of what is sent by API is kept."
)
LISTED = 1_000_000  # octets of a message whose text stands in a list


class Named(msgspec.Struct, frozen=True, kw_only=True):
    email: str
    name: str = ""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: str


class Options(msgspec.Struct, frozen=True, kw_only=True):
    opens: bool
    links: bool
    thread_replies: bool
    label: str


class Message(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A message that was sent; or, in the folder INBOX, what is kept of an answer. `excerpt` is the beginning of what is
    new in an answer, `internet_message_id` the Message-ID without angle brackets."""

    id: str
    grant_id: str
    object: Literal["message"] = "message"
    thread_id: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    from_: list[Named] | UnsetType = UNSET
    to: list[Named] | UnsetType = UNSET
    cc: list[Named] | UnsetType = UNSET
    bcc: list[Named] | UnsetType = UNSET
    reply_to: list[Named] | UnsetType = UNSET
    date: int | UnsetType = UNSET
    created_at: int | UnsetType = UNSET
    unread: bool | UnsetType = UNSET
    starred: bool | UnsetType = UNSET
    folders: list[str] | UnsetType = UNSET
    snippet: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    attachments: list[Attached] | UnsetType = UNSET
    raw_mime: str | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    internet_message_id: str | UnsetType = UNSET
    excerpt: str | UnsetType = UNSET
    headers: list[Field] | UnsetType = UNSET
    tracking_options: Options | UnsetType = UNSET


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    grant_id: str
    filename: str
    content_type: str
    size: int
    content_id: str
    content_disposition: str
    is_inline: bool


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    fields: Fields = "standard"
    select: Annotated[str, Meta(description="The fields to give, with commas between them.")] = ""


People = Annotated[tuple[str, ...], Meta(description="Addresses; one of them. Commas may stand between them.")]
UNKNOWN = Meta(description="Can't be asked for: a 400.")


class Filter(Listing, frozen=True, kw_only=True, rename={"from_": "from", "in_": "in"}):
    subject: Annotated[str, Meta(description="A part of it.")] = ""
    any_email: People = ()
    from_: Annotated[tuple[str, ...], Meta(description="One address.")] = ()
    to: People = ()
    cc: People = ()
    bcc: People = ()
    in_: Annotated[str, Meta(description="A folder. All these messages are in SENT.")] = ""
    unread: bool = False
    starred: bool = False
    thread_id: str = ""
    received_before: calls.Time | None = None
    received_after: calls.Time | None = None
    has_attachment: Annotated[bool | None, UNKNOWN] = None
    search_query_native: Annotated[str, UNKNOWN] = ""
    metadata_pair: Annotated[tuple[str, ...], Meta(description="`key1:VALUE`, of key1 to key5.")] = ()
    fields: Fields = "standard"
    select: Annotated[str, Meta(description="The fields to give, with commas between them.")] = ""


def people(found: Iterable[str]) -> list[Named]:
    return [Named(email=address) for address in found]


def of_sent(sent: Sent, fields: Fields = "standard") -> Message:
    named = {addresses.comparable(address) for address in (*sent.to, *sent.cc)}
    hidden = [c.recipient for c in sent.copies if addresses.comparable(c.recipient) not in named]
    made = Message(
        id=sent.message_id,
        grant_id=sent.grant_id,
        thread_id=sent.thread_id,
        subject=sent.subject,
        from_=people([sent.sender] if sent.sender else []),
        to=people(sent.to),
        cc=people(sent.cc),
        bcc=people(hidden),
        reply_to=[],
        date=int(sent.submitted_at),
        created_at=int(sent.submitted_at),
        unread=False,
        starred=False,
        folders=[SENT],
        snippet="",
        metadata=dict(sent.metadata),
        internet_message_id=sent.internet_message_id,
    )
    if fields == "include_tracking_options":
        options = Options(
            opens=sent.opens, links=sent.links_tracked, thread_replies=sent.thread_replies, label=sent.label
        )
        return msgspec.structs.replace(made, tracking_options=options)
    return with_headers(made, fields, sent.references)


def with_text(made: Message, raw: bytes, fields: Fields) -> Message:
    """With what the message says. `raw_mime` comes alone, in base64url (RFC 4648 5)."""
    if fields == "raw_mime":
        return Message(id=made.id, grant_id=made.grant_id, raw_mime=base64.urlsafe_b64encode(raw).decode())
    found = contents.read(raw)
    named = {name: [Named(email=m.address, name=m.name) for m in found.people(name)] for name in contents.FIELDS}
    made = msgspec.structs.replace(
        made,
        from_=named["from"] or made.from_,
        to=named["to"] or made.to,
        cc=named["cc"] or made.cc,
        reply_to=named["reply-to"],
        body=found.body.removesuffix("\n"),  # which composing has put there
        snippet=bodies.snippet(found.body, plain=found.html is None),
        attachments=[attached(n, made, file) for n, file in enumerate(found.files)],
    )
    if fields not in ("include_headers", "include_basic_headers"):
        return made
    head = [Field(name=found.head.spelling(field), value=found.head.text(field)) for field in found.head.fields]
    basic = [each for each in head if each.name.lower() in BASIC]
    return msgspec.structs.replace(made, headers=head if fields == "include_headers" else basic)


def attached(number: int, message: Message, file: contents.File) -> Attached:
    return Attached(
        id=f"{message.id}-{number}",
        grant_id=message.grant_id,
        filename=file.filename,
        content_type=file.content_type,
        size=len(file.content),
        content_id=file.content_id,
        content_disposition=file.disposition,
        is_inline=file.inline,
    )


def of_answer(answer: Answer, fields: Fields = "standard") -> Message:
    made = Message(
        id=answer.answer_id,
        grant_id=answer.grant_id,
        thread_id=answer.thread_id,
        subject=answer.subject,
        from_=[Named(email=answer.sender, name=answer.sender_name)],
        to=people(answer.to),
        cc=people(answer.cc),
        bcc=[],
        reply_to=[],
        date=int(answer.date or answer.at),
        created_at=int(answer.at),
        unread=False,
        starred=False,
        folders=[INBOX],
        snippet=" ".join(answer.excerpt.split())[:SNIPPET],
        metadata={},
        internet_message_id=answer.internet_message_id,
        excerpt=answer.excerpt,
    )
    return with_headers(made, fields, answer.references)


def with_headers(made: Message, fields: Fields, references: Sequence[str]) -> Message:
    """With the fields that the record has. Of References it has the identifiers, likeliest first."""
    if fields not in ("include_headers", "include_basic_headers"):
        return made
    found = [("Message-ID", f"<{made.internet_message_id}>")] if made.internet_message_id else []
    if references:
        found += [("In-Reply-To", f"<{references[0]}>"), ("References", " ".join(f"<{i}>" for i in references[::-1]))]
    if fields == "include_headers":
        for name, value in (("From", made.from_), ("To", made.to), ("Cc", made.cc)):
            if value:
                found.append((name, ", ".join(one.email for one in value)))
        found.append(("Subject", str(made.subject)))
    return msgspec.structs.replace(made, headers=[Field(name=name, value=value) for name, value in found])


def chosen(made: Message, select: str) -> Message | dict[str, Any]:
    """With those fields only; a message always says whose it is."""
    if not select:
        return made
    wanted = {name.strip() for name in select.split(",")} | {"id", "grant_id", "object"}
    return {name: value for name, value in msgspec.to_builtins(made).items() if name in wanted}


def split(found: Sequence[str]) -> tuple[str, ...]:
    """The addresses of a filter, which may stand in one value with commas between them."""
    made = tuple(dict.fromkeys(word.strip() for text in found for word in text.split(",") if word.strip()))
    if len(made) > lists.MAX_PEOPLE:
        raise problems.invalid(f"A filter may have {lists.MAX_PEOPLE} addresses.")
    return made


def asked_of(query: Any, grant_id: str) -> lists.Messages:
    """What a query asks of messages, but for its times."""
    for name in ("has_attachment", "search_query_native"):
        if getattr(query, name, None) not in (None, ""):
            raise problems.invalid(f"{name}: can't be asked for here, since nothing of it is kept.")
    senders = split(query.from_)
    if len(senders) > 1:
        raise problems.invalid("from: one address can be asked for.")
    return lists.Messages(
        grant_id=grant_id,
        thread_id=query.thread_id,
        sender=senders[0] if senders else "",
        people=split(query.any_email),
        to=split(query.to),
        cc=split(query.cc),
        bcc=split(query.bcc),
        subject=query.subject,
        metadata=pairs(getattr(query, "metadata_pair", ())),
    )


def pairs(found: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names with their values: "key1:spring". Node's client puts commas between several, which may stand in a value too."""
    made: list[tuple[str, str]] = []
    for text in found:
        for word in NEXT_PAIR.split(text) if text else ():
            name, colon, value = word.partition(":")
            if not colon or name not in lists.INDEXED:
                raise problems.invalid(f"metadata_pair: is NAME:VALUE, and NAME one of {', '.join(lists.INDEXED)}.")
            made.append((name, value))
    return tuple(made)


def elsewhere(query: Any, *folders: str) -> bool:
    """Whether a query asks for what no message here is: unread, starred, or in another folder."""
    return query.unread or query.starred or (query.in_ != "" and query.in_.upper() not in folders)


async def listed(call: Call) -> Page:
    query: Filter = call.query
    if elsewhere(query, SENT):
        return Page([])
    asked = asked_of(query, call.grant_id).with_(
        since=float(query.received_after + 1) if query.received_after is not None else 0.0,
        until=float(query.received_before) if query.received_before is not None else lists.ENDLESS,
        before=cursors.read(query.page_token, tuple[float, str]) if query.page_token else None,
    )
    found = await call.services.store.list_messages(asked, query.limit)
    if query.fields == "raw_mime" and not call.services.settings.admin.keep_messages:
        raise problems.invalid(NO_MIME)
    items = [chosen(await whole(call, sent, query.fields, listed=True), query.select) for sent in found.items]
    return Page(items, cursors.write(found.after) if found.after else None)


async def whole(call: Call, sent: Sent, fields: Fields, *, listed: bool = False) -> Message:
    """The message, with its text where that is kept; not of a large one that is `listed`. Raises 400 for a raw message that
    is not there, if only that was asked for."""
    raw = None if listed and sent.size > LISTED else await call.services.store.kept_message(sent.message_id)
    made = of_sent(sent, fields)
    if raw is not None:
        return await asyncio.to_thread(with_text, made, raw, fields)
    if fields == "raw_mime":
        if not listed:
            raise problems.invalid(NO_MIME)
        return Message(id=made.id, grant_id=made.grant_id)
    return made


async def find(call: Call) -> Message | dict[str, Any]:
    """By our id, by our id of an answer, or by a Message-ID with or without angle brackets."""
    query: Shape = call.query
    known, name = call.services.store, call.path("message_id")
    sent = await known.sent(name)
    if sent is not None and not call.sees(sent.grant_id):
        sent = None
    if sent is None and (answer := await known.answer(name, call.grant_id)) is not None:
        if query.fields == "raw_mime":
            raise problems.invalid(NO_MIME)
        return chosen(of_answer(answer, query.fields), query.select)
    if sent is None and "@" in name:
        sent = await known.find_sent([name.strip().removeprefix("<").removesuffix(">")], call.grant_id)
    if sent is None:
        raise problems.missing("message")
    return chosen(await whole(call, sent, query.fields), query.select)


ID = "0pb1h6n4s8q2k0v3m5ag"
EXAMPLE: dict[str, Any] = {
    "id": ID, "grant_id": "sales", "object": "message", "thread_id": ID, "subject": "Your offer",
    "from": [{"email": "ann@example.com", "name": ""}], "to": [{"email": "bob@example.org", "name": ""}], "cc": [],
    "bcc": [], "reply_to": [], "date": 1767225600, "created_at": 1767225600, "unread": False, "starred": False,
    "folders": ["SENT"], "snippet": "", "metadata": {}, "internet_message_id": "offer-1@example.com",
}  # fmt: skip
PATH = "/v3/grants/{grant_id}/messages"

ROUTES = (
    Route(
        "GET", PATH, "read", listed, "List messages", query=Filter, answer=list[Message], shown=EXAMPLE,
        description="What was sent, newest first. A page may have fewer than `limit`, and goes on all the same while there "
        "is a `next_cursor`. Answers are in their threads, and can be found by their ids.",
    ),
    Route(
        "GET", f"{PATH}/{{message_id}}", "read", find, "Find a message", query=Shape, answer=Message, shown=EXAMPLE,
        description="By its id, by the id that `thread.replied` has of an answer, or by a Message-ID.",
    ),
)  # fmt: skip
