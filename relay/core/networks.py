"""Network places: addresses, networks, hosts and ports, as settings, sockets and URLs spell them.

Owns: how they are read, and what a place is: this machine itself (loopback), the public Internet, all addresses at once.
Each is decided here and nowhere else. Leaves to others: what follows from it, and every look-up of a name: "localhost" is
this machine (RFC 6761 6.3); what any other name means is the resolver's to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from relay.core import domains

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A host name as it may stand in a setting: letters, digits, hyphens, underscores. In its one spelling (`domains`).
NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
AUTHORITY = re.compile(r"(?:\[([^\[\]/@\s]*)\]|([^:\[\]/@\s]*))(?::([0-9]{1,5}))?")
OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
DOTTED = re.compile(r"\.".join([OCTET] * 4))
NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")  # of the classic IPv4 spellings; a leading zero means octal
# smtp is 587 (submission) with a login, and 25 without one.
PORTS = {"smtps": 465, "lmtp": 24, "imap": 143, "imaps": 993, "http": 80, "https": 443}

# Where an IPv4 address is inside an IPv6 one, and from which bit on: RFC 4291 2.5.5.2, translators (RFC 6052, as DNS64
# answers) and 6to4 (RFC 3056). Such an address is as public as the one inside.
EMBEDDED = ((IPv6Network("::ffff:0:0/96"), 0), (IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))
UNICAST = IPv6Network("2000::/3")  # all that was given out so far; fec0::/10 and the like are not in it
# The IANA special-purpose registries (RFC 6890), what of them is not reached globally; multicast; former relays of 6to4.
SPECIAL_4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)))  # fmt: skip
SPECIAL_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))


def numeric(host: str) -> Address | None:
    """The address that `host` spells, in any of the forms that a resolver takes (127.1, 0x7f000001, 017700000001, a zone);
    None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return _classic(host) if host[:1].isdigit() and host.isascii() else None


def _classic(host: str) -> IPv4Address | None:
    """One to four numbers, the last of which fills what is left (inet_aton)."""
    words = host.split(".")
    if len(words) > 4 or len(host) > 253 or not all(map(NUMBER.fullmatch, words)):
        return None
    try:
        numbers = [int(w[2:], 16) if w[:2].lower() == "0x" else int(w, 8 if w[0] == "0" else 10) for w in words]
    except ValueError:  # an 8 or a 9 in an octal number
        return None
    *front, last = numbers
    if any(n > 255 for n in front) or last >= 256 ** (5 - len(words)):
        return None
    return IPv4Address(sum(n << 8 * (3 - at) for at, n in enumerate(front)) + last)


def plain(address: Address) -> Address:
    """The address as networks are compared with it: without a zone, an IPv4-mapped one as IPv4."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)


def peer(text: str) -> Address | None:
    """The address of a peer as a socket or a proxy writes it: with brackets, a port or a zone too. `plain`."""
    if (dotted := DOTTED.fullmatch(text)) is not None:  # as most are: a fourth of the time
        a, b, c, d = map(int, dotted.groups())
        return IPv4Address(a << 24 | b << 16 | c << 8 | d)
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return plain(ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def client(address: Address | None) -> str:
    """The key by which whoever is behind an address is counted: IPv4 by the address, IPv6 by its /64, of which a customer
    has at least one whole; IPv4-mapped as IPv4."""
    address = plain(address) if address else None
    if not isinstance(address, IPv6Address):
        return str(address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def network(text: str) -> Network:
    """A network or an address as one. Bits beyond the prefix are dropped; IPv4-mapped ones are IPv4, as peers are.
    Raises ValueError."""
    found = ip_network(text, strict=False)
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped:
        return IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return found


def within(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(plain(address) in network for network in networks)


class Exceptions:
    """Places that are named as exceptions from a rule: networks, addresses, host names."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self.names: set[str] = set()
        self.networks: list[Network] = []
        for entry in entries:
            try:
                self.networks.append(network(entry))
            except ValueError:
                self.names.add(domains.spelt(entry))

    def hold(self, host: str, address: Address | None = None) -> bool:
        """Whether the host, by its name in one spelling or by its address, is one of them."""
        return host in self.names or within(address, self.networks)


def loopback(host: str) -> bool:
    """Whether a host can only be this machine: "localhost", with or without its last dot, or a loopback address."""
    if host.lower() in ("localhost", "localhost."):
        return True
    address = numeric(host.removeprefix("[").removesuffix("]"))
    return address is not None and plain(address).is_loopback


def everywhere(host: str) -> bool:
    """Whether a listener's host stands for all addresses of this machine."""
    address = numeric(host)
    return not host or (address is not None and plain(address).is_unspecified)


def public(address: Address) -> bool:
    """Is it of the public Internet, and so is the IPv4 address inside it, if there is one?"""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_4)
    if address.scope_id is not None:
        return False
    for network, shift in EMBEDDED:
        if address in network:
            return public(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    return address in UNICAST and not any(address in network for network in SPECIAL_6)


# -- hosts with ports --------------------------------------------------------------------------------------------------


def split(text: str) -> tuple[str, int | None]:
    """(host, port) of HOST[:PORT] or [IPV6][:PORT], as a Host header or a listener's address has it. The host is in its
    one spelling, without brackets; the port None where there is none. Raises ValueError."""
    found = AUTHORITY.fullmatch(text)
    if not found or (found[3] and int(found[3]) > 65_535):
        raise ValueError(f"{text!r} is not HOST:PORT")
    if found[1] is not None:
        return str(IPv6Address(found[1])), int(found[3]) if found[3] else None
    return domains.spelt(found[2]), int(found[3]) if found[3] else None


def endpoint(text: str) -> tuple[str, int]:
    """("127.0.0.1", 2525) of "127.0.0.1:2525", ("::1", 25) of "[::1]:25", ("", 25) of ":25". Raises ValueError."""
    host, port = split(text)
    if port is None or not (host == "" or ":" in host or NAME.fullmatch(host)):
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, port


def passed(text: str) -> str:
    """The name of a listener's sockets where systemd makes them: "submission" of "systemd:submission"; "" of an address."""
    return text.removeprefix("systemd:") if text.startswith("systemd:") else ""


def written(host: str, port: int) -> str:
    """HOST:PORT, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server(NamedTuple):
    """Where a server is, read from its URL: the scheme in lower case, the login or "", the host in its one spelling."""

    scheme: str
    login: str
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return loopback(self.host)

    def __str__(self) -> str:
        return written(self.host, self.port)


def server(url: str) -> Server:
    """The server of an smtp, smtps, lmtp, imap, imaps, http or https URL. Raises ValueError where it names none."""
    parts = urlsplit(url)
    login, host = unquote(parts.username or ""), domains.of_host(parts.hostname or "")
    port = parts.port or (PORTS.get(parts.scheme) if parts.scheme != "smtp" else 587 if login else 25)
    if not host or port is None:
        raise ValueError(f"{url!r} names no server")
    return Server(parts.scheme, login, host, port)


def confidential(url: str) -> bool:
    """Does nobody on the way read what is sent there? https, or http to this machine."""
    try:
        where = server(url)
    except ValueError:
        return False
    return where.scheme == "https" or (where.scheme == "http" and where.loopback)
