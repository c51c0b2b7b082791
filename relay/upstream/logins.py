"""Logging in at an upstream (RFC 4954), with a password or an access token.

Owns: the method, which other one is tried, what a refusal means, and that an upstream that repeats what it was told gives
nothing away. Leaves to others: over which connections credentials may go (`connections`), the tokens (`relay.oauth`), what
a prompt asks for (`core.challenges`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence

import aiosmtplib

from relay import oauth
from relay.core import challenges, envelopes, networks, refusals
from relay.core.model import Reply
from relay.upstream.failures import CannotConnect

SHORTEST_SECRET = 8  # characters; what is shorter may be a word of the reply, and stays

Said = aiosmtplib.SMTPResponse
Exchange = Callable[[aiosmtplib.SMTP, str, str], Awaitable[Said]]


class Unanswerable(Exception):
    """The server asked for something that is no step of the method."""

    def __init__(self, method: str, said: Said) -> None:
        super().__init__(method)
        self.method, self.said = method, said


async def by_password(
    smtp: aiosmtplib.SMTP, server: networks.Server, credentials: tuple[str, str], *, ours: bool
) -> None:
    """Raises `CannotConnect`. `ours`: they are the settings', not a client's."""
    methods = smtp.server_auth_methods
    if missing := without_method(server, methods, ours=ours):
        raise missing
    offered = [method for method in BY_PASSWORD if method in methods]
    said = await _first_taken(smtp, server, [(BY_PASSWORD[method], *credentials) for method in offered])
    if said.code // 100 != 2:
        raise refused(said, server, _secrets(*credentials), ours=ours)


def without_method(server: networks.Server, methods: Sequence[str], *, ours: bool) -> CannotConnect | None:
    """Why there is no login by password where these methods are offered; None where there is one."""
    if any(method in methods for method in BY_PASSWORD):
        return None
    if methods:
        said = f"offers none of AUTH PLAIN, LOGIN and CRAM-MD5, only {', '.join(methods).upper()}"
    elif ours:
        said = "offers no AUTH; take the user out of the URL where it wants no login, or choose its port for submission (587)"
    else:
        said = 'offers no AUTH, and smtp.auth = "upstream" needs it'
    return CannotConnect(451, f"4.7.4 The upstream {server} {said}", kind="login")


async def by_token(smtp: aiosmtplib.SMTP, server: networks.Server, tokens: oauth.Tokens) -> None:
    """Raises `CannotConnect`, `oauth.TokenRefused`."""

    async def oauthbearer(smtp: aiosmtplib.SMTP, user: str, token: str) -> Said:
        return await _oauthbearer(smtp, server, user, token)

    by_name: dict[str, Exchange] = {"xoauth2": _xoauth2, "oauthbearer": oauthbearer}
    offered = [exchange for method, exchange in by_name.items() if method in smtp.server_auth_methods]
    if not offered:
        others = ", ".join(smtp.server_auth_methods).upper()
        raise CannotConnect(
            451,
            f"4.7.4 The upstream {server} offers neither AUTH XOAUTH2 nor OAUTHBEARER{others and ', only '}{others}",
            kind="login",
        )
    for fresh in (False, True):  # a token that was good for another minute may have been revoked
        token = await tokens.access(fresh=fresh)
        said = await _first_taken(smtp, server, [(exchange, server.login, token) for exchange in offered])
        if said.code // 100 == 2:
            return
    raise refused(said, server, [token], ours=True)


async def _first_taken(
    smtp: aiosmtplib.SMTP, server: networks.Server, tries: Sequence[tuple[Exchange, str, str]]
) -> Said:
    """The last word of the first method that the server does not refuse as a method; where it refuses all of them, what
    says most. Raises `CannotConnect` where no method came to a word."""
    best: Said | None = None
    asked: Unanswerable | None = None
    for exchange, user, secret in tries:
        try:
            said = await exchange(smtp, user, secret)
        except Unanswerable as reason:
            asked = asked or reason
            continue
        except aiosmtplib.SMTPServerDisconnected:
            if best is None:
                raise
            break  # it left after it had refused one: that is the reason
        if not refusals.smtp_method(said.code):
            return said
        if best is None or said.code == WEAK or best.code != WEAK:
            best = said
    if best is not None:
        return best
    assert asked
    words = _reply(asked.said, _secrets(*tries[0][1:]))
    raise CannotConnect(
        451,
        f"4.7.4 The upstream {server} asks in AUTH {asked.method} for what can't be answered: {words}",
        kind="login",
    )


# 534 says that the method is too weak, or more of the account than "no such method" does.
WEAK = 534


# -- the methods -------------------------------------------------------------------------------------------------------


def _packed(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


async def _plain(smtp: aiosmtplib.SMTP, user: str, password: str) -> Said:
    """RFC 4616."""
    response = _packed(f"\0{user}\0{password}")
    said = await smtp.execute_command(b"AUTH PLAIN", response)
    if said.code != 334:
        return said
    if challenges.asked(said.message):  # it takes PLAIN for LOGIN
        await smtp.execute_command(b"*")
        raise Unanswerable("PLAIN", said)
    return await _end(smtp, "PLAIN", await smtp.execute_command(response))  # as one that takes no initial response


async def _login(smtp: aiosmtplib.SMTP, user: str, password: str) -> Said:
    """Step by step: what is sent with the command, some servers take for nothing, and ask for it again."""
    answers = {"user": _packed(user), "password": _packed(password)}
    said = await smtp.execute_command(b"AUTH LOGIN")
    given: list[challenges.Asked] = []
    while said.code == 334 and (wanted := challenges.answer(said.message, given)):
        given.append(wanted)
        said = await smtp.execute_command(answers[wanted])
    return await _end(smtp, "LOGIN", said)


async def _cram_md5(smtp: aiosmtplib.SMTP, user: str, password: str) -> Said:
    """RFC 2195."""
    said = await smtp.execute_command(b"AUTH CRAM-MD5")
    if said.code != 334:
        return said
    try:
        challenge = base64.b64decode("".join(said.message.split()), validate=True)
    except binascii.Error:
        challenge = b""
    if not challenge:
        return await _end(smtp, "CRAM-MD5", said)
    digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
    return await _end(smtp, "CRAM-MD5", await smtp.execute_command(_packed(f"{user} {digest}")))


async def _xoauth2(smtp: aiosmtplib.SMTP, user: str, token: str) -> Said:
    """https://developers.google.com/gmail/imap/xoauth2-protocol: a refusal is a challenge that wants an empty response."""
    said = await smtp.execute_command(b"AUTH XOAUTH2", _packed(f"user={user}\x01auth=Bearer {token}\x01\x01"))
    return await _end(smtp, "XOAUTH2", await smtp.execute_command(b"") if said.code == 334 else said)


async def _oauthbearer(smtp: aiosmtplib.SMTP, server: networks.Server, login: str, token: str) -> Said:
    """RFC 7628 3.1; a refusal is a challenge that wants one more response (3.2.3)."""
    user = login.replace("=", "=3D").replace(",", "=2C")
    text = f"n,a={user},\x01host={server.host}\x01port={server.port}\x01auth=Bearer {token}\x01\x01"
    said = await smtp.execute_command(b"AUTH OAUTHBEARER", _packed(text))
    return await _end(smtp, "OAUTHBEARER", await smtp.execute_command(b"AQ==") if said.code == 334 else said)


async def _end(smtp: aiosmtplib.SMTP, method: str, said: Said) -> Said:
    """The last word. One that asks for more has no answer, and the exchange is cancelled (RFC 4954 4)."""
    if said.code != 334:
        return said
    await smtp.execute_command(b"*")
    raise Unanswerable(method, said)


# Under verified TLS the plain ones are the ones that work everywhere; CRAM-MD5 only where nothing else is offered, or taken.
BY_PASSWORD: dict[str, Exchange] = {"plain": _plain, "login": _login, "cram-md5": _cram_md5}


# -- refusals ----------------------------------------------------------------------------------------------------------


def refused(said: Said, server: networks.Server, secrets: Sequence[str], *, ours: bool) -> CannotConnect:
    reply = _reply(said, secrets)
    of_method = refusals.smtp_method(reply.code) and reply.code != WEAK  # says nothing of a client's password
    if ours or of_method or reply.code // 100 != 5:  # our own credentials are the operator's to mend: mail waits for it
        final = ours and refusals.smtp_login(reply.code, reply.text)
        return CannotConnect(
            451,
            f"4.7.8 The upstream {server} refused the login: {reply}",
            kind="login",
            refused=final,
            personal=not (ours or of_method),
        )
    return CannotConnect(535, reply.text if envelopes.ENHANCED.match(reply.text) else f"5.7.8 {reply.text}", never=True)


def _reply(said: Said, secrets: Iterable[str]) -> Reply:
    return envelopes.reply(said.code, without(said.message, secrets).split("\n"))


def _secrets(user: str, password: str) -> tuple[str, ...]:
    return f"\0{user}\0{password}", password


def without(text: str, secrets: Iterable[str]) -> str:
    """An upstream's reply without what it was told: some repeat the command that they refuse, and it goes to clients, into
    logs and into the queue."""
    for secret in secrets:
        for form in (base64.b64encode(secret.encode()).decode(), secret):
            if len(form) >= SHORTEST_SECRET:
                text = text.replace(form, "[hidden]")
    return text
