"""Which addresses a notification may go to.

Owns: the refusal of private, loopback, link-local and all other addresses that are not the public Internet's, on the
address that is dialled; the exceptions that [webhook_delivery] allow_private makes. Leaves to others: the request.

A name is checked as it is resolved for a new connection, and exactly those addresses are dialled: nothing is looked up
twice, so that a name can't answer publicly first and privately then.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
# Where an IPv4 address is inside an IPv6 one, and from which bit on: translators (RFC 6052, as DNS64 answers) and 6to4
# (RFC 3056). Such an address is as public as the one inside.
EMBEDDED = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))


class AddressRefused(Exception):
    """Not to be called; the text says why, for the operator."""


class Guard:
    """`allow` holds networks, addresses and host names."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.names: set[str] = set()
        self.networks = []
        for entry in allow:
            try:
                self.networks.append(ip_network(entry, strict=False))
            except ValueError:
                self.names.add(entry.lower().rstrip("."))

    def check(self, url: URL) -> None:
        """Raises `AddressRefused` for what can be refused before anything is resolved."""
        host = (url.host or "").lower().rstrip(".")
        if url.scheme not in ("http", "https") or not host:
            raise AddressRefused("only http and https URLs with a host are called")
        if url.user is not None or url.password is not None:
            raise AddressRefused("the URL holds credentials")
        address = numeric(host)
        if address is not None:
            self.dial(host, address, plain=url.scheme == "http")

    def dial(self, host: str, address: Address, *, plain: bool) -> None:
        """Raises `AddressRefused` unless this address of that host may be connected to. `plain` is http, which only those
        may have that are named."""
        if host in self.names or any(address in network for network in self.networks):
            return
        if not public(address):
            raise AddressRefused(f"{address} is not a public address")
        if plain:
            raise AddressRefused("http is for hosts in allow_private only")


class Resolver(AbstractResolver):
    """Answers with addresses that may be dialled, or fails."""

    def __init__(self, guard: Guard, *, plain: bool, inner: AbstractResolver | None = None) -> None:
        self.guard = guard
        self.plain = plain
        self.inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self.inner.resolve(host, port, family)
        for answer in found:  # one private answer among public ones is an attempt, not an accident
            address = numeric(answer["host"])
            if address is None:
                raise AddressRefused(f"{host} has no address")
            self.guard.dial(host.lower().rstrip("."), address, plain=self.plain)
        return found

    async def close(self) -> None:
        await self.inner.close()


def numeric(host: str) -> Address | None:
    """The address that `host` spells, in any of the forms that a resolver would take (127.1, 0x7f000001), or None."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except (OSError, UnicodeError):
        return None


def public(address: Address) -> bool:
    """Is it of the public Internet, and so is the IPv4 address inside it, if there is one?"""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or address.teredo is not None:
            return False
        if address.ipv4_mapped is not None:
            return public(address.ipv4_mapped)
        for network, shift in EMBEDDED:
            if address in network:
                return public(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified
