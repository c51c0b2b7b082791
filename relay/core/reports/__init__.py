"""What does a message in the sender's mailbox say: an answer, an automatic one, a bounce, a delay, a complaint?

Owns: the kind of a message, and of a report what it says about whom. Leaves to others: which sent message it is about
(`threads`, the store, the mailbox reader) and what follows from it.

`reports.inspected` takes the message apart; `reports.origin` tells a mail system from a person by the header;
`reports.delivery` reads the parts that were made for programs (RFC 3464, RFC 5965), `reports.notices` the forms of single
providers, `reports.prose` the bounces that only people were meant to read, and `reports.recipients` whom those name;
`reports.automatic` tells an automatic answer from a person's.
For any bytes: a Report, never an exception; time is linear in the size, and of a text only the first part is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from relay.core import addresses, identifiers, structured
from relay.core.headers import Headers
from relay.core.parts import Part
from relay.core.reports import automatic, delivery, gestures, inspected, notices, origin, prose, receipts, recipients
from relay.core.reports.delivery import RecipientFields
from relay.core.reports.inspected import Inspected

Kind = Literal[
    "reply", "reaction", "calendar", "auto_reply", "read_receipt", "bounce", "delay", "complaint", "other"
]  # fmt: skip

DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})  # RFC 3464, RFC 6533
# Whatever has only parts of these kinds is what its header section says that it is.
ORDINARY = re.compile(
    r"text/(?:plain|html|enriched|richtext|css)|multipart/(?:mixed|alternative|related)|(?:image|audio|video|font)/.*"
    r"|application/(?!(?:vnd\.)?ms-tnef|octet-stream|(?:x-)?pkcs7-mime).*"
)
# The fields of a delivery status in a part that does not say so.
LOOSE = re.compile(rb"^(?:final|original)-recipient[ \t]*:", re.I | re.M)
LONGEST_STATUS = 524_288  # octets of a part made for programs that are read
DEPTH = 3  # reports in reports
MAX_NESTED = 3  # returned messages of one that are looked into
ACTIONS = {"bounce": "failed", "delay": "delayed"}


@dataclass(frozen=True, slots=True)
class Report:
    """`entries` are what a report says, one for each recipient and each with its own action. `original_message_id` (no
    brackets) is the Message-ID of the message that came back, `original_references` the identifiers in its References,
    `envelope_id` the ENVID that it was sent with (RFC 3461). `references` are the identifiers that the message itself
    answers, likeliest first. `feedback` is what a complaint says that it is (RFC 5965 7.3: "abuse", "fraud", …). `reason` says
    in words why it is of this kind, of a report the remote server's words. `gesture` is a reaction's emoji, and what a calendar's
    answer says: "accepted"."""

    kind: Kind
    entries: tuple[RecipientFields, ...] = ()
    original_message_id: str | None = None
    original_references: tuple[str, ...] = ()
    envelope_id: str = ""
    references: tuple[str, ...] = ()
    reason: str = ""
    gesture: str = ""
    feedback: str = ""

    @property
    def concerned(self) -> tuple[RecipientFields, ...]:
        """The entries of those for whom it is of this kind: of a bounce, whom the message did not reach."""
        action = ACTIONS.get(self.kind)
        return tuple(entry for entry in self.entries if not action or entry.action in (action, None))

    @property
    def recipients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.recipient for entry in self.concerned if entry.recipient))

    @property
    def status(self) -> str | None:
        return next((entry.status for entry in self.concerned if entry.status), None)

    @property
    def smtp_code(self) -> int | None:
        return next((entry.smtp_code for entry in self.concerned if entry.smtp_code), None)

    @property
    def action(self) -> str | None:
        return next((entry.action for entry in self.concerned if entry.action), None)


def read(raw: bytes) -> Report:
    """What the message says; of a large one, what its first 1,048,576 octets say. Never raises, for any bytes."""
    raw = inspected.unmarked(raw)[: inspected.LONGEST]
    message = inspected.taken_apart(raw)
    if message is None:
        return Report("other", reason="unreadable: more header fields than a message has")
    head = message.head
    report = reported(message, 0) or receipt(message) or gesture(message)
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
    return needs_whole(head) or has_parts(head)


def needs_whole(head: Headers) -> bool:
    """Whether it doesn't, and the kinds of its parts would not either: it is from a mail system, or looks like a receipt."""
    return receipts.doubtful(head) or notices.marked(head) or origin.looks_automatic(head)


def has_parts(head: Headers) -> bool:
    """Whether the message has parts, by whose kinds `ordinary` judges."""
    field_ = head.first("content-type")
    return field_ is not None and structured.of(head.raw[field_.value : field_.end]).word.startswith(
        ("multipart/", "message/", gestures.CALENDAR)
    )


def ordinary(kinds: Iterable[str]) -> bool:
    """Whether a message with parts of these kinds (in lower case) is what its header section says: none of them may
    hold a report."""
    return all(ORDINARY.fullmatch(kind) for kind in kinds)


# -- reports -----------------------------------------------------------------------------------------------------------


def reported(message: Inspected, depth: int) -> Report | None:
    """What the message reports, or the report that it wraps; None where it is none."""
    found = from_parts(message) or from_notices(message) or from_prose(message)
    if depth < DEPTH and (found is None or found.kind in ACTIONS):
        return wrapped(message, found, depth) or found
    return found


def wrapped(message: Inspected, found: Report | None, depth: int) -> Report | None:
    """The report in a report, or in what a mail system made of it: a gateway, a filter of junk. What a person forwards is
    no report, nor is what failed to arrive one only because a report was attached to it."""
    if found is None and not (origin.looks_automatic(message.head) or message.head.first("x-spam-flag")):
        return None
    candidates = [part for part in message.parts if part.content_type in inspected.RETURNED]
    for part in candidates[:MAX_NESTED]:
        inner = inspected.taken_apart(inspected.unmarked(message.body(part, inspected.LONGEST).lstrip(b"\r\n")))
        if inner is None or not origin.vouched(inner.head) or origin.person(inner.head):
            continue
        if found is not None and not any(part.content_type in DELIVERY_STATUS for part in inner.parts):
            continue  # it failed to arrive itself, and says in words only what it was about
        report = reported(inner, depth + 1)
        if report is not None and report.kind in ("bounce", "delay", "complaint"):
            return report
    return None


def from_parts(message: Inspected) -> Report | None:
    """What the parts made for programs say, where there are any."""
    forwarded = origin.person(message.head) and not message.head.get("content-type").lower().startswith(
        "multipart/report"
    )
    for part in message.parts:
        if part.content_type in receipts.DISPOSITIONS:
            return disposed(message, part)
        if forwarded:
            continue
        if part.content_type in DELIVERY_STATUS:
            status = delivery.status(message.body(part, LONGEST_STATUS))
            if status.entries:
                return original(message, delivered(message, status))
        elif part.content_type == "message/feedback-report":
            feedback, entries = delivery.feedback(message.body(part, LONGEST_STATUS))
            kind: Kind = "other" if feedback in delivery.NOT_COMPLAINTS else "complaint"
            said = f"feedback report: {feedback or 'no type'}"
            report = Report(kind, entries, reason=said, feedback=feedback[: delivery.LONGEST_TYPE])
            return original(message, report if entries else complained(message, report))
    return None


def disposed(message: Inspected, part: Part) -> Report:
    """What a disposition notification says. Mail systems refuse mail by one, too (RFC 5429 2.2, Dovecot)."""
    group = delivery.groups(message.body(part, LONGEST_STATUS))[:1] or [{}]
    text = "\n".join(inspected.texts(message))
    refused = "deleted" in group[0].get("disposition", "").lower() and origin.vouched(message.head)
    refused = refused and bool(prose.REFUSED.search(f"{message.head.get('subject')[:500]} {text[:4_000]}"))
    if not refused:
        return received(message, receipts.disposition(message.body(part, LONGEST_STATUS)))
    entry = replace(delivery.recipient(group[0]), action="failed", status=None)
    entries = recipients.complete((entry,), text)
    ids = identifiers.listed(group[0].get("original-message-id", ""))
    report = original(message, Report("bounce", entries, reason=" ".join(text.split())[: delivery.LONGEST_REASON]))
    return replace(report, original_message_id=ids[0]) if ids else report


def receipt(message: Inspected) -> Report | None:
    """The receipt that the message is in another form than that of RFC 8098, where it is one."""
    for part in message.parts:
        if part.content_type in receipts.FORMS:
            found = receipts.of_part(part.content_type, part.parameters, message.body(part, inspected.LONGEST_TEXT))
            if found is not None:
                return received(message, found)
    root = message.parts[0] if message.parts else None
    announced = root is not None and receipts.announced(message.head, root.content_type, root.parameters)
    if not (announced or receipts.doubtful(message.head)):
        return None
    found = receipts.in_words(message.head, "\n".join(inspected.texts(message)), announced=announced)
    return received(message, found) if found else None


def received(message: Inspected, found: receipts.Receipt) -> Report:
    reason = f"a read receipt: {found.disposition}" if found.read else f"a receipt, of no reader: {found.disposition}"
    who = (RecipientFields(found.recipient, action=None, final=found.recipient),) if found.recipient else ()
    report = Report("read_receipt" if found.read else "other", who, found.original_message_id or None, reason=reason)
    return report if report.original_message_id else original(message, report)


def gesture(message: Inspected) -> Report | None:
    """The answer that the message is without a text of its own: an emoji, or what a calendar answers."""
    for part in message.parts:
        if part.disposition == "attachment":
            continue
        if part.content_type == gestures.REACTION and (
            emoji := gestures.reaction(message.body(part, gestures.LONGEST))
        ):
            return Report("reaction", reason=f"a reaction: {emoji}", gesture=emoji)
        if part.content_type == gestures.CALENDAR and (said := gestures.calendar(message.text(part))):
            return Report("calendar", reason=f"answers an invitation: {said}", gesture=said)
    return None


def delivered(message: Inspected, status: delivery.Status) -> Report:
    """The report that a delivery status makes: its worst action decides of which kind it is."""
    actions = {entry.action for entry in status.entries}
    kind = next((kind for kind, action in ACTIONS.items() if action in actions), None)
    if kind is None:
        reason = f"a report of success: {', '.join(sorted(filter(None, actions)))}"
        return Report("other", status.entries, envelope_id=status.envelope_id, reason=reason)
    text = "\n".join(inspected.texts(message))
    entries = recipients.complete(addressed(message, status.entries, text), text)
    reason = next((entry.reason for entry in entries if entry.reason and entry.action == ACTIONS[kind]), "")
    return Report("bounce" if kind == "bounce" else "delay", entries, envelope_id=status.envelope_id, reason=reason)


def addressed(message: Inspected, entries: tuple[RecipientFields, ...], text: str) -> tuple[RecipientFields, ...]:
    """The entries with the addresses that the report lacks, from where it has as many: X-Failed-Recipients, the text, the
    returned message's To."""
    missing = [at for at, entry in enumerate(entries) if not entry.recipient]
    if not missing:
        return entries
    known = {addresses.comparable(entry.recipient) for entry in entries}
    own, below = prose.divided(text)
    failed = addresses.listed(message.head, "x-failed-recipients")
    mine = set(map(addresses.comparable, addresses.listed(message.head, "to")))
    returned_to = (
        addresses.listed(prose.returned_head(section), "to") for section in [*inspected.returned(message), below]
    )
    for found in (failed, [entry.recipient for entry in recipients.told(own, (), mine)], *returned_to):
        new = [a for a in dict.fromkeys(found) if addresses.comparable(a) not in known]
        if len(new) == len(missing):
            named = dict(zip(missing, new, strict=True))
            return tuple(
                replace(entry, recipient=named[at], final=named[at]) if at in named else entry
                for at, entry in enumerate(entries)
            )
        if new and found is failed and len(entries) == 1:  # one group for all of them
            return tuple(replace(entries[0], recipient=a, final=a) for a in new[: delivery.MAX_RECIPIENTS])
    return entries


def complained(message: Inspected, report: Report) -> Report:
    """A complaint that names nobody is the only recipient's of what came back."""
    for section in inspected.returned(message):
        notice = notices.jmrp(message.head, prose.returned_head(section))
        people = addresses.listed(prose.returned_head(section), "to")
        if notice and notice.entries:
            return replace(report, entries=notice.entries)
        if len(people) == 1:
            return replace(report, entries=(RecipientFields(people[0], final=people[0]),))
    return report


def from_notices(message: Inspected) -> Report | None:
    """What the forms of single providers say."""
    head = message.head
    if origin.person(head):
        return None
    notice = notices.pec(head, (message.body(part, inspected.LONGEST_TEXT) for part in message.parts))
    if notice is None and notices.marked(head):
        notice = notices.ses(head, "\n".join(inspected.texts(message)))
    if notice is None and not message.references:
        sections = map(prose.returned_head, inspected.returned(message))
        notice = next((found for section in sections if (found := notices.jmrp(head, section))), None)
    if notice is None:
        return None
    kind: Kind = {"failed": "bounce", "delayed": "delay", "complained": "complaint"}.get(notice.outcome, "other")  # type: ignore[assignment]
    entries = notice.entries
    if kind in ACTIONS:
        text = "\n".join(inspected.texts(message))
        mine = set(map(addresses.comparable, addresses.listed(head, "to")))
        named = entries or recipients.told(prose.divided(text)[0], (), mine)
        entries = recipients.complete(tuple(replace(e, action=ACTIONS[kind]) for e in named), text)
        if not entries:
            kind = "other"
    report = Report(kind, entries, reason=notice.reason, feedback="abuse" if kind == "complaint" else "")
    if notice.ids:
        return replace(report, original_message_id=notice.ids[0], original_references=notice.ids[1:])
    return original(message, report)


def from_prose(message: Inspected) -> Report | None:
    """What a report without a part for programs says: MTAs older than RFC 3464, and some that never read it."""
    if not origin.looks_automatic(message.head):
        return None
    text = "\n".join(inspected.texts(message))
    status = loose(message)
    if status.entries:
        return original(message, delivered(message, status))
    found = prose.read(message.head, text, "\n".join(inspected.returned(message)))
    if found is None:
        return None
    if found.outcome == "delivered":
        return Report("other", found.entries, reason="a report of success, in words")
    kind: Kind = "delay" if found.outcome == "delayed" else "bounce"
    reason = next((entry.reason for entry in found.entries if entry.reason), "")
    return original(message, Report(kind, found.entries, reason=reason or found.sentence))


def loose(message: Inspected) -> delivery.Status:
    """A delivery status that stands where none is declared: in a text, in an attachment of no type."""
    for part in message.parts:
        if part.content_type in inspected.ORIGINAL or part.content_type.startswith("multipart/"):
            continue
        body = message.body(part, inspected.LONGEST_TEXT).replace(b"\r\n", b"\n")
        if match := LOOSE.search(body):
            status = delivery.status(body[max(0, body.rfind(b"\n\n", 0, match.start())) :])
            entries = tuple(entry for entry in status.entries if entry.recipient)
            if entries:
                return replace(status, entries=entries)
    return delivery.Status(())


def original(message: Inspected, report: Report) -> Report:
    """The report, with what the returned message says about itself."""
    own, references = inspected.original(message)
    return replace(report, original_message_id=own, original_references=references) if own else report
