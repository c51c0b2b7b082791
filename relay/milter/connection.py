"""One connection of a mail server: octets in, octets out, one message at a time.

Owns: the socket's side of a session: pausing while a message waits for its answer, closing. Leaves to others: what is
said (`core.milter.session`, `answering`), how many there may be and for how long they are idle (`server`).
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Protocol

from relay import log, metrics
from relay.core.milter import Message, Named, Session, packets

LOG = log.room("milter")

QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)
MAX_HELD = 65_536  # octets that come while a message waits: up to so many the end of a connection is seen at once
# Steps after which the message that they are in goes on.
WITHIN = frozenset((packets.MACRO, packets.RECIPIENT, packets.DATA, packets.HEADER, packets.HEADERS_END, packets.BODY))
PASSED = metrics.MILTER_MESSAGES.labels("passed")
UNFINISHED = metrics.MILTER_MESSAGES.labels("unfinished")


class Host(Protocol):
    """What a connection is given by its server."""

    async def answer(self, message: Message) -> bytes: ...
    async def refusal(self, reverse_path: str, recipient: str) -> bytes: ...
    def session(self) -> Session: ...
    def room(self, octets: int) -> bool: ...
    def take(self, connection: Connection) -> bool: ...
    def leave(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    def __init__(self, host: Host) -> None:
        self._host = host
        self._session = host.session()
        self._reader = packets.Reader()
        self._waiting: deque[packets.Packet] = deque()  # what came while a message waits for its answer
        self._held = 0  # octets of these
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None
        self._tcp: Any = None
        self._finishing = False
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()

    @property
    def busy(self) -> bool:
        """Within a message."""
        return self._task is not None or self._session.busy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        line = transport.get_extra_info("socket")
        self._tcp = line if QUICK is not None and line is not None and line.family != socket.AF_UNIX else None
        self._acknowledge()
        if not self._host.take(self):
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._host.leave(self)
        if self.busy:
            UNFINISHED.inc()
        self._session.close()
        if self._task:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        self._acknowledge()
        try:
            for packet in self._reader.feed(data):
                if self._task:
                    self._waiting.append(packet)
                    self._held += len(packet[1])
                    if self._held > MAX_HELD and self._transport.is_reading():
                        self._transport.pause_reading()
                elif self._receive(*packet) and self._transport.is_closing():
                    return
        except packets.Malformed as reason:
            self._refuse(str(reason))

    def _acknowledge(self) -> None:
        """At once. Most steps have no answer that the acknowledgement could go with, and a mail server which writes in
        small pieces holds the next one back until it has it (Nagle): 40 ms. Linux forgets the wish now and then."""
        if self._tcp is not None:
            self._tcp.setsockopt(socket.IPPROTO_TCP, QUICK, 1)

    def eof_received(self) -> bool:
        return False  # the transport closes itself

    def finish(self) -> None:
        """The service stops: this connection ends now, or after its message."""
        self._finishing = True
        if not self.busy:
            self._transport.close()

    def cut(self) -> None:
        self._transport.abort()

    def _receive(self, command: bytes, data: bytes) -> bool:
        """Whether anything came of it; nothing does of most steps."""
        within = command not in WITHIN and self._session.busy
        heard = self._session.receive(command, data)
        if not heard and not within:
            return False
        if isinstance(heard, Message):
            self._task = self._loop.create_task(self._answer(heard))
            return True
        if isinstance(heard, Named):
            self._task = self._loop.create_task(self._decide(heard))
            return True
        if within and not self._session.busy:
            UNFINISHED.inc()
        if isinstance(heard, bytes):
            if heard:
                self._transport.write(heard)
                if heard is packets.ACCEPT and command == packets.MAIL:
                    PASSED.inc()
            if within and not self._session.busy and self._finishing:
                self._transport.close()
        elif heard.why:
            self._refuse(heard.why)
        else:
            self._transport.close()
        return True

    async def _answer(self, message: Message) -> None:
        try:
            answer = await self._host.answer(message)
        finally:
            self._host.room(-message.held)
        self._answered(answer)

    async def _decide(self, named: Named) -> None:
        refused = await self._host.refusal(named.reverse_path, named.recipient)
        if refused:
            self._session.refuse(named.recipient)
        self._answered(refused or packets.CONTINUE)

    def _answered(self, answer: bytes) -> None:
        self._task = None
        self.heard = self._loop.time()
        self._transport.write(answer)
        if self._finishing and not self._session.busy:
            self._transport.close()
            return
        while self._waiting and not self._task and not self._transport.is_closing():
            packet = self._waiting.popleft()
            self._held -= len(packet[1])
            self._receive(*packet)
        if not self._task and not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()

    def _refuse(self, why: str) -> None:
        """Whoever is there does not speak as a mail server does."""
        metrics.MILTER_TURNED_AWAY.inc()
        LOG.warning("not_a_mail_server", why=why)
        self._transport.abort()
