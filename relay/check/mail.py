"""Other mail servers: the upstream and the mailboxes. Connects and logs in as the service would; sends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from relay import config, oauth
from relay.check import SECONDS, Finding, failure, ok, warning
from relay.config.locators import is_loopback
from relay.core import providers

CODES = re.compile(r"^\d{3} (?:\d\.\d+\.\d+ )?")  # what a client would hear before the sentence


# -- upstream ----------------------------------------------------------------------------------------------------------


async def upstreams(settings: config.Settings) -> list[Finding]:
    """[upstream] and all of [[upstreams]], side by side."""
    if not settings.upstream.url:
        return [failure("upstream", 'upstream.url is missing: say where the mail goes on to, such as url = "smtp://'
                        'user@smtp.example.com:587" under [upstream]')]  # fmt: skip
    others = ((f"upstreams.{up.id}", up) for up in settings.upstreams)
    found = await asyncio.gather(
        *(_upstream(settings, what, up) for what, up in (("upstream", settings.upstream), *others))
    )
    return [finding for findings in found for finding in findings]


async def _upstream(settings: config.Settings, what: str, up: config.Upstream) -> list[Finding]:
    from relay.upstream import connections, transaction

    room = connections.Connector(
        up,
        hostname=settings.smtp.hostname or os.uname().nodename,
        times=transaction.Times(connect=SECONDS),
        tokens_in=settings.state_dir / "keys",
    )
    try:
        connection = await room.open(None)
    except connections.CannotConnect as failed:
        return [failure(what, CODES.sub("", str(failed)))]
    try:
        return _offers(settings, what, up, connection, room.address) + _advice(settings, what, up, room.address.host)
    finally:
        connection.close(politely=True)


def _offers(settings: config.Settings, what: str, up: config.Upstream, connection: Any, address: Any) -> list[Finding]:
    tls = connection.smtp.get_transport_info("ssl_object")
    over = f"over {tls.version()}" if tls else "without TLS"
    if tls and up.tls == "required":
        over += ", certificate verified,"
    own = address.user and (up.password or up.oauth2)
    done = f"took the login {address.user} {over}" if own else f"answers {over}"
    found = [ok(what, f"{address} {done.rstrip(',')}")]
    if settings.smtp.auth == "upstream" and not connection.smtp.server_auth_methods:
        found.append(failure(what, f'{address} offers no AUTH, and smtp.auth = "upstream" needs it'))
    size = connection.offered.get("size", "").strip()
    if size.isdecimal() and 0 < int(size) < settings.smtp.max_message_size:
        found.append(warning(what, f"{address} takes messages up to {int(size):,} octets only; lower "
                             f"smtp.max_message_size ({settings.smtp.max_message_size:,}) to that"))  # fmt: skip
    return found


def _advice(settings: config.Settings, what: str, up: config.Upstream, host: str) -> list[Finding]:
    found = []
    who = providers.name(host)
    tracked = [settings.tracking, *(rule.tracking for rule in settings.rules)]
    if providers.counts_each_copy(host) and any(t.per_recipient for t in tracked):
        found.append(warning(what, f"{who} counts each recipient's copy as a message and may file each under "
                             "Sent; set tracking.per_recipient = false"))  # fmt: skip
    if providers.refuses_null_reverse_path(host) and not up.bounce_from:
        found.append(warning(what, f"{who} may refuse the empty sender of bounces; set upstream.bounce_from to an "
                             "address that it lets you send from"))  # fmt: skip
    return found


# -- mailboxes ---------------------------------------------------------------------------------------------------------


async def mailboxes(settings: config.Settings) -> list[Finding]:
    keys = settings.state_dir / "keys"
    return [await _mailbox(grant, keys) for grant in settings.grants if grant.mailbox]


async def _mailbox(grant: config.Grant, keys: Path) -> Finding:
    what = f"grants.{grant.id}"
    if grant.mailbox.startswith("maildir:"):
        return _maildir(what, Path(grant.mailbox.removeprefix("maildir:")))
    secret = grant.mailbox_password
    if grant.mailbox_oauth2:
        try:
            secret = await oauth.Tokens(grant.mailbox_oauth2, folder=keys).access()
        except oauth.TokenRefused as error:
            return failure(what, f"no access token for {grant.mailbox}: {error}")
    return await asyncio.to_thread(_imap, what, grant, secret)


def _maildir(what: str, folder: Path) -> Finding:
    for part in ("cur", "new"):
        if not (folder / part).is_dir():
            return failure(what, f"{folder} is no Maildir: it has no folder {part}")
        if not os.access(folder / part, os.R_OK | os.X_OK):
            return failure(what, f"{folder / part} can't be read")
    return ok(what, f"{folder} is a Maildir and can be read")


def _imap(what: str, grant: config.Grant, secret: str) -> Finding:
    from imapclient import IMAPClient
    from imapclient.exceptions import IMAPClientError, LoginError

    parts = urlsplit(grant.mailbox)
    user, host, folder = unquote(parts.username or ""), parts.hostname or "", unquote(parts.path.strip("/")) or "INBOX"
    secure = parts.scheme == "imaps"
    client = None
    try:
        context = ssl.create_default_context()
        port = parts.port or (993 if secure else 143)
        client = IMAPClient(host, port, ssl=secure, ssl_context=context if secure else None, timeout=SECONDS)
        if not secure and not is_loopback(host):
            client.starttls(context)
        if grant.mailbox_oauth2:
            client.oauth2_login(user, secret)
        else:
            client.login(user, secret)
        many = client.select_folder(folder, readonly=True)[b"EXISTS"]
        waits = "IDLE" if client.has_capability("IDLE") else "no IDLE: it is polled"
        return ok(what, f"{host} took the login {user}; {folder} holds {many} messages ({waits})")
    except LoginError as error:
        return failure(what, f"{host} refused the login {user}: {error}")
    except ssl.SSLError as error:
        return failure(what, f"no TLS with {host}: {getattr(error, 'verify_message', '') or error.reason or error}")
    except (OSError, IMAPClientError) as error:
        return failure(what, f"{host}: {getattr(error, 'strerror', None) or error}")
    finally:
        if client:
            with contextlib.suppress(Exception):
                client.logout()
