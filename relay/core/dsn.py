"""A failure or a delay -> the report to the sender (RFC 3464), as the bytes of a message.

Owns: the form of reports, and who wants which one (RFC 3461 NOTIFY, RET, ENVID, ORCPT; RFC 6533 for UTF-8 addresses).
Leaves to others: when something has failed (`core.queue`), and sending (`spool`): from the null reverse-path, never to
it."""

from __future__ import annotations

import email.utils
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from relay.core import envelopes, headers
from relay.core.model import Recipient

NAMES = uuid.UUID("6f1a7f1e-0c5b-5d0e-9d9c-7a6d5c0e4b21")  # of events that are seen in mail
Action = Literal["failed", "delayed", "relayed"]
LONGEST_HEADERS = 65_536  # octets of the original's header section that are returned
LONGEST_SUBJECT = 200  # characters
EXPIRED = "4.4.7"  # RFC 3463: delivery time expired
LONGEST_ORIGINAL = 1_000_000  # octets of an original that is returned whole (RET=FULL)
TEXTS: dict[Action, tuple[str, str]] = {
    "failed": (
        "Undelivered mail returned to sender",
        "Your message could not be delivered to the recipients below. It will not be tried again.",
    ),
    "delayed": (
        "Your mail is delayed",
        "Your message could not be delivered to the recipients below yet. It will be retried until {until}.\r\n"
        "You do not need to send it again.",
    ),
    "relayed": (
        "Your mail was relayed",
        "Your message was relayed to the server below, which does not confirm delivery. You may hear nothing more\r\n"
        "about it.",
    ),
}
KEYWORDS: dict[Action, str] = {"failed": "FAILURE", "delayed": "DELAY", "relayed": "SUCCESS"}


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to one recipient: `status` is an enhanced status code (RFC 3463), `diagnostic` the server's reply
    ("550 5.1.1 No such user") or "", `remote` the host that gave it."""

    recipient: Recipient
    action: Action
    status: str
    diagnostic: str = ""
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Original:
    """The message that the report is about: its bytes as they were sent, its MAIL options, when it came in."""

    reverse_path: str
    content: bytes
    options: tuple[str, ...]
    arrived_at: float


@dataclass(frozen=True, slots=True)
class Made:
    """What is particular to one report: who makes it and from which address, when, its Message-ID without brackets, and
    a boundary that occurs nowhere in the original (such as 128 random bits in hexadecimal)."""

    hostname: str
    sender: str
    at: float
    message_id: str
    boundary: str
    until: float = 0.0  # of a delay: when the last attempt will be made


def event_id(message_id: str, kind: str, identity: str, recipient: str) -> str:
    """The id of the event that a report is about. It is the same for whoever makes the report and whoever finds it in a
    mailbox, by its Message-ID (`identity`), so the event is written once."""
    return str(uuid.uuid5(NAMES, "\n".join((message_id, kind, identity, recipient.lower()))))


def wanted(recipient: Recipient, action: Action) -> bool:
    """Does the sender want this report about that recipient? Without NOTIFY (RFC 3461 4.1): failures and delays.
    "relayed" is what SUCCESS becomes if the next server has no DSN (5.2.2)."""
    keyword = KEYWORDS[action]
    for option in recipient.options:
        name, _, value = option.partition("=")
        if name.upper() == "NOTIFY":
            return keyword in value.upper().split(",")
    return action != "relayed"


def render(original: Original, notices: Sequence[Notice], made: Made) -> bytes:
    """The report, with CRLF line endings. All notices have the same action. It has octets above 127 only if the
    original's header fields or an address do."""
    action = notices[0].action
    international = any(not n.recipient.address.isascii() for n in notices)
    parts = [
        _text(original, notices, made),
        _status(original, notices, made, international),
        _returned(original, action),
    ]
    subject, _ = TEXTS[action]
    eight = any(not part.isascii() for part in parts)
    head = [
        f"From: Mail Delivery System <{clean(made.sender)}>",
        f"To: <{clean(original.reverse_path)}>",
        f"Subject: {subject}",
        f"Date: {email.utils.formatdate(made.at)}",
        f"Message-ID: <{made.message_id}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 5; RFC 3464 2
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{made.boundary}"',
        f"Content-Transfer-Encoding: {'8bit' if eight else '7bit'}",
    ]
    mark = b"\r\n--" + made.boundary.encode()
    body = b"".join(mark + b"\r\n" + part for part in parts) + mark + b"--\r\n"
    return "\r\n".join(head).encode() + b"\r\n" + body


def _text(original: Original, notices: Sequence[Notice], made: Made) -> bytes:
    """For a person: which message, which recipients, why."""
    _, sentence = TEXTS[notices[0].action]
    until = email.utils.formatdate(made.until) if made.until else ""
    lines = [f"This is the mail system at {clean(made.hostname)}.", "", *sentence.format(until=until).split("\r\n"), ""]
    subject = clean(headers.read(envelopes.header_section(original.content)[:LONGEST_HEADERS]).get("subject"))
    lines += [f"Subject: {subject[:LONGEST_SUBJECT]}"] if subject else []
    lines += [f"Sent:    {email.utils.formatdate(original.arrived_at)}", ""]
    for notice in notices:
        # Not "said": where nobody could be reached the words are ours.
        where = f"At {clean(notice.remote)}: " if notice.remote and notice.diagnostic else ""
        lines += [f"<{clean(notice.recipient.address)}>", f"    {where}{clean(notice.diagnostic) or notice.status}"]
        if notice.status == EXPIRED:
            lines += [f"    This was the last answer, after attempts over {span(made.at - original.arrived_at)}."]
        lines += [""]
    text = "\r\n".join(lines)
    charset, encoding = ("us-ascii", "7bit") if text.isascii() else ("utf-8", "8bit")
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return (head + "Content-Description: Notification\r\n\r\n" + text).encode()


def _status(original: Original, notices: Sequence[Notice], made: Made, international: bool) -> bytes:
    """RFC 3464 2.2 and 2.3; with an address in UTF-8 it is RFC 6533's type, which needs 8bit."""
    kind = "global-delivery-status" if international else "delivery-status"
    groups = []
    first = [f"Reporting-MTA: dns; {clean(made.hostname)}"]
    envid = next((o.partition("=")[2] for o in original.options if o.upper().startswith("ENVID=")), "")
    if envid:
        first.append(f"Original-Envelope-Id: {clean(unxtext(envid))}")
    first.append(f"Arrival-Date: {email.utils.formatdate(original.arrived_at)}")
    groups.append(first)
    for notice in notices:
        lines = []
        orcpt = next((o.partition("=")[2] for o in notice.recipient.options if o.upper().startswith("ORCPT=")), "")
        if ";" in orcpt:
            form, _, address = orcpt.partition(";")
            lines.append(f"Original-Recipient: {clean(form)}; {clean(unxtext(address))}")
        form = "rfc822" if notice.recipient.address.isascii() else "utf-8"
        lines += [
            f"Final-Recipient: {form}; {clean(notice.recipient.address)}",
            f"Action: {notice.action}",
            f"Status: {notice.status}",
        ]
        if notice.remote:
            lines.append(f"Remote-MTA: dns; {clean(notice.remote)}")
        if notice.diagnostic:
            lines.append(f"Diagnostic-Code: smtp; {clean(notice.diagnostic)}")
        if notice.action == "delayed" and made.until:
            lines.append(f"Will-Retry-Until: {email.utils.formatdate(made.until)}")
        groups.append(lines)
    text = "\r\n\r\n".join("\r\n".join(group) for group in groups) + "\r\n"
    encoding = "7bit" if text.isascii() else "8bit"
    head = f"Content-Type: message/{kind}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return (head + "Content-Description: Delivery report\r\n\r\n" + text).encode()


def _returned(original: Original, action: Action) -> bytes:
    """The original: the whole message for a failure with RET=FULL (RFC 3461 4.3) unless it is large, or else its header
    section (RFC 6522 4)."""
    full = action == "failed" and any(option.upper() == "RET=FULL" for option in original.options)
    if full and len(original.content) <= LONGEST_ORIGINAL:
        kind, text = "message/rfc822", original.content
    else:
        kind, text = "text/rfc822-headers", envelopes.header_section(original.content)
        if len(text) > LONGEST_HEADERS:
            text = text[: text.rfind(b"\r\n", 0, LONGEST_HEADERS) + 2]
    if not text.isascii():
        if kind == "text/rfc822-headers" and _utf8(text):
            kind = "message/global-headers"  # RFC 6533 6.1
        elif kind == "message/rfc822" and not envelopes.header_section(text).isascii():
            kind = "message/global"
    encoding = "7bit" if text.isascii() else "8bit"
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return (head + "Content-Description: Undelivered message\r\n\r\n").encode() + text


def _utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


def unxtext(text: str) -> str:
    """xtext (RFC 3461 4), decoded; anything else stays as it is."""
    out, at = "", 0
    while at < len(text):
        pair = text[at + 1 : at + 3]
        if text[at] == "+" and len(pair) == 2 and all(c in "0123456789ABCDEF" for c in pair):
            out += chr(int(pair, 16))
            at += 3
        else:
            out += text[at]
            at += 1
    return out


def clean(text: str) -> str:
    """The text without control characters and lone surrogates, so that it can't become a line of its own."""
    return "".join(
        "?" if ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 or c in "\u2028\u2029" else c
        for c in text
    )
