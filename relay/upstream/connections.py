"""Connections to one upstream: connect, greet, secure, log in.

Owns: the rules of TLS and credentials. Where TLS is required it is verified (chain and name), or nothing is sent.
Credentials never go over a connection without verified TLS; the one exception is an upstream on loopback where the
operator set tls = "never".
Leaves to others: mail transactions (`transaction`), which connection is used when (`pool`).
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiosmtplib

from relay import config, oauth
from relay.core import envelopes, networks
from relay.core.model import Later, Never, Outcome, Reply
from relay.upstream import transaction

# Under verified TLS the plain ones are the ones that work everywhere; CRAM-MD5 only where nothing else is offered.
METHODS = ("plain", "login", "cram-md5")


def without(text: str, secrets: Iterable[str]) -> str:
    """An upstream's reply without what it was told: some repeat the command that they refuse, and it goes to
    clients, into logs and into the queue. What is short may be a word of its own, and stays."""
    for secret in secrets:
        for form in (base64.b64encode(secret.encode()).decode(), secret):
            if len(form) >= 8:
                text = text.replace(form, "[hidden]")
    return text


class CannotConnect(Exception):
    """A connection that is ready for MAIL can't be had: no answer, no TLS, no login. `outcome` is what that means for a
    message that needs it."""

    def __init__(self, code: int, text: str, *, never: bool = False) -> None:
        reply = envelopes.reply(code, [text])
        super().__init__(str(reply))
        self.outcome: Outcome = Never(reply) if never else Later(reply)


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
    certificates by default. `tokens_in`: see `oauth.Tokens`."""

    def __init__(
        self,
        settings: config.Upstream,
        *,
        hostname: str,
        times: transaction.Times,
        trust: ssl.SSLContext | None = None,
        tokens_in: Path | None = None,
    ) -> None:
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
            if credentials:
                await self._login(smtp, credentials, ours=False)
            elif self.tokens and own:
                await self._login_by_token(smtp, self.tokens)
            elif own:
                await self._login(smtp, (self.address.login, self.settings.password), ours=True)
            if smtp.is_ehlo_or_helo_needed:
                await smtp.ehlo()
        except BaseException as reason:
            smtp.close()
            failure = self._failure(reason)
            if failure:
                raise failure from reason
            raise
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

    # -- credentials ---------------------------------------------------------------------------------------------------

    def _may_log_in(self, smtp: Smtp) -> None:
        if smtp.get_transport_info("sslcontext") is not None:
            return  # verified: `open` chose the context
        if self.address.loopback and self.settings.tls == "never":
            return
        raise CannotConnect(
            451, f"4.7.11 No credentials go to the upstream {self.address} over a connection without TLS"
        )

    async def _login(self, smtp: Smtp, credentials: tuple[str, str], *, ours: bool) -> None:
        self._may_log_in(smtp)
        if smtp.is_ehlo_or_helo_needed:
            await smtp.ehlo()
        offered = smtp.server_auth_methods
        method = next((m for m in METHODS if m in offered), None)
        if method is None:
            raise CannotConnect(451, f"4.7.4 The upstream {self.address} offers none of AUTH PLAIN, LOGIN and CRAM-MD5")
        verbs = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
        try:
            await verbs[method](*credentials)
        except aiosmtplib.SMTPAuthenticationError as refusal:
            user, password = credentials
            self._refused(refusal, [f"\0{user}\0{password}", password], ours=ours)

    async def _login_by_token(self, smtp: Smtp, tokens: oauth.Tokens) -> None:
        self._may_log_in(smtp)
        if smtp.is_ehlo_or_helo_needed:
            await smtp.ehlo()
        offered = smtp.server_auth_methods
        if "xoauth2" not in offered and "oauthbearer" not in offered:
            raise CannotConnect(451, f"4.7.4 The upstream {self.address} offers neither AUTH XOAUTH2 nor OAUTHBEARER")
        for fresh in (False, True):  # a token that was good for another minute may have been revoked
            token = await tokens.access(fresh=fresh)
            try:
                if "xoauth2" in offered:
                    await smtp.auth_xoauth2(self.address.login, token)
                else:
                    await self._oauthbearer(smtp, token)
            except aiosmtplib.SMTPAuthenticationError as refusal:
                if fresh:
                    self._refused(refusal, [token], ours=True)
            else:
                return

    async def _oauthbearer(self, smtp: Smtp, token: str) -> None:
        """RFC 7628 3.1; a refusal is a challenge that wants one more response (3.2.3)."""
        user = self.address.login.replace("=", "=3D").replace(",", "=2C")
        text = f"n,a={user},\x01host={self.address.host}\x01port={self.address.port}\x01auth=Bearer {token}\x01\x01"
        response = await smtp.execute_command(b"AUTH OAUTHBEARER", base64.b64encode(text.encode()))
        if response.code == 334:
            response = await smtp.execute_command(b"AQ==")
        if response.code != 235:
            raise aiosmtplib.SMTPAuthenticationError(response.code, response.message)

    def _refused(self, refusal: aiosmtplib.SMTPAuthenticationError, secrets: Sequence[str], *, ours: bool) -> None:
        reply = envelopes.reply(refusal.code, without(refusal.message, secrets).split("\n"))
        if ours or reply.code // 100 != 5:  # our own credentials are the operator's to mend: mail waits for it
            raise CannotConnect(451, f"4.7.8 The upstream {self.address} refused the login: {reply}")
        raise CannotConnect(
            535, reply.text if envelopes.ENHANCED.match(reply.text) else f"5.7.8 {reply.text}", never=True
        )

    # -- what went wrong -----------------------------------------------------------------------------------------------

    def _failure(self, reason: BaseException) -> CannotConnect | None:
        cause = reason.__cause__ if isinstance(reason, aiosmtplib.SMTPConnectError) else None
        match cause or reason:
            case CannotConnect() as failure:
                return failure
            case ssl.SSLCertVerificationError() as bad:
                return CannotConnect(
                    451, f"4.7.5 The certificate of the upstream {self.address} is refused: {bad.verify_message}"
                )
            case ssl.SSLError() as bad:
                return CannotConnect(451, f"4.7.5 No TLS with the upstream {self.address}: {bad.reason or bad}")
            case oauth.TokenRefused() as refused:
                return CannotConnect(451, f"4.7.8 No access token for the upstream {self.address}: {refused}")
            case aiosmtplib.SMTPResponseException() as said:
                reply = envelopes.reply(said.code, said.message.split("\n"))
                if said.code < 100:  # aiosmtplib's own word for what is no reply
                    return CannotConnect(451, f"4.4.1 The upstream {self.address} does not speak SMTP: {reply.text}")
                return CannotConnect(451, f"4.4.1 The upstream {self.address} does not take us: {reply}")
            case TimeoutError() | aiosmtplib.SMTPTimeoutError():
                return CannotConnect(
                    451, f"4.4.1 The upstream {self.address} does not answer within {self.times.connect:g} s"
                )
            case OSError() as bad:
                return CannotConnect(451, f"4.4.1 The upstream {self.address} does not answer: {bad.strerror or bad}")
            case aiosmtplib.SMTPException() | ValueError() as bad:
                return CannotConnect(451, f"4.4.1 The upstream {self.address} does not answer: {bad}")
        return None
