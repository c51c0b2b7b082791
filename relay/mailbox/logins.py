"""Logging in at an IMAP server, with a password or an access token.

Owns: the method, who we say we are. Leaves to others: over which connections credentials may go, what a refusal means
(`session`), the tokens (`relay.oauth`). Everything here blocks.
"""

from __future__ import annotations

import contextlib
import imaplib

from imapclient import exceptions

from relay import __version__
from relay.mailbox.client import Client

# RFC 2971. NetEase (163.com, 126.com) opens no folder for a client that has not said who it is.
IDENTITY = {"name": "trackrelay", "version": __version__, "vendor": "trackrelay"}


def by_password(client: Client, user: str, password: str) -> None:
    """AUTHENTICATE PLAIN (RFC 4616, in UTF-8) where it is offered, else LOGIN. Raises `LoginError`."""
    offered = client.capabilities()
    disabled = b"LOGINDISABLED" in offered
    if b"AUTH=PLAIN" in offered:
        try:
            client.plain_login(user, password)
        except exceptions.LoginError as reason:
            # A server that offers PLAIN and does not know AUTHENTICATE has refused nobody.
            if disabled or broken(reason) or "command error: BAD" not in str(reason):
                raise
        else:
            return
    elif disabled:
        raise exceptions.IMAPClientError("the server takes no password on this connection: neither PLAIN nor LOGIN")
    client.login(user, password)


def by_token(client: Client, user: str, token: str) -> None:
    """XOAUTH2, or OAUTHBEARER (RFC 7628) where only that is offered. Raises `LoginError`."""
    offered = client.capabilities()
    if b"AUTH=OAUTHBEARER" in offered and b"AUTH=XOAUTH2" not in offered:
        name = user.replace("=", "=3D").replace(",", "=2C")
        mechanism, first, after = "OAUTHBEARER", f"n,a={name},\1auth=Bearer {token}\1\1", "\1"
    else:
        mechanism, first, after = "XOAUTH2", f"user={user}\1auth=Bearer {token}\1\1", ""
    said = iter((first,))
    # A refusal is a challenge that wants one more response.
    client.sasl_login(mechanism, lambda challenge: next(said, after))


def introduce(client: Client) -> None:
    """ID, where the server wants to know. What it answers does not matter."""
    if client.has_capability("ID"):
        with contextlib.suppress(exceptions.IMAPClientError):
            try:
                client.id_(IDENTITY)
            except imaplib.IMAP4.abort as reason:  # is one of the above, and the end of the connection
                raise ConnectionError(str(reason)) from reason


def broken(reason: BaseException) -> bool:
    return isinstance(reason.__context__, imaplib.IMAP4.abort)
