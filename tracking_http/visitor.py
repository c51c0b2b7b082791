"""Who asked: the address, the user agent and the page of a request, as far as the operator wants them kept.

Owns: which address a request came from, and what the privacy settings leave of it.
Leaves to others: what the request means (`core.classify`) and keeping it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from relay.core import capabilities, networks

LONGEST = 1000  # characters of a user agent or referer that are kept
# What a user agent really is, the most telling name first: a browser also names its ancestors, a proxy its disguise.
FAMILIES = (
    "GoogleImageProxy", "YahooMailProxy", "YahooCacheSystem", "ms-office", "Outlook", "Thunderbird", "Edg", "OPR",
    "SamsungBrowser", "Firefox", "FxiOS", "CriOS", "Chrome", "Safari", "AppleWebKit", "Trident", "MSIE",
)  # fmt: skip
FAMILY = re.compile("|".join(map(re.escape, FAMILIES)), re.I)
NAMED = {name.lower(): name for name in FAMILIES}
CAPABILITIES = capabilities.Table(())
PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")  # RFC 9110 5.6.2, narrowed


def addresses(trusted: Sequence[str]) -> Callable[[str, str], str]:
    """A function of a peer's address and an X-Forwarded-For value that gives the client's address: the peer, or, if the
    peer is in one of the `trusted` networks, the rightmost forwarded address that is not. IPv4 addresses mapped into
    IPv6 (RFC 4291 2.5.5.2) come out as IPv4. Anything that is no address is ignored."""
    proxies = tuple(map(networks.network, trusted))

    @lru_cache(4096)
    def known(text: str) -> tuple[str, bool] | None:
        address = networks.peer(text)
        return None if address is None else (str(address), networks.within(address, proxies))

    def client(peer: str, forwarded: str) -> str:
        found = known(peer)
        if found is None:
            return ""
        if not forwarded or not found[1]:
            return found[0]
        for hop in reversed(forwarded[-4000:].split(",")):
            entry = known(hop.strip())
            if entry is None:  # a proxy that writes no address ("unknown", RFC 7239 6.2): nothing beyond it is known
                break
            found = entry
            if not entry[1]:
                break
        return found[0]

    return client


@lru_cache(4096)
def ip(address: str, keep: Literal["full", "truncated", "none"]) -> str:
    """What is kept of an address: all of it, its network (/24 of IPv4, /48 of IPv6), or ""."""
    if keep == "full" or not address:
        return address
    if keep == "none":
        return ""
    prefix = 48 if ":" in address else 24
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False).network_address)


@lru_cache(4096)
def user_agent(text: str, keep: Literal["full", "family", "none"]) -> str:
    """What is kept of a User-Agent: the first thousand characters, the name of the program, or ""."""
    if keep == "full":
        return text[:LONGEST]
    if keep == "none":
        return ""
    found = {match.lower() for match in FAMILY.findall(text[:LONGEST])}
    best = next((NAMED[name.lower()] for name in FAMILIES if name.lower() in found), "")
    product = PRODUCT.match(text)
    return best or (product[0] if product else "")


def referer(text: str, keep: Literal["full", "origin", "none"]) -> str:
    """What is kept of a Referer: the first thousand characters, its origin (RFC 6454 6.2), or "". Only the origin too of
    one that lets in whoever has it, such as that of a webmail with its session in the URL."""
    if keep == "none" or not text:
        return ""
    if keep == "full" and not CAPABILITIES.within(text[:LONGEST], 0):
        return text[:LONGEST]
    try:
        parts = urlsplit(text[:LONGEST])
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    return f"{parts.scheme}://{host}/" if parts.scheme in ("http", "https") and host else ""
