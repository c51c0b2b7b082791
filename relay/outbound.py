"""Track one submission: instruct, plan, rewrite, sign, record.

Owns: what leaves for each recipient, and the one place where tracking fails open: whatever goes wrong here, the
message goes out as it came (control headers and Bcc taken out), the reason is recorded and counted.
Leaves to others: how it leaves (`delivery`, `courier`), and all decisions on text (`core`).
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import urlsplit

from relay import config, log, metrics, routes, store
from relay.core import dkim, headers, instructions, parts, rewrite, threads, tokens
from relay.core.model import (
    Decision,
    Edit,
    Instructions,
    Keys,
    Reason,
    Recipient,
    Reply,
    Sent,
    SentCopy,
    Submission,
    Token,
)

LOG = log.room("outbound")

RECORD_SECONDS = 2.0  # how long a message waits for its record before it goes out untracked
OFF_THE_LOOP = 262_144  # octets; scanning more than this would hold up the other sessions
MOST_KEPT = 200  # parts or links in a recorded explanation
NEVER_LEAVES = frozenset({"bcc", "resent-bcc"})
BLANK = re.compile(rb"\n\r?\n")
STRAY = re.compile(rb"^(?:x-track(?:-[!-9;-~]*)?|(?:resent-)?bcc)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.I | re.M)
KINDS = {"x-track-opens": "open ", "x-track-links": "link ", "x-track-thread-replies": "reply "}
# Upstreams known to replace the Message-ID, so that answers name one that we never saw.
RENAMING_UPSTREAMS = ("amazonaws.com", "office365.com", "outlook.com", "hotmail.com")


# Looked up once: a label costs more than the counting.
COPIES = {True: metrics.COPIES.labels("yes"), False: metrics.COPIES.labels("no")}
RECORDING = metrics.STAGE.labels("record")


class Ring(Protocol):
    @property
    def keys(self) -> Keys: ...


@dataclass(frozen=True, slots=True)
class PendingCopy:
    """One copy to be sent. `render` makes its bytes (CPU only, never raises); call it right before sending.
    `options` are MAIL's. `recipients` share these bytes; `index` is the recipient index of its tokens."""

    index: int
    recipients: tuple[Recipient, ...]
    render: Callable[[], bytes]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tracked:
    """What leaves for one submission. `refusal` is set where it must not leave (on_invalid = "reject")."""

    message_id: str
    copies: tuple[PendingCopy, ...]
    refusal: Reply | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Recipients whose copies come from one scan. `first_link` is where its links begin in the message's list."""

    decision: Decision
    prepared: rewrite.Prepared | None
    reason: Reason | None
    first_link: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One submission, read: what all its copies have in common."""

    submission: Submission
    headers: headers.Headers
    instructions: Instructions
    grant: config.Grant
    sender: str
    key: bytes
    identifier: str  # the Message-ID, without brackets
    common: tuple[Edit, ...]  # header edits of every copy
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One copy as it leaves, and what was done to it. `dkim` is "signed" or says why it is not."""

    content: bytes
    hrefs: tuple[str, ...]
    pixel: str | None
    removed: tuple[str, ...]
    added: tuple[str, ...]
    dkim: str


class Tracker:
    """`signers` are the DKIM keys; `dice` gives n random bytes."""

    def __init__(
        self,
        settings: config.Settings,
        ring: Ring,
        store: store.Store,
        signers: Sequence[dkim.Signer] = (),
        *,
        clock: Callable[[], float] = time.time,
        dice: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.settings, self.ring, self.store, self.signers = settings, ring, store, tuple(signers)
        self.clock, self.dice = clock, dice
        urls = [settings.tracking.url, *map(public_url, settings.tracking.domains)]
        self.own = tuple(dict.fromkeys(u.rstrip("/") for u in urls if u))
        self.hosts = tuple(dict.fromkeys(host_of(u) for u in self.own))
        self.dialects = tuple(
            dict.fromkeys(d for t in (settings.tracking, *(r.tracking for r in settings.rules)) for d in t.dialects)
        )

    async def track(self, submission: Submission) -> Tracked:
        """What leaves for this submission. Never raises for any content; the record is durable when it returns."""
        try:
            key = tokens.message_key(submission.received_at or self.clock(), self.dice(6))
            if len(submission.content) > OFF_THE_LOOP:
                message, groups = await asyncio.to_thread(self.plan, submission, key)
            else:
                message, groups = self.plan(submission, key)
            refusal = self.refusal(message, groups)
            if refusal:
                return Tracked(tokens.message_id(key), (), refusal)
            shares = self.shares(message, groups)
            await self.record(message, groups, shares)
        except Exception as reason:  # the one place where tracking fails open
            metrics.FAILED_OPEN.labels(type(reason).__name__).inc()
            metrics.UNTRACKED.labels("internal_error").inc()
            if isinstance(reason, store.Unavailable | TimeoutError):  # of these there may be one per message
                why = str(reason) or "the store is slow"
                LOG.error("untracked", reason="internal_error", peer=submission.peer, why=why)
            else:
                LOG.exception("untracked", reason="internal_error", peer=submission.peer)
            return plain(submission, self.dice(12))
        return Tracked(
            tokens.message_id(key),
            tuple(
                PendingCopy(index, recipients, self.renderer(message, group, index), self.options(message, index))
                for index, recipients, group in shares
            ),
        )

    # -- reading and planning (CPU only) ------------------------------------------------------------------------------

    def plan(self, submission: Submission, key: bytes) -> tuple[Message, list[Group]]:
        """The submission read, and a group for each recipient, in order."""
        head = headers.read(submission.content)
        told = instructions.read(head, dialects=self.dialects, hosts=self.hosts)
        senders = headers.addresses(head.get("from"))
        sender = senders[0] if senders else submission.reverse_path
        common, added, identifier = self.common_edits(submission, head, told, key)
        message = Message(submission, head, told, self.grant_of(sender), sender, key, identifier, common, added)
        never = instructions.never(head, submission.reverse_path)
        groups: list[Group] = []
        for recipient in submission.recipients:
            decision = instructions.decide(
                told,
                tracking=self.settings.tracking,
                rules=self.settings.rules,
                sender=sender,
                recipient=recipient.address,
            )
            if never:
                decision = replace(decision, opens=False, links=False, thread_replies=False, reason=never)
            alike = next((g for g in groups if g.decision == decision), None)
            groups.append(alike or self.group(message, decision, groups))
        return message, groups

    def group(self, message: Message, decision: Decision, before: Sequence[Group]) -> Group:
        if not decision.any:
            return Group(decision, None, decision.reason or "not_requested")
        if stray(message.headers):  # nobody knows what of this message is header and what is body
            return Group(replace(decision, thread_replies=False), None, "unsafe_place")
        if not (decision.opens or decision.links):
            return Group(decision, None, None if message.grant.mailbox else "no_mailbox")
        base = decision.tracking.url.rstrip("/")
        prepared = rewrite.prepare(
            message.submission.content,
            message.headers,
            rewrite.Plan(
                opens=decision.opens,
                links=decision.links,
                tracking=decision.tracking,
                own=self.own,
                href_length=lambda url: len(base) + 3 + tokens.size(url),
            ),
        )
        others = [g for g in before if g.prepared]
        same = next((g.first_link for g in others if g.prepared and g.prepared.links == prepared.links), None)
        first = same if same is not None else max((end_of_links(g) for g in others), default=0)
        return Group(decision, prepared, prepared.reason, first)

    def common_edits(
        self, submission: Submission, head: headers.Headers, told: Instructions, key: bytes
    ) -> tuple[tuple[Edit, ...], tuple[str, ...], str]:
        edits = [Edit(head.fields[i].start, head.fields[i].end, b"") for i in told.strip]
        edits += [Edit(f.start, f.end, b"") for f in headers.fields_named(head, *NEVER_LEAVES)]
        edits += stray(head)
        newline = newline_of(submission.content)
        given = headers.message_ids(head.get("message-id"))
        identifier = given[0] if given else head.get("message-id").strip()
        new = b""
        added = []
        if not identifier and head.malformed < 0:
            identifier = self.missing_identifier(key)
            new += f"Message-ID: <{identifier}>".encode() + newline
            added.append("Message-ID")
        if not head.first("date") and head.malformed < 0:
            now = datetime.fromtimestamp(submission.received_at or self.clock(), UTC)
            stamp = email.utils.format_datetime(now)
            new += f"Date: {stamp}".encode() + newline
            added.append("Date")
        if new:
            at = head.end
            glue = b"" if at == 0 or submission.content[:at].endswith(b"\n") else newline
            edits.append(Edit(at, at, glue + new))
        return tuple(edits), tuple(added), identifier

    def missing_identifier(self, key: bytes) -> str:
        host = self.hosts[0] if self.hosts else (self.settings.smtp.hostname or "localhost")
        return threads.entry(host, tokens.write(Token("reference", key, 0), self.ring.keys))

    def grant_of(self, sender: str) -> config.Grant:
        address = sender.lower()
        for grant in self.settings.grants:
            if any(fnmatchcase(address, glob.lower()) for glob in grant.addresses):
                return grant
        return next((g for g in self.settings.grants if g.id == "default"), config.Grant("default"))

    def refusal(self, message: Message, groups: Iterable[Group]) -> Reply | None:
        if not message.instructions.invalid:
            return None
        if not any(g.decision.tracking.on_invalid == "reject" for g in groups):
            return None
        return Reply(550, f"5.6.0 {message.instructions.invalid} {not_sent(message.instructions.invalid)}")

    def shares(self, message: Message, groups: Sequence[Group]) -> list[tuple[int, tuple[Recipient, ...], Group]]:
        """(token index, recipients, group) for each set of bytes. Only recipients whose bytes differ are fanned out:
        untracked ones share a copy, and so do those beyond `per_recipient_max` or with `per_recipient` off."""
        recipients = message.submission.recipients
        many = len(recipients)
        found: dict[tuple[int, int], list[int]] = {}
        for i, group in enumerate(groups):
            options = group.decision.tracking
            alone = group.decision.any and options.per_recipient and many <= options.per_recipient_max
            alone = alone and (group.reason is None or group.decision.thread_replies)
            found.setdefault((id(group), i if alone else -1), []).append(i)
        return [(own[0], tuple(recipients[i] for i in own), groups[own[0]]) for own in found.values()]

    # -- the record -----------------------------------------------------------------------------------------------------

    async def record(
        self, message: Message, groups: Sequence[Group], shares: Sequence[tuple[int, tuple[Recipient, ...], Group]]
    ) -> None:
        """All mail is recorded, tracked or not. Untracked mail does not wait for a store that can't take it."""
        sent = self.sent(message, groups, shares)
        for copy in sent.copies:
            COPIES[copy.tracked].inc()
            if copy.reason:
                metrics.UNTRACKED.labels(copy.reason).inc()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self.store.record_sent(sent)
            RECORDING.observe(time.perf_counter() - began)
        except (store.Unavailable, TimeoutError) as reason:
            if any(copy.tracked for copy in sent.copies):
                raise
            metrics.FAILED_OPEN.labels("record").inc()
            LOG.warning("not_recorded", message_id=sent.message_id, reason=str(reason) or "the store is slow")

    def sent(
        self, message: Message, groups: Sequence[Group], shares: Sequence[tuple[int, tuple[Recipient, ...], Group]]
    ) -> Sent:
        head, submission = message.headers, message.submission
        links: list[str] = []
        for group in groups:
            if group.prepared and len(links) == group.first_link:
                links += group.prepared.links
        copies = {
            r.address: SentCopy(r.address, index, tracked(group), group.reason)
            for index, recipients, group in shares
            for r in recipients
        }
        first = groups[0].decision if groups else None
        return Sent(
            message_id=tokens.message_id(message.key),
            grant_id=message.grant.id,
            internet_message_id=message.identifier,
            submitted_at=submission.received_at or self.clock(),
            sender=message.sender,
            reverse_path=submission.reverse_path,
            to=headers.addresses(head.get("to")),
            cc=headers.addresses(head.get("cc")),
            subject=head.get("subject")[:998],
            label=first.label if first else "",
            metadata=first.metadata if first else {},
            submitter_ip=submission.peer,
            size=len(submission.content),
            opens=any(g.decision.opens and g.prepared is not None and g.prepared.has_pixel for g in groups),
            links_tracked=bool(links),
            thread_replies=any(g.decision.thread_replies for g in groups),
            reason=next((g.reason for g in groups if g.reason), None) if not any(map(tracked, groups)) else None,
            links=tuple(links),
            copies=tuple(copies.values()),
            references=threads.references(head),
            explanation=explanation_of(groups[0]) if groups else {},
        )

    # -- one copy -------------------------------------------------------------------------------------------------------

    def renderer(self, message: Message, group: Group, index: int) -> Callable[[], bytes]:
        def render() -> bytes:
            try:
                return self.render(message, group, index).content
            except Exception:  # fails open: a copy that can't be made goes out as it came
                metrics.FAILED_OPEN.labels("render").inc()
                LOG.exception("untracked", reason="internal_error", message_id=tokens.message_id(message.key))
                return parts.splice(message.submission.content, message.common)

        return render

    def render(self, message: Message, group: Group, index: int) -> Rendered:
        keys, key, head = self.ring.keys, message.key, message.headers
        base = group.decision.tracking.url.rstrip("/")
        newline = newline_of(message.submission.content)
        edits, added = list(message.common), list(message.added)
        taken = [head.fields[i] for i in message.instructions.strip]
        taken += headers.fields_named(head, *NEVER_LEAVES)
        hrefs: list[str] = []
        pixel: str | None = None
        edited = group.prepared is not None and group.prepared.reason is None
        if edited and group.prepared:
            click = tokens.clicks(key, index, keys)
            hrefs = [f"{base}/c/{click(n, url)}" for n, url in enumerate(group.prepared.links, group.first_link)]
            if group.prepared.has_pixel:
                pixel = f"{base}/o/{tokens.write(Token('open', key, index), keys)}"
        if self.wants_reference(message, group.decision):
            entry = threads.entry(host_of(base), tokens.write(Token("reference", key, index), keys))
            edits += threads.edits(head, entry, newline)
            added.append("References")
        changed = {*(field.name for field in taken), *(name.lower() for name in added)}
        broken = dkim.broken(head, changed=changed, body=edited)
        edits += [Edit(head.fields[i].start, head.fields[i].end, b"") for i in broken]
        taken += [head.fields[i] for i in broken]
        if edited and group.prepared:
            content = rewrite.render(group.prepared, hrefs=hrefs, pixel=pixel, edits=edits)
        else:
            content = parts.splice(message.submission.content, edits)
        content, note = self.signed(message, content, broken)
        if note == "signed":
            added.append("DKIM-Signature")
        removed = tuple(head.raw[f.start : f.value].rstrip(b": \t").decode("ascii") for f in taken)
        return Rendered(content, tuple(hrefs), pixel, removed, tuple(added), note)

    def wants_reference(self, message: Message, decision: Decision) -> bool:
        if not (decision.thread_replies and message.grant.mailbox and decision.tracking.url):
            return False
        if message.headers.malformed >= 0 or decision.tracking.references == "never":
            return False
        upstream = host_of(routes.of_sender(self.settings, message.sender).url)
        return decision.tracking.references == "always" or upstream.endswith(RENAMING_UPSTREAMS)

    def signed(self, message: Message, content: bytes, broken: Sequence[int]) -> tuple[bytes, str]:
        """Signed last, over what leaves; a message that can't be signed goes out unsigned and says so."""
        signer = dkim.choose(self.signers, message.sender)
        if signer is None:
            return content, "no key for this domain"
        try:
            return dkim.sign(content, signer, int(self.clock())) + content, "signed"
        except dkim.Unsignable as reason:
            metrics.FAILED_OPEN.labels("dkim").inc()
            LOG.warning("unsigned", message_id=tokens.message_id(message.key), reason=str(reason))
            return content, f"unsigned: {reason}"

    def options(self, message: Message, index: int) -> tuple[str, ...]:
        """MAIL's options, with an envelope identifier of ours where the client set none (RFC 3461 4.4): a bounce
        brings it back. The courier leaves it out where the upstream has no DSN."""
        given = message.submission.options
        if any(o.upper().startswith("ENVID=") for o in given):
            return given
        return (*given, f"ENVID=t.{tokens.write(Token('reference', message.key, index), self.ring.keys)}")

    def explain(self, submission: Submission, recipient: str) -> tuple[bytes, dict[str, Any]]:
        """The dry run of one copy: its bytes, and why each thing was or was not tracked. Nothing is recorded."""
        key = tokens.message_key(submission.received_at or self.clock(), self.dice(6))
        message, groups = self.plan(submission, key)
        index = next((i for i, r in enumerate(submission.recipients) if r.address == recipient), 0)
        group = groups[index]
        made = self.render(message, group, index)
        decision = group.decision
        report: dict[str, Any] = {
            "tracked": tracked(group),
            "reason": group.reason,
            "instructions": {
                "opens": decision.opens,
                "links": decision.links,
                "thread_replies": decision.thread_replies,
                "label": decision.label,
                "source": dict(decision.source),
            },
            "parts": [],
            "links": [],
            "pixel": {"part": None, "place": None, "reason": group.reason or "not_requested"},
            "headers": {"removed": list(made.removed), "added": list(made.added)},
            "dkim": made.dkim,
        }
        if group.prepared:
            report |= rewrite.explain(group.prepared, hrefs=made.hrefs, pixel=made.pixel)
        if message.instructions.invalid:
            report["invalid"] = message.instructions.invalid
        return made.content, report


def tracked(group: Group) -> bool:
    return group.decision.any and (group.reason is None or group.decision.thread_replies)


def end_of_links(group: Group) -> int:
    return group.first_link + (len(group.prepared.links) if group.prepared else 0)


def explanation_of(group: Group) -> dict[str, Any]:
    """The explanation as it is kept, compact: per part "edited" or its reason, per link that was left its reason (the
    tracked ones are the record's own `links`), where the pixel went or why not."""
    prepared = group.prepared
    if prepared is None:
        return {"reason": group.reason} if group.reason else {}
    left = [link for link in prepared.link_reports if link.number < 0]
    pixel = prepared.pixel_report
    return {
        "parts": [
            [p.path, p.content_type, "edited" if p.edited else p.reason] for p in prepared.part_reports[:MOST_KEPT]
        ],
        "left": [[link.part, link.before[:500], link.reason] for link in left[:MOST_KEPT]],
        "pixel": [pixel.part, pixel.place, pixel.reason] if pixel else None,
    }


def plain(submission: Submission, dice: bytes) -> Tracked:
    """The submission as it came, without what must never leave. Needs nothing that can fail."""
    head = headers.read(submission.content)
    secret = [f for f in head.fields if f.name in NEVER_LEAVES or f.name == "x-track" or f.name.startswith("x-track-")]
    edits = [*(Edit(f.start, f.end, b"") for f in secret), *stray(head)]
    content = parts.splice(submission.content, edits) if edits else submission.content
    copy = PendingCopy(0, submission.recipients, lambda: content, submission.options)
    return Tracked(tokens.message_id(dice), (copy,))


def stray(head: headers.Headers) -> list[Edit]:
    """Control headers and Bcc behind a line that is no header field. They are body to whoever reads strictly, and so
    are not obeyed; but they leave neither: most readers show what stands there."""
    if head.malformed < 0:
        return []
    end = BLANK.search(head.raw, head.malformed)
    stop = end.start() + 1 if end else len(head.raw)
    return [Edit(match.start(), match.end(), b"") for match in STRAY.finditer(head.raw, head.malformed, stop)]


def not_sent(invalid: str) -> str:
    """What Nylas says where a message was refused for its tracking."""
    kind = next((words for name, words in KINDS.items() if name in invalid.lower()), "")
    return f"The message has not been sent. Please try resending with {kind}tracking disabled."


def newline_of(content: bytes) -> bytes:
    at = content.find(b"\n")
    return b"\n" if at >= 0 and content[at - 1 : at] != b"\r" else b"\r\n"


def public_url(domain: str) -> str:
    return domain if "://" in domain else f"https://{domain}"


def host_of(url: str) -> str:
    with contextlib.suppress(ValueError):
        return (urlsplit(url).hostname or "").lower()
    return ""


def signers(settings: config.Settings) -> tuple[dkim.Signer, ...]:
    """The keys of [[dkim]], read and parsed once: parsing one takes 40 ms."""
    return tuple(dkim.load(d.key.read_bytes(), d.domain, d.selector) for d in settings.dkim)
