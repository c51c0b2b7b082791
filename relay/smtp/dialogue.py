"""One session: the commands of RFC 5321 on aiosmtpd's protocol class.

Owns: the state of a session and its replies. aiosmtpd has the connection, its command loop and its timer; every
command is answered here, since its own parse addresses with the standard library's e-mail package (100 µs each), know
neither enhanced status codes (RFC 2034) nor DSN (RFC 3461), and read DATA by the line.
Leaves to others: how a path looks (`core.paths`), reading DATA (`data`), logins (`auth`), counting (`limits`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

from aiosmtpd import smtp as aiosmtpd

from relay import log, metrics
from relay.core import paths
from relay.core.model import Recipient, Reply, Submission
from relay.smtp import auth, data, limits, submitters

if TYPE_CHECKING:
    from relay.smtp.server import House

LOG = log.room("smtp")
# It writes unknown commands as they are; after a failed AUTH such a command can be a password in base64.
logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)

EXTENSIONS = "250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN"
CLOSING = "421 4.3.2 This server is stopping, try again later"
STOCK_REPLIES = (b"500 Error", b"500 Command", b"502 EXPN")  # of aiosmtpd's own loop
NO_HELLO = "503 5.5.1 Say EHLO first"


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
# Untyped on purpose: what is used of it beyond its public face is held by a test (tests/shells/test_smtp.py).
STOCK: Any = aiosmtpd.SMTP


class Dialogue(STOCK):  # type: ignore[misc]
    transport: Any
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
        self.address: submitters.Address | None = None
        self.loopback = self.allowed = False
        self.login = self.password = ""
        self.busy = False  # a message is being received or delivered: the session may not be cut
        self.placed = False
        self.errors = self.idle = 0
        self.since_message = house.loop.time()
        self.held = b""  # replies that wait for those to the commands that came with them (RFC 2920 3.2)

    def become(self, pattern: Dialogue) -> None:
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

    def connection_lost(self, error: Exception | None) -> None:
        if self.placed:
            self.placed = False
            self.house.places.leave(str(self.address))
            self.house.dialogues.discard(self)
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self.placed else False

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
            transport = await self.loop.start_tls(
                self.transport, self, self.house.certificate.context, server_side=True,
                ssl_handshake_timeout=limits.HANDSHAKE_TIMEOUT,
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            LOG.info("TLS handshake failed", peer=self.address, error=error)
            if self.transport is not None:
                self.transport.abort()
            return False
        if transport is None:  # lost meanwhile
            return False
        self.transport = self._reader._transport = self._writer._transport = self._transport = transport
        self._reader._paused = False
        self._set_rset_state()
        self.session = self._create_session()
        self.session.ssl = {"sslcontext": self.house.certificate.context}
        self.secure = True
        self.login = self.password = ""
        self._reset_timeout()
        return True

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
        if self.idle > limits.MAX_IDLE_COMMANDS or self.loop.time() - self.since_message > limits.WITHOUT_MESSAGE:
            await self.goodbye("421 4.7.0 Nothing but talk: closing")

    def _create_envelope(self) -> Transaction:
        return Transaction()

    @property
    def transaction(self) -> Transaction:
        found: Transaction = self.envelope
        return found

    # -- commands ------------------------------------------------------------------------------------------------------

    async def smtp_HELO(self, argument: str | None) -> None:
        await self.idled()
        if not argument:
            return await self.push("501 5.5.4 Syntax: HELO hostname")
        self._set_rset_state()
        self.session.host_name, self.session.extended_smtp = argument, False
        await self.push(f"250 {self.hostname}")

    async def smtp_EHLO(self, argument: str | None) -> None:
        await self.idled()
        if not argument:
            return await self.push("501 5.5.4 Syntax: EHLO hostname")
        self._set_rset_state()
        self.session.host_name, self.session.extended_smtp = argument, True
        lines = [f"250-{self.hostname}", f"250-SIZE {self.house.max_size}"]
        if self.house.certificate is not None and not self.secure:
            lines.append("250-STARTTLS")
        if self.auth_offered:
            lines.append("250-AUTH " + " ".join(auth.MECHANISMS))
        lines.append(EXTENSIONS)
        await self.push("\r\n".join(lines))

    async def smtp_STARTTLS(self, argument: str | None) -> None:
        if argument:
            return await self.push("501 5.5.4 Syntax: STARTTLS")
        if self.house.certificate is None:
            return await self.push("502 5.5.1 STARTTLS is not offered")
        if self.secure:
            return await self.push("503 5.5.1 TLS is active already")
        await self.push("220 2.0.0 Ready to start TLS")
        await self.flush()
        await self.start_tls()

    @property
    def auth_offered(self) -> bool:
        """A password crosses no network in clear."""
        return self.house.gate.offered and (self.secure or self.loopback)

    async def smtp_AUTH(self, argument: str | None) -> None:
        gate = self.house.gate
        if not gate.offered:
            return await self.push("502 5.5.1 AUTH is not offered")
        if not self.auth_offered:
            return await self.push("538 5.7.11 AUTH needs TLS: say STARTTLS first")
        if not self.session.host_name or not self.session.extended_smtp:
            return await self.push(NO_HELLO)
        if self.login or self.transaction.mail:
            return await self.push("503 5.5.1 AUTH comes once, and before MAIL")
        found = await auth.credentials(argument, self.ask)
        if isinstance(found, Reply):
            return await self.say(found)
        await self.flush()
        refusal = await gate.admit(*found, self.address)
        if refusal:
            return await self.say(refusal)
        self.login = found[0]
        self.password = found[1] if gate.keeps_password else ""
        self._timeout_duration = limits.COMMAND_TIMEOUT
        self._reset_timeout()
        await self.push("235 2.7.0 Welcome")

    async def ask(self, words: bytes) -> bytes:
        await self.push(b"334 " + words)
        await self.flush()
        try:
            line: bytes = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            await self.goodbye("500 5.5.6 Line too long")
            raise auth.Aborted from None
        if len(line) > self.command_size_limit:
            raise auth.Aborted
        return line

    async def smtp_MAIL(self, argument: str | None) -> None:
        if not self.session.host_name:
            return await self.push(NO_HELLO)
        if not self.allowed and not self.login:
            return await self.turn_down()
        transaction = self.transaction
        if transaction.mail:
            return await self.push("503 5.5.1 One MAIL at a time")
        mail = paths.mail(argument, extended=self.session.extended_smtp)
        if isinstance(mail, Reply):
            return await self.say(mail)
        if mail.size > self.house.max_size:
            return await self.say(data.too_large(self.house.max_size))
        if not self.house.flight.room(mail.size):
            return await self.say(data.crowded())
        transaction.mail, transaction.utf8 = mail, "SMTPUTF8" in mail.options
        await self.push(b"250 2.1.0 Ok")

    async def turn_down(self) -> None:
        """Never an open relay: nobody submits who is neither in `allow` nor logged in."""
        LOG.warning("submission refused", peer=self.address, helo=self.session.host_name)
        if self.house.gate.offered:
            await self.push("530 5.7.0 Authentication required")
        else:
            await self.push("550 5.7.1 You may not send mail through this server")

    async def smtp_RCPT(self, argument: str | None) -> None:
        transaction = self.transaction
        if not transaction.mail:
            return await self.push("503 5.5.1 Say MAIL first")
        recipient = paths.rcpt(argument, extended=self.session.extended_smtp, utf8=transaction.utf8)
        if isinstance(recipient, Reply):
            return await self.say(recipient, utf8=transaction.utf8)
        if len(transaction.recipients) >= limits.MAX_RECIPIENTS:
            return await self.push("452 4.5.3 Too many recipients, send the rest in another message")
        transaction.recipients.setdefault(recipient.address, recipient)  # named twice is sent once
        await self.push(b"250 2.1.5 Ok")

    async def smtp_DATA(self, argument: str | None) -> None:
        transaction = self.transaction
        if not transaction.recipients:
            return await self.push("503 5.5.1 Say RCPT first" if transaction.mail else "503 5.5.1 Say MAIL first")
        if argument:
            return await self.push("501 5.5.4 Syntax: DATA")
        assert transaction.mail is not None
        if not self.house.flight.room(transaction.mail.size):
            return await self.say(data.crowded())
        self.busy = True
        try:
            await self.push(b"354 End with a line that has only a dot")
            await self.flush()
            reply = await self.receive(transaction, transaction.mail)
        except data.Gone as error:
            LOG.info("message not finished", peer=self.address, why=type(error).__name__)
            return await self.goodbye("421 4.4.2 The message did not arrive in time and size")
        finally:
            self.busy = False
        self._set_post_data_state()
        self.errors = self.idle = 0
        self.since_message = self.loop.time()
        self._reset_timeout()
        await self.say(reply, utf8=transaction.utf8)
        if reply.code == 421 or self.house.draining:
            await self.goodbye(CLOSING)

    async def receive(self, transaction: Transaction, mail: paths.Mail) -> Reply:
        house = self.house
        content = await data.read(self._reader, limit=house.max_size, flight=house.flight, tick=self._reset_timeout)
        if isinstance(content, Reply):
            LOG.info("message refused", peer=self.address, sender=mail.reverse_path, reply=content)
            metrics.REFUSED.labels(content.code).inc()
            return content
        submission = Submission(
            mail.reverse_path, tuple(transaction.recipients.values()), content, mail.options, str(self.address or ""),
            time.time(), self.login, self.password,
        )  # fmt: skip
        del content  # the taker may let go of the original while it delivers
        task = house.start(submission)
        del submission
        self._timeout_handle.cancel()  # whoever takes it has its own patience; a client that leaves ends nothing
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            house.left(task)
            raise

    async def smtp_RSET(self, argument: str | None) -> None:
        await self.idled()
        self._set_rset_state()
        await self.push("250 2.0.0 Ok")

    async def smtp_NOOP(self, argument: str | None) -> None:
        await self.idled()
        await self.push("250 2.0.0 Ok")

    async def smtp_VRFY(self, argument: str | None) -> None:
        await self.idled()
        await self.push("252 2.5.0 Send some mail and see")

    async def smtp_HELP(self, argument: str | None) -> None:
        await self.idled()
        await self.push("214 2.0.0 RFC 5321")

    async def smtp_QUIT(self, argument: str | None) -> None:
        await self.goodbye("221 2.0.0 Bye")
