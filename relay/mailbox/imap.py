"""A mailbox by IMAP (RFC 9051, and RFC 3501 servers): what came since the cursor, and word of what comes.

Owns: IDLE (RFC 2177) or polling, the cursor of UIDs, a changed UIDVALIDITY.
Leaves to others: connection and login (`session`), what a message means (`reading`), when to try again after a failure.

The folder is opened with EXAMINE and read with BODY.PEEK: nothing there changes. UIDs are always named one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from relay import oauth
from relay.mailbox import session
from relay.mailbox.source import LONGEST_HEADERS, LONGEST_MESSAGE, Fetched, Times
from relay.store import Cursor

BATCH = 50  # messages whose headers are fetched at once


class Imap:
    """See `source.Source`. `interval` is the pause between two looks where the server has no IDLE, `jitter` gives a
    number from 0 to 1. `tokens_in`: see `oauth.Tokens`."""

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
    ) -> None:
        self.name = name
        self.account, self.interval, self.times, self.jitter = account, interval, times, jitter
        self.tokens = oauth.Tokens(account.oauth2, folder=tokens_in) if account.oauth2 else None
        self._opened = partial(session.opened, account, self.tokens, times, logins)

    async def messages(self, cursor: Cursor | None, since: float) -> AsyncGenerator[Fetched | Cursor, None]:
        async with self._opened() as folder:
            uid, validity = await self.place(folder, cursor, since)
            while True:
                async for fetched in self.after(folder, uid, validity):
                    uid = fetched.cursor.uid
                    yield fetched
                yield Cursor(self.name, validity, uid)
                await self.wait(folder)
                validity, uid = await self.same(folder, validity, uid)

    async def probe(self) -> str:
        async with self._opened() as folder:
            account, waits = self.account, "IDLE" if folder.idle else f"no IDLE: a look every {self.interval:g} s"
            return f"{account} took the login {account.user}; {account.folder} has {folder.exists} messages ({waits})"

    async def place(self, folder: session.Session, cursor: Cursor | None, since: float) -> tuple[int, int]:
        """The UID after which to read, and the UIDVALIDITY: those of the cursor; at the first time the present, and
        where that was late, the moment at which it should have been; 0 where all UIDs are new."""
        validity = folder.uidvalidity
        if cursor is not None:
            return (cursor.uid if cursor.uidvalidity == validity else 0), validity
        last = folder.next_uid - 1
        now = datetime.now(UTC).timestamp()
        if now - since > self.times.late:
            day = datetime.fromtimestamp(since, UTC) - timedelta(days=1)
            uids = sorted(await folder.call(folder.client.search, ["SINCE", day.date()]))
            for chunk in chunks([u for u in uids if u <= last]):
                dates = await folder.call(folder.client.fetch, chunk, ["INTERNALDATE"])
                late = [u for u in chunk if u in dates and arrival(dates[u]) > since - 1.0]  # whole seconds
                if late:
                    last = min(last, min(late) - 1)
                    break
        return last, validity

    async def after(self, folder: session.Session, uid: int, validity: int) -> AsyncGenerator[Fetched, None]:
        """The messages with a UID above `uid`, in that order."""
        # "n:*" names the last message even where its UID is below n (RFC 9051 6.4.8).
        found = await folder.call(folder.client.search, ["UID", f"{uid + 1}:*"])
        for chunk in chunks(sorted(u for u in found if u > uid)):
            wanted = [f"BODY.PEEK[HEADER]<0.{LONGEST_HEADERS}>", "INTERNALDATE"]
            answers = await folder.call(folder.client.fetch, chunk, wanted)
            for number in chunk:
                answer = answers.get(number)
                if answer is None:  # gone since the search
                    continue
                cursor = Cursor(self.name, validity, number)
                whole = partial(self.whole, folder, number)
                yield Fetched(section(answer), cursor, arrival(answer), whole)

    async def whole(self, folder: session.Session, uid: int) -> bytes:
        with session.failing(self.account):  # whoever asks for it is outside of `messages`
            answer = await folder.call(folder.client.fetch, [uid], [f"BODY.PEEK[]<0.{LONGEST_MESSAGE}>"])
        return section(answer.get(uid, {}))

    async def wait(self, folder: session.Session) -> None:
        """Until the server says that something came, or it is time to look."""
        if not folder.idle:
            await asyncio.sleep(self.interval)
            await folder.call(folder.client.noop)
            return
        shortest, longest = self.times.idle
        await folder.call(folder.client.idle)
        await folder.call(folder.client.idle_check, timeout=shortest + (longest - shortest) * self.jitter())
        await folder.call(folder.client.idle_done)

    async def same(self, folder: session.Session, validity: int, uid: int) -> tuple[int, int]:
        """UIDVALIDITY and cursor: of a folder that was made anew while it was selected, all UIDs are new."""
        status = await folder.call(folder.client.folder_status, folder.folder, ["UIDVALIDITY"])
        now = int(status.get(b"UIDVALIDITY", validity))
        if now != validity:  # what is selected is the folder that was; select the one that is
            await folder.select()
            return folder.uidvalidity, 0
        return validity, uid


def section(answer: dict[bytes, Any]) -> bytes:
    """What was fetched of a message: the server names it as it likes, `BODY[HEADER]<0>` or `BODY[]<0>`."""
    return next((v for k, v in answer.items() if k.startswith(b"BODY[") and isinstance(v, bytes)), b"")


def arrival(answer: dict[bytes, Any]) -> float:
    """INTERNALDATE in Unix seconds; the library gives local time without a zone."""
    when = answer.get(b"INTERNALDATE")
    return when.timestamp() if isinstance(when, datetime) else 0.0


def chunks(uids: list[int]) -> list[list[int]]:
    return [uids[start : start + BATCH] for start in range(0, len(uids), BATCH)]
