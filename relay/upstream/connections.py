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
from relay.core import envelopes, networks
from relay.core.model import Later, Reply
from relay.upstream import failures, logins, transaction
from relay.upstream.failures import CannotConnect


def address(url: str) -> networks.Server:
    """Where the upstream is: smtp, smtps or lmtp://[user@]host[:port]. Raises ValueError for any other URL."""
    found = networks.server(url)
    if found.scheme not in ("smtp", "smtps", "lmtp"):
        raise ValueError(f"{url!r} is no smtp, smtps or lmtp URL")
    return found


class Smtp(aiosmtplib.SMTP):
    """aiosmtplib's, with LHLO where the upstream speaks LMTP (RFC 2033 4.1)."""

    hello = b"EHLO"

    async def ehlo(self, *, hostname: str | None = None, timeout: object = None) -> aiosmtplib.SMTPResponse:  # noqa: ASYNC109
        name = (hostname or self.local_hostname or "localhost").encode("ascii", "replace")
        response = await self.execute_command(self.hello, name)
        if response.code != 250:
            raise aiosmtplib.SMTPHeloError(response.code, response.message)
        self.last_ehlo_response = response
        return response


class Lmtp(Smtp):
    hello = b"LHLO"


@dataclass(eq=False, slots=True)
class Connection:
    """An open one. `rset`: the next transaction begins with RSET. `used`: it has carried a transaction."""

    smtp: Smtp
    lmtp: bool
    rset: bool = False
    used: bool = False
    idle_since: float = 0.0  # time.monotonic()

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
    def tls(self) -> str:
        """Its version; "" where there is none."""
        session = self.smtp.get_transport_info("ssl_object")
        return session.version() if session else ""

    async def run(self, lines: envelopes.Lines, content: bytes, times: transaction.Times) -> transaction.Result:
        transport, home = self.smtp.transport, self.smtp.protocol
        if transport is None or home is None or transport.is_closing():
            later = Later(Reply(451, "4.4.2 The upstream closed the connection"))
            return transaction.Result((later,) * len(lines.rcpt), stale=True, unsent=True)
        result = await transaction.run(
            transport,
            home,
            lines,
            content,
            pipelining="pipelining" in self.offered,
            rset=self.rset,
            lmtp=self.lmtp,
            times=times,
        )
        self.rset, self.used = result.rset, True
        return result

    def close(self, *, politely: bool = False) -> None:
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
            local_hostname=self.hostname,
            timeout=self.times.connect,
            use_tls=self.address.scheme == "smtps",
            start_tls=False,
            tls_context=trust,
        )
        try:
            await self._greet(smtp)
            if credentials or own:
                await self._may_log_in(smtp)
            if credentials:
                await logins.by_password(smtp, self.address, credentials, ours=False)
            elif self.tokens and own:
                await logins.by_token(smtp, self.address, self.tokens)
            elif own:
                ours = (self.address.login, self.settings.password)
                await logins.by_password(smtp, self.address, ours, ours=True)
            if own and self._logged_in:
                self._logged_in("")
            if smtp.is_ehlo_or_helo_needed:
                await smtp.ehlo()
        except BaseException as reason:
            smtp.close()
            failure = failures.read(reason, self.address, self.times.connect)
            if failure is not None and failure.refused and self._logged_in:
                self._logged_in(str(failure))
            if failure is None or failure is reason:
                raise
            raise failure from reason
        return Connection(smtp, self.address.scheme == "lmtp")

    async def _context(self, *, verify: bool) -> ssl.SSLContext:
        if verify:
            if self._trust is None:
                self._trust = await asyncio.to_thread(ssl.create_default_context)
            return self._trust
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return unverified

    async def _greet(self, smtp: Smtp) -> None:
        await smtp.connect()
        if self.address.scheme == "smtps" or self.settings.tls == "never":
            return
        await smtp.ehlo()
        if smtp.supports_extension("starttls"):
            await smtp.starttls()
            await smtp.ehlo()  # RFC 3207 4.2: what it offered before the handshake is forgotten
        elif self.settings.tls == "required":
            raise CannotConnect(
                451, f'4.7.4 The upstream {self.address} does not offer STARTTLS, and upstream.tls is "required"'
            )

    async def _may_log_in(self, smtp: Smtp) -> None:
        verified = smtp.get_transport_info("sslcontext") is not None  # `open` chose a context that verifies
        if not verified and not (self.address.loopback and self.settings.tls == "never"):
            raise CannotConnect(
                451, f"4.7.11 No credentials go to the upstream {self.address} over a connection without TLS"
            )
        if smtp.is_ehlo_or_helo_needed:
            await smtp.ehlo()
