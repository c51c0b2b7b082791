"""Sending a message, as Nylas' clients do it.

Owns: the routes, and which call is the same as another. Leaves to others: how a message is described (`bodies`), what it
comes to (`composition`), sending it once (`repeats`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from relay import event_loop
from relay.config import Grant
from relay.core import domains
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.routing import Route
from tracking_http.api.v3 import bodies, composition, repeats
from tracking_http.api.v3.bodies import Described, Octets, Person
from tracking_http.api.v3.composition import Made, Shown

PYTHON_SDK = "X-Nylas-API-Wrapper"  # "python": it does not decode what a file part brings as text


class Query(msgspec.Struct, frozen=True, kw_only=True):
    type: Annotated[str, Meta(description="`mime`: the part `mime` is a whole message.")] = ""
    fields: Annotated[str, Meta(description="`include_headers` or `include_basic_headers`.")] = ""


class FromDomain(Described, frozen=True, kw_only=True):
    """A message of a domain: its `from` is one address."""

    from_: Person  # type: ignore[assignment]


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
    grant = composition.grant_of(call, sender.email)
    plain = msgspec.convert(msgspec.to_builtins(described) | {"from": [msgspec.to_builtins(sender)]}, Described)
    return await message(call, grant, plain, files or [])


async def message(
    call: Call, grant: Grant, described: Described, files: Sequence[Octets], *, key: str | None = None
) -> Answer:
    """A message that is described. Also for what else sends one, which may have a `key` of its own by which it is sent
    once."""
    repeats.door(call)
    if call.request.headers.get(PYTHON_SDK) == "python":
        files = [await asyncio.to_thread(bodies.undone, file) for file in files]
    size = sum(len(file.content) for file in files) + len(described.body or "")

    def digest() -> str:
        found = hashlib.blake2b(msgspec.json.encode(bodies.fields_of(described)), digest_size=32)
        for file in files:
            found.update(msgspec.json.encode(file.about) + hashlib.blake2b(file.content).digest())
        return found.hexdigest()

    async def make(message_id: str, at: float) -> Made:
        return await composition.made(call, grant, described, files, message_id, at)

    return await repeats.once(
        call, grant, make, digest, large=size > event_loop.LARGEST, send_at=described.send_at, key=key
    )


async def of_mime(call: Call, grant: Grant) -> Answer:
    """A whole message, as it is: its control fields are obeyed, its Bcc is for the envelope only."""
    repeats.door(call)
    raw = await bodies.mime(call)

    async def make(message_id: str, at: float) -> Made:
        return await asyncio.to_thread(composition.read_mime, call, grant, raw, message_id, at)

    return await repeats.once(call, grant, make, lambda: hashlib.blake2b(raw).hexdigest(), large=True, send_at=None)


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
