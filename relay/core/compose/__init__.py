"""A message as somebody describes it -> its bytes (RFC 5322, RFC 2045), lines ending in CRLF.

Owns: the form of a message that was made here, and what is refused in a description: the sentence names the field.
`fields` has the header fields, `bodies` the MIME parts, `text` the text that stands beside HTML.
Leaves to others: how a description comes in (the APIs), what a message asks for (`instructions`), sending it.

Bcc is in the envelope only. Words and encodings are the standard library's (email.header, email.base64mime,
email.quoprimime). The fields are put together here, and not by its EmailMessage, whose policies (Python 3.11) can't be had
right at once:
- folding at 78, as policy.SMTP does, encodes words that are too long to be folded: In-Reply-To of a long identifier becomes
  =?utf-8?q?=3C…?=, List-Unsubscribe loses its URL, JSON in a field is no JSON any more; and each body with a line beyond 78
  becomes quoted-printable
- a policy with a width of 998 leaves these alone, and folds nothing: To of forty people is one line
- an address that is not ASCII becomes =?utf-8?q?j=C3=B6rg?=@…, which is none (RFC 2047 5)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email import utils

from relay.core import addresses
from relay.core.compose import bodies, fields, text
from relay.core.compose.bodies import Attachment
from relay.core.compose.fields import Mailbox, Unfit
from relay.core.model import Value

__all__ = ["Attachment", "Composed", "Mailbox", "Message", "Unfit", "text", "write"]

MAX_RECIPIENTS = 1000
MAX_REFERENCES = 50


class Message(Value, frozen=True):
    """`html` None makes a message of plain text; with `html`, `plain` None is made from it. `date` is in Unix seconds.
    `identifier` is the Message-ID's without brackets; `in_reply_to` and `references` are too. `headers` are further
    fields, `control` those of ours (X-Track-…), which never leave."""

    sender: Mailbox
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    html: str | None = None
    plain: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    control: tuple[tuple[str, str], ...] = ()
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    date: float = 0.0
    identifier: str = ""


class Composed(Value, frozen=True):
    """`recipients` are the envelope's, each once. `options` are MAIL's (RFC 6152, RFC 6531)."""

    content: bytes
    reverse_path: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]


def write(message: Message, boundary: str) -> Composed:
    """`boundary` is a word that stands in no part: a random one of letters and digits. Raises `Unfit`."""
    groups = {"from": (message.sender,), "to": message.to, "cc": message.cc, "bcc": message.bcc}
    spelt = {name: fields.checked(name, group) for name, group in groups.items()}
    reply_to = fields.checked("reply_to", message.reply_to)
    everybody = unique([*spelt["to"], *spelt["cc"], *spelt["bcc"]])
    if not everybody:
        raise Unfit("to", "a recipient is needed")
    if len(everybody) > MAX_RECIPIENTS:
        raise Unfit("to", f"there may be {MAX_RECIPIENTS:,} recipients with cc and bcc; there are {len(everybody):,}")
    lines = [*(fields.control(name, value) for name, value in message.control), fields.addresses("From", spelt["from"])]
    # RFC 5322 3.6.3: To may be absent. Where all are in Bcc, readers show this better than nothing.
    lines.append(
        fields.addresses("To", spelt["to"]) if spelt["to"] else "" if spelt["cc"] else "To: undisclosed-recipients:;"
    )
    lines.append(fields.addresses("Cc", spelt["cc"]))
    lines.append(fields.addresses("Reply-To", reply_to))
    lines.append(fields.unstructured("Subject", fields.clean("subject", message.subject)))
    date = datetime.fromtimestamp(message.date, UTC)
    lines.append(f"Date: {utils.format_datetime(date)}")
    lines.append(fields.identifiers("Message-ID", (fields.identifier("message_id", message.identifier),)))
    if message.in_reply_to:
        lines.append(fields.identifiers("In-Reply-To", (fields.identifier("in_reply_to", message.in_reply_to),)))
    references = [fields.identifier("references", each) for each in message.references]
    if len(references) > MAX_REFERENCES:  # the first, which names the thread, and the last
        references = [references[0], *references[1 - MAX_REFERENCES :]]
    lines.append(fields.identifiers("References", references))
    lines += fields.custom(message.headers)
    lines.append("MIME-Version: 1.0")
    head = "".join(f"{line}\r\n" for line in lines if line).encode()
    body = bodies.write(message.html, message.plain, message.attachments, boundary)
    content = head + body
    utf8 = not (head.isascii() and all(each.address.isascii() for each in everybody))
    options = (*(("BODY=8BITMIME",) if not content.isascii() else ()), *(("SMTPUTF8",) if utf8 else ()))
    return Composed(content, spelt["from"][0].address, tuple(each.address for each in everybody), options)


def unique(mailboxes: Sequence[Mailbox]) -> list[Mailbox]:
    """Each address once, the first as it is written."""
    found: dict[str, Mailbox] = {}
    for each in mailboxes:
        found.setdefault(addresses.comparable(each.address), each)
    return list(found.values())


def domain(address: str) -> str:
    """Where an identifier of its message belongs."""
    return fields.spelt("from", address).rpartition("@")[2]
