"""Mail to those who want to hear that a webhook is failing or has failed.

Owns: that each notice is sent once, whatever dies when. Leaves to others: when one is due (the store writes it with the
endpoint's status), its words (`core.notices`), sending it (`spool`).

The steps, and what a crash before each of them comes to:
1. hold     the same again, under another name
2. hand     the same again. Of several processes, one does it: the notice has the name of what this one holds
3. admit    what is held by that name becomes an entry of the spool. Done again after a crash: what is gone was sent
4. drop, remove: the same again. What was held by others goes

It goes out as reports do: from the null reverse-path, over [upstream], as it is. Nothing is tracked in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from relay import log, metrics, store
from relay.config import Settings
from relay.core import compose, notices, queue
from relay.core.model import Notice

LOG = log.room("notices")

LOOK = 5.0  # seconds between looks at what is due: other processes find out
AWAY = 15.0  # seconds after a look that failed
STALE = 3 * 86_400.0


class Records(Protocol):
    """What is asked of a store here."""

    async def notices(self) -> list[Notice]: ...
    async def hand_notice(self, notice_id: str, entry: str) -> bool: ...
    async def remove_notice(self, notice_id: str) -> None: ...


class Spool(Protocol):
    def entry(
        self, message_id: str, reverse_path: str, recipients: Sequence[queue.Waiting], options: Sequence[str], *,
        entry_id: str,
    ) -> queue.Entry: ...  # fmt: skip
    async def hold(self, entry: queue.Entry, content: bytes) -> None: ...
    async def admit(self, prefix: str) -> None: ...
    async def drop(self, prefix: str) -> None: ...


class Notices:
    """What could not be told for STALE seconds is told no more: the log says so."""

    def __init__(
        self,
        settings: Settings,
        records: Records,
        spool: Spool,
        *,
        hostname: str,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        look: float = LOOK,
    ) -> None:
        self._records, self._spool, self._clock, self._look = records, spool, clock, look
        self._random_bytes = random_bytes
        self._sender = settings.upstream.bounce_from or f"MAILER-DAEMON@{hostname}"
        self._hostname = hostname

    async def run(self) -> None:
        """Sends what is due until cancelled."""
        while True:
            pause = self._look
            try:
                await self.step()
            except store.Unavailable as reason:
                LOG.warning("store_unavailable", reason=str(reason))
                pause = AWAY
            await asyncio.sleep(pause)

    async def step(self) -> None:
        for notice in await self._records.notices():
            try:
                await self._send(notice)
            except store.Unavailable:
                raise
            except Exception:  # the edge of one notice: it is due again at the next look
                metrics.ERRORS.labels("notices").inc()
                LOG.exception("not_sent", endpoint=notice.endpoint_id, status=notice.status)

    async def _send(self, notice: Notice) -> None:
        # Of all that is held for it: names that sort by time, as others do.
        names = queue.entry_id(notice.at, hashlib.blake2b(notice.notice_id.encode(), digest_size=8).digest())
        entry = notice.entry
        if not entry:
            entry = names + self._random_bytes(4).hex()
            made = self._write(notice, entry) if self._clock() - notice.at < STALE else None
            if made is None:
                LOG.warning("nobody_told", endpoint=notice.endpoint_id, status=notice.status, error=notice.error)
                await self._records.remove_notice(notice.notice_id)
                return
            await self._spool.hold(self._entry(entry, made), made.content)
            if not await self._records.hand_notice(notice.notice_id, entry):
                await self._spool.drop(entry)
                return
        await self._spool.admit(entry)
        await self._spool.drop(names)
        await self._records.remove_notice(notice.notice_id)
        LOG.info("told", endpoint=notice.endpoint_id, status=notice.status, recipients=len(notice.to))

    def _write(self, notice: Notice, entry: str) -> compose.Composed | None:
        identifier = f"{entry}@{self._hostname}"
        return notices.write(notice, sender=self._sender, identifier=identifier, at=self._clock(), boundary=f"n{entry}")

    def _entry(self, name: str, made: compose.Composed) -> queue.Entry:
        to = [queue.Waiting(address, index=index) for index, address in enumerate(made.recipients)]
        entry = self._spool.entry("", "", to, made.options, entry_id=name)
        return msgspec.structs.replace(entry, kind="report")
