"""Messages kept on disk until they are delivered or given up.

Owns: keeping, and what each attempt's outcome does to an entry. `files` is the disk, `sending` makes the attempts,
`reporting` is what senders and the store are told. Leaves to others: when to try and when to give up (`core.queue`), the
form of reports (`core.dsn`), the attempt itself (`upstream`), and which mail comes here (`delivery`).

A message's bytes are final when they come here: an attempt changes nothing in them, so control headers and Bcc are
gone, tokens and signature stay the same. (What a server without 8BITMIME gets is made of them by `upstream`.)
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from relay import config, log, metrics, outcomes
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import dsn, queue
from relay.core.model import Outcome
from relay.spool import files, reporting, sending
from relay.upstream import choice

if TYPE_CHECKING:
    from relay.upstream.failover import Upstreams

LOG = log.room("spool")

WRITE_SECONDS = 1.0  # until what could not be written is tried to be again; doubles up to `sending.AGAIN_SECONDS`

Claim = files.Claim
Unwritable = files.Unwritable


def entry_id(now: float, dice: bytes) -> str:
    """Sorts by time."""
    return f"{int(now * 1000):011x}{dice.hex()}"


class Spool:
    """`directory` is made when missing. `run` sends; `put`, `keep`, `settle` and `report` work without it."""

    def __init__(
        self,
        directory: Path,
        settings: config.Settings,
        upstreams: Upstreams,
        outcomes: outcomes.Outcomes,
        *,
        clock: Callable[[], float] = time.time,
        schedule: Sequence[float] = queue.SCHEDULE,
        delay_after: float = queue.DELAY_AFTER,
    ) -> None:
        self.files = files.Files(directory)
        self.upstreams, self.outcomes, self.clock = upstreams, outcomes, clock
        self.hostname = settings.smtp.hostname or os.uname().nodename
        self._policies = {
            choice.name_of(up): queue.Policy(up.queue_lifetime, up.bounce_from, schedule, delay_after)
            for up in (settings.upstream, *settings.upstreams)
        }
        self.policy = self._policies[DEFAULT_UPSTREAM]
        self._own_login = bool(settings.upstream.password or settings.upstream.oauth2)
        self._sender = sending.Sender(self)
        self._started = False

    def policy_of(self, entry: queue.Entry) -> queue.Policy:
        """That of its upstream, or of [upstream] where there is none of that name any more."""
        return self._policies.get(entry.upstream, self.policy)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def entry(
        self,
        message_id: str,
        reverse_path: str,
        recipients: Sequence[queue.Waiting],
        options: Sequence[str] = (),
        *,
        login: str = "",
        upstream: str = DEFAULT_UPSTREAM,
        duplicates: int = 0,
        tried: bool = False,
    ) -> queue.Entry:
        """An entry that begins now; `tried` where the first attempt was just made."""
        now = self.clock()
        pause = self.policy.schedule[min(1, len(self.policy.schedule) - 1)] if tried else 0.0
        return queue.Entry(
            entry_id(now, secrets.token_bytes(4)),
            message_id,
            now,
            now + pause,
            reverse_path,
            tuple(recipients),
            tuple(options),
            login=login,
            attempts=int(tried),
            duplicates=duplicates,
            upstream=upstream,
        )

    async def keep(self, entry: queue.Entry, content: bytes) -> Claim:
        """Keeps a message that an attempt is under way for: whoever holds the claim settles or releases it. Durable
        when it returns; raises `Unwritable`."""
        return await asyncio.to_thread(self._put, entry, content)

    def _put(self, entry: queue.Entry, content: bytes) -> Claim:
        if not self._started:
            try:
                self.files.start()
            except OSError as reason:
                raise Unwritable(f"{reason.strerror or reason}") from reason
            self._started = True
        return self.files.put(entry, content)

    async def put(self, entry: queue.Entry, content: bytes) -> None:
        """Keeps a message for `run` to send. Durable when it returns; raises `Unwritable`."""
        self.release(await self.keep(entry, content))

    def release(self, claim: Claim) -> None:
        claim.release()
        self._sender.returned(claim.entry)
        if not self._sender.running:
            self.files.wake()

    # -- what an attempt's outcome does --------------------------------------------------------------------------------

    async def settle(self, claim: Claim, outcomes: Sequence[Outcome], host: str = "") -> None:
        """The entry after an attempt at the upstream `host`: gone, or kept for the next one. Reports are kept before the
        entry goes on, so a crash in between repeats one and loses none."""
        entry = claim.entry
        settled = queue.settle(
            entry,
            outcomes,
            now=self.clock(),
            dice=secrets.randbelow(1_000_000) / 1_000_000,
            policy=self.policy_of(entry),
            remote=host or self.upstreams.host,
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
                await asyncio.to_thread(claim.remove)
                self._sender.removed(entry)
            else:
                await asyncio.to_thread(claim.save, settled.entry)
                self.release(claim)
        except (OSError, Unwritable) as reason:
            metrics.ERRORS.labels("spool").inc()
            LOG.error("not_settled", entry=entry.entry_id, reason=str(reason))
            await self._hold(claim, final)

    async def _hold(self, claim: Claim, final: Sequence[queue.Waiting]) -> None:
        """The outcome could not be written. Those who have the message, or whose sender was told, must not get it again:
        so until they are written down the entry stays ours, for this process and all others; and so does the attempt's
        place, since a disk that takes nothing must not let the whole queue out unrecorded. The others wait for another
        attempt, and hear nothing yet."""
        ended = {(r.address, r.index): r for r in final}
        recipients = tuple(ended.get((r.address, r.index), r) for r in claim.entry.recipients)
        pause = self.policy.schedule[-1] if any(r.state == "waiting" for r in recipients) else WRITE_SECONDS
        held = msgspec.structs.replace(claim.entry, recipients=recipients, next_at=self.clock() + pause)
        pause = WRITE_SECONDS
        while ended:
            try:
                await asyncio.to_thread(claim.save, held)
                break
            except Unwritable as reason:
                if pause == WRITE_SECONDS:
                    LOG.error("held", entry=held.entry_id, recipients=len(ended), reason=str(reason))
            if await self._sender.ends_within(pause):
                LOG.error("may_be_repeated", entry=held.entry_id, recipients=len(ended))
                break
            pause = min(sending.AGAIN_SECONDS, 2 * pause)
        claim.entry = held
        self.release(claim)

    def _tell(self, entry: queue.Entry, outcomes: Sequence[Outcome], settled: queue.Settled, host: str) -> None:
        if entry.message_id and entry.kind == "mail":
            self.outcomes.replies(entry.message_id, [r.address for r in entry.waiting], outcomes, host)
            final = [*settled.done, *(recipient for recipient, _ in settled.failed)]
            words = dict(zip(((r.address, r.index) for r in entry.waiting), outcomes, strict=True))
            self.outcomes.ended(
                entry.message_id, lambda: [(r, words[r.address, r.index]) for r in final], given_up=True
            )
        for recipient in settled.done:
            LOG.info("delivered", entry=entry.entry_id, message_id=entry.message_id, recipient=recipient.address,
                     attempts=entry.attempts + 1, reply=recipient.reply)  # fmt: skip
        for recipient, notice in settled.failed:
            LOG.warning("given_up", entry=entry.entry_id, message_id=entry.message_id, recipient=recipient.address,
                        kind=entry.kind, status=notice.status, reply=recipient.reply)  # fmt: skip
        if settled.entry:
            LOG.info("put_off", entry=entry.entry_id, message_id=entry.message_id, attempts=settled.entry.attempts,
                     next_in=f"{settled.entry.next_at - self.clock():.0f}s", reply=settled.entry.last_reply)  # fmt: skip

    async def report(
        self, entry: queue.Entry, content: bytes, group: Sequence[tuple[queue.Waiting, dsn.Notice]]
    ) -> None:
        """Tells the sender, who wants to know, by a report that is kept for sending when this returns, and the store.
        The null reverse-path is never told anything. Raises `Unwritable`."""
        now = self.clock()
        metrics.REPORTS.labels(group[0][1].action).inc(len(group))
        policy = self.policy_of(entry)
        until = max(entry.created_at + policy.lifetime, now + policy.schedule[-1])  # all tries are made, however late
        made = reporting.Reporter(self.hostname, policy.bounce_from, now, until)
        message = made.message(entry, content, group)
        if message:
            name = entry_id(now, secrets.token_bytes(4))
            utf8 = () if entry.reverse_path.isascii() else ("SMTPUTF8",)
            to = (queue.Waiting(entry.reverse_path),)
            login = "" if self._own_login else entry.login
            report = queue.Entry(name, "", now, now, "", to, utf8, kind="report", login=login, upstream=entry.upstream)
            await self.put(report, message)
        for event in made.events(entry, group):
            await self.outcomes.event(event)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sends what is due until cancelled."""
        await asyncio.to_thread(self.files.start)
        self._started = True
        await self._sender.run()
