"""Track one submission: instruct, plan, rewrite, sign, record.

Owns: what leaves for each recipient, and the one place where tracking fails open: whatever goes wrong here, the
message goes out as it came (control headers and Bcc taken out), the reason is recorded and counted.
`plans` decides, `copies` makes the bytes, `records` says what is remembered, `loops` what was here too often. Leaves
to others: how it leaves (`delivery`, `upstream`), and all decisions on text (`core`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from relay import config, event_loop, log, metrics, patience, store, suppressions
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import addresses, dkim, headers, parts, rewrite, senders, tokens, trace
from relay.core import suppressions as core
from relay.core.model import Decision, Edit, Keys, Reason, Recipient, Reply, Sent, Submission, Switch, Value
from relay.core.suppressions import Ground, Suppression
from relay.outbound import copies, loops, plans, records
from relay.outbound.copies import PendingCopy
from relay.upstream import choice

LOG = log.room("outbound")

SUPPLY = 1024  # random octets fetched at a time
RECORD_SECONDS = 2.0  # how long a message waits for its record before it goes out untracked
# Nylas' sentences, by what can't be done. Of several things it is the first.
SENTENCES: dict[Switch, str] = {
    "links": "The message has not been sent. Link tracking cannot be supported for this number of links and/or size of payload."
    " Please try resending with link tracking disabled.",
    "opens": "The message has not been sent. Please try resending with open tracking disabled.",
    "thread_replies": "The message has not been sent. Please try resending with reply tracking disabled.",
}
ANY = "The message has not been sent. Please try resending with tracking disabled."
HEADERS: dict[str, Switch] = {
    "x-track-opens": "opens",
    "x-track-links": "links",
    "x-track-thread-replies": "thread_replies",
}
# Looked up once: a label costs more than the counting.
COPIES = {True: metrics.COPIES.labels("yes"), False: metrics.COPIES.labels("no")}
RECORDING = metrics.STAGE.labels("record")


class Tracked(Value, frozen=True):
    """What leaves for one submission. `refusal` is set where it must not leave at all (on_invalid = "reject", or it goes
    in a loop); `refused` are the recipients that it must not leave for, each with what its sender hears. They are in no
    copy. `upstream` is the name of the upstream that is chosen for it. `failed` where tracking failed, and it goes out as
    it came."""

    message_id: str
    copies: tuple[PendingCopy, ...]
    refusal: Reply | None = None
    refused: tuple[tuple[Recipient, Reply], ...] = ()
    upstream: str = DEFAULT_UPSTREAM
    failed: bool = False


class Records(suppressions.Entries, Protocol):
    """What is asked of a store here."""

    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]: ...


class Suppressed:
    """What is done for each recipient, in order, with who is on the list. `refused` are those that nothing leaves for;
    `by_recipient` says why each of these, and of those who are not tracked, is on it."""

    def __init__(self, decisions: list[Decision]) -> None:
        self.decisions = decisions
        self.refused: dict[Recipient, Reply] = {}
        self.by_recipient: dict[str, Ground] = {}

    @classmethod
    def by(
        cls, listed: Mapping[str, Sequence[Suppression]], message: plans.Message, decisions: list[Decision]
    ) -> Suppressed:
        made = cls(list(decisions))
        for place, recipient in enumerate(message.submission.recipients if listed else ()):
            decision = made.decisions[place]
            setting = decision.tracking.suppress
            effect, ground = core.effect(setting, listed.get(recipient.address, ()), message.grant.id)
            if effect == "reject" and message.submission.reverse_path:  # else nobody could be told
                made.refused[recipient] = suppressions.refusal(ground)
            elif not (effect and decision.any):
                continue
            if ground:
                made.by_recipient[recipient.address] = ground
            made.decisions[place] = decision.with_(opens=False, links=False, thread_replies=False, reason="suppressed")
        return made

    @property
    def grounds(self) -> list[str]:
        return sorted(set(self.by_recipient.values()))

    def left(self, recipients: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
        return tuple(r for r in recipients if r not in self.refused) if self.refused else recipients


class Supply:
    """Random octets from the system, fetched many at a time: each call to it lets go of the interpreter's lock, and waits
    until another thread gives it back. Of one thread."""

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source, self._rest = source, b""

    def take(self, count: int) -> bytes:
        if len(self._rest) < count:
            self._rest = self._source(max(count, SUPPLY))
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


class Tracker:
    """`keys` gives the keys that sign tokens now; `signers` are the DKIM keys; `hostname` is ours, in
    trace fields; `cpu` is the processor time that this thread has used, `elapsed` the time, in seconds; `random_bytes` gives n of them;
    `recorded` hears of each message that was recorded."""

    def __init__(
        self,
        settings: config.Settings,
        keys: Callable[[], Keys],
        store: Records,
        signers: Sequence[dkim.Signer] = (),
        *,
        hostname: str = "localhost",
        clock: Callable[[], float] = time.time,
        cpu: Callable[[], float] = time.thread_time,
        elapsed: Callable[[], float] = time.perf_counter,
        random_bytes: Callable[[int], bytes] | None = None,
        recorded: Callable[[Sent], None] | None = None,
    ) -> None:
        self.recorded = recorded
        self.settings, self.keys, self.store, self.hostname = settings, keys, store, hostname
        self.clock, self.random_bytes = clock, random_bytes or Supply().take
        self.patience = patience.Patience(RECORD_SECONDS)
        self.lookup = suppressions.Lookup(store, keys)
        self.planner = plans.Planner(settings, keys, signers, clock, cpu, elapsed)
        self.renderer = copies.Renderer(settings, keys, clock)

    async def track(self, submission: Submission, *, one_group: bool = False, key: bytes = b"") -> Tracked:
        """What leaves for this submission. Never raises for any content; the record is durable when it returns. With
        `one_group` there is one copy for all recipients, as a milter needs it: with several of them its tokens are the
        message's, and name none of them. `key` is the message's where it has one already."""
        planned: plans.Message | None = None
        given = key
        try:
            key = given or tokens.message_key(submission.received_at or self.clock(), self.random_bytes(6))
            refusal = loops.refusal(submission.options, self.keys())
            if refusal:
                return Tracked(tokens.message_id(key), (), refusal)
            if len(submission.content) > event_loop.LARGEST:
                message, decisions = await asyncio.to_thread(self.planner.begin, submission, key, given=bool(given))
            else:
                message, decisions = self.planner.begin(submission, key, given=bool(given))
            planned = message
            found = Suppressed(decisions)
            digests = self.digests(message, decisions)
            while True:
                if len(submission.content) > event_loop.LARGEST:
                    groups = await asyncio.to_thread(self.planner.groups, message, found.decisions, one_group=one_group)
                else:
                    groups = self.planner.groups(message, found.decisions, one_group=one_group)
                refusal = (
                    loops.refusal_by_trace(message.headers, self.hostname)
                    or senders.refusal_of_message(message.headers, submission.senders)
                    or refused(message, groups)
                )
                if refusal:
                    return Tracked(message.message_id, (), refusal, upstream=choice.name_of(message.upstream))
                shares = shared(submission.recipients, groups, one_group=one_group)
                sent = records.sent(message, groups, shares, self.clock(), handed=one_group, grounds=found.grounds)
                listed = await self.record(sent, digests.values())
                if not listed:
                    break
                # The list is asked with the record, in one transaction, since hardly anybody is on it: only now is it known
                # what is to be done for each recipient.
                found = Suppressed.by(suppressions.by_address(digests, listed), message, decisions)
                digests = {}
            self.say_invalid(message)
            if self.recorded is not None:
                self.recorded(sent)
        except Exception as reason:  # the one place where tracking fails open
            metrics.FAILED_OPEN.labels(type(reason).__name__).inc()
            metrics.UNTRACKED.labels("internal_error").inc()
            if isinstance(reason, store.Unavailable | TimeoutError):  # of these there may be one per message
                why = str(reason) or "the store is slow"
                LOG.error(
                    "untracked", reason="internal_error", peer=submission.peer, login=submission.login or None, why=why
                )
            else:
                LOG.exception(
                    "untracked", reason="internal_error", peer=submission.peer, login=submission.login or None
                )
            tracked = self.plain(submission, planned, given)
            if tracked.copies and not isinstance(reason, store.Unavailable | TimeoutError):
                await self.record_failed(submission, tracked, handed=one_group)
            return tracked
        received = self.received(submission, message.message_id, (*sent.to, *sent.cc))
        pending = [
            self.renderer.pending(message, group, index, left, received)
            for index, recipients, group in shares
            if (left := found.left(recipients))
        ]
        upstream = choice.name_of(message.upstream)
        return Tracked(message.message_id, tuple(pending), None, tuple(found.refused.items()), upstream)

    def digests(self, message: plans.Message, decisions: list[Decision]) -> dict[str, str]:
        """The recipients, if it matters who of them is on the list."""
        for decision in decisions:
            if decision.any or decision.tracking.suppress != "off":
                return self.lookup.digests({recipient.address for recipient in message.submission.recipients})
        return {}

    def say_invalid(self, message: plans.Message) -> None:
        """Whoever sends such mail does not hear of it."""
        told = records.invalid(message)
        if told:
            by = message.submission
            LOG.warning("invalid_instruction", message_id=message.message_id, header=told["invalid_header"],
                        reason=told["invalid"], login=by.login or None, peer=by.peer, sender=message.sender)  # fmt: skip

    async def record(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        """All mail is recorded, tracked or not, unless somebody of these digests is on the list: then these entries are returned
        instead. Mail goes first: what is untracked does not wait for a store that can't take it, or be asked."""
        listed: Sequence[Suppression] = ()
        began = time.perf_counter()
        try:
            with self.patience.wait():
                listed = await self.store.record_sent(sent, unless)
            RECORDING.observe(time.perf_counter() - began)
        except (store.Unavailable, TimeoutError) as reason:
            if any(copy.tracked for copy in sent.copies):
                raise
            metrics.FAILED_OPEN.labels("record").inc()
            LOG.warning("not_recorded", message_id=sent.message_id, reason=str(reason) or "the store is slow")
            if unless:
                metrics.FAILED_OPEN.labels("suppress").inc()
                LOG.warning("suppress_not_asked", message_id=sent.message_id, reason=str(reason) or "the store is slow")
        finally:
            if not listed:
                count(sent)
        return listed

    async def record_failed(self, submission: Submission, tracked: Tracked, *, handed: bool) -> None:
        """That it leaves as it came, and by whom to whom. It does in any case."""
        try:
            head = headers.read(submission.content)
            sender = plans.sender_of(head, submission)
            grant = self.planner.grant_of(sender)
            sent = records.failed(
                tracked.message_id,
                submission,
                head,
                sender,
                grant.id,
                submission.received_at or self.clock(),
                handed=handed,
            )
            with self.patience.wait():
                await self.store.record_sent(sent)
        except Exception:  # whatever broke the tracking may break this too
            metrics.ERRORS.labels("outbound").inc()
            LOG.exception("not_recorded", message_id=tracked.message_id)

    async def pass_by(self, submission: Submission, reason: Reason, size: int) -> None:
        """Records a message of `size` octets that a mail server delivers as it is; of its content, what is there."""
        try:
            message = self.planner.read(submission, tokens.message_key(submission.received_at, self.random_bytes(6)))
            decided = self.planner.decisions(message)[0]
            group = plans.Group(
                decided.with_(opens=False, links=False, thread_replies=False, reason=reason), None, reason
            )
            sent = records.sent(message, [group], [(0, submission.recipients, group)], self.clock(), handed=True)
            known = "" if "Message-ID" in message.added else sent.internet_message_id
            await self.record(sent.with_(size=size, internet_message_id=known))
        except Exception:  # it goes on all the same
            metrics.FAILED_OPEN.labels("record").inc()
            LOG.exception("not_recorded", queue_id=submission.queue_id)

    def plain(self, submission: Submission, planned: plans.Message | None, key: bytes = b"") -> Tracked:
        """The submission as it came, if its login may send it, without what must never leave; `planned` where it could be read. Needs nothing
        that can fail."""
        head = headers.read(submission.content)
        message_id = tokens.message_id(key or self.random_bytes(12))
        refusal = senders.refusal_of_message(head, submission.senders)  # what can't be read is no way around it
        if refusal:
            return Tracked(message_id, (), refusal)
        secret = [field for field in head.fields if never_leaves(field.name)]
        edits = [*(Edit(field.start, field.end, b"") for field in secret), *plans.stray(head)]
        rendering = rewrite.Rendering(head, parts.changes(edits), self.received(submission, message_id))
        copy = PendingCopy(0, submission.recipients, lambda: rendering, lambda: rendering, submission.options)
        upstream = self.settings.upstream
        if planned:
            upstream = planned.upstream
        elif self.settings.upstreams:
            upstream = choice.of_sender(self.settings, plans.sender_of(head, submission))
        return Tracked(message_id, (copy,), upstream=choice.name_of(upstream), failed=True)

    def received(self, submission: Submission, message_id: str, visible: Sequence[str] = ()) -> bytes:
        """The trace field of all its copies; b"" where there is none: the operator wants none, or nobody spoke SMTP with
        us. Nothing of a client with a login is told, and no recipient that the message itself does not show: `visible`
        are the addresses in To and Cc."""
        how = self.settings.smtp.received
        if how == "none" or not submission.protocol:
            return b""
        told = how == "full" and not submission.login
        spoke = submission.proxy or submission
        only = submission.recipients[0].address if told and len(submission.recipients) == 1 else ""
        return trace.field(
            helo=spoke.helo if told else "",
            peer=spoke.peer if told else "",
            host=self.hostname,
            protocol=submission.protocol,
            identifier=message_id,
            recipient=only
            if only in visible or addresses.comparable(only) in map(addresses.comparable, visible)
            else "",
            at=submission.received_at or self.clock(),
        )

    def explain(
        self, submission: Submission, recipient: str, listed: Mapping[str, Sequence[Suppression]] = suppressions.NOBODY
    ) -> tuple[bytes, dict[str, Any]]:
        """The dry run of one copy: its bytes, and why each thing was or was not tracked. Nothing is recorded. `listed` are the
        recipients that the list of suppressed ones has."""
        key = tokens.message_key(submission.received_at or self.clock(), self.random_bytes(6))
        message, decisions = self.planner.begin(submission, key)
        found = Suppressed.by(listed, message, decisions)
        groups = self.planner.groups(message, found.decisions)
        index = next((i for i, r in enumerate(submission.recipients) if r.address == recipient), 0)
        group = groups[index]
        made = self.renderer.render(message, group, index)
        report = records.report(message, group, made)
        if ground := found.by_recipient.get(recipient):
            report["suppressed"] = {"reason": ground}
        if refused := next((reply for r, reply in found.refused.items() if r.address == recipient), None):
            report["refused"] = str(refused)
        if group.prepared:
            report |= rewrite.explain(group.prepared, hrefs=made.hrefs)
        return made.rendering.content(), report


def never_leaves(name: str) -> bool:
    """Whether no field of that name leaves, whatever becomes of its message."""
    low = name.lower()
    return low in plans.NEVER_LEAVES or low == "x-track" or low.startswith("x-track-")


def shared(recipients: Sequence[Recipient], groups: Sequence[plans.Group], *, one_group: bool) -> list[records.Share]:
    """(token index, recipients, group) for each set of bytes. Only recipients whose bytes differ are fanned out:
    untracked ones share a copy, and so do those beyond `per_recipient_max` or with `per_recipient` off."""
    if len(groups) == 1:
        return [(0, tuple(recipients), groups[0])]
    found: dict[tuple[int, int], list[int]] = {}
    for i, group in enumerate(groups):
        options = group.decision.tracking
        alone = group.tracked and options.per_recipient and len(recipients) <= options.per_recipient_max
        found.setdefault((id(group), i if alone and not one_group else -1), []).append(i)
    return [(own[0], tuple(recipients[i] for i in own), groups[own[0]]) for own in found.values()]


def refused(message: plans.Message, groups: Sequence[plans.Group]) -> Reply | None:
    """The refusal of an instruction that can't be read, where the operator wants one, in Nylas' words; and there also of
    a message whose author can't be told."""
    invalid = message.instructions.invalid
    if not (invalid or message.doubt) or not any(g.decision.tracking.on_invalid == "reject" for g in groups):
        return None
    if not invalid:
        return Reply(550, f"5.6.0 {message.doubt}")
    named = HEADERS.get(invalid.replace(":", " ").split(" ", 1)[0].lower())
    asked = [named] if named else [switch for switch in SENTENCES if wanted(message, groups, switch)]
    sentence = SENTENCES[asked[0]] if asked else ANY
    return Reply(550, f"5.6.0 {invalid.rstrip('.')}. {sentence}")


def wanted(message: plans.Message, groups: Sequence[plans.Group], switch: Switch) -> bool:
    """Whether the message, or where it says nothing a default, asks for it."""
    said = message.instructions.switches.get(switch)
    return said[0] if said else any(getattr(group.decision.tracking, switch) for group in groups)


def signers(settings: config.Settings) -> tuple[dkim.Signer, ...]:
    """The keys of [[dkim]], read and parsed once: parsing one takes 40 ms. Raises `dkim.BadKey`, which names the file, or
    OSError."""
    found = []
    for entry in settings.dkim:
        try:
            found.append(dkim.load(entry.key.read_bytes(), entry.domain, entry.selector, entry.unsigned_headers))
        except dkim.BadKey as reason:
            raise dkim.BadKey(f"{entry.key}: {reason}") from reason
    return tuple(found)


def count(sent: Sent) -> None:
    for copy in sent.copies:
        COPIES[copy.tracked].inc()
        if copy.reason:
            metrics.UNTRACKED.labels(copy.reason).inc()
