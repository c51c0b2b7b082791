"""What a message comes to that Nylas' clients describe, or bring whole: the submission, and what is shown of it.

Owns: its sender and whose mail that is, tracking, answer to what, what an answer shows. Leaves to others: how a message is
described (`bodies`), its bytes (`core.compose`), sending it (`sending`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from relay import config, submitting
from relay.config import Grant
from relay.core import addresses, compose, domains, headers, identifiers, octets, threads
from relay.core.model import Submission
from relay.outbound import plans
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.problems import Problem
from tracking_http.api.v3 import bodies, messages
from tracking_http.api.v3.bodies import Described, Octets, Person


class Attached(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    grant_id: str
    filename: str = ""
    content_type: str = ""
    size: int = 0
    content_id: str = ""
    content_disposition: str = ""
    is_inline: bool = False


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The message as it was submitted, without what tracking adds."""

    id: str
    grant_id: str
    object: Literal["message"] = "message"
    thread_id: str = ""
    subject: str = ""
    body: str = ""
    snippet: str = ""
    from_: list[Person] = []
    to: list[Person] = []
    cc: list[Person] = []
    bcc: list[Person] = []
    reply_to: list[Person] = []
    attachments: list[Attached] = []
    date: int = 0
    starred: bool = False
    unread: bool = False
    folders: list[str] = []
    metadata: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    headers: list[bodies.Header] | msgspec.UnsetType = msgspec.UNSET
    schedule_id: str | msgspec.UnsetType = msgspec.UNSET
    send_at: int | msgspec.UnsetType = msgspec.UNSET


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, and what is said of it."""

    submission: Submission
    shown: Shown


def grant_of(call: Call, address: str) -> Grant:
    """Whose mail of that author is. Raises 403 where it is another's than the key's."""
    found = owner(call.services.settings, address)
    if not call.sees(found.id):
        raise Problem(403, "", f"This key may not send as {address}.")
    return found


def owner(settings: config.Settings, address: str) -> Grant:
    """As `outbound` has it."""
    default = next((grant for grant in settings.grants if grant.id == "default"), Grant("default"))
    return next((grant for grant in settings.grants if addresses.matches(address, grant.addresses)), default)


async def made(
    call: Call, grant: Grant, described: Described, files: Sequence[Octets], message_id: str, at: float
) -> Made:
    """The message composed. Its Message-ID is made of `message_id`, so that a repeated call makes the same bytes."""
    for name in ("template", "signature_id"):
        if getattr(described, name) is not None:
            raise Problem(501, "", f"{name}: there is none here; put its text into the body.")
    sender = sender_of(call, grant, described)
    in_reply_to, references = await answered(call, grant, described.reply_to_message_id)
    plain = bool(described.is_plaintext)
    body = described.body or ""
    try:
        composed = compose.Message(
            sender=compose.Mailbox(sender.email, sender.name or ""),
            to=mailboxes(described.to),
            cc=mailboxes(described.cc),
            bcc=mailboxes(described.bcc),
            reply_to=mailboxes(described.reply_to),
            subject=described.subject or "",
            html=None if plain else body,
            plain=body if plain else None,
            attachments=tuple(attachment(file) for file in files),
            headers=tuple((header.name, header.value) for header in described.custom_headers or ()),
            control=control(call.services.settings, described),
            in_reply_to=in_reply_to,
            references=references,
            date=at,
            identifier=f"{message_id}@{compose.domain(sender.email)}",
        )
        written = await asyncio.to_thread(compose.write, composed, f"=_{message_id}")
    except compose.Unfit as wrong:
        raise problems.invalid(f"{wrong}.") from None
    limit(call, len(written.content))
    shown = Shown(
        id=message_id, grant_id=grant.id, subject=described.subject or "", body=body,
        snippet=bodies.snippet(body, plain=plain), from_=[sender], to=described.to or [], cc=described.cc or [],
        bcc=described.bcc or [], reply_to=described.reply_to or [], date=int(at), starred=bool(described.starred),
        attachments=[attached(n, grant, message_id, file) for n, file in enumerate(files)],
        metadata=described.metadata if described.metadata is not None else msgspec.UNSET,
        headers=headers_of(call, written.content),
    )  # fmt: skip
    return Made(submission=submission(call, written, at, described.metadata), shown=shown)


def read_mime(call: Call, grant: Grant, raw: bytes, message_id: str, at: float) -> Made:
    if (
        octets.line_feeds(raw) is None
    ):  # it would end a line at some readers: what stands behind it, a Bcc, were a field
        raise problems.invalid("mime: has a CR without LF. Lines end in CR LF, or in LF.")
    content = octets.as_crlf(raw)
    limit(call, len(content))
    head = headers.read(content)
    author = addresses.author(head).address
    if not author:
        raise problems.invalid("mime: has no From field with an address.")
    permitted(call, grant, author)
    recipients = [each for name in ("to", "cc", "bcc") for each in addresses.listed(head, name)]
    recipients = list({addresses.comparable(each): each for each in reversed(recipients)}.values())[::-1]
    if not recipients:
        raise problems.invalid("mime: names no recipient in To, Cc or Bcc.")
    people = {
        name: [Person(email=each) for each in addresses.listed(head, name)] for name in ("from", "to", "cc", "bcc")
    }
    eight = () if content.isascii() else ("BODY=8BITMIME",)
    utf8 = () if content[head.start : head.end].isascii() and all(map(str.isascii, recipients)) else ("SMTPUTF8",)
    date = head.get("date")
    try:
        when = int(parsedate_to_datetime(date).timestamp()) if date else int(at)
    except (ValueError, TypeError, OverflowError):
        when = int(at)
    shown = Shown(
        id=message_id, grant_id=grant.id, subject=head.get("subject"), from_=people["from"], to=people["to"],
        cc=people["cc"], bcc=people["bcc"], date=max(0, when), headers=headers_of(call, content),
    )  # fmt: skip
    written = compose.Composed(content, author, tuple(recipients), (*eight, *utf8))
    return Made(submission=submission(call, written, at), shown=shown)


def submission(
    call: Call, written: compose.Composed, at: float, metadata: Mapping[str, str] | None = None
) -> Submission:
    return submitting.submission(
        written.content, written.reverse_path, written.recipients, written.options, peer=call.request.remote or "", at=at,
        metadata=metadata or {},
    )  # fmt: skip


def limit(call: Call, size: int) -> None:
    most = call.services.settings.smtp.max_message_size
    if size > most:
        raise Problem(413, "", f"The message has {size} octets with its files; it may have {most}.")


def sender_of(call: Call, grant: Grant, described: Described) -> Person:
    given = described.from_ or ([Person(email=grant.email)] if grant.email else [])
    if len(given) != 1:
        raise problems.invalid(
            "from: one address is needed." if given else f"from: is needed, since the grant {grant.id} has no email."
        )
    permitted(call, grant, given[0].email)
    return given[0]


def permitted(call: Call, grant: Grant, address: str) -> None:
    """Raises 403 where mail of that author is another grant's."""
    if owner(call.services.settings, address).id != grant.id:
        raise Problem(403, "", f"The grant {grant.id} may not send as {address[:200]}.")


def mailboxes(given: Sequence[Person] | None) -> tuple[compose.Mailbox, ...]:
    return tuple(compose.Mailbox(each.email, each.name or "") for each in given or ())


def attachment(file: Octets) -> compose.Attachment:
    about = file.about
    return compose.Attachment(
        about.filename, file.content, about.content_type or "application/octet-stream", about.content_id or "",
        inline=bodies.inline(about),
    )  # fmt: skip


def attached(number: int, grant: Grant, message_id: str, file: Octets) -> Attached:
    about = file.about
    return Attached(
        id=f"{message_id}-{number}", grant_id=grant.id, filename=about.filename, content_type=about.content_type or "",
        size=len(file.content), content_id=about.content_id or "",
        content_disposition=about.content_disposition or "", is_inline=bodies.inline(about),
    )  # fmt: skip


def control(settings: config.Settings, described: Described) -> tuple[tuple[str, str], ...]:
    """The control field that says the same as `tracking_options`, or version 2's `tracking`."""
    name = "tracking_options" if described.tracking_options is not None else "tracking"
    options = described.tracking_options or described.tracking
    if options is None:
        return ()
    said = msgspec.to_builtins(options)
    if options.label is not None and options.payload is not None and options.label != options.payload:
        raise problems.invalid(f"{name}.payload: is another name of label, and contradicts it.")
    if options.domain_name is not None:
        if not (options.opens or options.links):
            raise problems.invalid(f"{name}.domain_name: needs opens or links.")
        domain = domains.spelt(options.domain_name.strip().removesuffix("."))
        urls = (settings.tracking.url, *map(plans.public_url, settings.tracking.domains))
        if domain not in [domains.of_url(url) for url in urls if url]:
            raise problems.invalid(f"{name}.domain_name: is no tracking host of this installation.")
        said["domain_name"] = domain

    return (("X-Track-Options", json.dumps(said)),)


async def answered(call: Call, grant: Grant, given: str | None) -> tuple[str, tuple[str, ...]]:
    """In-Reply-To and References of an answer to that message: our id, our id of somebody's answer, or a Message-ID."""
    if not given:
        return "", ()
    known, name = call.services.store, given.strip()
    if "@" not in name:
        sent = await known.sent(name)
        if sent and sent.grant_id == grant.id and sent.internet_message_id:
            return sent.internet_message_id, threads.ancestry(sent)
        answer = await known.answer(name, grant.id)
        if answer and answer.internet_message_id:
            return answer.internet_message_id, (*reversed(answer.references), answer.internet_message_id)
        raise problems.missing("message to reply to")
    if any(c.isspace() or c < " " for c in name):
        raise problems.invalid("reply_to_message_id: is no Message-ID.")
    identifier = identifiers.spelt(name.removeprefix("<").removesuffix(">"))
    sent = await known.find_sent([identifier], grant.id)
    earlier = [each for each in threads.ancestry(sent) if each != identifier] if sent else []
    return identifier, (*earlier, identifier)


def headers_of(call: Call, content: bytes) -> list[bodies.Header] | msgspec.UnsetType:
    if call.query is None or call.query.fields not in ("include_headers", "include_basic_headers"):
        return msgspec.UNSET
    head = headers.read(content)
    return [
        bodies.Header(name=name, value=head.text(field))
        for field in head.fields
        if not (name := bytes(head.raw[field.start : field.end]).partition(b":")[0].decode("ascii", "replace").strip())
        .lower().startswith(("x-track", "bcc"))
        and (call.query.fields == "include_headers" or name.lower() in messages.BASIC)
    ]  # fmt: skip
