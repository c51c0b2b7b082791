"""One submission from the client's dot to its answer.

Owns: the copies' way to the upstream, when the client hears what, when the spool takes over, and that a message sent
twice by a client which could not wait goes out once.
Leaves to others: the copies themselves (`outbound`), attempts (`upstream`), what waits (`spool`), the dialogue (`smtp`).

What the client hears, over all recipients of all copies:
    all refused                         the first refusal's 5xx
    none accepted, some put off         on_defer "pass": the first 4xx; "spool": kept, then 250
    some accepted                       250; those put off are kept, those refused are reported to the reverse-path
    not known after `patience`          on_defer "spool": kept, then 250, and the attempt under way owns what was kept
A 250 is said when the upstream said it, or when the message was fsynced here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from relay import config, log, metrics, outcomes, spool
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import dsn, envelopes, queue
from relay.core.model import Done, Envelope, Later, Never, Reply, Submission
from relay.delivery import attempts, resubmissions
from relay.upstream import choice

if TYPE_CHECKING:
    from relay import outbound
    from relay.upstream.failover import Upstreams

LOG = log.room("delivery")

AT_ONCE = 4  # copies of one submission in flight, and in memory
# What clients are held to (bytes in flight) counts a message once. So of those above LARGE octets that have several
# copies, LARGE_AT_ONCE copies are in memory over all submissions.
LARGE, LARGE_AT_ONCE = 65_536, 4
OFF_THE_LOOP = 262_144  # octets: rendering more than this would hold up the other sessions
CLOSE_SECONDS = 10.0
# Looked up once: a label costs more than the counting.
TRACK_SECONDS, RENDER_SECONDS = metrics.STAGE.labels("track"), metrics.STAGE.labels("render")
FULL = Reply(452, "4.3.1 The message can't be kept now: {reason}")
FAILED = Reply(451, "4.3.0 The message could not be taken; try again")


class Tracker(Protocol):
    async def track(self, submission: Submission) -> outbound.Tracked: ...


class Desk:
    def __init__(
        self,
        settings: config.Settings,
        tracker: Tracker,
        upstreams: Upstreams,
        spool: spool.Spool,
        outcomes: outcomes.Outcomes,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.tracker, self.upstreams, self.spool = settings, tracker, upstreams, spool
        self.outcomes = outcomes
        self._gates = asyncio.Semaphore(LARGE_AT_ONCE), asyncio.Semaphore(LARGE_AT_ONCE)  # to the upstream, to the disk
        self._tasks: set[asyncio.Task[None]] = set()
        self._resubmissions = resubmissions.Resubmissions(clock=clock)

    async def take(self, submission: Submission) -> Reply:
        """The answer to a message. Never raises but for cancellation. Runs in a task of its own, which `left` can name."""
        before = self._resubmissions.before(submission)
        if before:
            LOG.info("joined", peer=submission.peer)
            return await asyncio.shield(before.answer)
        task = cast("asyncio.Task[Reply]", asyncio.current_task())
        self._resubmissions.begin(task, submission)
        peer, reply, work = submission.peer, FAILED, self._take(submission)
        del submission  # large, and done with once its copies are made
        try:
            reply = await work
        except Exception:  # the edge: the client keeps the message, and tries again
            metrics.ERRORS.labels("delivery").inc()
            LOG.exception("not_taken", peer=peer)
        finally:
            self._resubmissions.end(task, reply)
        return reply

    def left(self, task: asyncio.Task[Reply]) -> None:
        """The client of the message that `task` takes went away unanswered. When it comes back with the same bytes
        within a quarter of an hour, it gets this message's answer."""
        self._resubmissions.left(task)

    # -- one submission --------------------------------------------------------------------------------------------------

    async def _take(self, submission: Submission) -> Reply:
        began = time.perf_counter()
        tracked = await self.tracker.track(submission)
        TRACK_SECONDS.observe(time.perf_counter() - began)
        credentials = self._credentials(submission)
        upstream = choice.named(self.settings, tracked.upstream)
        journey = attempts.Journey(
            tracked.message_id,
            submission.reverse_path,
            len(submission.content),
            len(submission.recipients),
            choice.name_of(upstream),
            credentials,
            # A user whose own session carries the mail is there to try again; we can't without that session.
            spools=upstream.on_defer == "spool" and credentials is None,
        )
        if tracked.refusal:
            return self._said(tracked.refusal, "refused", journey)
        found = attempts.of(submission, tracked)
        del submission, tracked
        shared = len(found) > 1 and journey.size > LARGE
        gate = self._gates[0] if shared else asyncio.Semaphore(AT_ONCE)
        running = {a: self._task(self._attempt(a, journey, gate)) for a in found}
        patience = upstream.patience if journey.spools else None
        _, slow = await asyncio.wait(running.values(), timeout=patience)
        if slow:
            late = self._gates[1] if shared else asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._hand_over(a, running[a], journey, late) for a in found))
            # Those that have their outcome but are not kept yet, and those that the disk did not take.
            ending = [running[a] for a in found if not a.kept and not running[a].done()]
            if ending:
                await asyncio.wait(ending)
        return await self._answer(found, journey)

    def _credentials(self, submission: Submission) -> tuple[str, str] | None:
        """A client's own login goes along only where the upstream is who checked it."""
        return (
            (submission.login, submission.password)
            if self.settings.smtp.auth == "upstream" and submission.login
            else None
        )

    def _task(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _attempt(self, attempt: attempts.Attempt, journey: attempts.Journey, gate: asyncio.Semaphore) -> None:
        def started(host: str) -> None:
            attempt.host = host

        async with gate:
            try:
                content = await _content(attempt, journey)
                envelope = Envelope(
                    journey.reverse_path, attempt.recipients, attempt.options, journey.credentials, journey.upstream
                )
                attempt.outcomes = await self.upstreams.send(envelope, content, started=started)
            except Exception:  # the edge of one copy: the others go on
                metrics.ERRORS.labels("delivery").inc()
                LOG.exception("not_sent", message_id=journey.message_id)
                attempt.outcomes = (Later(FAILED),) * len(attempt.recipients)
            if attempt.kept:
                return  # the spool's entry is settled by who keeps it
            if journey.spools and attempt.late:
                await self._put_off(attempt, journey)
            attempt.ended()

    # -- into the spool --------------------------------------------------------------------------------------------------

    def _entry(
        self, journey: attempts.Journey, waiting: Sequence[queue.Waiting], options: Sequence[str], **how: Any
    ) -> queue.Entry:
        login = journey.credentials[0] if journey.credentials else ""
        return self.spool.entry(
            journey.message_id, journey.reverse_path, waiting, options, login=login, upstream=journey.upstream, **how
        )

    async def _put_off(self, attempt: attempts.Attempt, journey: attempts.Journey) -> None:
        """Keeps what the upstream put off."""
        late = [(w, o) for w, o in attempt.words() if isinstance(o, Later)]
        waiting = [msgspec.structs.replace(w, reply=str(o.reply)) for w, o in late]
        unsure = any(o.uncertain for _, o in late)
        entry = self._entry(journey, waiting, attempt.options, tried=True, duplicates=int(unsure))
        try:
            await self.spool.put(entry, attempt.render())
        except spool.Unwritable as reason:
            attempt.unwritable = str(reason)
        else:
            attempt.put_off = True
            LOG.info("kept", entry=entry.entry_id, message_id=journey.message_id, reply=entry.last_reply)

    async def _hand_over(
        self, attempt: attempts.Attempt, task: asyncio.Task[None], journey: attempts.Journey, gate: asyncio.Semaphore
    ) -> None:
        """Keeps a copy whose attempt takes longer than a client waits. An attempt under way owns what is kept, also where
        it ends while that is written; one that waits for a place ends here, so that a slow upstream fills the disk and
        not the memory."""
        async with gate:
            if attempt.outcomes:
                return
            entry = self._entry(journey, attempt.waiting(), attempt.options)
            attempt.kept = True  # the attempt leaves its outcome to this entry: there is never a second one
            try:
                claim = await self.spool.keep(entry, await _content(attempt, journey))
            except spool.Unwritable as reason:
                LOG.error("not_kept", message_id=journey.message_id, reason=str(reason))
                attempt.kept = False
                if attempt.outcomes:  # it ended meanwhile
                    attempt.unwritable = str(reason) if attempt.late else ""
                    attempt.ended()
                return
            LOG.info("handed_over", entry=entry.entry_id, message_id=journey.message_id, started=bool(attempt.host))
            if attempt.host or attempt.outcomes:
                self._task(self._own(attempt, task, claim))
            else:
                task.cancel()
                attempt.content = None
                self.spool.release(claim)

    async def _own(self, attempt: attempts.Attempt, task: asyncio.Task[None], claim: spool.Claim) -> None:
        """The end of an attempt that outlasted its client."""
        try:
            await asyncio.wait({task})
            if attempt.outcomes:
                attempt.content = None
                await self.spool.settle(claim, attempt.outcomes, attempt.host)
                return
        except Exception:
            metrics.ERRORS.labels("delivery").inc()
            LOG.exception("not_settled", entry=claim.entry.entry_id)
        self.spool.release(claim)

    # -- the answer ------------------------------------------------------------------------------------------------------

    async def _answer(self, found: Sequence[attempts.Attempt], journey: attempts.Journey) -> Reply:
        if len(found) == 1 and found[0].sent:  # as most mail is: one copy, and nothing to tell anybody
            self.outcomes.accepted(journey.message_id)
            self._record(found[0], journey)
            return self._accepted(found[0].outcomes[0].reply, "sent", journey)
        known = [a for a in found if not a.kept]
        for attempt in known:
            attempt.outcomes = attempt.outcomes or (Later(FAILED),) * len(attempt.recipients)  # cut off by a shutdown
        words = [(w.index, o) for a in known for w, o in a.words()]
        words.sort(key=lambda pair: pair[0])
        accepted = any(isinstance(o, Done) for _, o in words) or any(a.kept or a.put_off for a in found)
        if accepted:
            self.outcomes.accepted(journey.message_id)
        for attempt in known:
            self._record(attempt, journey)
        unwritable = next((a.unwritable for a in known if a.unwritable), "")
        if unwritable:
            return self._said(Reply(FULL.code, FULL.text.format(reason=unwritable)), "deferred", journey)
        if not accepted:
            later = next((o.reply for _, o in words if isinstance(o, Later)), None)
            return self._said(later or words[0][1].reply, "deferred" if later else "refused", journey)
        try:
            await self._leftovers(known, journey)
        except spool.Unwritable as reason:
            return self._said(Reply(FULL.code, FULL.text.format(reason=reason)), "deferred", journey)
        done = [o.reply for _, o in words if isinstance(o, Done)]
        outcome = "sent" if len(done) == journey.recipients else "kept" if not done else "partly"
        return self._accepted(done[0] if done else Reply(250, ""), outcome, journey)

    def _record(self, attempt: attempts.Attempt, journey: attempts.Journey) -> None:
        addresses = [recipient.address for recipient in attempt.recipients]
        self.outcomes.replies(journey.message_id, addresses, attempt.outcomes, attempt.host)
        self.outcomes.ended(journey.message_id, attempt.words)

    def _accepted(self, word: Reply, outcome: str, journey: attempts.Journey) -> Reply:
        """250, in the upstream's words where it said some."""
        first = envelopes.ENHANCED.match(word.text)
        text = (word.text[len(first[0]) :] if first else word.text).strip() or "queued"
        return self._said(Reply(250, f"2.0.0 Ok {journey.message_id} {text}"), outcome, journey)

    def _said(self, reply: Reply, outcome: str, journey: attempts.Journey) -> Reply:
        """The one line per message: what became of it when its client was answered."""
        LOG.info(
            "accepted" if reply.code == 250 else "refused",
            message_id=journey.message_id,
            sender=journey.reverse_path or "<>",
            recipients=journey.recipients,
            size=journey.size,
            outcome=outcome,
            upstream=None if journey.upstream == DEFAULT_UPSTREAM else journey.upstream,
            reply=reply,
        )
        return reply

    async def _leftovers(self, known: Sequence[attempts.Attempt], journey: attempts.Journey) -> None:
        """Somebody has the message, so the client hears 250: what was put off is kept, what was refused is reported, and
        what was handed on to where nobody reports, if the sender asked for that."""
        failed, relayed = _Reported(), _Reported()
        for attempt in known:
            if attempt.late and not attempt.put_off:
                await self._put_off(attempt, journey)
                if attempt.unwritable:
                    raise spool.Unwritable(attempt.unwritable)
            host = attempt.host or self.upstreams.host
            for waiting, outcome in attempt.words():
                if isinstance(outcome, Never):
                    failed.add(attempt, waiting, queue.notice(waiting, outcome, "failed", host))
                elif isinstance(outcome, Done) and outcome.unconfirmed:
                    relayed.add(attempt, waiting, queue.notice(waiting, outcome, "relayed", host))
        if failed.group:
            LOG.info("reported", message_id=journey.message_id, recipients=len(failed.group))
            await self._report(failed, journey)
        if relayed.group:
            try:
                await self._report(relayed, journey)
            except spool.Unwritable as reason:  # the message is with the upstream: no reason to refuse it
                LOG.error("not_told", message_id=journey.message_id, reason=str(reason))

    async def _report(self, about: _Reported, journey: attempts.Journey) -> None:
        entry = self._entry(journey, [waiting for waiting, _ in about.group], about.options)
        await self.spool.report(entry, about.content, about.group)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Waits for attempts that outlast their clients; what is still under way then is in the spool, or its client
        has no answer."""
        if self._tasks:
            _, left = await asyncio.wait(set(self._tasks), timeout=seconds)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


@dataclass(slots=True)
class _Reported:
    """What one report is about; its original is the first copy concerned."""

    group: list[tuple[queue.Waiting, dsn.Notice]] = field(default_factory=list)
    content: bytes = b""
    options: tuple[str, ...] = ()

    def add(self, attempt: attempts.Attempt, waiting: queue.Waiting, notice: dsn.Notice) -> None:
        if not self.group:
            self.content, self.options = attempt.render(), attempt.options
        self.group.append((waiting, notice))


async def _content(attempt: attempts.Attempt, journey: attempts.Journey) -> bytes:
    began = time.perf_counter()
    try:
        return await asyncio.to_thread(attempt.render) if journey.size > OFF_THE_LOOP else attempt.render()
    finally:
        RENDER_SECONDS.observe(time.perf_counter() - began)
