"""One submission, read; and per recipient what is done with its copy.

Owns: whose mail it is, which header fields every copy loses and gains, which recipients are alike. Leaves to others:
what a header asks for (`core.instructions`), what can be tracked (`core.rewrite`), making the bytes (`copies`).
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relay import config
from relay.core import (
    addresses,
    dkim,
    domains,
    headers,
    identifiers,
    instructions,
    lines,
    parts,
    providers,
    recoding,
    rewrite,
    threads,
    tokens,
)  # fmt: skip
from relay.core.headers import Field
from relay.core.model import Decision, Edit, Instructions, Keys, Reason, Submission, Token, TokenKind, Value
from relay.upstream import choice

CPU_SECONDS = 2.0  # for reading one message: thousands of times what a usual one takes
NEVER_LEAVES = frozenset({"bcc", "resent-bcc"})
BLANK = re.compile(rb"\n\r?\n")
# Readers differ in which author they show, and so it can't be said in whose name it would be tracked or signed.
DOUBTS = {
    "several_fields": "There are several From fields; RFC 5322 allows one.",
    "no_address": "The From field has no address.",
}
LONG = "a line has over 998 octets, and {}"
STRAY = re.compile(rb"^(?:x-track(?:-[!-9;-~]*)?|(?:resent-)?bcc)[ \t]*:", re.I | re.M)


class Message(Value, frozen=True):
    """One submission, read: what all its copies have in common."""

    message_id: str
    submission: Submission
    headers: headers.Headers
    instructions: Instructions
    grant: config.Grant
    sender: str
    doubt: str  # why nobody can say whose it is: a sentence, or ""
    upstream: config.Upstream
    key: bytes
    token: str  # by which its first copy is known, in identifiers of ours
    identifier: str  # the Message-ID, without brackets
    newline: bytes
    edits: tuple[Edit, ...]  # of the header, in every copy
    taken: tuple[Field, ...]
    added: tuple[str, ...]
    signer: dkim.Signer | None  # the author's key, where there is one and it is known whose the message is


class Group(Value, frozen=True):
    """Recipients whose copies come from one scan. `first_link` is where its links begin in the message's list;
    `reference` says whether each copy has an entry of ours in References; `broken` are the indexes of the
    DKIM-Signature fields that the changes break. `shortened`: it is signed without the lines that are too long.
    `unsigned` says why it can't be signed; "" where it can, or there is no key for it."""

    decision: Decision
    prepared: rewrite.Prepared | None = None
    reason: Reason | None = None
    first_link: int = 0
    reference: bool = False
    broken: tuple[int, ...] = ()
    shortened: bool = False
    unsigned: str = ""

    @property
    def base(self) -> str:
        return self.decision.tracking.url.rstrip("/")

    @property
    def edited(self) -> bool:
        return self.prepared is not None and self.prepared.reason is None

    @property
    def tracked(self) -> bool:
        return self.decision.any and (self.reason is None or self.decision.thread_replies)

    @property
    def end_of_links(self) -> int:
        return self.first_link + (len(self.prepared.links) if self.prepared else 0)


class Planner:
    """`keys` gives the keys that sign tokens now, `signers` are those that sign messages; `clock` Unix seconds; `cpu` the
    seconds of processor time that this thread has used, which are never more than have `elapsed`: those cost a tenth."""

    def __init__(
        self,
        settings: config.Settings,
        keys: Callable[[], Keys],
        signers: Sequence[dkim.Signer],
        clock: Callable[[], float],
        cpu: Callable[[], float],
        elapsed: Callable[[], float],
    ) -> None:
        self.settings, self.keys, self.signers, self.clock = settings, keys, tuple(signers), clock
        self.cpu, self.elapsed = cpu, elapsed
        urls = [settings.tracking.url, *map(public_url, settings.tracking.domains)]
        self.own = tuple(dict.fromkeys(url.rstrip("/") for url in urls if url))
        self.hosts = tuple(dict.fromkeys(domains.of_url(url) for url in self.own))
        every = (settings.tracking, *(rule.tracking for rule in settings.rules))
        self.dialects = tuple(dict.fromkeys(dialect for tracking in every for dialect in tracking.dialects))
        # What is done where a message says nothing: by the rule, or without one.
        self.unsaid = {
            id(rule): instructions.decided(instructions.NOTHING, rule, settings.tracking)
            for rule in (None, *settings.rules)
        }
        default = config.Grant("default")
        self.default_grant = next((grant for grant in settings.grants if grant.id == "default"), default)

    def begin(self, submission: Submission, key: bytes, *, given: bool = False) -> tuple[Message, list[Decision]]:
        """The submission read, and what is wanted for each recipient, in order. `given` says that the message has had this
        key before."""
        message = self.read(submission, key, given=given)
        return message, self.decisions(message)

    def groups(self, message: Message, decisions: list[Decision], *, one_group: bool = False) -> list[Group]:
        """A group for each recipient, in order; the same for all where they have `one_group`. CPU only; what is not read
        through within `CPU_SECONDS` of it passes as it is."""
        end, soonest = self.cpu() + CPU_SECONDS, self.elapsed() + CPU_SECONDS

        def late() -> bool:
            return self.elapsed() > soonest and self.cpu() > end

        if one_group and decisions:
            decisions = [instructions.common(decisions)] * len(decisions)
        groups: list[Group] = []
        for decision in decisions:
            alike = next((group for group in groups if group.decision == decision), None)
            groups.append(alike or self.group(message, decision, groups, late))
        return groups

    def decisions(self, message: Message) -> list[Decision]:
        reason = instructions.never(message.headers, message.submission.reverse_path)
        if message.doubt and not reason:
            reason = "invalid_instruction"
        told, settings = message.instructions, self.settings
        found: list[Decision] = []
        for recipient in message.submission.recipients:
            sender, to = message.sender, recipient.address
            if told is instructions.NOTHING:
                decision = self.unsaid[id(instructions.ruling(settings.rules, sender, to))]
            else:
                decision = instructions.decide(
                    told, tracking=settings.tracking, rules=settings.rules, sender=sender, recipient=to
                )
            if reason:
                decision = decision.with_(opens=False, links=False, thread_replies=False, reason=reason)
            found.append(decision)
        return found

    def read(self, submission: Submission, key: bytes, *, given: bool = False) -> Message:
        """A new key is bound to the message, so that its pixel and links are known again should it come again."""
        head = headers.read(submission.content)
        identifier = identifiers.own(head)
        if not given:
            key = tokens.bound(key, identifier, self.keys())
        told = instructions.read(head, dialects=self.dialects, hosts=self.hosts)
        author = addresses.author(head)
        sender = author.address or submission.reverse_path
        newline = newline_of(submission.content)
        taken = [head.fields[i] for i in told.strip]
        if not NEVER_LEAVES.isdisjoint(head.named):
            taken += [field for field in head.fields if field.name in NEVER_LEAVES]
        edits = [Edit(field.start, field.end, b"") for field in taken] + stray(head)
        token = tokens.write(Token("reference", key, 0), self.keys())
        identifier, added = self.missing(submission, head, token, identifier)
        if added:
            new = b"".join([f"{name}: {value}".encode() + newline for name, value in added.items()])
            ended = head.end == head.start or submission.content.endswith(b"\n", 0, head.end)
            edits.append(Edit(head.end, head.end, new if ended else newline + new))
        return Message(
            tokens.message_id(key), submission, head, told, self.grant_of(sender), sender,
            DOUBTS.get(author.doubt, ""), choice.of_sender(self.settings, sender), key, token, identifier, newline, tuple(edits),
            tuple(taken), tuple(added), dkim.choose(self.signers, sender) if self.signers and not author.doubt else None,
        )  # fmt: skip

    def missing(
        self, submission: Submission, head: headers.Headers, token: str, identifier: str
    ) -> tuple[str, dict[str, str]]:
        """The Message-ID, which is `identifier` where there is one, and the fields that RFC 5322 3.6 asks for and that are not
        there. To a header section that is none nothing is added."""
        added: dict[str, str] = {}
        if head.malformed >= 0:
            return identifier, added
        if not identifier:
            host = self.hosts[0] if self.hosts else (self.settings.smtp.hostname or "localhost")
            identifier = threads.entry(host, token)
            added["Message-ID"] = f"<{identifier}>"
        if not head.first("date"):
            now = datetime.fromtimestamp(submission.received_at or self.clock(), UTC)
            added["Date"] = email.utils.format_datetime(now)
        return identifier, added

    def group(self, message: Message, decision: Decision, before: Sequence[Group], late: Callable[[], bool]) -> Group:
        group = self.scanned(message, decision, before, late)
        reference = self.wants_reference(message, group.decision)
        broken: tuple[int, ...] = ()
        if message.headers.first("dkim-signature"):
            changed = {*(field.name for field in message.taken), *(name.lower() for name in message.added)}
            if reference:
                changed.add("references")
            broken = dkim.broken(message.headers, changed=changed, body=group.edited)
        if reference or broken:
            group = group.with_(reference=reference, broken=broken)
        return self.signable(message, group) if message.signer else group

    def signable(self, message: Message, group: Group) -> Group:
        """The group with what is to be said of its signature."""
        if why := dkim.refusal(message.headers) or self.second(message, group):
            return group.with_(unsigned=why)
        if not recoding.long_line(message.submission.content):
            return group
        unfit = self.too_long(message, group)
        return group.with_(shortened=unfit == "", unsigned=unfit or "")

    def second(self, message: Message, group: Group) -> str:
        """Why a message that keeps the signature it came with can't have another, or ""."""
        if len(message.headers.all("dkim-signature")) == len(group.broken):
            return ""
        who = choice.takes_one_signature(self.settings, message.upstream)
        return who and f"the message has the signature of another program, and {who} refuses a second one"

    def too_long(self, message: Message, group: Group) -> str | None:
        """Why a copy with a line that is too long can't be signed, or "" where it can without that. None where no such line
        leaves."""
        head = message.headers
        gone = [head.fields[place] for place in group.broken]
        edits = [*message.edits, *(Edit(field.start, field.end, b"") for field in gone)]
        content = parts.splice(message.submission.content, edits)[head.start :]
        if not recoding.long_line(content):
            return None
        if not group.edited and lines.signed(headers.read(content)):
            return LONG.format(lines.SIGNED.reason)
        made = lines.shortened(content)
        return LONG.format(made.reason) if isinstance(made, recoding.Unfit) else ""

    def scanned(self, message: Message, decision: Decision, before: Sequence[Group], late: Callable[[], bool]) -> Group:
        if not decision.any:
            return Group(decision, None, decision.reason or "not_requested")
        if stray(message.headers):  # nobody knows what of this message is header and what is body
            return Group(decision.with_(thread_replies=False), None, "unsafe_place")
        if not (decision.opens or decision.links):
            return Group(decision, None, None if message.grant.mailbox else "no_mailbox")
        prefix = len(Group(decision).base) + len("/c/")
        keys = self.keys()

        def mine(kind: TokenKind, text: str) -> bool:
            token = tokens.read(text, kind, keys)
            return token is not None and threads.names(message.identifier, token.message_key, keys)

        prepared = rewrite.prepare(
            message.submission.content,
            message.headers,
            rewrite.Plan(
                opens=decision.opens,
                links=decision.links,
                tracking=decision.tracking,
                own=self.own,
                href_length=lambda url: prefix + tokens.size(url),
                mine=mine,
                late=late,
                about=decision.tracking.about_link,
            ),
        )
        others = [group for group in before if group.prepared]
        same = next((g.first_link for g in others if g.prepared and g.prepared.links == prepared.links), None)
        first = same if same is not None else max((group.end_of_links for group in others), default=0)
        return Group(decision, prepared, prepared.reason, first)

    def wants_reference(self, message: Message, decision: Decision) -> bool:
        if not (decision.thread_replies and message.grant.mailbox and decision.tracking.url):
            return False
        if message.headers.malformed >= 0 or decision.tracking.references == "never":
            return False
        if decision.tracking.references == "always" or not identifiers.unique(message.identifier, (message.sender,)):
            return True
        return providers.replaces_message_id(domains.of_url(message.upstream.url))

    def grant_of(self, sender: str) -> config.Grant:
        for grant in self.settings.grants:
            if grant.addresses and addresses.matches(sender, grant.addresses):
                return grant
        return self.default_grant


def sender_of(head: headers.Headers, submission: Submission) -> str:
    """By whom rules, the grant, the DKIM key and the upstream are chosen: the first address in From, else the
    reverse-path."""
    return addresses.author(head).address or submission.reverse_path


def stray(head: headers.Headers) -> list[Edit]:
    """Control headers and Bcc behind a line that is no header field. They are body to whoever reads strictly, and so
    are not obeyed; but they leave neither: most readers show what stands there."""
    if head.malformed < 0:
        return []
    end = BLANK.search(head.raw, head.malformed)
    stop = end.start() + 1 if end else len(head.raw)
    first = match = STRAY.search(head.raw, head.malformed, stop)
    if first is None:
        return []
    rest: list[bytes] = []
    while match:
        ended = headers.END.search(head.raw, match.end(), stop)
        at = ended.end() if ended else stop
        match = STRAY.search(head.raw, at, stop)
        rest.append(head.raw[at : match.start() if match else stop])
    return [Edit(first.start(), stop, b"".join(rest))]  # one: there may be millions


def newline_of(content: bytes) -> bytes:
    at = content.find(b"\n")
    return b"\n" if at >= 0 and content[at - 1 : at] != b"\r" else b"\r\n"


def public_url(domain: str) -> str:
    return domain if "://" in domain else f"https://{domain}"
