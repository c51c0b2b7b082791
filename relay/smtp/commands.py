"""The commands of RFC 5321.

Owns: the state of a session and what each command is answered. All are answered here, since aiosmtpd's own parse
addresses with the standard library's e-mail package (100 µs each), know neither enhanced status codes (RFC 2034) nor
DSN (RFC 3461), and read DATA by the line.
Leaves to others: the connection (`session`), whom a proxy speaks for (`proxied`), how a path looks (`core.paths`), reading DATA (`data`), logins (`auth`).
"""

from __future__ import annotations

import asyncio
import time

from relay import log, metrics
from relay.core import model, networks, paths, senders, trace
from relay.core.model import Reply, Submission
from relay.smtp import auth, command_loop, data, proxied, session, throttle

LOG = log.room("smtp")

EXTENSIONS = "250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN"
RECEIVE_SECONDS = metrics.STAGE.labels("receive")
BYE = "221 2.0.0 Bye"
NO_HELLO = "503 5.5.1 Say EHLO first"


class Commands(proxied.Proxied):
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
        lines = [f"250-{self.hostname}", f"250-SIZE {self.shared.max_size}"]
        if self.shared.certificate is not None and not self.secure:
            lines.append("250-STARTTLS")
        if self.auth_offered:
            lines.append("250-AUTH " + " ".join(auth.MECHANISMS))
        lines += self.proxy_offers
        lines.append(EXTENSIONS)
        await self.push("\r\n".join(lines))

    async def smtp_STARTTLS(self, argument: str | None) -> None:
        if argument:
            return await self.push("501 5.5.4 Syntax: STARTTLS")
        if self.shared.certificate is None:
            return await self.push("502 5.5.1 STARTTLS is not offered")
        if self.secure:
            return await self.push("503 5.5.1 TLS is active already")
        self.close_naming()
        await self.push("220 2.0.0 Ready to start TLS")
        await self.flush()
        await self.start_tls()

    @property
    def auth_offered(self) -> bool:
        """A password crosses no network in clear."""
        return self.shared.authenticator.offered and (self.secure or (self.loopback and self.shared.clear_logins))

    async def smtp_AUTH(self, argument: str | None) -> None:
        authenticator = self.shared.authenticator
        self.close_naming()
        if not authenticator.offered:
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
        refusal = await authenticator.admit(*found, self.address, self.tell)
        account = None if refusal else self.account_of(found[0])
        if refusal or account is None:
            return await self.say(refusal or auth.UNAVAILABLE)
        self.login, self.account = found[0], account
        self.password = found[1] if authenticator.keeps_password else ""
        self._timeout_duration = self.shared.held_to.command_seconds
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
        self.close_naming()
        if not self.session.host_name:
            return await self.push(NO_HELLO)
        if not self.allowed and not self.login:
            return await self.turn_down()
        transaction = self.transaction
        if transaction.mail:
            return await self.push("503 5.5.1 One MAIL at a time")
        if self.login:
            try:
                if not self.stands():
                    LOG.info("login_ended", login=self.login, peer=self.address)
                    return await self.goodbye(session.REMOVED)
            except OSError as reason:
                LOG.error("login_check_failed", login=self.login, reason=reason)
                metrics.ERRORS.labels("smtp").inc()
                return await self.push("451 4.3.0 Logins can't be checked now, try again later")
        mail = paths.mail(argument, extended=self.session.extended_smtp)
        if isinstance(mail, Reply):
            return await self.say(mail)
        refusal = senders.refusal((mail.reverse_path,), self.account.senders) if mail.reverse_path else None
        if refusal:
            self.tell("sender_refused", login=self.login, peer=self.address, sender=mail.reverse_path)
            return await self.say(refusal, utf8="SMTPUTF8" in mail.options)
        if mail.size > self.shared.max_size:
            return await self.say(data.too_large(self.shared.max_size))
        if not self.shared.flight.room(mail.size):
            return await self.say(data.crowded())
        if not self.shared.rates.take(self.client, self.loop.time()):
            self.tell("too_many_messages", peer=self.address, login=self.login or None)
            return await self.push("450 4.7.1 Too many messages within a minute, try again later")
        transaction.mail, transaction.utf8 = mail, "SMTPUTF8" in mail.options
        await self.push(b"250 2.1.0 Ok")

    @property
    def client(self) -> str:
        """By which its messages are counted."""
        if self.login:
            return f"login {throttle.spelt(self.login)}"
        forwarded = self.transaction.forwarded
        return networks.client(networks.peer(forwarded["ADDR"] or "")) if "ADDR" in forwarded else self.counted

    async def turn_down(self) -> None:
        """Never an open relay: nobody submits who is neither in `allow` nor logged in."""
        self.tell("submission_refused", peer=self.address, helo=self.session.host_name)
        if self.shared.authenticator.offered:
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
        if len(transaction.recipients) >= self.shared.held_to.recipients:
            return await self.push("452 4.5.3 Too many recipients, send the rest in another message")
        refusal = await self.shared.refuses(transaction.mail.reverse_path, recipient.address)
        if refusal:
            LOG.info("recipient_suppressed", peer=self.address, login=self.login or None, reply=refusal)
            errors = self.errors
            await self.say(refusal, utf8=transaction.utf8)
            self.errors = errors  # none of the client's
            return None
        transaction.recipients.setdefault(recipient.address, recipient)  # named twice is sent once
        await self.push(b"250 2.1.5 Ok")

    async def smtp_DATA(self, argument: str | None) -> None:
        transaction = self.transaction
        if not transaction.recipients:
            return await self.push("503 5.5.1 Say RCPT first" if transaction.mail else "503 5.5.1 Say MAIL first")
        if argument:
            return await self.push("501 5.5.4 Syntax: DATA")
        assert transaction.mail is not None
        if not self.shared.flight.room(transaction.mail.size):
            return await self.say(data.crowded())
        self.busy = self.receiving = True
        try:
            await self.push(b"354 End with a line that has only a dot")
            await self.flush()
            reply = await self.receive(transaction, transaction.mail)
        except data.Gone as error:
            LOG.info("message_not_finished", peer=self.address, why=type(error).__name__)
            return await self.goodbye("421 4.4.2 The message did not arrive in time and size")
        finally:
            self.busy = self.receiving = False
            self.handle = None
        self._set_post_data_state()
        self.errors = self.idle = 0
        self.told = False
        self.rest()
        self.since_message = self.loop.time()
        self._reset_timeout()
        await self.say(reply, utf8=transaction.utf8)
        if reply.code == 421 or self.finishing:
            await self.goodbye(session.CLOSING)
        if self.ended:
            await self.goodbye(BYE)

    async def receive(self, transaction: session.Transaction, mail: paths.Mail) -> Reply:
        shared, began = self.shared, time.perf_counter()
        content = await data.read(
            self._reader, limit=shared.max_size, flight=shared.flight, pace=shared.held_to, tick=self._reset_timeout,
            mended=self.mended if shared.normalizes else None,
        )  # fmt: skip
        self.receiving = False
        RECEIVE_SECONDS.observe(time.perf_counter() - began)
        if isinstance(content, Reply):
            LOG.info(
                "message_refused", peer=self.address, login=self.login or None, sender=mail.reverse_path, reply=content
            )
            metrics.REFUSED.labels(content.code).inc()
            return content
        said, here = transaction.forwarded, model.Hop(self.session.host_name, self.spelt)
        peer, helo = here.peer, here.helo
        if said:
            peer, helo = said.get("ADDR", peer) or "", said.get("HELO", helo) or ""
        answered = shared.taking.reply(Submission(
            mail.reverse_path, tuple(transaction.recipients.values()), content, mail.options, peer,
            time.time(), self.login, self.password, helo, self.protocol_name(transaction),
            self.account.senders, said.get("IDENT") or "", proxy=here if said else None,
        ), self.taken)  # fmt: skip
        del content  # the taker may let go of the original while it delivers
        self.wait_for_ever()
        return await answered

    def mended(self) -> None:
        """Its client ends lines in LF. That is said once of each client."""
        metrics.NORMALIZED.inc()
        if self.shared.clients_told.add(self.client):
            LOG.info("bare_newlines", peer=self.address, login=self.login or None, helo=self.session.host_name)

    def protocol_name(self, transaction: session.Transaction) -> str:
        return trace.protocol(
            extended=self.session.extended_smtp, utf8=transaction.utf8, tls=self.secure, login=bool(self.login)
        )

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

    async def smtp_EXPN(self, argument: str | None) -> None:
        await self.push(f"502 {command_loop.NO_COMMAND}")

    async def smtp_HELP(self, argument: str | None) -> None:
        await self.idled()
        await self.push("214 2.0.0 RFC 5321")

    async def smtp_QUIT(self, argument: str | None) -> None:
        await self.goodbye(BYE)

    async def not_smtp(self, argument: str | None) -> None:
        """A method of HTTP: commands may stand in the body of what a browser was made to send."""
        self.tell("not_smtp", peer=self.address)
        await self.goodbye(session.NO_SMTP)

    smtp_GET = smtp_HEAD = smtp_POST = smtp_PUT = smtp_DELETE = smtp_CONNECT = smtp_OPTIONS = smtp_TRACE = not_smtp
    smtp_PATCH = smtp_PRI = not_smtp
