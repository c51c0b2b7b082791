"""The endpoints of [[webhooks]]: found in DNS, connected to, with TLS that is verified, under the service's own rules of what may be
called. Nothing is sent, but for one test notification each where that is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

from yarl import URL

from relay import causes, config
from relay.check import SECONDS, Finding, failure, ok, unknown
from relay.core import urls
from relay.core.model import Endpoint
from relay.webhooks import endpoints, post, trying
from relay.webhooks.guard import AddressRefused, Guard, Resolver

NO_DNS = (socket.EAI_AGAIN, socket.EAI_FAIL)


async def look(settings: config.Settings, *, trust: ssl.SSLContext | None = None) -> list[Finding]:
    """`trust` is the TLS context that verifies; the system's certificates by default."""
    guard = Guard(settings.webhook_delivery.allow_private)
    return await asyncio.gather(
        *(_reach(at, each, guard, trust) for at, each in enumerate(endpoints.configured(settings)))
    )


async def send_test(settings: config.Settings, *, trust: ssl.SSLContext | None = None) -> list[Finding]:
    """One test notification to each, as `trackrelay webhooks test` sends it."""
    poster = post.Poster(Guard(settings.webhook_delivery.allow_private), tls=trust)
    try:
        return await asyncio.gather(
            *(_try(settings, at, each, poster) for at, each in enumerate(endpoints.configured(settings)))
        )
    finally:
        await poster.close()


async def _reach(at: int, endpoint: Endpoint, guard: Guard, trust: ssl.SSLContext | None) -> Finding:
    what, shown = f"webhooks[{at}]", urls.shown(endpoint.url)
    try:
        target, _ = post.written(endpoint.url)
        guard.check(target)
        async with asyncio.timeout(SECONDS):
            version = await _connected(target, guard, trust)
    except AddressRefused as reason:
        return failure(
            what, f"{shown} may not be called: {reason}; name it in [webhook_delivery] allow_private if it is yours"
        )
    except socket.gaierror as error:
        if error.errno in NO_DNS:
            return unknown(what, f"whether {shown} answers can't be known here: {causes.of(error)}")
        return failure(what, f"{shown}: {causes.of(error)}")
    except ssl.SSLCertVerificationError as error:
        return failure(what, f"the certificate of {shown} is refused: {causes.of(error)}")
    except (OSError, ValueError) as error:  # a timeout is an OSError
        return failure(what, f"{shown} does not answer: {causes.of(error)}")
    return ok(what, f"{shown} answers " + (f"over {version}, certificate verified" if version else "without TLS"))


async def _connected(target: URL, guard: Guard, trust: ssl.SSLContext | None) -> str:
    """The version of TLS; "" without. Raises OSError."""
    host, port, secure = target.host or "", target.port or 443, target.scheme == "https"
    found = await Resolver(guard, plain=not secure).resolve(host, port)
    failed: OSError = OSError("no address")
    context = (trust or await asyncio.to_thread(ssl.create_default_context)) if secure else None
    for each in found:
        try:
            _, writer = await asyncio.open_connection(
                each["host"], each["port"], ssl=context, server_hostname=host if secure else None
            )
        except OSError as error:
            failed = error
            continue
        session = writer.get_extra_info("ssl_object")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return str(session.version()) if session else ""
    raise failed


async def _try(settings: config.Settings, at: int, endpoint: Endpoint, poster: post.Poster) -> Finding:
    what, shown, now = f"webhooks[{at}].test", urls.shown(endpoint.url), time.time()
    request = trying.request(endpoint, settings.application_id, "", now)
    assert request is not None  # the settings have no other triggers than the format
    answer = await poster.post(endpoint.url, request.body, request.headers, now)
    if answer.good:
        return ok(what, f"{shown} took a test notification of {request.trigger} ({answer.status})")
    return failure(what, f"{shown} did not take a test notification of {request.trigger}: {answer.error or answer.status}; look at its log, and "
                   "whether it verifies with the secret of the settings")  # fmt: skip
