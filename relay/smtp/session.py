"""One connection of a client: aiosmtpd's protocol class as we use it.

Owns: its place among the connections, its timer, the handshake, replies and their order. aiosmtpd has the connection
itself, the command loop and the timer's clock.
Leaves to others: the commands (`commands`), counting (`limits`), all that sessions share (`server.House`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, ClassVar

from aiosmtpd import smtp as aiosmtpd

from relay import log, metrics
from relay.core import paths
from relay.core.model import Recipient, Reply
from relay.smtp import limits, submitters

if TYPE_CHECKING:
    from relay.smtp.server import House

LOG = log.room("smtp")
# It writes unknown commands as they are; after a failed AUTH such a command can be a password in base64.
logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)

CLOSING = "421 4.3.2 This server is stopping, try again later"
STOCK_REPLIES = (b"500 Error", b"500 Command", b"502 EXPN")  # of aiosmtpd's own loop


class Transaction:
    """What MAIL and RCPT have said so far. Stands where aiosmtpd has its envelope, and is dropped with it."""

    __slots__ = ("mail", "recipients", "utf8")

    def __init__(self) -> None:
        self.mail: paths.Mail | None = None
        self.recipients: dict[str, Recipient] = {}
        self.utf8 = False


class Edge:
    """aiosmtpd's handler: only what a command raised comes here."""

    async def handle_exception(self, error: Exception) -> str:
        LOG.exception("command failed")
        metrics.ERRORS.labels("smtp").inc()
        return "451 4.3.0 Something went wrong here, try again later"


EDGE = Edge()


class Begun:
    """A coroutine whose first step is taken at once, and the others by whoever awaits it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._rest = coroutine.__await__()
        self._first = next(self._rest)

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            yield self._first
        except BaseException:  # cancelled: it never goes on
            self._rest.close()
            raise
        return (yield from self._rest)


# Untyped on purpose: what is used of it beyond its public face is held by a test (tests/shells/test_smtp.py).
STOCK: Any = aiosmtpd.SMTP


class Session(STOCK):  # type: ignore[misc]
    transport: Any
    _reader: Any
    _writer: Any
    _smtp_methods: dict[str, Any]
    line_length_limit = limits.MAX_LINE  # of the reader's buffer: it stops reading the socket at twice this
    command_size_limit = 12_288  # RFC 4954 section 4 asks for it; MAIL and RCPT have bounds of their own in core.paths
    command_size_limits: ClassVar[dict[str, int]] = defaultdict(lambda: 12_288)

    def __init__(self, house: House, *, implicit_tls: bool) -> None:
        if house.pattern is None:
            super().__init__(
                EDGE, hostname=house.hostname, ident="ESMTP trackrelay", enable_SMTPUTF8=True,
                timeout=limits.COMMAND_TIMEOUT, loop=house.loop,
            )  # fmt: skip
        else:
            self.become(house.pattern)
        self.house = house
        self.implicit_tls = implicit_tls
        self.secure = False
        self.handshake: Begun | None = None
        self.address: submitters.Address | None = None
        self.loopback = self.allowed = False
        self.login = self.password = ""
        self.busy = False  # a message is being received or delivered: the session may not be cut
        self.receiving = False  # the message is not whole yet: its client keeps it
        self.placed = False
        self.errors = self.idle = 0
        self.since_message = house.loop.time()
        self.held = b""  # replies that wait for those to the commands that came with them (RFC 2920 3.2)

    def become(self, pattern: Session) -> None:
        """As after aiosmtpd's own __init__, which inspects all members anew for each connection (300 µs)."""
        self.__dict__.update(pattern.__dict__)
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=self.line_length_limit, loop=self.loop),
            self._cb_client_connected,
            self.loop,
        )
        self._smtp_methods = {name: getattr(self, f"smtp_{name}") for name in pattern._smtp_methods}

    # -- the connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.address = submitters.address(transport.get_extra_info("peername"))
        self.loopback = self.address is not None and self.address.is_loopback
        draining = self.house.draining
        why = None if draining else self.house.places.take(str(self.address), loopback=self.loopback)
        if why:
            metrics.TURNED_AWAY.inc()
            now = self.loop.time()
            if (
                now - self.house.said_full >= limits.SAY_SECONDS
            ):  # whoever leaves makes room for one: no time of trouble
                self.house.said_full = now
                LOG.warning("full", peer=self.address, connections=self.house.places.taken, reply=f"421 {why}")
        if why or draining:
            # Said in clear also where the client expects TLS: it fails there either way.
            transport.write(f"421 {why}\r\n".encode() if why else f"{CLOSING}\r\n".encode())
            transport.close()
            return
        self.placed = True
        self.allowed = submitters.allowed(self.address, self.house.allow)
        if not self.allowed:
            self._timeout_duration = limits.STRANGER_TIMEOUT
        self.house.dialogues.add(self)
        super().connection_made(transport)
        if self.implicit_tls:
            # Now, not when the command loop begins: the client's first words may be read before that (uvloop).
            self.handshake = Begun(self.shake_hands())

    def connection_lost(self, error: Exception | None) -> None:
        if self.placed:
            self.placed = False
            self.house.places.leave(str(self.address))
            self.house.dialogues.discard(self)
            super().connection_lost(error)
            self._handler_coroutine.add_done_callback(self.let_go)

    def let_go(self, _: object) -> None:
        """A session is in cycles, and waits for the garbage collector; the transport, with TLS some 130 kB, does not."""
        self._reader._transport = self._writer = None

    def eof_received(self) -> bool:
        if self.placed:
            super().eof_received()  # ends the command loop, which may not have begun: it closes nothing then
        return False  # the transport closes itself

    def _timeout_cb(self) -> None:
        self.retire("421 4.4.2 Timeout")

    def retire(self, words: str = CLOSING) -> None:
        """Says so and closes, from outside of the command loop."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self.held + words.encode() + b"\r\n")
            self.transport.close()
            self._handler_coroutine.cancel()

    async def _handle_client(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client left while it was answered
            if not self.implicit_tls or await self.start_tls():
                await super()._handle_client()

    async def start_tls(self) -> bool:
        """The handshake; after it nothing is known of the client (RFC 3207 4.2), and what it sent before, in clear,
        is gone. False where it failed: the connection is closed."""
        assert self.house.certificate is not None
        self._reader._buffer.clear()
        self._reset_timeout(limits.HANDSHAKE_TIMEOUT)
        try:
            transport = await (self.handshake or self.shake_hands())
        except (OSError, TimeoutError) as error:
            LOG.info("TLS handshake failed", peer=self.address, error=error)
            return self.lost(error)
        if transport is None or transport.is_closing():
            return self.lost(None)
        self.transport = self._reader._transport = self._writer._transport = self._transport = transport
        self._reader._paused = False
        self._set_rset_state()
        self.session = self._create_session()
        self.session.ssl = {"sslcontext": self.house.certificate.context}
        self.secure = True
        self.login = self.password = ""
        self._reset_timeout()
        return True

    def lost(self, error: Exception | None) -> bool:
        """The connection ended within the handshake. Event loops don't tell a protocol of every such end."""
        if self.transport is not None:
            self.transport.abort()
        self.connection_lost(error)
        return False

    def shake_hands(self) -> Coroutine[Any, Any, Any]:
        """The TLS transport. From its first step on nothing is read in clear."""
        assert self.house.certificate is not None
        return self.loop.start_tls(  # type: ignore[no-any-return]
            self.transport, self, self.house.certificate.context, server_side=True,
            ssl_handshake_timeout=limits.HANDSHAKE_TIMEOUT,
        )  # fmt: skip

    # -- replies -------------------------------------------------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        line = status if isinstance(status, bytes) else status.encode("utf-8", "replace")
        if line.startswith(STOCK_REPLIES):  # without an enhanced code, and with the client's own words
            line = line[:3] + b" 5.5.2 That is no command here, or too long"
        self.held += line + b"\r\n"
        if line[:1] in b"45":
            self.errors += 1
            if self.errors >= limits.MAX_ERRORS:
                LOG.warning("too many errors in a session", peer=self.address)
                await self.goodbye("421 4.7.0 Too many errors")
        if b"\n" not in self._reader._buffer:
            await self.flush()

    async def flush(self) -> None:
        """Sends the replies that wait. Call it before anything that takes time."""
        if self.held:
            self._writer.write(self.held)
            self.held = b""
            await self._writer.drain()

    async def say(self, reply: Reply, *, utf8: bool = False) -> None:
        """A reply of others, who may have written anything into it: one line or several, nothing that ends a line."""
        words = [log.safe(line)[:900] for line in reply.text.splitlines()] or [""]
        lines = [f"{reply.code}{' ' if n == len(words) else '-'}{text}" for n, text in enumerate(words, 1)]
        text = "\r\n".join(lines)
        await self.push(text if utf8 else text.encode("ascii", "replace"))

    async def goodbye(self, words: str) -> None:
        """The last reply. What the client has sent already is not looked at."""
        self._writer.write(self.held + words.encode() + b"\r\n")
        self.held = b""
        if self.transport is not None:
            self.transport.close()
        self._handler_coroutine.cancel()
        await asyncio.sleep(0)

    async def idled(self) -> None:
        """Counts a command that leads nowhere. A session without a message holds a place that others need."""
        self.idle += 1
        most, stay = limits.MAX_IDLE_COMMANDS, limits.WITHOUT_MESSAGE
        if not (self.allowed or self.login):
            most, stay = limits.STRANGER_TALK, limits.STRANGER_STAY
        if self.idle > most or self.loop.time() - self.since_message > stay:
            await self.goodbye("421 4.7.0 Nothing but talk: closing")

    def _create_envelope(self) -> Transaction:
        return Transaction()

    @property
    def transaction(self) -> Transaction:
        found: Transaction = self.envelope
        return found
