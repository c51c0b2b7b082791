"""What an upstream says during a transaction, as it says it.

Owns: reading replies (RFC 5321 4.2), several at a time, bounded; that a connection ended, hung or made no sense.
Leaves to others: which reply answers what (`transaction`).

aiosmtplib's own protocol waits for each reply and drops those that arrive together. So for the length of a transaction
`TransactionProtocol` stands in its place on the transport, and gives it back afterwards.
"""

from __future__ import annotations

import asyncio
import collections
import re

from relay.core import envelopes
from relay.core.model import Reply

REPLY = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.S)
LONGEST_LINE = 8192
MAX_LINES = 100


class ConnectionLost(Exception):
    """The connection ended, hung or made no sense; the text says which."""

    def __init__(self, why: str, *, left: bool = False) -> None:
        super().__init__(why)
        self.left = left


class TransactionProtocol(asyncio.Protocol):
    """Reads replies as they come, several at a time."""

    def __init__(self, transport: asyncio.Transport, home: asyncio.Protocol) -> None:
        self.transport, self.home = transport, home
        self._loop = asyncio.get_running_loop()
        self.replies: collections.deque[Reply] = collections.deque()
        self.lost = ""  # why, once it is
        self._buffer = b""
        self._texts: list[str] = []
        self._paused = self._failed = False
        self._waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            match = REPLY.fullmatch(line.removesuffix(b"\r"))
            if not match:
                return self._fail("no SMTP reply: " + envelopes.reply(0, [line[:80].decode("utf-8", "replace")]).text)
            self._texts.append((match[3] or b"").decode("utf-8", "replace"))
            if match[2] != b"-":
                self.replies.append(envelopes.reply(int(match[1]), self._texts))
                self._texts = []
        if len(self._buffer) > LONGEST_LINE or len(self._texts) > MAX_LINES:
            return self._fail("a reply without an end")
        if self.replies:  # half a reply is no reason to wait for longer
            self._wake()

    def eof_received(self) -> bool:
        self.lost = self.lost or "it closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or (f"connection lost: {exc}" if exc else "it closed the connection")
        self._wake()
        self.home.connection_lost(exc)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, why: str) -> None:
        self.lost, self._failed = self.lost or why, True
        self._wake()
        self.transport.abort()

    async def _wait(self, seconds: float) -> None:
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._expire, waiter, seconds)
        try:
            await waiter
        finally:
            timer.cancel()

    def _expire(self, waiter: asyncio.Future[None], seconds: float) -> None:
        if not waiter.done():
            waiter.set_exception(ConnectionLost(f"nothing heard for {seconds:g} s"))

    def gone(self) -> ConnectionLost:
        return ConnectionLost(self.lost, left=not self._failed)

    async def write(self, data: bytes | memoryview, seconds: float) -> None:
        """Until the transport has room again; sooner where the upstream speaks or goes."""
        self.transport.write(data)
        while self._paused and not self.replies and not self.lost:
            await self._wait(seconds)
        if self.lost and not self.replies:
            raise self.gone()

    async def reply(self, seconds: float) -> Reply:
        while not self.replies:
            if self.lost:
                raise self.gone()
            await self._wait(seconds)
        return self.replies.popleft()
