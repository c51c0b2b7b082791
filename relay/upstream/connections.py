"""Connections to one upstream: connect, greet, secure, log in.

Owns: the rules of TLS and credentials. Where TLS is required it is verified (chain and name), or nothing is sent.
Credentials never go over a connection without verified TLS; the one exception is an upstream on loopback where the
operator set tls = "never".
Leaves to others: the login itself (`logins`), what a failure means (`failures`), mail transactions (`transaction`),
which connection is used when (`pool`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiosmtplib

from relay import config, oauth
from relay.core import envelopes, greetings, networks
from relay.core.model import Later, Reply
from relay.upstream import choice, failures, logins, protocol, transaction
from relay.upstream.failures import CannotConnect


def address(url: str) -> networks.Server:
    """Where the upstream is: smtp, smtps or lmtp://[user@]host[:port]. Raises ValueError for any other URL."""
    found = networks.server(url)
    if found.scheme not in ("smtp", "smtps", "lmtp"):
        raise ValueError(f"{url!r} is no smtp, smtps or lmtp URL")
    return found


class Smtp(aiosmtplib.SMTP):
    """aiosmtplib's, with LHLO where the upstream speaks LMTP (RFC 2033 4.1), and with our own name and reading."""

    verb = "EHLO"
    greeting = ""

    async def hello(self, name: str) -> None:
        """EHLO. Raises `aiosmtplib.SMTPHeloError` where it is refused."""
        said = await self.execute_command(self.verb.encode(), name.encode("ascii"))
        if said.code != 250:
            raise aiosmtplib.SMTPHeloError(said.code, said.message)
        self.last_ehlo_response = said
        found = greetings.offers(said.message)
        self.esmtp_extensions, self.server_auth_methods = dict(found.keywords), list(found.methods)


class Lmtp(Smtp):
    verb = "LHLO"


@dataclass(eq=False, slots=True)
class Connection:
    """An open one. `rset`: the next transaction begins with RSET. `used`: it has carried a transaction."""

    smtp: Smtp
    lmtp: bool
    logged_in: bool = False
    rset: bool = False
    used: bool = False
    idle_since: float = 0.0  # time.monotonic()
    protocol: protocol.TransactionProtocol | None = None  # from its first transaction on

    @property
    def open(self) -> bool:
        return self.smtp.is_connected

    @property
    def offered(self) -> Mapping[str, str]:
        return self.smtp.esmtp_extensions

    @property
    def auth_methods(self) -> Sequence[str]:
        return self.smtp.server_auth_methods

    @property
    def greeting(self) -> str:
        """What the server said first."""
        return self.smtp.greeting

    @property
    def name(self) -> str:
        """What we said of ourselves."""
        return self.smtp.local_hostname or ""

    @property
    def tls(self) -> str:
        """Its version; "" where there is none."""
        session = self.smtp.get_transport_info("ssl_object")
        return session.version() if session else ""

    async def run(self, lines: envelopes.Lines, content: bytes, times: transaction.Times) -> transaction.Result:
        transport, home = self.smtp.transport, self.smtp.protocol
        if transport is None or home is None or transport.is_closing():
            later = Later(Reply(451, "4.4.2 The upstream closed the connection"))
            return transaction.Result((later,) * len(lines.rcpt), stale=True, unsent=True)
        if self.protocol is None:
            deadline = protocol.Deadline(asyncio.get_running_loop(), times.shortest)
            self.protocol = protocol.TransactionProtocol(cast(asyncio.Transport, transport), home, deadline)
        wanted = transaction.Transaction(
            self.protocol,
            lines,
            pipelining="pipelining" in self.offered,
            rset=self.rset,
            lmtp=self.lmtp,
            times=times,
        )
        result = await self.protocol.run(wanted.talk(content))
        self.rset, self.used = result.rset, True
        if result.reusable and (self.protocol.replies or self.protocol.lost or transport.is_closing()):
            return result.with_(reusable=False)  # it said more than it was asked, or goes
        return result

    async def sender(self, address: str) -> Reply:
        """The reply to MAIL, of a transaction that goes no further. Raises what `failures.read` reads."""
        said = await self.smtp.execute_command(b"MAIL FROM:<" + address.encode("ascii", "replace") + b">")
        return envelopes.reply(said.code, said.message.split("\n"))

    def close(self, *, politely: bool = False) -> None:
        if self.protocol is not None:
            self.protocol.deadline.close()
        if politely and self.smtp.is_connected:
            cast(asyncio.WriteTransport, self.smtp.transport).write(b"QUIT\r\n")  # the answer is not waited for
        self.smtp.close()


class Connector:
    """Opens connections to the upstream of `settings`. `trust` is the TLS context that verifies; the system's
    certificates by default. `tokens_in`: see `oauth.Tokens`. `logged_in` is told how each login of ours ended: "", or why
    it was refused for good."""

    def __init__(
        self,
        settings: config.Upstream,
        *,
        hostname: str,
        times: transaction.Times,
        trust: ssl.SSLContext | None = None,
        tokens_in: Path | None = None,
        logged_in: Callable[[str], None] | None = None,
    ) -> None:
        self._logged_in = logged_in
        self.settings, self.hostname, self.times = settings, hostname, times
        self.address = address(settings.url)
        self._section = choice.section(choice.name_of(settings))
        self.tokens = oauth.Tokens(settings.oauth2, folder=tokens_in) if settings.oauth2 else None
        self._trust = trust

    async def open(self, credentials: tuple[str, str] | None) -> Connection:
        """A connection ready for MAIL, or raises `CannotConnect`. `credentials` are a client's own; else the settings' are
        used where there are any."""
        own = self.address.login and (self.settings.password or self.tokens) and not credentials
        trust = await self._context(verify=self.settings.tls == "required" or bool(credentials or own))
        kind = Lmtp if self.address.scheme == "lmtp" else Smtp
        smtp = kind(
            hostname=self.address.host,
            port=self.address.port,
            local_hostname="localhost",  # until our end is known (`_hello`); without one it would be looked up
            timeout=self.times.connect,
            use_tls=self.address.scheme == "smtps",
            start_tls=False,
            tls_context=trust,
        )
        try:
            await self._greet(smtp, login=bool(credentials or own))
            if credentials or own:
                self._may_log_in(smtp)
            if credentials:
                await logins.by_password(smtp, self.address, credentials, ours=False)
            elif self.tokens and own:
                await logins.by_token(smtp, self.address, self.tokens)
            elif own:
                ours = (self.address.login, self.settings.password)
                await logins.by_password(smtp, self.address, ours, ours=True)
            if own and self._logged_in:
                self._logged_in("")
        except BaseException as reason:
            smtp.close()
            failure = failures.read(reason, self.address, self.times.connect)
            if failure is not None and failure.refused and self._logged_in:
                self._logged_in(str(failure))
            if failure is None or failure is reason:
                raise
            raise failure from reason
        return Connection(smtp, self.address.scheme == "lmtp", logged_in=bool(credentials or own))

    async def _context(self, *, verify: bool) -> ssl.SSLContext:
        if verify:
            if self._trust is None:
                self._trust = await asyncio.to_thread(ssl.create_default_context)
            return self._trust
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return unverified

    async def _greet(self, smtp: Smtp, *, login: bool) -> None:
        """To the point where a login may follow, or MAIL."""
        smtp.greeting = (await smtp.connect()).message
        secured = self.address.scheme == "smtps"
        await self._hello(smtp, login=login, secured=secured)
        if secured or self.settings.tls == "never":
            return
        if smtp.supports_extension("starttls"):
            await smtp.starttls()
            await self._hello(smtp, login=login, secured=True)  # RFC 3207 4.2: what it offered before is forgotten
        elif self.settings.tls == "required":
            raise CannotConnect(
                451,
                f'4.7.4 The upstream {self.address} does not offer STARTTLS, and {self._section}.tls is "required"; '
                "choose its port with TLS (587, or smtps:// with 465)",
                kind="tls",
            )

    async def _hello(self, smtp: Smtp, *, login: bool, secured: bool) -> None:
        """EHLO; or HELO where it is refused for good and nothing is needed that only EHLO offers (RFC 5321 3.2)."""
        name = smtp.local_hostname = greetings.name(self.hostname, smtp.get_transport_info("sockname")[0])
        try:
            await smtp.hello(name)
        except aiosmtplib.SMTPHeloError as refusal:
            if refusal.code // 100 != 5:
                raise
            said = _reply(refusal)
            needed = self._only_by_ehlo(smtp, login=login, secured=secured)
            if needed:
                raise CannotConnect(
                    451, f"4.7.4 The upstream {self.address} refuses {smtp.verb}, and {needed}: {said}", kind="greeting"
                ) from refusal
            await self._helo(smtp, name, said, again=self.address.scheme == "smtps" or not secured)

    def _only_by_ehlo(self, smtp: Smtp, *, login: bool, secured: bool) -> str:
        """What is needed that HELO has not, after "and"; or ""."""
        if isinstance(smtp, Lmtp):
            return "LMTP has no other greeting"
        if not secured and self.settings.tls == "required":
            return f'without it there is no STARTTLS, while {self._section}.tls is "required"'
        return "without it there is no AUTH, which the login needs" if login else ""

    async def _helo(self, smtp: Smtp, name: str, said: Reply, *, again: bool) -> None:
        """`said` is the reply to EHLO. `again`: it may be on a new connection, where the server leaves after it refused EHLO."""
        try:
            try:
                await smtp.helo(hostname=name)
            except aiosmtplib.SMTPServerDisconnected:
                if not again:
                    raise
                await smtp.connect()
                await smtp.helo(hostname=name)
        except aiosmtplib.SMTPHeloError as refusal:
            raise CannotConnect(
                451,
                f"4.4.1 The upstream {self.address} takes neither EHLO nor HELO from us as {name}: {said}; {_reply(refusal)}",
                kind="greeting",
            ) from refusal

    def _may_log_in(self, smtp: Smtp) -> None:
        verified = smtp.get_transport_info("sslcontext") is not None  # `open` chose a context that verifies
        if not verified and not (self.address.loopback and self.settings.tls == "never"):
            raise CannotConnect(
                451,
                f"4.7.11 No credentials go to the upstream {self.address} over a connection without TLS",
                kind="tls",
            )


def _reply(refusal: aiosmtplib.SMTPResponseException) -> Reply:
    return envelopes.reply(refusal.code, refusal.message.split("\n"))
