"""Sending mail, as Unosend's clients do it: one message, or up to 100.

Owns: what their fields come to, and what an answer says. Leaves to others: the fields (`describing`), calls that are
repeated, and the way that a message goes (`v3.sending`).
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from relay.config import Grant
from relay.core import compose
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.problems import Problem
from tracking_http.api.routing import Route
from tracking_http.api.v1 import describing
from tracking_http.api.v1.describing import MAX_BATCH, Email
from tracking_http.api.v3 import bodies, composition, repeats, sending

LARGE = 100_000  # characters


class Sent(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    id: str
    from_: str
    to: list[str]
    subject: str
    status: str
    created_at: str
    scheduled_for: str | UnsetType = UNSET


class OfBatch(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One of a batch, as `Sent`; or the place of one that was not sent, and why."""

    id: str | UnsetType = UNSET
    from_: str | UnsetType = UNSET
    to: list[str] | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    scheduled_for: str | UnsetType = UNSET
    index: int | UnsetType = UNSET
    error: str | UnsetType = UNSET


async def send(call: Call) -> Any:
    """One message, or several."""
    if isinstance(call.body, list):
        return await send_batch(call)
    return await one(call, call.body)


async def send_batch(call: Call) -> Answer:
    """Each by itself: one that can't be sent keeps no other."""
    emails: list[Email] = call.body
    if not 0 < len(emails) <= MAX_BATCH:
        raise problems.invalid(f"The body: is a list of 1 to {MAX_BATCH} messages.")
    given = call.request.headers.get("Idempotency-Key")
    done: list[OfBatch] = []
    for index, email in enumerate(emails):
        try:
            sent = await one(call, email, f"{index} {given}" if given else None)
            done.append(OfBatch(**msgspec.structs.asdict(sent)))
        except Problem as problem:
            done.append(OfBatch(index=index, error=problem.message))
    count = sum(each.error is UNSET for each in done)
    return Answer(done, beside={"success_count": count, "error_count": len(done) - count})


async def one(call: Call, email: Email, key: str | None = None) -> Sent:
    sender = describing.mailboxes("from", email.from_)
    if len(sender) != 1:
        raise problems.invalid("from: one address is needed.")
    if not email.html and not email.text:
        raise problems.invalid("html: this or text is needed.")
    repeats.door(call)
    grant = composition.grant_of(call, sender[0].address)
    due = describing.due(email)

    async def make(message_id: str, at: float) -> composition.Made:
        return await made(call, grant, email, sender[0], message_id, due or at)

    answer = await repeats.once(
        call, grant, make, lambda: hashlib.blake2b(msgspec.json.encode(email)).hexdigest(),
        large=len(email.html or "") > LARGE or bool(email.attachments), send_at=int(due) if due else None, key=key,
    )  # fmt: skip
    return shown(email, answer.data if isinstance(answer.data, dict) else msgspec.to_builtins(answer.data))


def shown(email: Email, message: dict[str, Any]) -> Sent:
    at = message.get("send_at")
    return Sent(
        id=message["id"],
        from_=email.from_,
        to=[email.to] if isinstance(email.to, str) else email.to,
        subject=email.subject,
        status="scheduled" if at else "queued",
        created_at=iso(message["date"]),
        scheduled_for=iso(at) if at else UNSET,
    )


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def made(
    call: Call, grant: Grant, email: Email, sender: compose.Mailbox, message_id: str, at: float
) -> composition.Made:
    tracking = email.tracking or describing.Switches()
    control = [
        ("X-Track-Opens", "yes" if tracking.open else "no"), ("X-Track-Links", "yes" if tracking.click else "no"),
    ]  # fmt: skip
    groups = {name: describing.mailboxes(name, getattr(email, name)) for name in ("to", "cc", "bcc", "reply_to")}
    files = await asyncio.to_thread(describing.files, email.attachments)
    try:
        composed = compose.Message(
            sender=sender,
            to=groups["to"],
            cc=groups["cc"],
            bcc=groups["bcc"],
            reply_to=groups["reply_to"],
            subject=email.subject,
            html=email.html or None,
            plain=email.text or None,
            attachments=files,
            headers=tuple((email.headers or {}).items()),
            control=tuple(control),
            date=at,
            identifier=f"{message_id}@{compose.domain(sender.address)}",
        )
        written = await asyncio.to_thread(compose.write, composed, f"=_{message_id}")
    except compose.Unfit as wrong:
        raise problems.invalid(f"{wrong}.") from None
    composition.limit(call, len(written.content))
    people = {
        name: [bodies.Person(email=each.address, name=each.name or None) for each in group]
        for name, group in (groups | {"from_": (sender,)}).items()
    }
    body = email.html or email.text or ""
    said = composition.Shown(
        id=message_id, grant_id=grant.id, subject=email.subject, body=body, date=int(at),
        snippet=bodies.snippet(body, plain=not email.html), from_=people["from_"], to=people["to"],
        cc=people["cc"], bcc=people["bcc"], reply_to=people["reply_to"],
    )  # fmt: skip
    submission = composition.submission(call, written, at, describing.tags(email))
    return composition.Made(submission=submission, shown=said)


BODY: dict[str, Any] = {
    "from": "Sales <sales@example.com>", "to": ["bob@example.org"], "subject": "Hello", "html": "<p>Hello Bob</p>",
    "tracking": {"open": True, "click": True},
}  # fmt: skip
EXAMPLE: dict[str, Any] = {
    "id": "06i8e5rl2g8o3k7v0l2g", "from": BODY["from"], "to": BODY["to"], "subject": "Hello", "status": "queued",
    "created_at": "2026-02-02T02:40:00.000Z",
}  # fmt: skip
ABOUT = "Opens and clicks are tracked where `tracking` does not say otherwise. `scheduled_for` sends it later."

ROUTES = (
    Route(
        "POST", "/v1/emails", "send", send, "Send an email", description=ABOUT, body=Email | list[Email], answer=Sent | list[OfBatch],
        answers=sending.ANSWERS, max_body=sending.MOST, example=BODY, shown=EXAMPLE,
    ),
    Route(
        "POST", "/v1/emails/batch", "send", send_batch, "Send up to 100 emails", description=ABOUT, body=list[Email],
        answer=list[OfBatch], answers=sending.ANSWERS, max_body=sending.MOST, example=[BODY], shown=EXAMPLE,
    ),
)  # fmt: skip
