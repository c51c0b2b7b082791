"""How Unosend's clients describe a message.

Owns: the fields of `POST /v1/emails`, and what a message is made of them. Leaves to others: composing and sending it.

Unosend's older texts have `scheduled_for` for when it is to be sent, others `scheduled_at`: both are taken.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from relay.core import addresses
from relay.core.compose import Attachment, Mailbox
from tracking_http.api import problems

Addresses = str | list[str] | None
MAX_BATCH = 100


class File(msgspec.Struct, frozen=True, kw_only=True):
    """`content` is base64. One with a `content_id` is shown by the HTML (`cid:`)."""

    filename: str
    content: str
    content_type: str | None = None
    content_id: str | None = None


Word = Annotated[str, Meta(max_length=256)]


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    name: Word
    value: Word = ""


class Switches(msgspec.Struct, frozen=True, kw_only=True):
    open: bool = True
    click: bool = True


class Email(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An address may have a name: "Ann <ann@example.com>"."""

    from_: str
    to: str | list[str]
    subject: str
    html: str | None = None
    text: str | None = None
    cc: Addresses = None
    bcc: Addresses = None
    reply_to: Addresses = None
    headers: dict[str, str] | None = None
    attachments: Annotated[list[File], Meta(max_length=500)] | None = None
    tags: Annotated[list[Tag], Meta(max_length=50)] | Annotated[dict[Word, Word], Meta(max_length=50)] | None = None
    tracking: Switches | None = None
    scheduled_for: str | None = None
    scheduled_at: str | None = None


def mailboxes(field: str, given: Addresses) -> tuple[Mailbox, ...]:
    """Raises 400 for what is no address. (One string may have several, as a header field has.)"""
    found: list[Mailbox] = []
    for text in [given] if isinstance(given, str) else given or ():
        read = addresses.mailboxes(text)
        if not read:
            raise problems.invalid(f"{field}: {text[:100]!r} is no e-mail address.")
        found += [Mailbox(each.address, each.name) for each in read]
    return tuple(found)


def files(given: list[File] | None) -> tuple[Attachment, ...]:
    """Raises 400 for what is no base64."""
    found = []
    for number, file in enumerate(given or ()):
        try:
            content = base64.b64decode("".join(file.content.split()), validate=True)
        except (binascii.Error, ValueError):
            raise problems.invalid(f"attachments[{number}].content: is no base64.") from None
        identifier = file.content_id or ""
        kind = file.content_type or "application/octet-stream"
        found.append(Attachment(file.filename, content, kind, identifier, bool(identifier)))
    return tuple(found)


def tags(email: Email) -> dict[str, str]:
    if isinstance(email.tags, dict):
        return email.tags
    return {tag.name: tag.value for tag in email.tags or ()}


def due(email: Email) -> float | None:
    """When it is to be sent, in Unix seconds; None for now. Raises 400 for what is no time."""
    text = email.scheduled_for or email.scheduled_at
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise problems.invalid("scheduled_for: is no time of ISO 8601, such as 2026-01-31T12:00:00Z.") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
