"""Messages kept on disk until they are delivered or given up.

Owns: the ways in, and how the rooms of the spool are put together. Each of them knows only those before it: `disk` has
the files, `keeping` what is known of them, `settling` what an attempt's outcome does to an entry (with `reporting`, what
senders and the store are told), `sending` the attempts.
Leaves to others: when to try and when to give up (`core.queue`), the form of reports (`core.dsn`), the attempt itself
(`upstream`), and which mail comes here (`delivery`).

A message's bytes are final when they come here: an attempt changes nothing in them, so control headers and Bcc are
gone, tokens and signature stay the same. (What a server without 8BITMIME gets is made of them by `upstream`.)
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from relay import config
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import queue
from relay.core.model import Outcome
from relay.spool import disk, keeping, reporting, sending, settling
from relay.upstream import choice

Claim = disk.Claim
Unwritable = disk.Unwritable
Times = keeping.Times
TIMES = keeping.TIMES


class Spool:
    """`directory` is made when missing. `run` sends; all else works without it. `random_bytes` gives n of them, `jitter`
    a number from 0 to 1."""

    def __init__(
        self,
        directory: Path,
        settings: config.Settings,
        upstreams: sending.Upstreams,
        outcomes: settling.Outcomes,
        *,
        times: Times = TIMES,
        schedule: Sequence[float] = queue.SCHEDULE,
        delay_after: float = queue.DELAY_AFTER,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._random_bytes, self._schedule = clock, random_bytes, schedule
        self._policies = {
            choice.name_of(up): queue.Policy(up.queue_lifetime, up.bounce_from, schedule, delay_after)
            for up in (settings.upstream, *settings.upstreams)
        }
        self._kept = keeping.Keeping(disk.Disk(directory), clock=clock)
        self._settler = settling.Settler(
            self._kept,
            outcomes,
            self._policy_of,
            hostname=settings.smtp.hostname or os.uname().nodename,
            host=upstreams.host,
            own_login=bool(settings.upstream.password or settings.upstream.oauth2),
            times=times,
            clock=clock,
            random_bytes=random_bytes,
            jitter=jitter,
        )
        self._sender = sending.Sender(self._kept, self._settler, upstreams, self._policy_of, times=times, clock=clock)

    def _policy_of(self, entry: queue.Entry) -> queue.Policy:
        """That of its upstream, or of [upstream] where there is none of that name any more."""
        return self._policies.get(entry.upstream) or self._policies[DEFAULT_UPSTREAM]

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
        entry_id: str = "",
    ) -> queue.Entry:
        """An entry that begins now; `tried` where the first attempt was just made. `entry_id` is its name (hexadecimal)
        where it must be known again."""
        now = self._clock()
        pause = self._schedule[min(1, len(self._schedule) - 1)] if tried else 0.0
        return queue.Entry(
            entry_id or queue.entry_id(now, self._random_bytes(4)),
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

    async def put(self, entry: queue.Entry, content: bytes) -> None:
        """Keeps a message for `run` to send. Durable when it returns; raises `Unwritable`."""
        await self._kept.put(entry, content)

    async def keep(self, entry: queue.Entry, content: bytes) -> Claim:
        """Keeps a message that an attempt is under way for: whoever holds the claim settles or releases it. Durable
        when it returns; raises `Unwritable`."""
        return await self._kept.keep(entry, content)

    async def hold(self, entry: queue.Entry, content: bytes) -> None:
        """Keeps a message that nobody sends before it is admitted: whoever has to write down first that it is handed
        over can do so, and a crash before, between and after sends nothing twice. Durable when it returns; raises
        `Unwritable`."""
        await self._kept.hold(entry, content)

    async def admit(self, prefix: str) -> None:
        """What is held under names that begin so is for `run` to send. Of what was admitted before nothing happens.
        Raises OSError."""
        await self._kept.admit(prefix)

    async def drop(self, prefix: str) -> None:
        """What is held under names that begin so is not sent."""
        await self._kept.drop(prefix)

    async def has(self, prefix: str) -> bool:
        """Is something held, or still to be sent, under names that begin so?"""
        return await self._kept.has(prefix)

    async def recipients_of(self, message_id: str) -> set[str]:
        """To whom that message is still to be sent. Reads every entry: for what is asked seldom."""
        return await self._kept.recipients_of(message_id)

    def release(self, claim: Claim) -> None:
        """The entry is for `run` to send."""
        self._kept.release(claim)

    async def settle(self, claim: Claim, outcomes: Sequence[Outcome], host: str = "") -> None:
        """The outcomes of the attempt at the upstream `host`, for those of the entry's recipients who wait, in order."""
        await self._settler.settle(claim, outcomes, host)

    async def report(self, entry: queue.Entry, content: bytes, group: reporting.Group) -> None:
        """Tells the sender of these recipients. The report is kept when this returns; raises `Unwritable`."""
        await self._settler.report(entry, content, group)

    async def trouble(self) -> str:
        """Why nothing could be kept now, or ""."""
        return await self._kept.trouble()

    async def standing(self) -> tuple[int, float]:
        """How many messages there are, and when the oldest came; 0.0 where there is none."""
        return await self._kept.standing()

    async def run(self) -> None:
        """Sends what is due until cancelled."""
        await asyncio.to_thread(self._kept.start)
        await self._sender.run()
