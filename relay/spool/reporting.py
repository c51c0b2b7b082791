"""What the sender and the store hear of a message that failed or is late.

Owns: who is told (never the null reverse-path), and that what is told twice is known to be the same.
Leaves to others: the form of the report (`core.dsn`), when it is made (`spool.settling`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.core import dsn, envelopes, queue
from relay.core.model import Event, EventType

Group = Sequence[tuple[queue.Waiting, dsn.Notice]]


@dataclass(frozen=True, slots=True)
class Reporter:
    """`until`: when the last attempt will be made. `boundary` stands in no message: it is random."""

    hostname: str
    bounce_from: str
    at: float
    until: float
    boundary: str

    def identity(self, entry: queue.Entry, group: Group) -> str:
        return f"{report_name(entry, group)}@{self.hostname}"

    def message(self, entry: queue.Entry, content: bytes, group: Group) -> bytes | None:
        """The report, or None where nobody is to hear it."""
        wanted = [notice for _, notice in group if dsn.wanted(notice.recipient, notice.action)]
        if not entry.reverse_path or not wanted:
            return None
        made = dsn.Made(
            hostname=self.hostname,
            sender=self.bounce_from or f"MAILER-DAEMON@{self.hostname}",
            at=self.at,
            message_id=self.identity(entry, group),
            boundary=self.boundary,
            until=self.until,
        )
        return dsn.render(dsn.Original(entry.reverse_path, content, entry.options, entry.created_at), wanted, made)

    def events(self, entry: queue.Entry, group: Group) -> Iterator[Event]:
        identity = self.identity(entry, group)
        return (event(entry, r, notice, identity, self.at) for r, notice in group if notice.action != "relayed")


def report_name(entry: queue.Entry, group: Sequence[tuple[queue.Waiting, dsn.Notice]]) -> str:
    """The left part of a report's Message-ID: the same when it has to be made again."""
    about = "\n".join(f"{notice.action} {recipient.index} {recipient.address}" for recipient, notice in group)
    return f"{entry.entry_id}.{hashlib.blake2b(about.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def event(entry: queue.Entry, recipient: queue.Waiting, notice: dsn.Notice, identity: str, at: float) -> Event:
    """A bounce or a delay. Told twice, or found in the sender's mailbox as well, it is written once."""
    code, _, _ = notice.diagnostic.partition(" ")
    kind: EventType = "message.bounce_detected" if notice.action == "failed" else "message.delayed"
    return Event(
        dsn.event_id(entry.message_id, kind, identity, recipient.address),
        kind,
        entry.message_id,
        at,
        recipient_index=recipient.index,
        recipient=recipient.address,
        reason=notice.diagnostic,
        data={
            "report_internet_id": identity,
            "recipient": recipient.address,
            "status": notice.status,
            "code": int(code) if code.isdigit() else 550,
            "reason": notice.diagnostic,
            "type": envelopes.nature(notice.status),
            "verified": True,  # nobody told us: we were there
        },
    )
