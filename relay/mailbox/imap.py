"""A mailbox by IMAP (RFC 9051, and RFC 3501 servers): what came since the cursor, and word of what comes.

Owns: the connection, IDLE (RFC 2177) or polling, the cursor of UIDs, a changed UIDVALIDITY.
Leaves to others: what a message means, when to try again after a failure.

The folder is opened with EXAMINE and read with BODY.PEEK: nothing there changes. UIDs are always named one by one.
The client library blocks, so each mailbox has a thread of its own and the logic stays on the event loop.
"""

from __future__ import annotations

import asyncio
import imaplib
import ipaddress
import queue
import re
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import imapclient
from imapclient import exceptions

from relay import oauth
from relay.config import OAuth2
from relay.mailbox.source import LONGEST_HEADERS, LONGEST_MESSAGE, Fetched, Refused, Unreachable
from relay.store import Cursor

CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 60.0
BATCH = 50  # messages whose headers are fetched at once
IDLE_SECONDS = (1500.0, 1680.0)  # 25 to 28 minutes: servers may hang up after 30 (RFC 2177 3)
LATE = 60.0  # a first connection later than this looks back for what arrived meanwhile
# Answers to a login that say nothing about the credentials (RFC 5530 3).
NOT_NOW = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\]|try again|temporar", re.I)

T = TypeVar("T")
BROKEN = (exceptions.IMAPClientError, imaplib.IMAP4.error, OSError, ssl.SSLError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Account:
    host: str
    port: int
    tls: Literal["implicit", "starttls"]
    user: str
    password: str = field(default="", repr=False)
    oauth2: OAuth2 | None = None
    folder: str = "INBOX"


class Imap:
    """See `mailbox.Box`. `interval` is the pause between two looks where the server has no IDLE. `tokens_in`: see
    `oauth.Tokens`."""

    def __init__(
        self,
        name: str,
        account: Account,
        interval: float,
        logins: asyncio.Semaphore,
        dice: Callable[[], float],
        *,
        tokens_in: Path | None = None,
    ) -> None:
        self.name = name
        self.account = account
        self.interval = interval
        self.logins = logins
        self.dice = dice
        self.tokens = oauth.Tokens(account.oauth2, folder=tokens_in) if account.oauth2 else None

    async def messages(self, cursor: Cursor | None, since: float) -> AsyncGenerator[Fetched | Cursor, None]:
        line = Line()
        try:
            async with self.logins:
                token = await self.tokens.access() if self.tokens else ""
                client = await line.call(partial(connect, self.account, token, line))
                chosen = await self.select(line, client)
            idle = await line.call(partial(client.has_capability, "IDLE"))
            uid, validity = await self.place(line, client, chosen, cursor, since)
            while True:
                async for fetched in self.after(line, client, uid, validity):
                    uid = fetched.cursor.uid
                    yield fetched
                yield Cursor(self.name, validity, uid)
                await self.wait(line, client, idle)
                validity, uid = await self.same(line, client, validity, uid)
        except oauth.TokenRefused as reason:
            raise Refused(str(reason)) from reason
        except exceptions.LoginError as reason:
            if isinstance(reason.__context__, imaplib.IMAP4.abort) or NOT_NOW.search(str(reason)):
                raise Unreachable(f"login: {plain(reason)}") from reason
            raise Refused(f"login refused: {plain(reason)}") from reason
        except BROKEN as reason:
            raise Unreachable(f"{type(reason).__name__}: {plain(reason)}") from reason
        finally:
            line.hang_up()

    async def select(self, line: Line, client: Any) -> dict[bytes, Any]:
        try:
            chosen: dict[bytes, Any] = await line.call(
                partial(client.select_folder, self.account.folder, readonly=True)
            )
        except imaplib.IMAP4.abort:  # the connection broke
            raise
        except exceptions.IMAPClientError as reason:
            raise Refused(f"folder {self.account.folder}: {plain(reason)}") from reason
        return chosen

    async def place(
        self, line: Line, client: Any, chosen: dict[bytes, Any], cursor: Cursor | None, since: float
    ) -> tuple[int, int]:
        """The UID after which to read, and the UIDVALIDITY: those of the cursor; at the first time the present, and
        where that was late, the moment at which it should have been; 0 where all UIDs are new."""
        validity = int(chosen[b"UIDVALIDITY"])
        if cursor is not None:
            return (cursor.uid if cursor.uidvalidity == validity else 0), validity
        last = int(chosen.get(b"UIDNEXT") or 1) - 1
        now = datetime.now(UTC).timestamp()
        if now - since > LATE:
            day = datetime.fromtimestamp(since, UTC) - timedelta(days=1)
            uids = sorted(await line.call(partial(client.search, ["SINCE", day.date()])))
            for chunk in chunks([u for u in uids if u <= last]):
                dates = await line.call(partial(client.fetch, chunk, ["INTERNALDATE"]))
                late = [u for u in chunk if u in dates and arrival(dates[u]) > since - 1.0]  # whole seconds
                if late:
                    last = min(last, min(late) - 1)
                    break
        return last, validity

    async def after(self, line: Line, client: Any, uid: int, validity: int) -> AsyncGenerator[Fetched, None]:
        """The messages with a UID above `uid`, in that order."""
        # "n:*" names the last message even where its UID is below n (RFC 9051 6.4.8).
        found = await line.call(partial(client.search, ["UID", f"{uid + 1}:*"]))
        for chunk in chunks(sorted(u for u in found if u > uid)):
            wanted = [f"BODY.PEEK[HEADER]<0.{LONGEST_HEADERS}>", "INTERNALDATE"]
            answers = await line.call(partial(client.fetch, chunk, wanted))
            for number in chunk:
                answer = answers.get(number)
                if answer is None:  # gone since the search
                    continue
                cursor = Cursor(self.name, validity, number)
                whole = partial(self.whole, line, client, number)
                yield Fetched(section(answer), cursor, arrival(answer), whole)

    async def whole(self, line: Line, client: Any, uid: int) -> bytes:
        answer = await line.call(partial(client.fetch, [uid], [f"BODY.PEEK[]<0.{LONGEST_MESSAGE}>"]))
        return section(answer.get(uid, {}))

    async def wait(self, line: Line, client: Any, idle: bool) -> None:
        """Until the server says that something came, or it is time to look."""
        if not idle:
            await asyncio.sleep(self.interval)
            await line.call(client.noop)
            return
        shortest, longest = IDLE_SECONDS
        await line.call(client.idle)
        await line.call(partial(client.idle_check, timeout=shortest + (longest - shortest) * self.dice()))
        await line.call(client.idle_done)

    async def same(self, line: Line, client: Any, validity: int, uid: int) -> tuple[int, int]:
        """UIDVALIDITY and cursor: of a folder that was made anew while it was selected, all UIDs are new."""
        status = await line.call(partial(client.folder_status, self.account.folder, ["UIDVALIDITY"]))
        now = int(status.get(b"UIDVALIDITY", validity))
        if now != validity:  # what is selected is the folder that was; select the one that is
            chosen = await self.select(line, client)
            return int(chosen[b"UIDVALIDITY"]), 0
        return validity, uid


class Line:
    """A thread for the calls of one connection. It is a daemon: a call that hangs in the network does not keep the
    process from ending."""

    def __init__(self) -> None:
        self.client: Any = None
        self._over = False
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name="imap", daemon=True).start()

    async def call(self, what: Callable[[], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put((what, future))
        return await future

    def hang_up(self) -> None:
        """Ends the thread, and whatever call it is in."""
        self._over = True
        self._calls.put(None)
        if self.client is not None:
            with suppress(OSError):
                self.client.socket().shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            what, future = call
            try:
                result, error = what(), None
            except Exception as reason:
                result, error = None, reason
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._settle, future, result, error)
        if self.client is not None:
            with suppress(*BROKEN):
                self.client.shutdown()

    @staticmethod
    def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def connect(account: Account, token: str, line: Line) -> Any:
    """A client that is logged in. No password goes over a connection without TLS, but on this machine itself."""
    timeout = imapclient.SocketTimeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
    context = ssl.create_default_context()
    implicit = account.tls == "implicit"
    client = imapclient.IMAPClient(
        account.host, account.port, ssl=implicit, ssl_context=context if implicit else None, timeout=timeout
    )
    line.client = client
    if not implicit and not loopback(account.host):
        if not client.has_capability("STARTTLS"):
            client.shutdown()
            raise exceptions.IMAPClientError("the server offers no STARTTLS: no password is sent")
        client.starttls(context)
    if token:
        client.oauth2_login(account.user, token)
    else:
        client.login(account.user, account.password)
    return client


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def section(answer: dict[bytes, Any]) -> bytes:
    """What was fetched of a message: the server names it as it likes, `BODY[HEADER]<0>` or `BODY[]<0>`."""
    return next((v for k, v in answer.items() if k.startswith(b"BODY[") and isinstance(v, bytes)), b"")


def arrival(answer: dict[bytes, Any]) -> float:
    """INTERNALDATE in Unix seconds; the library gives local time without a zone."""
    when = answer.get(b"INTERNALDATE")
    return when.timestamp() if isinstance(when, datetime) else 0.0


def chunks(uids: list[int]) -> list[list[int]]:
    return [uids[start : start + BATCH] for start in range(0, len(uids), BATCH)]


def plain(reason: BaseException) -> str:
    """A server's words, without the form that the library gives bytes."""
    text = str(reason)
    return (text[2:-1] if text.startswith(("b'", 'b"')) else text)[:300]
