"""What one message in a sender's mailbox means: an answer, an automatic one, a bounce, a delay, a complaint, nothing.

Owns: matching it with what was sent, and the events it makes. Leaves to others: what it says of itself
(`core.reports`, `core.threads`), whether an event counts and who is told (the store, by `core.tally`).

A message seen twice makes one event: `event_id` is derived from the sent message, the kind, and the Message-ID of the
message seen (of its content where it has none), so neither a rescan nor a second mailbox invents anything, and a report
that was made here is one event with what it reports.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from relay import event_loop
from relay.config import Grant, Mailbox
from relay.core import addresses, dsn, envelopes, headers, identifiers, reports, threads, tokens
from relay.core.headers import Headers
from relay.core.model import Event, EventType, Keys, Sent
from relay.core.reports import Report
from relay.core.reports.delivery import RecipientFields
from relay.mailbox.source import Fetched

LONGEST_SUBJECT = 998  # characters of another's subject that are kept
REPORTED: dict[str, EventType] = {
    "bounce": "message.bounce_detected",
    "delay": "message.delayed",
    "complaint": "message.complained",
}

# The sent message, the recipient index where a token named one, and whether a Message-ID led to it (not just a token).
Match = tuple[Sent, int | None, bool]


class SentMail(Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def find_sent(self, internet_ids: Sequence[str]) -> Sent | None: ...


class Reader:
    """Reads the mailbox of one grant."""

    def __init__(self, grant: Grant, settings: Mailbox, store: SentMail, keys: Callable[[], Keys]) -> None:
        self.grant = grant
        self.settings = settings
        self.store = store
        self.keys = keys

    async def events(self, fetched: Fetched, now: float) -> list[Event]:
        """The events of one message. Asks the store what was sent; raises what the store raises."""
        raw = fetched.head
        if reports.needs_body(headers.read(raw)):
            raw = await fetched.whole()
        large = len(raw) > event_loop.LARGEST
        report = await asyncio.to_thread(reports.read, raw) if large else reports.read(raw)
        head = headers.read(raw)
        at = min(now, fetched.arrived) if fetched.arrived > 0 else now
        if report.kind in REPORTED:
            return await self.reported(report, head, at)
        if report.kind in ("reply", "auto_reply"):
            return await self.answered(report, head, at)
        return []

    async def answered(self, report: Report, head: Headers, at: float) -> list[Event]:
        author = addresses.comparable(addresses.author(head).address)
        match = await self.find(report.references)
        if match is None:
            return []
        sent, index, known = match
        if not sent.thread_replies:
            return []
        own = author != "" and author in map(addresses.comparable, (sent.sender, self.grant.email))
        if own and (not known or await self.store.find_sent([identifiers.own(head)]) is not None):
            return []  # what the sender sent, in a Sent folder or as a copy to self; that is no answer
        automatic = report.kind == "auto_reply"
        identity = identify(head)
        kind: EventType = "message.auto_replied" if automatic else "thread.replied"
        copy = whose(sent, (author,), index)
        data: dict[str, Any] = {
            "reply_id": reply_id(identity),
            "reply_internet_id": identifiers.own(head),
            "reply_to_message_id": sent.message_id,
            "from": author,
            "subject": head.get("subject")[:LONGEST_SUBJECT],
            "from_self": own,
            "notify": not automatic and (not own or self.settings.notify_self),
        }
        recipient = copy[1] or ("" if own else author)
        event = Event(
            dsn.event_id(sent.message_id, kind, identity, ""),
            kind,
            sent.message_id,
            at,
            recipient_index=copy[0],
            recipient=recipient,
            reason=report.reason if automatic else "",
            data=data,
        )
        return [event]

    async def reported(self, report: Report, head: Headers, at: float) -> list[Event]:
        ids = [report.original_message_id or "", *report.original_references, *report.references]
        envelope, _ = threads.enveloped(report.envelope_id)
        match = await self.find([i for i in ids if i], envelope=envelope)
        if match is None:
            return []
        sent, index, _ = match
        kind = REPORTED[report.kind]
        identity = identify(head)
        entries = report.entries or (RecipientFields(""),)
        events = []
        for entry in entries:
            number, recipient = whose(sent, (entry.recipient, entry.final), index)
            recipient = recipient or entry.recipient
            data: dict[str, Any] = {
                "report_internet_id": identifiers.own(head),
                "recipient": recipient,
                "status": entry.status or "",
                "code": entry.smtp_code or {"5": 550, "4": 450}.get((entry.status or "5")[0], 550),
                "reason": entry.reason or report.reason,
                "type": envelopes.nature(entry.status or ""),
            }
            event_id = dsn.event_id(sent.message_id, kind, identity, recipient)
            events.append(
                Event(event_id, kind, sent.message_id, at, recipient_index=number, recipient=recipient, data=data)
            )
        return list({event.event_id: event for event in events}.values())

    async def find(self, ids: Sequence[str], *, envelope: str = "") -> Match | None:
        """The sent message that these identifiers name: by those recorded, else by the tokens in them, which also
        stand where an upstream wrote a Message-ID of its own. `envelope` is the token that came back as ENVID."""
        good = [identifier for identifier in ids if identifiers.unique(identifier)]
        found = await self.store.find_sent(good) if good else None
        index: int | None = None
        keys = self.keys()
        for text in (envelope, *(threads.token(i) for i in ids)):
            token = tokens.read(text, "reference", keys) if text else None
            if token is None:
                continue
            named = tokens.message_id(token.message_key)
            if found is None:
                sent = await self.store.sent(named)
                if sent is not None:
                    return sent, token.recipient, False
            elif named == found.message_id:
                index = token.recipient
                break
        return None if found is None else (found, index, True)


def whose(sent: Sent, people: Sequence[str], index: int | None) -> tuple[int, str]:
    """The recipient index and envelope recipient that these addresses, else a token, else the lack of others name;
    (0, "") where nothing does."""
    spelt = set(map(addresses.comparable, people))
    for copy in sent.copies:
        if addresses.comparable(copy.recipient) in spelt:
            return copy.index, copy.recipient
    sharing = [copy for copy in sent.copies if copy.index == index] if index is not None else list(sent.copies)
    if len(sharing) == 1:
        return sharing[0].index, sharing[0].recipient
    return (index or 0), ""


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
