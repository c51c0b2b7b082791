"""What one message in a sender's mailbox means: an answer, an automatic one, a bounce, a delay, a complaint, nothing.

Owns: the events it makes, and how far each is believed. Leaves to others: what it says of itself (`core.reports`,
`core.threads`, `core.authentication`), what was sent (`mailbox.matching`), whether an event counts and who is told (the
store, by `core.tally`).

Anybody can write such a message. So it makes events only of mail of the mailbox's own grant, and only about people who
were sent it; `verified` says whether a token of ours came back with it, `authentication` what the receiving server found.

A message seen twice makes one event: `event_id` is derived from the sent message, the kind, and the Message-ID of the
message seen (of its content where it has none), so neither a rescan nor a second mailbox invents anything, and a report
that was made here is one event with what it reports.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from relay import config, event_loop, log, replies
from relay.config import Grant
from relay.core import (
    addresses,
    authentication,
    dsn,
    envelopes,
    excerpts,
    headers,
    identifiers,
    reports,
    threads,
    tokens,
)
from relay.core import replies as core
from relay.core.addresses import Mailbox
from relay.core.headers import Headers
from relay.core.model import Event, EventType, Keys, Sent
from relay.core.reports import Report, inspected
from relay.core.reports.delivery import RecipientFields
from relay.mailbox import matching
from relay.mailbox.source import LONGEST_HEADERS, LONGEST_MESSAGE, Fetched, Unreachable
from relay.store.lists import Answer

LOG = log.room("mailbox")

LONGEST_ADDRESS = 320  # characters of an author's; RFC 5321 4.5.3.1 has room for 254
MAX_PEOPLE = 20  # addresses in To, and in Cc, of an answer that are kept
MAX_REFERENCES = 20  # identifiers that are kept of what an answer names
MAX_TIME = 253_402_300_799  # the year 9999
ANSWERS = ("thread.replied", "message.auto_replied")
LONGEST_SUBJECT = 998  # characters of another's subject that are kept
REPORTED: dict[str, EventType] = {
    "bounce": "message.bounce_detected",
    "delay": "message.delayed",
    "complaint": "message.complained",
}
# Of a report about several recipients, what each entry says of its own.
BY_ACTION: dict[str, EventType | None] = {
    "failed": "message.bounce_detected",
    "delayed": "message.delayed",
    "delivered": None,
    "relayed": None,
    "expanded": None,
}


KINDS = ("reply", "reaction", "calendar", "auto_reply")  # of answers


class Reader:
    """Reads the mailbox of one grant."""

    def __init__(
        self, grant: Grant, settings: config.Mailbox, store: replies.SentMail, keys: Callable[[], Keys]
    ) -> None:
        self.grant = grant
        self.settings = settings
        self.store = store
        self.keys = keys

    async def events(self, fetched: Fetched, now: float) -> list[Event]:
        """The events of one message. Asks the store what was sent; raises what the store raises."""
        report, head = await understood(fetched)
        at = min(now, fetched.arrived) if fetched.arrived > 0 else now
        if report.kind in REPORTED:
            return await self.reported(report, head, at)
        if report.kind == "read_receipt":
            return await self.received(report, head, at)
        if report.kind in KINDS:
            return await self.answered(report, head, at)
        return []

    async def answered(self, report: Report, head: Headers, at: float) -> list[Event]:
        author = author_of(head)
        parents = len(set(identifiers.answered(head, "in-reply-to")[: threads.MAX_PARENTS]))
        found = await replies.told(self.store, self.grant.id, report.references, parents, author.address, self.keys())
        if found is None:
            return []
        answer, root = found
        identity, ours = identify(head), ""
        own = self.own(author.address, answer.match.sent)
        if own:
            itself = await self.sent_here(head, report.references, answer.match)
            if itself is not None and itself.message_id == answer.match.sent.message_id:
                return []  # what the sender sent, in a Sent folder or as a copy to self; that is no answer
            if itself is not None:
                identity, ours = itself.internet_message_id, itself.message_id
            elif not answer.match.known:
                return []
        written = core.Written(
            author,
            identity,
            ours or reply_id(identity),
            identifiers.own(head),
            head.get("subject")[:LONGEST_SUBJECT],
            report.kind,
            report.gesture,
            report.reason,
            own,
        )
        more = self.trust(head)
        notify = not own or self.settings.notify_self
        return [core.event(answer, root, written, at, notify=notify, more=more)]

    def own(self, author: str, sent: Sent) -> bool:
        """Whether it is one of the grant's addresses, or the message's sender's. A pattern that is anybody's, as `*`, says
        which mail the grant sends, and not who its people are."""
        spelt = addresses.comparable(author)
        known = spelt in map(addresses.comparable, (sent.sender, self.grant.email))
        return spelt != "" and (known or addresses.matches(author, addresses.places(self.grant.addresses)))

    async def sent_here(self, head: Headers, references: Sequence[str], match: core.Match) -> Sent | None:
        """The message that was sent through here and is this one. Where an upstream gave it another Message-ID, its own token
        stands first in its References, and not that of something older."""
        sent = await self.store.find_sent([identifiers.own(head)], self.grant.id)
        if sent is not None:
            return sent
        ancestors = identifiers.answered(head, "references")[:1]
        for message_id, _, _ in replies.genuine(self.keys(), ancestors, ""):  # ids sort by time
            itself = message_id > match.sent.message_id if match.known else not head.first("in-reply-to")
            sent = await self.store.sent(message_id) if itself else None
            if sent is not None and sent.grant_id == self.grant.id:
                return sent
        return None

    async def kept(self, fetched: Fetched, event: Event) -> Answer | None:
        """What is kept of the answer that an event is about; of one that a person wrote, the beginning of what is new in
        it, if that is asked for. None where its message is gone, and of what was sent through here."""
        sent = await self.store.sent(str(event.data["reply_to_message_id"]))
        if sent is None or (event.data["from_self"] and await self.store.sent(str(event.data["reply_id"]))):
            return None
        raw, size, excerpt = fetched.head, 0, ""
        if self.settings.excerpt and event.data["kind"] == "reply":
            try:
                raw = await fetched.whole()
            except (
                Unreachable
            ) as reason:  # the event is worth more than its excerpt, and the mailbox is read again anyway
                LOG.info("excerpt_not_read", message_id=event.message_id, reason=str(reason))
            else:
                size = len(raw) if len(raw) < LONGEST_MESSAGE else 0
                large = len(raw) > event_loop.LARGEST
                excerpt = await asyncio.to_thread(excerpts.excerpt, raw) if large else excerpts.excerpt(raw)
        head = headers.read(raw)
        return Answer(
            answer_id=str(event.data["reply_id"]),
            grant_id=sent.grant_id,
            message_id=sent.message_id,
            thread_id=sent.thread_id,
            at=event.at,
            internet_message_id=str(event.data["reply_internet_id"])[:LONGEST_SUBJECT],
            sender=str(event.data["from"]),
            sender_name=author_of(head).name[:LONGEST_ADDRESS],
            to=people(head, "to"),
            cc=people(head, "cc"),
            subject=str(event.data["subject"]),
            date=dated(head),
            references=threads.references(head)[:MAX_REFERENCES],
            excerpt=excerpt,
            size=size,
            automatic=event.type == "message.auto_replied",
        )

    async def reported(self, report: Report, head: Headers, at: float) -> list[Event]:
        """At most one event about each copy: of its own kind, where the report says something else of others."""
        ids = [report.original_message_id or "", *report.original_references, *report.references]
        named = [identifier for identifier in ids if identifier]
        everybody = [address for entry in report.entries for address in (entry.recipient, entry.final) if address]
        match = await matching.find(self.store, self.grant.id, self.keys(), named, everybody, report.envelope_id)
        if match is None:
            return []
        identity = identify(head)
        author = addresses.comparable(author_of(head).address)
        events: dict[str, Event] = {}
        for entry in report.entries or (RecipientFields(""),):
            kind = BY_ACTION.get(entry.action or "", REPORTED[report.kind])
            people = [address for address in (entry.recipient, entry.final) if address]
            copy = match.addressed(people) or match.tokened() or (None if people else match.sole())
            if kind is None or (people and copy is None):
                continue  # it arrived; or somebody who was not sent it
            recipient = copy.recipient if copy else ""
            data: dict[str, Any] = {
                "report_internet_id": identifiers.own(head),
                "recipient": recipient,
                "reason": entry.reason or report.reason,
                **(failure(entry) if kind != "message.complained" else {"feedback": report.feedback}),
                "from": author[:LONGEST_ADDRESS],
                "verified": match.verified(copy),
                **self.trust(head),
            }
            event_id = dsn.event_id(match.sent.message_id, kind, identity, recipient)
            index = copy.index if copy else 0
            event = Event(
                event_id, kind, match.sent.message_id, at, recipient_index=index, recipient=recipient, data=data
            )
            events.setdefault(event_id, event)
        return list(events.values())

    async def received(self, report: Report, head: Headers, at: float) -> list[Event]:
        """The event of a read receipt: of any message, tracked or not."""
        author = addresses.comparable(addresses.author(head).address)
        people = [*report.recipients, author]
        named = [*([report.original_message_id] if report.original_message_id else []), *report.references]
        match = await matching.find(self.store, self.grant.id, self.keys(), named, people)
        if match is None:
            return []
        identity, sent = identify(head), match.sent
        copy = match.addressed(people)
        data: dict[str, Any] = {
            "receipt_internet_id": identifiers.own(head),
            "from": author[:LONGEST_ADDRESS],
            "verified": match.verified(copy),
            **self.trust(head),
        }
        name = dsn.event_id(sent.message_id, "message.read_receipt", identity, copy.recipient if copy else "")
        index, recipient = (copy.index, copy.recipient) if copy else (0, "")
        return [
            Event(name, "message.read_receipt", sent.message_id, at, index, recipient, reason=report.reason, data=data)
        ]

    def trust(self, head: Headers) -> dict[str, Any]:
        """What the receiving server found of who wrote the message, where it is asked."""
        server = self.settings.authserv_id
        return {"authentication": authentication.results(head, server)} if server else {}


def author_of(head: Headers) -> Mailbox:
    """Whose message it is, with the display name."""
    address = addresses.author(head).address
    field = head.first("from")
    named = addresses.mailboxes(head.undecoded(field)) if field and address else ()
    return next((mailbox for mailbox in named if mailbox.address == address), Mailbox("", address))


async def understood(fetched: Fetched) -> tuple[Report, Headers]:
    """What a message says, as `reports.read` has it of the whole: more than the header section is fetched only where it
    takes more to know."""
    raw = inspected.unmarked(fetched.head)
    head = headers.read(raw)
    if len(raw) >= LONGEST_HEADERS or reports.needs_whole(head):
        raw = inspected.unmarked(await fetched.whole())
    elif reports.has_parts(head):
        kinds = await fetched.kinds()
        if kinds is None or not reports.ordinary(kinds):
            raw = inspected.unmarked(await fetched.whole())
    large = len(raw) > event_loop.LARGEST
    report = await asyncio.to_thread(reports.read, raw) if large else reports.read(raw)
    return report, headers.read(raw)


def failure(entry: RecipientFields) -> dict[str, Any]:
    """Why the message did not arrive, in codes: without one of SMTP that of the status' class."""
    status = entry.status or ""
    code = entry.smtp_code or (450 if status.startswith("4") else 550)
    return {"status": status, "code": code, "type": envelopes.nature(status)}


def people(head: Headers, name: str) -> tuple[str, ...]:
    return tuple(address[:LONGEST_ADDRESS] for address in addresses.listed(head, name)[:MAX_PEOPLE])


def dated(head: Headers) -> float:
    """The Date field (RFC 5322 3.6.1) in Unix seconds; 0.0 where it has no time that can be."""
    try:
        at = email.utils.parsedate_to_datetime(head.get("date")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return at if 0 < at < MAX_TIME else 0.0


def identify(head: Headers) -> str:
    """What tells the message from any other: its Message-ID if that can, else its header fields."""
    own = identifiers.own(head)
    if identifiers.unique(own, [addresses.author(head).address]):
        return own
    stable = b"".join(head.raw[f.start : f.end] for f in head.fields if f.name not in ("received", "status", "x-uid"))
    return hashlib.sha256(stable).hexdigest()


def reply_id(identity: str) -> str:
    """Our id for a message that is not ours: of the form of our own, and always the same for the same message."""
    return tokens.message_id(hashlib.sha256(identity.encode("utf-8", "surrogateescape")).digest()[:12])
