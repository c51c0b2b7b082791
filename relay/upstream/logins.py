"""Logging in at an upstream (RFC 4954), with a password or an access token.

Owns: the method, what a refusal means, and that an upstream that repeats what it was told gives nothing away.
Leaves to others: over which connections credentials may go (`connections`), the tokens (`relay.oauth`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

import aiosmtplib

from relay import oauth
from relay.core import envelopes, networks, refusals
from relay.upstream.failures import CannotConnect

# Under verified TLS the plain ones are the ones that work everywhere; CRAM-MD5 only where nothing else is offered.
METHODS = ("plain", "login", "cram-md5")
SHORTEST_SECRET = 8  # characters; what is shorter may be a word of the reply, and stays


async def by_password(
    smtp: aiosmtplib.SMTP, server: networks.Server, credentials: tuple[str, str], *, ours: bool
) -> None:
    """Raises `CannotConnect`. `ours`: they are the settings', not a client's."""
    offered = smtp.server_auth_methods
    method = next((m for m in METHODS if m in offered), None)
    if method is None:
        raise CannotConnect(451, f"4.7.4 The upstream {server} offers none of AUTH PLAIN, LOGIN and CRAM-MD5")
    verbs = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}
    try:
        await verbs[method](*credentials)
    except aiosmtplib.SMTPAuthenticationError as refusal:
        user, password = credentials
        raise refused(refusal, server, [f"\0{user}\0{password}", password], ours=ours) from refusal


async def by_token(smtp: aiosmtplib.SMTP, server: networks.Server, tokens: oauth.Tokens) -> None:
    """Raises `CannotConnect`, `oauth.TokenRefused`."""
    offered = smtp.server_auth_methods
    if "xoauth2" not in offered and "oauthbearer" not in offered:
        raise CannotConnect(451, f"4.7.4 The upstream {server} offers neither AUTH XOAUTH2 nor OAUTHBEARER")
    for fresh in (False, True):  # a token that was good for another minute may have been revoked
        token = await tokens.access(fresh=fresh)
        try:
            if "xoauth2" in offered:
                await smtp.auth_xoauth2(server.login, token)
            else:
                await _oauthbearer(smtp, server, token)
        except aiosmtplib.SMTPAuthenticationError as refusal:
            if fresh:
                raise refused(refusal, server, [token], ours=True) from refusal
        else:
            return


async def _oauthbearer(smtp: aiosmtplib.SMTP, server: networks.Server, token: str) -> None:
    """RFC 7628 3.1; a refusal is a challenge that wants one more response (3.2.3)."""
    user = server.login.replace("=", "=3D").replace(",", "=2C")
    text = f"n,a={user},\x01host={server.host}\x01port={server.port}\x01auth=Bearer {token}\x01\x01"
    response = await smtp.execute_command(b"AUTH OAUTHBEARER", base64.b64encode(text.encode()))
    if response.code == 334:
        response = await smtp.execute_command(b"AQ==")
    if response.code != 235:
        raise aiosmtplib.SMTPAuthenticationError(response.code, response.message)


def refused(
    refusal: aiosmtplib.SMTPAuthenticationError, server: networks.Server, secrets: Sequence[str], *, ours: bool
) -> CannotConnect:
    reply = envelopes.reply(refusal.code, without(refusal.message, secrets).split("\n"))
    if ours or reply.code // 100 != 5:  # our own credentials are the operator's to mend: mail waits for it
        final = ours and refusals.smtp_login(reply.code, reply.text)
        return CannotConnect(451, f"4.7.8 The upstream {server} refused the login: {reply}", refused=final)
    return CannotConnect(535, reply.text if envelopes.ENHANCED.match(reply.text) else f"5.7.8 {reply.text}", never=True)


def without(text: str, secrets: Iterable[str]) -> str:
    """An upstream's reply without what it was told: some repeat the command that they refuse, and it goes to clients, into
    logs and into the queue."""
    for secret in secrets:
        for form in (base64.b64encode(secret.encode()).decode(), secret):
            if len(form) >= SHORTEST_SECRET:
                text = text.replace(form, "[hidden]")
    return text
