"""The upstreams: connected to and logged in at by the service's own code and within its times; a transaction ends after
MAIL, and nothing is sent."""

from __future__ import annotations

import asyncio
import os
import time

from relay import config, oauth
from relay.check import Finding, clock, failure, ok, warning
from relay.core import envelopes, networks, providers
from relay.upstream import choice, connections, failures, logins, transaction


async def look(settings: config.Settings) -> list[Finding]:
    """[upstream] and all of [[upstreams]], side by side."""
    if not settings.upstream.url:
        return [failure("upstream", 'upstream.url is missing: name the server that delivers the mail, such as url = "smtp://'
                        'user@smtp.example.com:587" under [upstream]')]  # fmt: skip
    others = ((choice.section(up.id), up) for up in settings.upstreams)
    found = await asyncio.gather(
        *(_upstream(settings, what, up) for what, up in (("upstream", settings.upstream), *others))
    )
    return [finding for findings in found for finding in findings]


async def _upstream(settings: config.Settings, what: str, up: config.Upstream) -> list[Finding]:
    connector = connections.Connector(
        up,
        hostname=settings.smtp.hostname or os.uname().nodename,
        times=transaction.Times(),
        tokens_in=oauth.folder_in(settings.state_dir),
    )
    try:
        connection = await connector.open(None)
    except failures.CannotConnect as failed:
        return [failure(what, failed.trouble.sentence)]
    try:
        others = settings.smtp.auth == "upstream" and not connection.logged_in  # it is for the clients to log in
        about_us = None if others else await _sender(up, connection, connector)
        if about_us:
            return [failure(what, about_us.trouble.sentence)]
        found = _offers(settings, what, up, connection, connector.address) + advice(settings, what, up)
        return found + clock.compared(str(connector.address), connection.greeting, time.time())
    finally:
        connection.close(politely=True)


async def _sender(
    up: config.Upstream, connection: connections.Connection, connector: connections.Connector
) -> failures.CannotConnect | None:
    """Some servers say only at MAIL that they want a login, TLS or another name. What they think of the sender is another
    matter."""
    address = up.bounce_from if envelopes.fits(up.bounce_from) else ""
    try:
        reply = await connection.sender(address)
    except Exception as reason:
        failure = failures.read(reason, connector.address, connector.times.connect)
        if failure is None:
            raise
        return failure
    return failures.of_us(reply, connector.address, connection.name, login=connection.logged_in)


def _offers(
    settings: config.Settings,
    what: str,
    up: config.Upstream,
    connection: connections.Connection,
    address: networks.Server,
) -> list[Finding]:
    over = f"over {connection.tls}" if connection.tls else "without TLS"
    if connection.tls and up.tls == "required":
        over += ", certificate verified,"
    own = address.login and (up.password or up.oauth2)
    done = f"took the login {address.login} {over}" if own else f"answers {over}"
    found = [ok(what, f"{address} {done.rstrip(',')}")]
    if settings.smtp.auth == "upstream":
        missing = logins.without_method(address, connection.auth_methods, ours=False)
        found += [failure(what, missing.trouble.sentence)] if missing else []
    if not settings.smtp.hostname and connection.name != os.uname().nodename:
        found.append(warning(what, f'{address} hears {connection.name} as our name, since the machine\'s name, '
                             f'"{os.uname().nodename}", is no full one, and strict servers may refuse that; set smtp.hostname '
                             "to a full name that resolves"))  # fmt: skip
    size = connection.offered.get("size", "").strip()
    if size.isdecimal() and len(size) < 20 and 0 < int(size) < settings.smtp.max_message_size:
        found.append(warning(what, f"{address} takes messages up to {int(size):,} octets only; lower "
                             f"smtp.max_message_size ({settings.smtp.max_message_size:,}) to that"))  # fmt: skip
    return found


def advice(settings: config.Settings, what: str, up: config.Upstream) -> list[Finding]:
    """What is known of the provider that the settings don't heed."""
    host, found = networks.server(up.url).host, []
    who = providers.name(host)
    tracked = [settings.tracking, *(rule.tracking for rule in settings.rules)]
    if providers.counts_each_copy(host) and any(t.per_recipient for t in tracked):
        found.append(warning(what, f"{who} counts each recipient's copy as a message and may file each under "
                             "Sent; set tracking.per_recipient = false"))  # fmt: skip
    if providers.refuses_null_reverse_path(host) and not up.bounce_from:
        found.append(warning(what, f"{who} may refuse the empty sender of bounces; set upstream.bounce_from to an "
                             "address that it lets you send from"))  # fmt: skip
    return found
