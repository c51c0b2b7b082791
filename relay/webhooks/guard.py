"""Which addresses a notification may go to.

Owns: the refusal of addresses that are not the public Internet's, on the address that is dialled; the exceptions that
[webhook_delivery] allow_private makes. Leaves to others: what is public (`core.networks`), the request.

A name is checked as it is resolved for a new connection, and exactly those addresses are dialled: nothing is looked up
twice, so that a name can't answer publicly first and privately then.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from relay.core import domains, networks


class AddressRefused(Exception):
    """Not to be called; the text says why, for the operator."""


class Guard:
    """`allow` holds networks, addresses and host names."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.exceptions = networks.Exceptions(allow)

    def check(self, url: URL) -> None:
        """Raises `AddressRefused` for what can be refused before anything is resolved."""
        host = domains.spelt(url.host or "")
        if url.scheme not in ("http", "https") or not host:
            raise AddressRefused("only http and https URLs with a host are called")
        address = networks.numeric(host)
        if address is not None:
            self.dial(host, address, plain=url.scheme == "http")

    def dial(self, host: str, address: networks.Address, *, plain: bool) -> None:
        """Raises `AddressRefused` unless this address of that host may be connected to. `plain` is http, which only those
        may have that are named."""
        if self.exceptions.hold(host, address):
            return
        if not networks.public(address):
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
            address = networks.numeric(answer["host"])
            if address is None:
                raise AddressRefused(f"{host} has no address")
            self.guard.dial(domains.spelt(host), address, plain=self.plain)
        return found

    async def close(self) -> None:
        await self.inner.close()
