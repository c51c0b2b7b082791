"""What others see: the tracking host as recipients reach it, DKIM records as mail servers look them up."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from relay import certificates, config
from relay.check import SECONDS, Finding, failure, local, ok, warning
from relay.config.locators import split_address

# A path that a pixel might have. It is answered with the picture whatever the token, and makes no event.
PROBE = "/o/trackrelay-check"
# What is answered in the server's place while it does not run: a GIF of one pixel, as short as its own.
PIXEL = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
LONGEST = 100  # octets that such a picture may have


def is_pixel(body: bytes) -> bool:
    """Whether this is a GIF of one pixel: the signature, then width and height as little-endian 16 bits."""
    return len(body) <= LONGEST and body[:4] == b"GIF8" and body[6:10] == b"\x01\x00\x01\x00"


# -- tracking host -----------------------------------------------------------------------------------------------------


async def tracking_host(settings: config.Settings) -> list[Finding]:
    async with standing_in(settings) as why_not:
        urls = [settings.tracking.url, *settings.tracking.domains]
        found = [await _pixel(url) for url in urls if url]
    if why_not and any(f.kind == "failure" for f in found):
        found.append(warning("tracking.url", why_not))
    return found


async def _pixel(url: str) -> Finding:
    import aiohttp

    host = urlsplit(url).hostname or ""
    try:
        await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return failure("tracking.url", f"{host} has no address in DNS ({error.strerror}): make an A or AAAA record")
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url + PROBE, allow_redirects=False, ssl=ssl.create_default_context()) as response,
        ):
            good = response.status == 200 and is_pixel(await response.content.read(LONGEST + 1))
            status = response.status
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return failure("tracking.url", f"recipients' programs will refuse the certificate of {host}: {reason}")
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        return failure("tracking.url", f"{url} does not answer: {reason}")
    if good:
        return ok("tracking.url", f"{url} answers with our pixel")
    return failure("tracking.url", f"{url} answers {status}, and not with our pixel: does it lead to http.listen?")


@asynccontextmanager
async def standing_in(settings: config.Settings) -> AsyncIterator[str]:
    """While the service does not run, something of ours answers at http.listen, so that the way there through DNS
    and proxy can be tried. Yields "" or why nothing of ours can answer."""
    from aiohttp import web

    address = settings.http.listen
    if local.can_bind(address) is not None:
        running = await local.is_running(settings)
        yield "" if running else f"the tracking server does not run here, and {address} can't be listened on"
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
        await web.TCPSite(runner, *split_address(address), ssl_context=context).start()
        yield ""
    except OSError as error:
        yield f"nothing could listen on {address} for the trial: {error}"
    finally:
        await runner.cleanup()


# -- DKIM --------------------------------------------------------------------------------------------------------------


async def dkim(settings: config.Settings, resolver: Any = None) -> list[Finding]:
    """`resolver` is a `dns.asyncresolver.Resolver`; the system's by default."""
    return [await _record(entry, resolver) for entry in settings.dkim]


async def _record(entry: config.Dkim, resolver: Any) -> Finding:
    import dns.asyncresolver
    import dns.exception
    import dns.resolver
    from cryptography.hazmat.primitives import serialization

    what = f"dkim.{entry.domain}"
    try:
        key = serialization.load_pem_private_key(entry.key.read_bytes(), None)
        kind, public = _public(key)
    except (OSError, ValueError, TypeError) as error:
        return failure(what, f"{entry.key} is no private key that DKIM can use: {error}")
    name = f"{entry.selector}._domainkey.{entry.domain}"
    publish = f'publish a TXT record at {name}: "v=DKIM1; k={kind}; p={public}"'
    try:
        resolver = resolver or dns.asyncresolver.get_default_resolver()
        answer = await resolver.resolve(name, "TXT", lifetime=SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return failure(what, f"there is no record; {publish}")
    except (dns.exception.DNSException, OSError) as error:
        return failure(what, f"the record at {name} can't be looked up: {error}")
    records = [b"".join(row.strings).decode("utf-8", "replace") for row in answer]
    if any(_published(record) == public for record in records):
        return ok(what, f"{name} has our {kind} key")
    return failure(what, f"the record at {name} has another key: {publish}")


def _public(key: Any) -> tuple[str, str]:
    """("rsa" | "ed25519", the p= of the record). RFC 6376 3.6.1, RFC 8463 4."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return "ed25519", base64.b64encode(raw).decode()
    if isinstance(key, rsa.RSAPrivateKey):
        raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return "rsa", base64.b64encode(raw).decode()
    raise ValueError("it is neither RSA nor Ed25519")


def _published(record: str) -> str:
    """The p= of a record, without blanks."""
    tags: Sequence[str] = [tag for tag in record.split(";") if "=" in tag]
    pairs = {tag.partition("=")[0].strip(): "".join(tag.partition("=")[2].split()) for tag in tags}
    return pairs.get("p", "")
