"""What an attempt's outcome does to an entry, and who hears of it.

Owns: that each recipient's end is written down and told, each once, also where the disk takes nothing for a while.
Leaves to others: what the outcome means (`core.queue`), the report and its event (`spool.reporting`), their way to the
disk (`spool.keeping`) and to the store (`relay.outcomes`).
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from relay import log, metrics
from relay.core import queue
from relay.core.model import Event, Later, Outcome, Reply
from relay.spool import disk, keeping, reporting

LOG = log.room("spool")


class Outcomes(Protocol):
    """Where the store hears of it. Beside `event` nothing waits for the store."""

    def replies(
        self, message_id: str, recipients: Sequence[str], outcomes: Sequence[Outcome], host: str = ""
    ) -> None: ...
    def ended(
        self,
        message_id: str,
        recipients: Callable[[], Sequence[tuple[queue.Waiting, Outcome]]],
        *,
        given_up: bool = False,
    ) -> None: ...
    def given_up(self, message_id: str, recipients: Sequence[queue.Waiting], why: str) -> None: ...
    async def event(self, event: Event) -> None: ...


class Settler:
    """`host` is that of [upstream], for outcomes that no server gave. `own_login`: the relay has a login of its own
    there, so reports need no user's. `random_bytes` gives n of them; `jitter` a number from 0 to 1."""

    def __init__(
        self,
        kept: keeping.Keeping,
        outcomes: Outcomes,
        policy_of: Callable[[queue.Entry], queue.Policy],
        *,
        hostname: str,
        host: str,
        own_login: bool,
        times: keeping.Times,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._kept, self._outcomes, self._policy_of = kept, outcomes, policy_of
        self._hostname, self._host, self._own_login = hostname, host, own_login
        self._times, self._clock, self._random_bytes, self._jitter = times, clock, random_bytes, jitter
        self._ending = asyncio.Event()

    async def settle(self, claim: disk.Claim, outcomes: Sequence[Outcome], host: str = "") -> None:
        """The entry after an attempt at the upstream `host`: gone, or kept for the next one. Reports are kept before the
        entry goes on, so a crash in between repeats one and loses none."""
        entry = claim.entry
        settled = queue.settle(
            entry,
            outcomes,
            now=self._clock(),
            jitter=self._jitter(),
            policy=self._policy_of(entry),
            remote=host or self._host,
        )
        self._tell(entry, outcomes, settled, host)
        final = [*settled.done]
        try:
            for group in (settled.failed, settled.delayed, settled.relayed):
                if group and entry.kind == "mail":
                    await self.report(entry, await asyncio.to_thread(claim.content), group)
                if group is settled.failed:
                    final += [recipient for recipient, _ in group]
            if settled.entry is None:
                await self._kept.remove(claim)
            else:
                await asyncio.to_thread(claim.save, settled.entry)
                self._kept.release(claim)
                self._say_put_off(settled.entry)
        except (OSError, disk.Unwritable) as reason:
            metrics.ERRORS.labels("spool").inc()
            LOG.error("not_settled", entry=entry.entry_id, reason=str(reason))
            await self._hold(claim, final)

    async def _hold(self, claim: disk.Claim, final: Sequence[queue.Waiting]) -> None:
        """The outcome could not be written. Those who have the message, or whose sender was told, must not get it again:
        so until they are written down the entry stays ours, for this process and all others; and so does the attempt's
        place, since a disk that takes nothing must not let the whole queue out unrecorded. The others wait for another
        attempt, and hear nothing yet."""
        ended = {(r.address, r.index): r for r in final}
        recipients = tuple(ended.get((r.address, r.index), r) for r in claim.entry.recipients)
        pause = self._times.write
        if any(r.state == "waiting" for r in recipients):
            pause = self._policy_of(claim.entry).schedule[-1]
        held = msgspec.structs.replace(claim.entry, recipients=recipients, next_at=self._clock() + pause)
        pause = self._times.write
        said = False
        while ended:
            try:
                await asyncio.to_thread(claim.save, held)
                break
            except disk.Unwritable as reason:
                if not said:
                    said = True
                    LOG.error("held", entry=held.entry_id, recipients=len(ended), reason=str(reason))
            if await self._ends_within(pause):
                LOG.error("may_be_repeated", entry=held.entry_id, recipients=len(ended))
                break
            pause = min(self._times.again, 2 * pause)
        self._kept.release(claim, held)

    def end(self) -> None:
        """The service stops: what is held is given back, written or not."""
        self._ending.set()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._ending.wait()
        except TimeoutError:
            return False

    def _tell(self, entry: queue.Entry, outcomes: Sequence[Outcome], settled: queue.Settled, host: str) -> None:
        if entry.message_id and entry.kind == "mail":
            words_of = dict(zip(((r.address, r.index) for r in entry.waiting), outcomes, strict=True))
            over = [r for r, _ in settled.failed if isinstance(words_of[r.address, r.index], Later)]
            self._outcomes.replies(entry.message_id, [r.address for r in entry.waiting], outcomes, host)
            if over:
                self._outcomes.given_up(entry.message_id, over, f"not taken within {self._age(entry)}")
            final = [*settled.done, *(recipient for recipient, _ in settled.failed)]
            self._outcomes.ended(
                entry.message_id, lambda: [(r, words_of[r.address, r.index]) for r in final], given_up=True
            )
        for recipient in settled.done:
            LOG.info("delivered", entry=entry.entry_id, message_id=entry.message_id, recipient=recipient.address,
                     attempts=entry.attempts + 1, reply=recipient.reply)  # fmt: skip
        for recipient, notice in settled.failed:
            LOG.warning("given_up", entry=entry.entry_id, message_id=entry.message_id, recipient=recipient.address,
                        kind=entry.kind, status=notice.status, reply=recipient.reply)  # fmt: skip

    def _age(self, entry: queue.Entry) -> str:
        hours = max(0.0, self._clock() - entry.created_at) / 3600
        return (
            f"{hours / 24:.0f} days"
            if hours >= 48
            else f"{hours:.0f} hours"
            if hours >= 2
            else f"{hours * 60:.0f} minutes"
        )

    def dropped(self, gone: disk.Dropped) -> None:
        """An operator removed it: nobody else is told."""
        entry = gone.entry
        LOG.warning("dropped", entry=entry.entry_id, message_id=entry.message_id, kind=entry.kind, by=gone.by,
                    recipients=" ".join(r.address for r in entry.waiting), attempts=entry.attempts,
                    reply=entry.last_reply)  # fmt: skip
        if entry.message_id and entry.kind == "mail":
            self._outcomes.given_up(entry.message_id, entry.waiting, disk.DROPPED)
            failed = Later(Reply(451, f"4.3.0 {disk.DROPPED}"))
            self._outcomes.ended(entry.message_id, lambda: [(r, failed) for r in entry.waiting], given_up=True)

    def _say_put_off(self, entry: queue.Entry) -> None:
        """Once it is so: who reads this may retry or drop the entry at once."""
        LOG.info("put_off", entry=entry.entry_id, message_id=entry.message_id, attempts=entry.attempts,
                 next_in=f"{entry.next_at - self._clock():.0f}s", reply=entry.last_reply)  # fmt: skip

    async def report(self, entry: queue.Entry, content: bytes, group: reporting.Group) -> None:
        """Tells the sender, who wants to know, by a report that is kept for sending when this returns, and the store.
        The null reverse-path is never told anything. Raises `Unwritable`."""
        now = self._clock()
        metrics.REPORTS.labels(group[0][1].action).inc(len(group))
        policy = self._policy_of(entry)
        until = max(entry.created_at + policy.lifetime, now + policy.schedule[-1])  # all tries are made, however late
        made = reporting.Reporter(self._hostname, policy.bounce_from, now, until, f"=_{self._random_bytes(16).hex()}")
        message = made.message(entry, content, group)
        if message:
            name = queue.entry_id(now, self._random_bytes(4))
            utf8 = () if entry.reverse_path.isascii() else ("SMTPUTF8",)
            to = (queue.Waiting(entry.reverse_path),)
            login = "" if self._own_login else entry.login
            report = queue.Entry(name, "", now, now, "", to, utf8, kind="report", login=login, upstream=entry.upstream)
            await self._kept.put(report, message)
        for event in made.events(entry, group):
            await self._outcomes.event(event)
