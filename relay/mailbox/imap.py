"""A mailbox by IMAP (RFC 9051, and RFC 3501 servers): what came since the cursor, and word of what comes.

Owns: IDLE (RFC 2177), polling, or visits; the cursor of UIDs, a changed UIDVALIDITY; that nothing comes unnoticed.
Leaves to others: connection and login (`session`), how messages are fetched (`fetching`), what a message means
(`reading`), when to try again after a failure (`mailbox`).

The folder is opened with EXAMINE and read with BODY.PEEK: nothing there changes. An EXISTS in whatever answer, since the
last search was sent, leads to another look before anything is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from imapclient import exceptions

from relay import oauth
from relay.mailbox import fetching, session
from relay.mailbox.places import Places
from relay.mailbox.source import Crowded, Fetched, PassedOver, Times, Unfetched
from relay.store import Cursor

LOOKS = 3  # in a row that find nothing, although the server tells of something each time
BREAKS = 2  # of a connection while it waits; then the mailbox is visited
FRESH = 3600.0  # seconds after which a cursor's time is written again, though nothing came
MAX_PASSED = 50  # sentences on messages that were passed over, in a cursor


class Imap:
    """See `source.Source`. `interval` is the pause between two looks where the server has no IDLE, `jitter` gives a
    number from 0 to 1. `tokens_in`: see `oauth.Tokens`. `clock` gives Unix seconds."""

    def __init__(
        self,
        name: str,
        account: session.Account,
        interval: float,
        *,
        times: Times,
        logins: asyncio.Semaphore,
        jitter: Callable[[], float],
        tokens_in: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        places: Places | None = None,
        windows: fetching.Windows | None = None,
    ) -> None:
        self.name = name
        self.account, self.interval, self.times, self.jitter, self.clock = account, interval, times, jitter, clock
        self.sleep, self.windows = sleep, windows or fetching.Windows()
        self.tokens = oauth.Tokens(account.oauth2, folder=tokens_in) if account.oauth2 else None
        self.place = (places or Places()).place(str(account), account.user)
        self.troubles = fetching.Troubles()
        self._opened = partial(session.opened, account, self.tokens, times, logins)
        self._breaks, self._visits_until = 0, 0.0

    @property
    def visiting(self) -> bool:
        """Whether no connection is held between two looks."""
        return self.place.visiting(self.clock()) or self.clock() < self._visits_until

    async def messages(
        self, cursor: Cursor | None, since: float
    ) -> AsyncGenerator[Fetched | PassedOver | Cursor, None]:
        now = cursor
        while True:
            async with self.opened() as folder:
                now, day = await self.begin(folder, now, since)
                nothing = 0
                while True:
                    began, before, told = self.clock(), now.uid, folder.client.word
                    async with contextlib.aclosing(self.looks(folder, now, day)) as looks:
                        async for found in looks:
                            now = found.cursor
                            yield found
                    day = None
                    if now.uid != before or began - now.at > FRESH:
                        now = replace(now, at=began)
                    yield now
                    if self.visiting:
                        break
                    nothing = nothing + 1 if told and now.uid == before else 0
                    await self.sleep(self.times.noisy[min(nothing, len(self.times.noisy) - 1)])
                    await self.wait(folder)
                    now, day = await self.same(folder, now)
            await self.sleep(self.interval)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[session.Session]:
        async with contextlib.AsyncExitStack() as stack:
            if self.visiting:
                await stack.enter_async_context(self.place.turn())
            try:
                folder = await stack.enter_async_context(self._opened())
            except Crowded:
                self.place.crowded(self.clock() + self.times.visits)
                raise
            yield folder

    async def probe(self) -> str:
        async with self._opened() as folder:
            account, waits = self.account, "IDLE" if folder.idle else f"no IDLE: a look every {self.interval:g} s"
            return f"{account} took the login {account.user}; {account.folder} has {folder.exists} messages ({waits})"

    async def begin(self, folder: session.Session, cursor: Cursor | None, since: float) -> tuple[Cursor, date | None]:
        """Where to read on, and from which day: at the cursor; at the first time at the present, and where that was late,
        at the moment at which it should have been."""
        if cursor is not None:
            return await self.anew(folder, cursor) if cursor.uidvalidity != folder.uidvalidity else (cursor, None)
        last = folder.next_uid - 1
        if last < 0:
            last = max(await folder.call(folder.client.search, ["UID", "*"]), default=0) if folder.exists else 0
        if self.clock() - since > self.times.late:
            async for uids in fetching.windows(folder, 1, day_before(since), self.windows):
                for start in range(0, len(uids), fetching.BATCH):
                    chunk = [uid for uid in uids[start : start + fetching.BATCH] if uid <= last]
                    dates = await folder.call(folder.client.fetch, chunk, ["INTERNALDATE"])
                    late = [
                        u for u in chunk if u in dates and fetching.arrival(dates[u]) > since - 1.0
                    ]  # whole seconds
                    if late:
                        return Cursor(self.name, folder.uidvalidity, min(late) - 1, at=since), None
        return Cursor(self.name, folder.uidvalidity, last, at=since), None

    async def anew(self, folder: session.Session, cursor: Cursor) -> tuple[Cursor, date | None]:
        """Of a folder that was made anew all UIDs are new; what arrived before the cursor's time was read all the same."""
        self.troubles.clear()
        return replace(cursor, uidvalidity=folder.uidvalidity, uid=0), day_before(cursor.at) if cursor.at else None

    async def looks(
        self, folder: session.Session, now: Cursor, day: date | None
    ) -> AsyncGenerator[Fetched | PassedOver, None]:
        """What came behind the cursor, until nothing more is told of."""
        nothing = 0
        while nothing < LOOKS:
            folder.client.take_word()
            before = now.uid
            async for uids in fetching.windows(folder, now.uid + 1, day, self.windows):
                async for found in fetching.messages(folder, uids, self.troubles):
                    now = replace(now, uid=found.uid)
                    if not found.passed:
                        whole, kinds = partial(self.whole, folder, found.uid), partial(self.kinds, folder, found.uid)
                        yield Fetched(found.head, now, found.arrived, whole, kinds)
                        continue
                    sentence = f"{self.account.folder} UID {found.uid}: {found.passed}"
                    now = replace(now, passed=(*now.passed, sentence)[-MAX_PASSED:])
                    yield PassedOver(found.uid, found.passed, now)
            if folder.broken:  # by a message that was passed over
                raise Unfetched("the connection broke")
            day = None
            if not folder.client.word:
                return
            nothing = nothing + 1 if now.uid == before else 0
        folder.client.take_word()

    async def whole(self, folder: session.Session, uid: int) -> bytes:
        with session.failing(self.account):  # whoever asks for it is outside of `messages`
            return await fetching.whole(folder, uid, self.troubles)

    async def kinds(self, folder: session.Session, uid: int) -> frozenset[str] | None:
        with session.failing(self.account):
            return await fetching.kinds(folder, uid)

    async def wait(self, folder: session.Session) -> None:
        """Until the server says that something came, or it is time to look."""
        try:
            if folder.idle:
                shortest, longest = self.times.idle
                try:
                    await folder.call(folder.client.wait, shortest + (longest - shortest) * self.jitter())
                except exceptions.IMAPClientError as reason:
                    if isinstance(reason, imaplib.IMAP4.abort):
                        raise
                    folder.idle = False  # it offers IDLE, and refuses it
            if not folder.idle:
                await self.sleep(self.interval)
                await folder.call(folder.client.noop)
        except session.FAILURES:
            self._breaks += 1
            if self._breaks >= BREAKS:
                self._breaks, self._visits_until = 0, self.clock() + self.times.visits
            raise
        self._breaks = 0

    async def same(self, folder: session.Session, now: Cursor) -> tuple[Cursor, date | None]:
        """The cursor in the folder as it is: what is selected may be one that was, while one of its name was made anew."""
        try:
            status = await folder.call(folder.client.folder_status, folder.folder, ["UIDVALIDITY"])
        except exceptions.IMAPClientError as reason:
            if isinstance(reason, imaplib.IMAP4.abort):
                raise
            status = {}  # some answer no STATUS about what is selected (RFC 9051 6.3.11)
        if int(status.get(b"UIDVALIDITY", 0)) != now.uidvalidity:
            await folder.select()
        return await self.anew(folder, now) if folder.uidvalidity != now.uidvalidity else (now, None)


def day_before(at: float) -> date:
    """SINCE looks at days, in whatever zone the server is."""
    return (datetime.fromtimestamp(at, UTC) - timedelta(days=1)).date()
