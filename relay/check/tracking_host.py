"""The tracking host, as recipients reach it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay import causes, certificates, config
from relay.check import SECONDS, Finding, clock, failure, listeners, ok, unknown, warning
from relay.core import domains, networks

# A path that a pixel might have. It is answered with the picture whatever the token, and makes no event.
PROBE = "/o/trackrelay-check"
# What is answered in the server's place while it does not run: a GIF of one pixel, as short as its own.
PIXEL = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
LONGEST = 100  # octets that such a picture may have
NO_DNS = (socket.EAI_AGAIN, socket.EAI_FAIL)  # nobody could be asked, which says nothing of the name


def is_pixel(body: bytes) -> bool:
    """Whether this is a GIF of one pixel: the signature, then width and height as little-endian 16 bits."""
    return len(body) <= LONGEST and body[:4] == b"GIF8" and body[6:10] == b"\x01\x00\x01\x00"


async def look(settings: config.Settings) -> list[Finding]:
    async with standing_in(settings) as why_not:
        urls = [settings.tracking.url, *settings.tracking.domains]
        found = [finding for url in urls if url for finding in await _pixel(url)]
    if why_not and any(f.kind == "failure" for f in found):
        found.append(warning("tracking.url", why_not))
    return found


async def _pixel(url: str) -> list[Finding]:
    import aiohttp

    host = domains.of_url(url)
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:  # a timeout is one
        if isinstance(error, TimeoutError) or error.errno in NO_DNS:
            return [unknown("tracking.url", f"whether {url} leads here can't be known: {causes.of(error)}")]
        return [failure("tracking.url", f"{host}: {causes.of(error)}; make an A or AAAA record where there is none")]
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url + PROBE, allow_redirects=False, ssl=ssl.create_default_context()) as response,
        ):
            good = response.status == 200 and is_pixel(await response.content.read(LONGEST + 1))
            status, date = response.status, response.headers.get("Date", "")
    except aiohttp.ClientConnectorCertificateError as error:
        sentence = f"recipients' programs will refuse the certificate of {host}: {causes.of(error)}"
        return [failure("tracking.url", sentence)]
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
        return [failure("tracking.url", f"{url} does not answer: {causes.of(error)}")]
    # On this machine it has this machine's clock.
    time_there = [] if networks.loopback(host) else clock.compared(host, date, time.time())
    if good:
        return [ok("tracking.url", f"{url} answers with our pixel"), *time_there]
    sentence = f"{url} answers {status}, and not with our pixel: does it lead to http.listen?"
    return [failure("tracking.url", sentence), *time_there]


@asynccontextmanager
async def standing_in(settings: config.Settings) -> AsyncIterator[str]:
    """While the service does not run, something of ours answers at http.listen, so that the way there through DNS
    and proxy can be tried. Yields "" or why nothing of ours can answer."""
    from aiohttp import web

    addresses = [address for address in settings.http.listen if not networks.passed(address)]
    taken = next((address for address in addresses if listeners.can_bind(address) is not None), None)
    if taken is not None:
        running = await listeners.is_running(settings)
        yield "" if running else f"the tracking server does not run here, and {taken} can't be listened on"
        return

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=PIXEL, content_type="image/gif", headers={"Cache-Control": "no-store"})

    application = web.Application()
    application.router.add_get("/{path:.*}" + PROBE.removeprefix("/"), answer)
    context = None
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    try:
        if settings.http.certificate:
            assert settings.http.key
            context = certificates.context(settings.http.certificate, settings.http.key)
        await runner.setup()
        for address in addresses:
            await web.TCPSite(runner, *networks.endpoint(address), ssl_context=context).start()
        yield ""
    except OSError as error:
        yield f"nothing could listen on {' and '.join(addresses)} meanwhile: {causes.of(error, listening=True)}"
    finally:
        await runner.cleanup()
