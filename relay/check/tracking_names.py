"""The tracking host in DNS: has it addresses that recipients can reach, do they lead here, does each of them answer?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from relay import config
from relay.check import Finding, failure, names, ok, unknown, warning
from relay.core import domains, networks

WHAT = "tracking.dns"
CONNECTING = 5.0  # seconds
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def here(address: str) -> bool:
    """Whether this machine has that address itself."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False


async def look(settings: config.Settings, resolver: Any = None, is_here: Callable[[str], bool] = here) -> list[Finding]:
    """`resolver` is a `dns.asyncresolver.Resolver`; the system's by default."""
    urls = dict.fromkeys(url for url in (settings.tracking.url, *settings.tracking.domains) if url)
    found = await asyncio.gather(*(_host(url, resolver, is_here) for url in urls))
    return [finding for findings in found for finding in findings]


async def _host(url: str, resolver: Any, is_here: Callable[[str], bool]) -> list[Finding]:
    host = domains.of_url(url)
    if networks.loopback(host) or host.endswith(".localhost") or networks.numeric(host) is not None:
        return []
    try:
        four, six = await asyncio.gather(*(names.look_up(host, kind, resolver) for kind in ("A", "AAAA")))
    except names.Unknown as reason:
        return [unknown(WHAT, f"what {host} is in DNS can't be known here: {reason}")]
    addresses = [*four.found, *six.found]
    alias = four.alias or six.alias
    if not addresses:
        return await _nothing(host, alias)
    hidden = [address for address in addresses if not networks.public(ip_address(address))]
    by = f" (by a CNAME to {alias})" if alias else ""
    if hidden:
        return [warning(WHAT, f"{host}{by} is {' and '.join(hidden)} in DNS, which only your own network reaches: recipients need a public "
                        "address, unless another DNS server tells them so")]  # fmt: skip
    mine = [address for address in addresses if is_here(address)]
    where = (
        "this machine"
        if len(mine) == len(addresses)
        else "another machine's or a router's: right if that passes it on to this one"
    )
    found = [ok(WHAT, f"{host}{by} is {' and '.join(addresses)}, {where}")]
    return found + await _silent(host, urlsplit(url).port or (80 if url.startswith("http:") else 443), addresses)


async def _nothing(host: str, alias: str) -> list[Finding]:
    try:
        await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        if not alias:
            return []  # tracking.url says it
    if alias:
        return [
            failure(
                WHAT,
                f"{host} is a CNAME to {alias}, which has no address; mend the CNAME, or make that name's A record",
            )
        ]
    return [
        failure(
            WHAT, f"{host} has no address in DNS, and only this machine knows one (/etc/hosts): publish an A record"
        )
    ]


async def _silent(host: str, port: int, addresses: list[str]) -> list[Finding]:
    """Of several addresses those that nobody answers at: a client that takes one of them first has to wait."""
    if len(addresses) < 2:
        return []
    answers = dict(
        zip(addresses, await asyncio.gather(*(_answers(address, port) for address in addresses)), strict=True)
    )
    if True not in answers.values():
        return []  # tracking.url says it
    return [warning(WHAT, f"nobody answers at {networks.written(address, port)}, an address of {host}: take its record away, or let the "
                    "proxy listen there") for address, answer in answers.items() if answer is False]  # fmt: skip


async def _answers(address: str, port: int) -> bool | None:
    """None where this machine has no way there."""
    try:
        async with asyncio.timeout(CONNECTING):
            _, writer = await asyncio.open_connection(address, port)
    except OSError as error:  # a timeout is one
        return None if error.errno in NO_WAY else False
    writer.close()
    return True
