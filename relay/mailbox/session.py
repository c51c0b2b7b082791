"""A session with an IMAP server: connected, logged in, a folder opened for reading only.

Owns: the connection, TLS and the login, their time limits, and what each failure of them means. No password goes over a
connection without TLS, but on this machine itself.
Leaves to others: what is asked of the folder (`imap`), when to try again after a failure (`mailbox`).

The client library blocks, so each session has a thread of its own and the logic stays on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import imaplib
import os
import queue
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import imapclient
from imapclient import exceptions

from relay import causes, oauth
from relay.config import OAuth2
from relay.core import networks, refusals
from relay.mailbox import logins as methods
from relay.mailbox.client import Client
from relay.mailbox.source import CredentialsRefused, Crowded, LoginRefused, Times, Unreachable

FAILURES = (
    exceptions.IMAPClientError, imaplib.IMAP4.error, OSError, ssl.SSLError, EOFError,
    ValueError, RecursionError,  # of a number of 5,000 digits, and of brackets in brackets
)  # fmt: skip
LONGEST_TEXT = 300  # characters of a server's answer that are repeated

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    host: str
    port: int
    tls: Literal["implicit", "starttls"]
    user: str
    password: str = field(default="", repr=False)
    oauth2: OAuth2 | None = None
    folder: str = "INBOX"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Session:
    """`exists` is how many messages the folder had when it was opened, `next_uid` the least UID that the next one can
    have (0 where the server does not say), `idle` whether the server has IDLE, `broken` whether the connection is over.
    Calls of `client` go through `call`."""

    def __init__(self, thread: Thread, client: Client, folder: str) -> None:
        self._thread, self.client, self.folder = thread, client, folder
        self.uidvalidity = self.exists = self.next_uid = 0
        self.idle = self.broken = False

    async def call(self, what: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
        try:
            return await self._thread.call(lambda: what(*arguments, **how))
        except (imaplib.IMAP4.abort, OSError, EOFError):
            self.broken = True
            raise

    async def select(self) -> None:
        """Opens the folder with EXAMINE, or opens it anew."""
        try:
            found: dict[bytes, Any] = await self.call(self.client.select_folder, self.folder, readonly=True)
        except imaplib.IMAP4.abort:  # the connection broke
            raise
        except exceptions.IMAPClientError as reason:
            words = plain(reason)
            trouble = LoginRefused if refusals.folder(words) else Crowded if refusals.crowded(words) else Unreachable
            raise trouble(f"folder {self.folder}: {words}") from reason
        if b"UIDVALIDITY" not in found:  # RFC 9051 2.3.1.1
            raise Unreachable(
                f"folder {self.folder}: the server gives no UIDVALIDITY, so that its numbers name no message for long; "
                "such a folder can't be read"
            )
        self.uidvalidity, self.exists = int(found[b"UIDVALIDITY"]), int(found.get(b"EXISTS") or 0)
        self.next_uid = int(found.get(b"UIDNEXT") or 0)


@contextlib.asynccontextmanager
async def opened(
    account: Account, tokens: oauth.Tokens | None, times: Times, logins: asyncio.Semaphore
) -> AsyncIterator[Session]:
    """The session, until the end of the block. What fails before or within raises `LoginRefused` or `Unreachable`.
    `logins` bounds how many are set up at once."""
    try:
        thread = Thread()
    except RuntimeError as reason:
        raise Unreachable(
            f"{account}: this process may have no more threads: lower mailbox.max_connections"
        ) from reason
    try:
        with failing(account):
            async with logins:
                client = await logged_in(account, tokens, times, thread)
                session = Session(thread, client, account.folder)
                await session.select()
                session.idle = await session.call(client.has_capability, "IDLE")
            yield session
    finally:
        thread.hang_up()


@contextlib.contextmanager
def failing(account: Account) -> Iterator[None]:
    """Raises what fails in the block as `LoginRefused` or `Unreachable`, with the server's address before it."""
    try:
        yield
    except (LoginRefused, Unreachable) as reason:
        raise type(reason)(f"{account}: {reason}") from reason
    except oauth.TokenRefused as reason:
        trouble = CredentialsRefused if reason.final else Unreachable
        raise trouble(f"{account}: no access token: {reason}") from reason
    except exceptions.LoginError as reason:
        words = plain(reason)
        if methods.broken(reason) or not refusals.login(words):
            trouble = Crowded if refusals.crowded(words) else Unreachable
            raise trouble(f"{account}: no login now: {words}") from reason
        raise CredentialsRefused(f"{account}: login {account.user} refused: {words}") from reason
    except FAILURES as reason:
        words = failure(reason)
        raise (Crowded if refusals.crowded(words) else Unreachable)(f"{account}: {words}") from reason


async def logged_in(account: Account, tokens: oauth.Tokens | None, times: Times, thread: Thread) -> Client:
    if tokens is None:
        return await thread.call(lambda: connect(account, "", times, thread))
    token = await tokens.access()
    try:
        return await thread.call(lambda: connect(account, token, times, thread))
    except exceptions.LoginError as reason:  # a token that was good for another minute may have been revoked
        if methods.broken(reason):
            raise
        fresh = await tokens.access(fresh=True)
        return await thread.call(lambda: connect(account, fresh, times, thread))


def connect(account: Account, token: str, times: Times, thread: Thread) -> Client:
    """A client that is logged in; blocks."""
    thread.close()
    timeout = imapclient.SocketTimeout(connect=times.connect, read=times.answer)
    context = trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    implicit = account.tls == "implicit"
    client = Client(
        account.host, account.port, ssl=implicit, ssl_context=context if implicit else None, timeout=timeout,
        seconds=times.whole_answer,
    )  # fmt: skip
    thread.client = client
    if not implicit and not networks.loopback(account.host):
        if not client.has_capability("STARTTLS"):
            raise exceptions.IMAPClientError("the server offers no STARTTLS: no password is sent")
        client.starttls(context)
    if token:
        methods.by_token(client, account.user, token)
    else:
        methods.by_password(client, account.user, account.password)
    methods.introduce(client)
    return client


@functools.cache
def trust(file: str | None, folder: str | None) -> ssl.SSLContext:
    """The certificates that this machine trusts, where OpenSSL looks for them: read once, since they take half a megabyte."""
    return ssl.create_default_context()


def failure(reason: BaseException) -> str:
    """In words, what broke a connection."""
    match reason:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is refused: {causes.of(reason)}"
        case ssl.SSLError():
            return f"no TLS: {causes.of(reason)}"
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return causes.of(reason)
    return plain(reason)


def plain(reason: BaseException) -> str:
    """A server's words, without the form that the library gives bytes."""
    text = str(reason) or type(reason).__name__
    return (text[2:-1] if text.startswith(("b'", 'b"')) else text)[:LONGEST_TEXT]


class Thread:
    """Makes the calls of one session. It is a daemon: a call that hangs in the network does not keep the process from
    ending. `client` is set by the call that makes it."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name="imap", daemon=True).start()

    async def call(self, what: Callable[[], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put((what, future))
        return await future

    def hang_up(self) -> None:
        """Ends the thread, and whatever call it is in."""
        self._calls.put(None)
        if self.client is not None:
            with contextlib.suppress(OSError):
                self.client.socket().shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            what, future = call
            try:
                result, error = what(), None
            except Exception as reason:
                result, error = None, reason
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._settle, future, result, error)
        self.close()

    def close(self) -> None:
        """To be called by the thread itself."""
        if self.client is not None:
            with contextlib.suppress(*FAILURES):
                self.client.shutdown()

    @staticmethod
    def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
