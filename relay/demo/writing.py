"""Messages that the demo writes: one that goes out through the relay, and the answers that come back.

Owns: their headers and text, and putting a reply into the sender's mailbox. Leaves to others: sending (`pages` does
it over SMTP, through the relay's own port) and reading the mailbox (the relay's mailbox role).
"""

from __future__ import annotations

import mailbox
import re
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, localtime, make_msgid
from pathlib import Path

from relay.core import addresses, domains, headers, identifiers
from relay.demo import display
from relay.demo.inbox import Received

LONGEST_SUBJECT = 500
MAX_RECIPIENTS = 20
DOMAIN = re.compile(r"(?<=@)[^\s<>,;\"()@]+")


class Unwritable(Exception):
    """The form makes no message; the text says what is needed."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the form says. `track` has some of "opens", "links", "thread_replies"."""

    sender: str
    to: str
    subject: str
    html: str
    track: frozenset[str]
    label: str = ""


def compose(draft: Draft) -> tuple[str, list[str], bytes]:
    """(sender, recipients, message) as a mail client submits them, with the control headers that ask for tracking."""
    of, to = in_a_labels(draft.sender), in_a_labels(draft.to)
    sender = addresses.specs(of)
    recipients = list(dict.fromkeys(addresses.specs(to)))
    if len(sender) != 1:
        raise Unwritable("From needs one address, for example mara@studio.example.")
    if not recipients or len(recipients) > MAX_RECIPIENTS:
        raise Unwritable(f"To needs an address, and at most {MAX_RECIPIENTS}.")
    message = EmailMessage(policy=SMTP if plain(sender[0], *recipients) else SMTPUTF8)
    try:
        message["From"] = of
        message["To"] = to
        message["Subject"] = " ".join(draft.subject.split())[:LONGEST_SUBJECT]
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=sender[0].rpartition("@")[2])
        for name, switch in (("Opens", "opens"), ("Links", "links"), ("Thread-Replies", "thread_replies")):
            message[f"X-Track-{name}"] = "yes" if switch in draft.track else "no"
        if draft.label.strip():
            message["X-Track-Label"] = " ".join(draft.label.split())
        message.set_content(display.plain(draft.html))
        message.add_alternative(draft.html, subtype="html")
        return sender[0], recipients, message.as_bytes()
    except (ValueError, IndexError, UnicodeError) as reason:
        raise Unwritable(f"This can't be sent: {reason}.") from reason


def plain(*named: str) -> bool:
    """Whether all of these addresses can go to a server without SMTPUTF8 (RFC 6531)."""
    return all(map(str.isascii, named))


def in_a_labels(field: str) -> str:
    """The addresses with their domains as servers need them (RFC 5891), whatever they are written in."""
    if field.isascii():
        return field
    return DOMAIN.sub(lambda found: domains.spelt(found[0]), field)


def answer(original: Received, text: str, *, automatic: bool = False) -> bytes:
    """The recipient's reply as a mail client writes it (RFC 5322 3.6.4): In-Reply-To names the message, References the
    thread. An automatic reply says that it is one (RFC 3834)."""
    head = headers.read(original.raw)
    own = original.recipients[0] if original.recipients else "recipient@inbox.localhost"
    subject = " ".join(head.get("subject").split())[:LONGEST_SUBJECT]
    identifier = identifiers.own(head)
    before = [*identifiers.answered(head, "references"), *filter(None, [identifier])]
    back = next(iter(addresses.listed(head, "reply-to") or addresses.listed(head, "from")), original.reverse_path)
    message = EmailMessage(policy=SMTP if plain(own, back) else SMTPUTF8)
    try:
        message["From"] = own
        message["To"] = back
        message["Subject"] = f"Automatic reply: {subject}" if automatic else again(subject)
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=own.rpartition("@")[2] or "inbox.localhost")
        if identifier:
            message["In-Reply-To"] = f"<{identifier}>"
        if before:
            message["References"] = " ".join(f"<{i}>" for i in before[-20:])
        if automatic:
            message["Auto-Submitted"] = "auto-replied"
        reading = display.read(original.raw)
        quoted = reading.text if reading.text is not None else display.plain(reading.html or "")
        quote = "".join(f"> {each}\n" for each in quoted.splitlines()[:200])
        message.set_content(text.rstrip() + "\n" + ("" if automatic else f"\n{head.get('from')} wrote:\n{quote}"))
        return message.as_bytes()
    except (ValueError, IndexError, UnicodeError) as reason:
        raise Unwritable(f"This message can't be answered: {reason}.") from reason


def again(subject: str) -> str:
    return subject if subject.lower().startswith("re:") else f"Re: {subject}"


def make_mailbox(path: Path) -> None:
    mailbox.Maildir(path, create=True).close()


def deliver(path: Path, message: bytes) -> None:
    """Puts it into the sender's mailbox: written in `tmp`, then moved to `new`, as every delivery agent does it."""
    mailbox.Maildir(path, create=True).add(message)
