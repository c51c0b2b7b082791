"""What does a message in the sender's mailbox say: an answer, an automatic one, a bounce, a delay, a complaint?

Owns: the kind of a message, and of a report what it says about whom. Leaves to others: which sent message it is about
(`threads`, the store, the mailbox reader) and what follows from it.

`reports.delivery` reads the parts that were made for programs (RFC 3464, RFC 5965), `reports.notices` the forms of single
providers, `reports.prose` the bounces that only people were meant to read; `reports.automatic` tells an automatic answer
from a person's.
For any bytes: a Report, never an exception; time is linear in the size, and of a text only the first part is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from relay.core import addresses, headers, identifiers, parts, threads
from relay.core.headers import Headers
from relay.core.parts import Part, charsets, transfer
from relay.core.reports import automatic, delivery, gestures, notices, prose, receipts
from relay.core.reports.delivery import RecipientFields

Kind = Literal[
    "reply", "reaction", "calendar", "auto_reply", "read_receipt", "bounce", "delay", "complaint", "other"
]  # fmt: skip

DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})  # RFC 3464, RFC 6533
RETURNED = frozenset({"message/rfc822", "message/global"})
ORIGINAL = RETURNED | {"text/rfc822-headers", "message/global-headers"}
# Whatever has only parts of these kinds is what its header section says that it is.
ORDINARY = re.compile(
    r"text/(?:plain|html|enriched|richtext|css)|multipart/(?:mixed|alternative|related)|(?:image|audio|video|font)/.*"
    r"|application/(?!(?:vnd\.)?ms-tnef|octet-stream|(?:x-)?pkcs7-mime).*"
)
# In a header section that lost its folds, or begins in the middle of one.
MESSAGE_ID = re.compile(rb"^message-id:(.{1,1000}(?:\n[ \t].{1,1000})?)", re.I | re.M)
# In a text that lists what the message was.
LISTED_ID = re.compile(rb"^[ \t>|*\-]{0,12}message[- ]?id:(.{1,1000})", re.I | re.M)
# The fields of a delivery status in a part that does not say so.
LOOSE = re.compile(rb"^(?:final|original)-recipient[ \t]*:", re.I | re.M)
MARK = b"\xef\xbb\xbf"  # a byte order mark: some programs write one before the header section
LONGEST = 1_048_576  # octets of a message that are read
LONGEST_TEXT = 65_536  # octets of a part's text that are read
LONGEST_STATUS = 524_288  # octets of a part made for programs that are read
LONGEST_HEADERS = 131_072  # octets of the returned message that are read
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


def unmarked(raw: bytes) -> bytes:
    """The message without a byte order mark before it."""
    return raw.removeprefix(MARK)


def read(raw: bytes) -> Report:
    """What the message says; of a large one, what its first 1,048,576 octets say. Never raises, for any bytes."""
    raw = unmarked(raw)[:LONGEST]
    message = taken_apart(raw)
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


def taken_apart(raw: bytes) -> Inspected | None:
    """The message's parts; None where it has more header fields than a message has."""
    head = headers.read(raw)
    scan = parts.scan(raw, head)
    if scan.reason == "limit_headers" and not scan.parts:
        return None
    return Inspected(raw, head, scan.parts, threads.references(head))


def needs_body(head: Headers) -> bool:
    """Whether the header section alone does not say what the message is."""
    return needs_whole(head) or structured(head)


def needs_whole(head: Headers) -> bool:
    """Whether it doesn't, and the kinds of its parts would not either: it is from a mail system, or looks like a receipt."""
    return receipts.doubtful(head) or notices.marked(head) or prose.looks_automatic(head)


def structured(head: Headers) -> bool:
    """Whether the message has parts, by whose kinds `ordinary` judges."""
    field_ = head.first("content-type")
    return field_ is not None and parts.typed(head.raw[field_.value : field_.end])[0].startswith(
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
    if found is None and not (prose.looks_automatic(message.head) or message.head.first("x-spam-flag")):
        return None
    candidates = [part for part in message.parts if part.content_type in RETURNED]
    for part in candidates[:MAX_NESTED]:
        inner = taken_apart(unmarked(message.body(part, LONGEST).lstrip(b"\r\n")))
        if inner is None or not prose.vouched(inner.head) or prose.person(inner.head):
            continue
        if found is not None and not any(part.content_type in DELIVERY_STATUS for part in inner.parts):
            continue  # it failed to arrive itself, and says in words only what it was about
        report = reported(inner, depth + 1)
        if report is not None and report.kind in ("bounce", "delay", "complaint"):
            return report
    return None


def from_parts(message: Inspected) -> Report | None:
    """What the parts made for programs say, where there are any."""
    forwarded = prose.person(message.head) and not message.head.get("content-type").lower().startswith(
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
    text = "\n".join(texts(message))
    refused = "deleted" in group[0].get("disposition", "").lower() and prose.vouched(message.head)
    refused = refused and bool(prose.REFUSED.search(f"{message.head.get('subject')[:500]} {text[:4_000]}"))
    if not refused:
        return received(message, receipts.disposition(message.body(part, LONGEST_STATUS)))
    entry = replace(delivery.recipient(group[0]), action="failed", status=None)
    entries = prose.complete((entry,), text)
    ids = identifiers.listed(group[0].get("original-message-id", ""))
    report = original(message, Report("bounce", entries, reason=" ".join(text.split())[: delivery.LONGEST_REASON]))
    return replace(report, original_message_id=ids[0]) if ids else report


def receipt(message: Inspected) -> Report | None:
    """The receipt that the message is in another form than that of RFC 8098, where it is one."""
    for part in message.parts:
        if part.content_type in receipts.FORMS:
            found = receipts.of_part(part.content_type, part.parameters, message.body(part, LONGEST_TEXT))
            if found is not None:
                return received(message, found)
    root = message.parts[0] if message.parts else None
    announced = root is not None and receipts.announced(message.head, root.content_type, root.parameters)
    if not (announced or receipts.doubtful(message.head)):
        return None
    found = receipts.in_words(message.head, "\n".join(texts(message)), announced=announced)
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
    text = "\n".join(texts(message))
    entries = prose.complete(addressed(message, status.entries, text), text)
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
    returned_to = (addresses.listed(prose.returned_head(section), "to") for section in [*returned(message), below])
    for found in (failed, [entry.recipient for entry in prose.told(own, (), mine)], *returned_to):
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
    for section in returned(message):
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
    if prose.person(head):
        return None
    notice = notices.pec(head, (message.body(part, LONGEST_TEXT) for part in message.parts))
    if notice is None and notices.marked(head):
        notice = notices.ses(head, "\n".join(texts(message)))
    if notice is None and not message.references:
        sections = map(prose.returned_head, returned(message))
        notice = next((found for section in sections if (found := notices.jmrp(head, section))), None)
    if notice is None:
        return None
    kind: Kind = {"failed": "bounce", "delayed": "delay", "complained": "complaint"}.get(notice.outcome, "other")  # type: ignore[assignment]
    entries = notice.entries
    if kind in ACTIONS:
        text = "\n".join(texts(message))
        mine = set(map(addresses.comparable, addresses.listed(head, "to")))
        named = entries or prose.told(prose.divided(text)[0], (), mine)
        entries = prose.complete(tuple(replace(e, action=ACTIONS[kind]) for e in named), text)
        if not entries:
            kind = "other"
    report = Report(kind, entries, reason=notice.reason, feedback="abuse" if kind == "complaint" else "")
    if notice.ids:
        return replace(report, original_message_id=notice.ids[0], original_references=notice.ids[1:])
    return original(message, report)


def from_prose(message: Inspected) -> Report | None:
    """What a report without a part for programs says: MTAs older than RFC 3464, and some that never read it."""
    if not prose.looks_automatic(message.head):
        return None
    text = "\n".join(texts(message))
    status = loose(message)
    if status.entries:
        return original(message, delivered(message, status))
    found = prose.read(message.head, text, "\n".join(returned(message)))
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
        if part.content_type in ORIGINAL or part.content_type.startswith("multipart/"):
            continue
        body = message.body(part, LONGEST_TEXT).replace(b"\r\n", b"\n")
        if match := LOOSE.search(body):
            status = delivery.status(body[max(0, body.rfind(b"\n\n", 0, match.start())) :])
            entries = tuple(entry for entry in status.entries if entry.recipient)
            if entries:
                return replace(status, entries=entries)
    return delivery.Status(())


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
    """The header sections of the message that came back, as text: in parts of their own, or as the header section of a
    part that forgot to have one."""
    found = [message.body(part, LONGEST_HEADERS) for part in message.parts if part.content_type in ORIGINAL]
    found += [message.raw[part.headers.start : part.start] for part in message.parts[1:] if bare(part)]
    return [body.lstrip(b"\r\n").decode("latin-1") for body in found]


def bare(part: Part) -> bool:
    """Whether the part's header fields are a message's."""
    return part.headers.first("message-id") is not None and any(
        part.headers.first(name) for name in ("received", "from", "return-path")
    )


# -- the message that came back ----------------------------------------------------------------------------------------


def original(message: Inspected, report: Report) -> Report:
    """The report, with what the returned message says about itself."""
    text = "\n".join(texts(message))
    _, below = prose.divided(text)
    further = [part for part in message.parts if plain(part)][1:]
    sections = [below.encode("utf-8", "surrogateescape")]
    sections += [message.body(part, LONGEST_HEADERS) for part in message.parts if part.content_type in ORIGINAL]
    sections += [message.raw[part.headers.start : part.start] for part in message.parts[1:] if bare(part)]
    sections += [message.body(part, LONGEST_HEADERS) for part in further]
    for section in sections:
        report = quoted(report, section)
        if report.original_message_id:
            return report
    # Boundaries that do not match hide the returned message: the last Message-ID in the body is its own.
    tail = message.raw[max(message.head.body, len(message.raw) - LONGEST_HEADERS) :].replace(b"\r\n", b"\n")
    for body in (tail, text.encode("utf-8", "surrogateescape")):
        found = [m for m in (*LISTED_ID.finditer(body), *MESSAGE_ID.finditer(body)) if b"<" in m[1]]
        if ids := identifiers.listed(found[-1][1].decode("latin-1")) if found else []:
            return replace(report, original_message_id=ids[0])
    return report


def plain(part: Part) -> bool:
    return part.content_type.startswith("text/plain") and part.content_type[10:11] in ("", " ")


def quoted(report: Report, section: bytes) -> Report:
    """The report, with the identifiers of a returned header section."""
    section = section.lstrip(b"\r\n")
    head = headers.read(section)
    field_ = head.first("message-id") or head.first("x-original-message-id")
    own = identifiers.listed(head.text(field_))
    value = head.bytes(field_) if field_ else b""
    if not own and (match := MESSAGE_ID.search(section.replace(b"\r\n", b"\n").partition(b"\n\n")[0])):
        value = match[1]
        own = identifiers.listed(value.decode("latin-1"))
    if not own or (b"<" in value and b">" not in value):  # or cut off
        return report
    references = tuple(identifiers.answered(head, "references"))[:100]
    return replace(report, original_message_id=own[0], original_references=references)
