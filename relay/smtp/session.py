"""One connection of a client: aiosmtpd's protocol class as we use it.

Owns: its place among the connections, its timer, the handshake, and its end. aiosmtpd has the connection itself and the
timer's clock.
Leaves to others: commands and replies in their order (`command_loop`), counting (`limits`), when all sessions are to
end (`server`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from aiosmtpd import smtp as aiosmtpd

from relay import certificates, log, metrics
from relay.core import networks, paths
from relay.core.model import Recipient, Reply
from relay.smtp import accounts, auth, intake, limits, submitters, tls

LOG = log.room("smtp")
# What it says of connections is here in our own log, where it matters.
logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)

REMOVED = "421 4.7.0 This login was removed or has another password"
NO_SMTP = "421 4.7.0 This is an SMTP server"
# How a client begins that speaks TLS to a port in clear, or SSH. HTTP's methods are commands that end the session.
OTHERS = (b"\x16\x03", b"SSH-")
Refuses = Callable[[str, str], Awaitable[Reply | None]]  # reverse-path, recipient
NOBODY = accounts.Account(None)
NOTHING: Mapping[str, str | None] = {}
CLOSING = f"421 {limits.STOPPING}"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sessions of one server are given, and all that they know of it."""

    hostname: str
    allow: tuple[networks.Network, ...]
    proxies: tuple[networks.Network, ...]
    max_size: int  # octets of a message
    clear_logins: bool
    normalizes: bool  # a bare LF within a message becomes CRLF
    certificate: certificates.Certificate | None
    held_to: limits.Limits
    places: limits.Places[Session]
    flight: limits.Flight
    rates: limits.Rates
    clients_told: limits.Remembered  # whose bare LFs the log has
    authenticator: auth.Authenticator
    taking: intake.Intake
    refuses: Refuses


async def refuses_nobody(reverse_path: str, recipient: str) -> Reply | None:
    return None


class Transaction:
    """What MAIL and RCPT have said so far. Stands where aiosmtpd has its envelope, and is dropped with it."""

    __slots__ = ("forwarded", "mail", "recipients", "utf8")

    def __init__(self) -> None:
        self.mail: paths.Mail | None = None
        self.forwarded: Mapping[str, str | None] = NOTHING  # what XFORWARD said of the client
        self.recipients: dict[str, Recipient] = {}
        self.utf8 = False


# Untyped on purpose: what is used of it beyond its public face is held by a test (tests/shells/test_smtp.py).
STOCK: Any = aiosmtpd.SMTP


class Session(STOCK):  # type: ignore[misc]
    transport: Any
    _reader: Any
    _writer: Any
    _smtp_methods: Any
    _timeout_handle: Any
    line_length_limit = limits.MAX_LINE  # of the reader's buffer: it stops reading the socket at twice this
    command_size_limit = 12_288  # RFC 4954 section 4 asks for it; MAIL and RCPT have bounds of their own in core.paths

    def __init__(self, shared: Shared, *, implicit_tls: bool = False, pattern: Session | None = None) -> None:
        """`pattern` is another one, from which this one is made faster."""
        if pattern is None:
            super().__init__(
                None, hostname=shared.hostname, ident="ESMTP trackrelay", enable_SMTPUTF8=True,
                timeout=shared.held_to.command_seconds, loop=asyncio.get_running_loop(),
            )  # fmt: skip
        else:
            self.become(pattern)
        self.shared = shared
        self.implicit_tls = implicit_tls
        self.secure = False
        self.tcp: Any = None  # the transport below TLS, or the same: ends a connection whatever state TLS is in
        self.handshake: tls.Begun | None = None
        self.reads: tls.Reads | None = None
        self.peer: networks.Address | None = None  # who is connected
        self.address: networks.Address | None = None  # the client: the same, or whom a proxy named …
        self.spelt = self.counted = ""  # … as text, and as it is counted
        self.loopback = self.allowed = False
        self.proxy = False  # it may say whom it speaks for …
        self.named = False  # … and has, by XCLIENT
        self.login = self.password = ""
        self.account = NOBODY  # the login's, as it stood last
        self.busy = False  # a message is being received or delivered: the session may not be cut
        self.receiving = False  # the message is not whole yet: its client keeps it
        self.finishing = False  # it ends after its message
        self.ended = False  # the client sends no more
        self.handle: intake.Handle | None = None  # of the message that is being delivered
        self.errors = self.idle = self.unknown = 0
        self.heard = False  # anything
        self.told = False  # why it was turned away, since its last message
        self.since_message = self.loop.time()
        self.due = 0.0  # when its time is over, by the loop's clock
        self.backed_up = False  # the client takes no more at this moment
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

    # -- the connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.peer = submitters.address(transport.get_extra_info("peername"))
        self.loopback = self.peer is not None and self.peer.is_loopback
        why = self.shared.places.take(self, networks.client(self.peer), loopback=self.loopback)
        if why:
            self.address = self.peer
            return self.turn_away(transport, f"421 {why}")
        self.set_client(self.peer)
        self.proxy = networks.within(self.peer, self.shared.proxies)
        self.tcp = transport
        super().connection_made(transport)
        if self.implicit_tls:
            # Now, not when the command loop begins: the client's first words may be read before that (uvloop).
            self.handshake = tls.Begun(self.shake_hands())

    def set_client(self, address: networks.Address | None) -> None:
        """Whose session this is, and what that one may do. None is one that nobody knows."""
        self.address = address
        self.spelt, self.counted = str(address or ""), networks.client(address)
        # A password that came to a proxy over a network crossed it in clear.
        self.loopback = self.loopback and address is not None and address.is_loopback
        self.allowed = networks.within(address, self.shared.allow)
        held_to = self.shared.held_to
        known = self.allowed or self.login
        self._timeout_duration = held_to.command_seconds if known else held_to.stranger_command_seconds

    def data_received(self, data: bytes) -> None:
        if not self.heard:
            self.heard = True
            if data.startswith(OTHERS) and not self.implicit_tls:
                return self.retire(NO_SMTP)
        super().data_received(data)

    def turn_away(self, transport: Any, words: str) -> None:
        places = self.shared.places
        if not places.closed:
            metrics.TURNED_AWAY.inc()
            if places.worth_saying(self.loop.time(), self.shared.held_to.say_seconds):
                LOG.warning("full", peer=self.address, connections=len(places), reply=words)
        # Said in clear also where the client expects TLS: it fails there either way.
        transport.write(words.encode() + b"\r\n")
        transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.shared.places.leave(self):
            super().connection_lost(error)
            self._handler_coroutine.add_done_callback(self.let_go)

    def let_go(self, _: object) -> None:
        """A session is in cycles, and waits for the garbage collector; the transport, with TLS some 130 kB, does not."""
        self._reader._transport = self._writer = self.tcp = self.reads = None

    def eof_received(self) -> bool:
        """The client sends no more: it is gone. One that has said QUIT behind its message may still listen, as Exim does,
        which shuts its half before it reads the last reply: it gets that, and should it come back with the message, the
        same one."""
        said_quit = self.busy and self._reader._buffer[-6:].upper() == b"QUIT\r\n"
        if said_quit and self in self.shared.places and not self.secure:
            self._reader.feed_eof()
            self.ended = True
            if self.handle:
                self.handle.client_gone()
            return True
        if self in self.shared.places:
            super().eof_received()  # ends the command loop, which may not have begun: it closes nothing then
        return False  # the transport closes itself

    def taken(self, handle: intake.Handle) -> None:
        """Its message has been handed over."""
        self.handle = handle
        if self.ended:
            handle.client_gone()

    def _reset_timeout(self, duration: float | None = None) -> None:
        """One timer for many commands: it is set anew when it comes too early."""
        self.due = self.loop.time() + (duration or self._timeout_duration)
        if self._timeout_handle is None or self._timeout_handle.when() > self.due:
            self._set_timer(self.due)

    def _set_timer(self, at: float) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._timeout_handle = self.loop.call_at(at, self._timeout_cb)

    def _timeout_cb(self) -> None:
        now = self.loop.time()
        if now < self.due:
            self._set_timer(min(self.due, now + self._timeout_duration))
        else:
            self.retire("421 4.4.2 Timeout")

    def wait_for_ever(self) -> None:
        """Whoever takes its message has a patience of its own; a client that leaves ends nothing."""
        self.due = float("inf")

    def finish(self) -> None:
        """The service stops: this session ends now, or after its message."""
        self.finishing = True
        if not self.busy:
            self.retire(CLOSING)

    def last_call(self) -> None:
        """A message that is not whole yet is waited for no longer."""
        if self.receiving:
            self.retire(CLOSING)

    def stands(self) -> bool:
        """Whether the login is still there, with the password that it had when the session began. Takes up what it may do
        now. Raises OSError where that can't be said."""
        account = self.shared.authenticator.account(self.login)
        if account is None or account.stamp != self.account.stamp:
            return False
        self.account = account
        return True

    def account_of(self, login: str) -> accounts.Account | None:
        """None where it was removed within this moment, or where that can't be said."""
        try:
            return self.shared.authenticator.account(login)
        except OSError:
            return None

    def end_if_removed(self) -> None:
        """By the clock. A message that is under way is the last one."""
        if not self.login or self.busy:
            return
        try:
            stands = self.stands()
        except OSError:  # said at the next MAIL
            return
        if not stands:
            LOG.info("login_ended", login=self.login, peer=self.address)
            self.retire(REMOVED)

    def cut(self) -> None:
        """Ends the connection without a word. (A TLS transport that was closed twice can't be aborted before Python
        3.11.4, and would wait for the other side's goodbye.)"""
        if self.transport is not None:
            self.tcp.abort()

    def retire(self, words: str) -> None:
        """Says so and closes, from outside of the command loop."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self.held + words.encode() + b"\r\n")
            self.transport.close()
            self._handler_coroutine.cancel()

    async def start_tls(self) -> bool:
        """The handshake; after it nothing is known of the client (RFC 3207 4.2), and what it sent before, in clear,
        is gone. False where it failed: the connection is closed."""
        assert self.shared.certificate is not None
        self._reader._buffer.clear()
        self._reset_timeout(self.shared.held_to.handshake_seconds)
        try:
            transport = await (self.handshake or self.shake_hands())
        except (OSError, TimeoutError) as error:
            self.tell("tls_handshake_failed", peer=self.address, error=error)
            return self.lost(error)
        if transport is None or transport.is_closing():
            return self.lost(None)
        self.transport = self._reader._transport = self._writer._transport = self._transport = transport
        self._reader._paused = False
        self.reads = tls.in_pieces(self.tcp, transport)
        self.secure = True
        self.begin_again()
        # A client that a proxy has named stays named: the proxy itself may be let in where that client is not.
        self.set_client(self.address)
        self._reset_timeout()
        return True

    def rest(self) -> None:
        """After a message."""
        if self.reads:
            self.reads.rest()

    def begin_again(self) -> None:
        """As after the greeting: nothing is known of what was said."""
        self._set_rset_state()
        self.session = self._create_session()
        if self.secure and self.shared.certificate is not None:
            self.session.ssl = {"sslcontext": self.shared.certificate.context}
        self.login = self.password = ""
        self.account = NOBODY

    def lost(self, error: Exception | None) -> bool:
        """The connection ended within the handshake. Event loops don't tell a protocol of every such end."""
        self.cut()
        self.connection_lost(error)
        return False

    def shake_hands(self) -> Coroutine[Any, Any, Any]:
        """The TLS transport. From its first step on nothing is read in clear."""
        assert self.shared.certificate is not None
        return self.loop.start_tls(  # type: ignore[no-any-return]
            self.transport, self, self.shared.certificate.context, server_side=True,
            ssl_handshake_timeout=self.shared.held_to.handshake_seconds,
        )  # fmt: skip

    def tell(self, event: str, **fields: Any) -> None:
        """Why it is turned away: the first time. The rest of what it says is only counted, so that nobody can write more
        into the log than they send."""
        if not self.told:
            self.told = True
            LOG.warning(event, **fields)

    def _create_envelope(self) -> Transaction:
        return Transaction()

    @property
    def transaction(self) -> Transaction:
        found: Transaction = self.envelope
        return found
