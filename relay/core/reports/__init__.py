"""What does a message in the sender's mailbox say: an answer, an automatic one, a bounce, a delay, a complaint?

Owns: the kind of a message, and of a report what it says about whom. Leaves to others: which sent message it is about
(`threads`, the store, the mailbox reader) and what follows from it.

`reports.delivery` reads the parts that were made for programs (RFC 3464, RFC 5965), `reports.prose` the bounces that
only people were meant to read, `reports.automatic` tells an automatic answer from a person's.
For any bytes: a Report, never an exception; time is linear in the size, and of a text only the first part is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from relay.core import headers, identifiers, parts, threads
from relay.core.headers import Headers
from relay.core.parts import Part, charsets, transfer
from relay.core.reports import automatic, delivery, prose
from relay.core.reports.delivery import RecipientFields

Kind = Literal["reply", "auto_reply", "bounce", "delay", "complaint", "other"]

DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})  # RFC 3464, RFC 6533
ORIGINAL = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
# In a header section that lost its folds, or begins in the middle of one.
MESSAGE_ID = re.compile(rb"^message-id:(.{1,1000}(?:\n[ \t].{1,1000})?)", re.I | re.M)
LONGEST_TEXT = 65_536  # octets of a part's text that are read
LONGEST_STATUS = 262_144  # octets of a part made for programs that are read
LONGEST_HEADERS = 131_072  # octets of the returned message that are read


@dataclass(frozen=True, slots=True)
class Report:
    """`entries` are what a bounce, a delay or a complaint says, one for each recipient. `original_message_id` (no
    brackets) is the Message-ID of the message that came back, `original_references` the identifiers in its References,
    `envelope_id` the ENVID that it was sent with (RFC 3461). `references` are the identifiers that the message itself
    answers, likeliest first. `reason` says in words why it is of this kind, of a report the remote server's words."""

    kind: Kind
    entries: tuple[RecipientFields, ...] = ()
    original_message_id: str | None = None
    original_references: tuple[str, ...] = ()
    envelope_id: str = ""
    references: tuple[str, ...] = ()
    reason: str = ""

    @property
    def recipients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.recipient for entry in self.entries if entry.recipient))

    @property
    def status(self) -> str | None:
        return next((entry.status for entry in self.entries if entry.status), None)

    @property
    def smtp_code(self) -> int | None:
        return next((entry.smtp_code for entry in self.entries if entry.smtp_code), None)

    @property
    def action(self) -> str | None:
        return next((entry.action for entry in self.entries if entry.action), None)


@dataclass(frozen=True, slots=True)
class Inspected:
    """A message taken apart, as far as a report needs it."""

    raw: bytes
    head: Headers
    parts: tuple[Part, ...]
    references: tuple[str, ...] = field(default=())

    def body(self, part: Part, limit: int) -> bytes:
        """The decoded octets of a part, as far as they are read; those that can't be decoded as they stand."""
        cut = self.raw[part.start : min(part.end, part.start + limit * 2)]
        decoded = transfer.decode(cut, part.encoding)
        if decoded is None and part.encoding == "base64":  # cut, or sloppy: whole groups of four
            packed = bytes(c for c in cut if c in transfer.BASE64_ALPHABET)
            decoded = transfer.decode(packed[: len(packed) // 4 * 4], "base64")
        return (cut if decoded is None else decoded)[:limit]

    def text(self, part: Part) -> str:
        body = self.body(part, LONGEST_TEXT)
        charset = part.parameters.get("charset", "")
        if not charset and b"\x1b$" in body:  # unlabelled ISO-2022-JP, as many Japanese reports are
            charset = "iso-2022-jp"
        text = charsets.decode(body, charset or "utf-8")
        return body.decode("latin-1") if text is None else text


def read(raw: bytes) -> Report:
    """What the message says. Never raises, for any bytes."""
    head = headers.read(raw)
    scan = parts.scan(raw, head)
    if scan.reason == "limit_headers" and not scan.parts:
        return Report("other", reason="unreadable: more header fields than a message has")
    message = Inspected(raw, head, scan.parts, threads.references(head))
    report = from_parts(message) or from_prose(message)
    if report is not None:
        return replace(report, references=message.references)
    why = automatic.why(head, message.references)
    if why:
        return Report("auto_reply", references=message.references, reason=why)
    if message.references:
        field_name = "In-Reply-To" if head.first("in-reply-to") else "References"
        return Report("reply", references=message.references, reason=f"has {field_name}")
    if not head.fields:
        return Report("other", reason="unreadable: it has no header section")
    return Report("other", reason="it answers nothing and reports nothing")


def needs_body(head: Headers) -> bool:
    """Whether the header section alone does not say what the message is."""
    return head.get("content-type").lower().startswith("multipart/report") or prose.looks_automatic(head)


def from_parts(message: Inspected) -> Report | None:
    """What the parts made for programs say, where there are any."""
    for part in message.parts:
        if part.content_type in DELIVERY_STATUS:
            status = delivery.status(message.body(part, LONGEST_STATUS))
            if status.entries:
                return original(message, delivered(message, status))
        elif part.content_type == "message/feedback-report":
            feedback, entries = delivery.feedback(message.body(part, LONGEST_STATUS))
            kind: Kind = "other" if feedback in delivery.NOT_COMPLAINTS else "complaint"
            return original(message, Report(kind, entries, reason=f"feedback report: {feedback or 'no type'}"))
        elif part.content_type == "message/disposition-notification":
            return original(message, Report("other", reason="a disposition notification (RFC 8098)"))
    return None


def delivered(message: Inspected, status: delivery.Status) -> Report:
    """The report that a delivery status makes: its worst action decides."""
    actions = {entry.action for entry in status.entries}
    worst = next((action for action in ("failed", "delayed") if action in actions), "")
    if not worst:
        reason = f"a report of success: {', '.join(sorted(filter(None, actions)))}"
        return Report("other", status.entries, envelope_id=status.envelope_id, reason=reason)
    entries = tuple(entry for entry in status.entries if entry.action == worst)
    entries = prose.complete(entries, "\n".join(texts(message)))
    reason = next((entry.reason for entry in entries if entry.reason), "")
    return Report("bounce" if worst == "failed" else "delay", entries, envelope_id=status.envelope_id, reason=reason)


def from_prose(message: Inspected) -> Report | None:
    """What a report without a part for programs says: MTAs older than RFC 3464, and some that never read it."""
    if not prose.looks_automatic(message.head):
        return None
    text = "\n".join(texts(message))
    found = prose.read(message.head, text, "\n".join(returned(message)))
    if found is None:
        return None
    if found.outcome == "delivered":
        return Report("other", found.entries, reason="a report of success, in words")
    kind: Kind = "delay" if found.outcome == "delayed" else "bounce"
    reason = next((entry.reason for entry in found.entries if entry.reason), "")
    report = original(message, Report(kind, found.entries, reason=reason or found.sentence))
    if report.original_message_id is None and found.original:
        report = quoted(report, found.original.encode("utf-8", "surrogateescape"))
    return report


def texts(message: Inspected) -> list[str]:
    """The report's own words: the first text, of an alternative the plain one. A message that declares parts and
    has none is read as it stands."""
    for part in message.parts:
        if plain(part) and part.disposition != "attachment":
            found = message.text(part)
            if found.strip():
                return [found]
    for part in message.parts:
        if part.content_type == "text/html" and part.disposition != "attachment":
            return [prose.plain(message.text(part))]
    if not any(part.content_type.startswith("text/") and part.end > part.start for part in message.parts):
        body = message.raw[message.head.body : message.head.body + LONGEST_TEXT]
        return [body.decode("utf-8", "replace")]
    return []


def returned(message: Inspected) -> list[str]:
    """The header sections of the message that came back, as text."""
    found = [message.body(part, LONGEST_HEADERS) for part in message.parts if part.content_type in ORIGINAL]
    return [body.lstrip(b"\r\n").decode("latin-1") for body in found]


def original(message: Inspected, report: Report) -> Report:
    """The report, with what the returned message says about itself."""
    further = [part for part in message.parts if plain(part)][1:]
    candidates = [part for part in message.parts if part.content_type in ORIGINAL] + further
    for part in candidates:
        report = quoted(report, message.body(part, LONGEST_HEADERS))
        if report.original_message_id:
            return report
    # Boundaries that do not match hide the returned message: the last Message-ID in the body is its own.
    tail = message.raw[max(message.head.body, len(message.raw) - LONGEST_HEADERS) :].replace(b"\r\n", b"\n")
    found = [m for m in MESSAGE_ID.finditer(tail) if any(c in m[1] for c in b"<")]
    ids = identifiers.listed(found[-1][1].decode("latin-1")) if found and not candidates else []
    return replace(report, original_message_id=ids[0]) if ids else report


def plain(part: Part) -> bool:
    return part.content_type.startswith("text/plain") and part.content_type[10:11] in ("", " ")


def quoted(report: Report, section: bytes) -> Report:
    """The report, with the identifiers of a returned header section."""
    section = section.lstrip(b"\r\n")
    head = headers.read(section)
    field_ = head.first("message-id") or head.first("x-original-message-id")
    own = identifiers.listed(head.text(field_))
    if not own and (match := MESSAGE_ID.search(section.replace(b"\r\n", b"\n").partition(b"\n\n")[0])):
        own = identifiers.listed(match[1].decode("latin-1"))
    if not own:
        return report
    references = tuple(identifiers.answered(head, "references"))[:100]
    return replace(report, original_message_id=own[0], original_references=references)
