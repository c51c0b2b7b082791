"""Sending a message, as Nylas' clients do it.

Owns: what their fields come to (sender, tracking, answer to what), calls that are repeated (Idempotency-Key), what an
answer shows. Leaves to others: how a message is described (`bodies`), its bytes (`core.compose`), the way that it goes
(`relay.submitting`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay import config, event_loop, submitting
from relay.config import Grant
from relay.core import addresses, compose, domains, headers, identifiers, schedules
from relay.core.model import Submission
from relay.outbound import plans
from relay.store import Request, Schedule
from tracking_http.api import calls, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.problems import Problem
from tracking_http.api.routing import Route
from tracking_http.api.v3 import bodies
from tracking_http.api.v3.bodies import Described, Octets, Person

MAX_KEY = 256  # characters of an Idempotency-Key
PYTHON_SDK = "X-Nylas-API-Wrapper"  # "python": it does not decode what a file part brings as text


class Query(msgspec.Struct, frozen=True, kw_only=True):
    type: Annotated[str, Meta(description="`mime`: the part `mime` is a whole message.")] = ""
    fields: Annotated[str, Meta(description="`include_headers` or `include_basic_headers`.")] = ""


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
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    headers: list[bodies.Header] | msgspec.UnsetType = msgspec.UNSET
    schedule_id: str | msgspec.UnsetType = msgspec.UNSET
    send_at: int | msgspec.UnsetType = msgspec.UNSET


class FromDomain(Described, frozen=True, kw_only=True):
    """A message of a domain: its `from` is one address."""

    from_: Person  # type: ignore[assignment]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent, and what is said of it."""

    submission: Submission
    shown: Shown


# -- the routes' handlers ----------------------------------------------------------------------------------------------


async def send(call: Call) -> Answer:
    assert call.grant
    if call.query.type == "mime":
        return await of_mime(call, call.grant)
    described, files = await bodies.read(call, Described)
    return await message(call, call.grant, described, files or [])


async def send_from_domain(call: Call) -> Answer:
    described, files = await bodies.read(call, FromDomain)
    sender = described.from_
    domain = domains.spelt(call.path("domain"))
    if domains.spelt(sender.email.rpartition("@")[2]) != domain:
        raise problems.invalid(f"from.email: is no address of {domain}.")
    grant = grant_of(call, sender.email)
    plain = msgspec.convert(msgspec.to_builtins(described) | {"from": [msgspec.to_builtins(sender)]}, Described)
    return await message(call, grant, plain, files or [])


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


async def message(
    call: Call, grant: Grant, described: Described, files: Sequence[Octets], *, key: str | None = None
) -> Answer:
    """A message that is described. Also for what else sends one, which may have a `key` of its own by which it is sent
    once."""
    door(call)
    if call.request.headers.get(PYTHON_SDK) == "python":
        files = [await asyncio.to_thread(bodies.undone, file) for file in files]
    size = sum(len(file.content) for file in files) + len(described.body or "")

    def digest() -> str:
        found = hashlib.blake2b(msgspec.json.encode(bodies.fields_of(described)), digest_size=32)
        for file in files:
            found.update(msgspec.json.encode(file.about) + hashlib.blake2b(file.content).digest())
        return found.hexdigest()

    async def make(message_id: str, at: float) -> Made:
        return await made(call, grant, described, files, message_id, at)

    return await once(call, grant, make, digest, large=size > event_loop.LARGEST, send_at=described.send_at, key=key)


async def of_mime(call: Call, grant: Grant) -> Answer:
    """A whole message, as it is: its control fields are obeyed, its Bcc is for the envelope only."""
    door(call)
    raw = await bodies.mime(call)

    async def make(message_id: str, at: float) -> Made:
        return await asyncio.to_thread(read_mime, call, grant, raw, message_id, at)

    return await once(call, grant, make, lambda: hashlib.blake2b(raw).hexdigest(), large=True, send_at=None)


def door(call: Call) -> submitting.Submitting:
    found = call.services.submitting
    if found is None:
        raise Problem(503, "", "Nothing can be sent here.")
    if found.refusal:
        raise Problem(501, "", f"{found.refusal.text.partition(' ')[2]}.")
    return found


# -- what is sent ------------------------------------------------------------------------------------------------------


async def made(
    call: Call, grant: Grant, described: Described, files: Sequence[Octets], message_id: str, at: float
) -> Made:
    """The message composed. Its Message-ID is made of `message_id`, so that a repeated call makes the same bytes."""
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
    return Made(submission=submission(call, written.content, written.reverse_path, written.recipients, written.options, at), shown=shown)  # fmt: skip


def read_mime(call: Call, grant: Grant, raw: bytes, message_id: str, at: float) -> Made:
    content = b"\r\n".join(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
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
    utf8 = () if content[: head.end].isascii() and all(map(str.isascii, recipients)) else ("SMTPUTF8",)
    date = head.get("date")
    try:
        when = int(parsedate_to_datetime(date).timestamp()) if date else int(at)
    except (ValueError, TypeError, OverflowError):
        when = int(at)
    shown = Shown(
        id=message_id, grant_id=grant.id, subject=head.get("subject"), from_=people["from"], to=people["to"],
        cc=people["cc"], bcc=people["bcc"], date=max(0, when), headers=headers_of(call, content),
    )  # fmt: skip
    return Made(submission=submission(call, content, author, recipients, (*eight, *utf8), at), shown=shown)


def submission(
    call: Call, content: bytes, author: str, recipients: Sequence[str], options: Sequence[str], at: float
) -> Submission:
    return submitting.submission(content, author, recipients, options, peer=call.request.remote or "", at=at)


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
    """In-Reply-To and References of an answer to that message: our id, or a Message-ID."""
    if not given:
        return "", ()
    found = await call.services.store.sent(given) if "@" not in given else None
    if found and found.grant_id == grant.id and found.internet_message_id:
        return found.internet_message_id, compose.answering(found.internet_message_id, found.references)
    if "@" in given:
        if any(c.isspace() or c < " " for c in given.strip()):
            raise problems.invalid("reply_to_message_id: is no Message-ID.")
        identifier = identifiers.spelt(given.strip().removeprefix("<").removesuffix(">"))
        return identifier, (identifier,)
    raise problems.missing("message to reply to")


BASIC = ("message-id", "in-reply-to", "references")


def headers_of(call: Call, content: bytes) -> list[bodies.Header] | msgspec.UnsetType:
    if call.query is None or call.query.fields not in ("include_headers", "include_basic_headers"):
        return msgspec.UNSET
    head = headers.read(content)
    return [
        bodies.Header(name=name, value=head.text(field))
        for field in head.fields
        if not (name := bytes(head.raw[field.start : field.end]).partition(b":")[0].decode("ascii", "replace").strip())
        .lower().startswith(("x-track", "bcc"))
        and (call.query.fields == "include_headers" or name.lower() in BASIC)
    ]  # fmt: skip


# -- once --------------------------------------------------------------------------------------------------------------

UNDER_WAY: set[str] = set()  # the keys of the calls that this process is busy with


async def once(
    call: Call,
    grant: Grant,
    make: Callable[[str, float], Awaitable[Made]],
    digest: Callable[[], str],
    *,
    large: bool,
    send_at: int | None,
    key: str | None = None,
) -> Answer:
    """Sends what `make` makes. With an Idempotency-Key, a repeated call gets the first one's answer."""
    now = time.time()
    key = key or call.request.headers.get("Idempotency-Key")
    message_id = door(call).new_id()
    if key is None:
        return answer(grant, await sent(call, grant, await make(message_id, now), None, send_at=send_at))
    if not 0 < len(key) <= MAX_KEY or not calls.clean(key):
        raise Problem(400, "api.invalid_idempotency_key", f"Idempotency-Key: is 1 to {MAX_KEY} characters.")
    found = hashlib.blake2b(f"{call.who.name}\0{grant.id}\0{call.request.path}\0{key}".encode(), digest_size=32)
    name = found.hexdigest()
    if name in UNDER_WAY:
        raise concurrent()
    UNDER_WAY.add(name)
    try:
        summed = await asyncio.to_thread(digest) if large else digest()
        request = Request(name, summed, message_id, now)
        first = await make(message_id, now)  # what can't be sent begins nothing
        request = request.with_(answer=msgspec.json.encode(first.shown).decode())
        known = await call.services.store.begin_request(request, now - submitting.REMEMBERED)
        if known is None:
            return answer(grant, await sent(call, grant, first, request, send_at=send_at))
        if known.digest != summed:
            raise Problem(409, "api.invalid_idempotent_request", "Another message was sent with this Idempotency-Key.")
        if known.state == "answered":
            return remembered(grant, known.answer)
        again = await make(known.message_id, known.at)
        return answer(grant, await sent(call, grant, again, known, send_at=send_at, resumed=True))
    finally:
        UNDER_WAY.discard(name)


def concurrent() -> Problem:
    return Problem(409, "api.concurrent_idempotent_request", "A call with this Idempotency-Key is under way.")


async def sent(
    call: Call, grant: Grant, what: Made, request: Request | None, *, send_at: int | None, resumed: bool = False
) -> Shown:
    """Hands it over, and says what came of it. Raises what a refusal is answered with."""
    store = call.services.store
    if send_at is not None:
        shown = await later(call, grant, what, send_at)
    else:
        way = door(call)
        if resumed and request:
            result = await way.resume(what.submission, request)
        else:
            result = await way.submit(what.submission, what.shown.id, request)
        match result:
            case submitting.Refused(_, reply):
                if request and reply.code >= 500:
                    problem = refusal(reply.code, reply.text)
                    said = {"status": problem.status, "message": problem.message, "error": problem.provider_error}
                    await store.settle_request(
                        request.with_(state="answered", answer=msgspec.json.encode({"refused": said}).decode())
                    )
                elif request:
                    await store.drop_request(request.request_key)
                raise refusal(reply.code, reply.text)
            case submitting.Accepted():
                known = await store.sent(what.shown.id)
                shown = msgspec.structs.replace(what.shown, thread_id=known.thread_id if known else what.shown.id)
    if request:
        said_of_it = msgspec.json.encode(shown).decode()
        await store.settle_request(request.with_(state="answered", answer=said_of_it))
    return shown


async def later(call: Call, grant: Grant, what: Made, send_at: int) -> Shown:
    from relay import schedules as keeping

    now = time.time()
    wrong = schedules.refusal(send_at, now)
    if wrong:
        raise problems.invalid(wrong)
    # Made of the message's id: a call that is repeated after a crash schedules it once.
    schedule_id = what.shown.id
    shown = msgspec.structs.replace(what.shown, schedule_id=schedule_id, send_at=send_at)
    told = ("from", "to", "cc", "bcc", "reply_to", "subject", "snippet", "attachments")
    said = msgspec.to_builtins(shown)
    fields = {name: said[name] for name in told} | {"schedule_id": schedule_id, "send_at": send_at}
    await keeping.add(
        call.services.store,
        Schedule(schedule_id, grant.id, what.shown.id, float(send_at), now, fields),
        what.submission,
    )
    return shown


def refusal(code: int, text: str) -> Problem:
    """The upstream's refusal, or ours, as an error: for good 422; for now 504 where no server answered, else 503."""
    error = {"error": f"{code} {text}", "code": code, "message": text}
    status = 422 if code >= 500 else 504 if text.startswith("4.4.") else 503
    retry = {} if status == 422 else {"Retry-After": "60"}
    return Problem(
        status, "provider_error", f"The message was not sent: {code} {text}", headers=retry, provider_error=error
    )


def answer(grant: Grant, shown: Shown) -> Answer:
    return Answer(shown, beside={"grant_id": grant.id})


def remembered(grant: Grant, text: str) -> Answer:
    found = msgspec.json.decode(text)
    if "refused" in found:
        said = found["refused"]
        raise Problem(said["status"], "provider_error", said["message"], provider_error=said["error"])
    return Answer(found, beside={"grant_id": grant.id})


PERSON = {"email": "bob@example.org", "name": "Bob"}
BODY: dict[str, Any] = {
    "to": [PERSON], "subject": "Hello", "body": "<p>Hello Bob</p>",
    "tracking_options": {"opens": True, "links": True, "thread_replies": True, "label": "hello"},
}  # fmt: skip
EXAMPLE: dict[str, Any] = {
    "id": "06i8e5rl2g8o3k7v0l2g", "grant_id": "sales", "object": "message", "thread_id": "06i8e5rl2g8o3k7v0l2g",
    "subject": "Hello", "body": "<p>Hello Bob</p>", "snippet": "Hello Bob", "from": [{"email": "sales@example.com"}],
    "to": [PERSON], "date": 1770000000,
}  # fmt: skip
READS = {problems.JSON: Described, bodies.MULTIPART: bodies.IN_PARTS}
MOST = 70_000_000  # octets: what SMTP takes as well, and its base64
ANSWERS = {
    409: "This Idempotency-Key was used for another message, or its call is under way.",
    422: "The upstream refused the message for good; `provider_error` has its code and words.",
    501: 'With [smtp] auth = "upstream" there is no login for mail that comes by API.',
    503: "Not now: the upstream puts it off, or it can't be kept.",
    504: "The upstream can't be reached.",
}
ABOUT = """What `tracking_options` leaves out is off; without it, the rules and defaults of relay.toml decide. With an
`Idempotency-Key` a call may be repeated for an hour: the message is sent once. With `?type=mime` the part `mime` is the
message, and is sent as it is. `send_at` sends it later."""

ROUTES = (
    Route(
        "POST", "/v3/grants/{grant_id}/messages/send", "send", send, "Send a message", description=ABOUT, reads=READS,
        query=Query, answer=Shown, answers=ANSWERS, max_body=MOST, example=BODY, shown=EXAMPLE,
    ),
    Route(
        "POST", "/v3/domains/{domain}/messages/send", "send", send_from_domain, "Send a message of a domain",
        description="`from` is one address of the domain, and an object.",
        reads={problems.JSON: FromDomain, bodies.MULTIPART: bodies.IN_PARTS}, query=Query, answer=Shown, answers=ANSWERS,
        max_body=MOST, example={**BODY, "from": {"email": "sales@example.com"}}, shown=EXAMPLE,
    ),
)  # fmt: skip
